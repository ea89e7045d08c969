"""The one benchmark harness: who is compared, on what, and what is kept.

A script gives cases; a case gives contenders that do the same unit of work. For each case
the harness checks that all results agree with the reference, warms up, times the contenders
in turn (A B C A B C ...), and keeps medians and quartiles in one JSON record. Finished
cases are kept between runs. Cases that we lose stay in the table.

    python -m benchmarks.ops.spmm            all cases, into benchmarks/results/spmm.json
    python -m benchmarks.ops.spmm --quick    smoke test on small cases, nothing recorded
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from graphlab import files, native, progress

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(os.environ.get("OUT") or ROOT / "benchmarks" / "results")
SCHEMA = 1


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case.

    Attributes:
        name: Shown in the table; the record's key.
        run: The timed unit of work; returns its result.
        packages: Distributions whose versions are recorded, such as ``["scipy"]``.
        prepare: Called before each run, not timed; to drop caches, for example.
        value: Turns a result into what is compared with the reference; not timed.
        seconds: Takes the time from a result instead of the clock around ``run``, for work
            that measures itself in a process of its own.
        notes: Takes more figures from the last result, such as bytes read.
    """

    name: str
    run: Callable[[], Any]
    packages: Sequence[str] = ()
    prepare: Callable[[], object] | None = None
    value: Callable[[Any], Any] = lambda result: result
    seconds: Callable[[Any], float] | None = None
    notes: Callable[[Any], dict[str, Any]] | None = None


@dataclass(frozen=True)
class Trial:
    """A case made ready: inputs lie in memory, contenders hold them.

    Attributes:
        contenders: Ours first, then the peers.
        agree: Raises where a result (first) does not match the reference (second); None
            where results cannot be compared (random draws), which the record then says.
        reference: Computes the reference; the first peer's result when absent.
        bytes: Least bytes that the work must move, for the bound; 0: unknown.
        ops: Least operations, for the record; 0: unknown.
        device: Whose memory the bytes move through.
        close: Called at the end of the case.
    """

    contenders: Sequence[Contender]
    agree: Callable[[Any, Any], object] | None
    reference: Callable[[], Any] | None = None
    bytes: int = 0
    ops: int = 0
    device: str = "cpu"
    close: Callable[[], object] | None = None


@dataclass(frozen=True)
class Case:
    """A line of the table.

    Attributes:
        name: Unique in its benchmark.
        setup: Makes the trial for a seed; called only when the case has to run.
        facts: What the line must say: graph, model, fanout, seed fraction, dtype, ...
        seeds: Each is a record of its own.
        repeats: Timed rounds; None: the benchmark's. With one round and no warm-up, for work
            of minutes, the round whose results are checked is the one that is timed.
        warmups: Rounds before timing, beside the one of the agreement check.
        loops: Runs in a row for one time, where a run takes microseconds.
    """

    name: str
    setup: Callable[[int], Trial]
    facts: dict[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    repeats: int | None = None
    warmups: int = 1
    loops: int = 1


def main(
    name: str,
    cases: Callable[[bool], Iterable[Case]],
    *,
    repeats: int = 20,
    argv: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Run a benchmark script: read its arguments, compare, print the table.

    Args:
        name: Record file: ``benchmarks/results/<name>.json``.
        cases: Given whether this is the quick smoke test, returns the cases.
        repeats: Timed rounds a case.
        argv: Arguments; those of the process when absent.
    """
    parser = argparse.ArgumentParser(prog=f"benchmark {name}")
    parser.add_argument("--quick", action="store_true", help="smoke test, not recorded")
    parser.add_argument("--again", action="store_true", help="run finished cases again")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args(argv)
    chosen = [c for c in cases(given.quick) if given.only in c.name]
    return compare(
        name,
        chosen,
        repeats=3 if given.quick else given.repeats,
        threads=given.threads,
        again=given.again,
        record=not given.quick,
    )


def compare(
    name: str,
    cases: Sequence[Case],
    *,
    repeats: int = 20,
    threads: int = 2,
    again: bool = False,
    record: bool = True,
) -> list[dict[str, Any]]:
    """Run the cases that have no record yet, keep their records, print the table."""
    pin(threads)
    kept = [] if again or not record else load(name)
    known = {(r["case"], r["seed"], r["threads"]): r for r in kept}
    shown = []
    for case in cases:
        for seed in case.seeds:
            key = (case.name, seed, threads)
            if key not in known:
                progress.say(f"{name}: {case.name}, seed {seed}")
                known[key] = run_case(case, seed, case.repeats or repeats, threads)
                if record:
                    old = {(r["case"], r["seed"], r["threads"]): r for r in load(name)}
                    save(name, list((old | {key: known[key]}).values()))
            shown.append(known[key])
    print(table(name, shown))
    return shown


def run_case(case: Case, seed: int, repeats: int, threads: int) -> dict[str, Any]:
    """Check, warm up and time one case; return its record."""
    trial = case.setup(seed)
    ours, *peers = trial.contenders
    try:
        checked, first = _check(trial)
        for _ in range(case.warmups):
            for contender in trial.contenders:
                _time(contender, case.loops)
        rounds = [first] if repeats == 1 and case.warmups == 0 else []
        for _ in range(repeats - len(rounds)):
            # Results are let go at once: held, each run's block would be a fresh one, whose
            # pages fault on first touch.
            rounds.append(
                {
                    c.name: _time(c, case.loops)._replace(result=None)
                    for c in trial.contenders
                }
            )
    finally:
        if trial.close is not None:
            trial.close()
    result = {
        "case": case.name,
        "seed": seed,
        "threads": threads,
        "facts": case.facts,
        "ours": ours.name,
        "agreement": checked,
        "contenders": {
            c.name: _summary([r[c.name].seconds for r in rounds])
            | _about(c, [r[c.name].notes for r in rounds])
            for c in trial.contenders
        },
        "ratio": None,
        "best_peer": None,
        "bound": None,
        "machine": machine(),
    }
    mine = result["contenders"][ours.name]["median"]
    if peers:
        best = min((result["contenders"][p.name]["median"], p.name) for p in peers)
        result["ratio"], result["best_peer"] = _round(best[0] / mine), best[1]
    if trial.bytes or trial.ops:
        speed = bandwidth(threads, trial.device)
        least = trial.bytes / speed
        result["bound"] = {
            "bytes": trial.bytes,
            "ops": trial.ops,
            "bandwidth": _round(speed),
            "seconds": _round(least),
            "share": _round(least / mine),
        }
    return result


def table(name: str, records: Sequence[dict[str, Any]]) -> str:
    """The table of a benchmark as plain text; ratio > 1: we are faster than every peer."""
    head = ["case", "contender", "median", "quartiles", "ratio", "of bound"]
    rows = [head]
    for record in records:
        seed = f" [{record['seed']}]" if record["seed"] else ""
        for key, taken in record["contenders"].items():
            mine = key == record["ours"]
            ratio = f"{record['ratio']:.2f}" if mine and record["ratio"] else ""
            bound = record["bound"]
            share = f"{100 * bound['share']:.0f} %" if mine and bound else ""
            rows.append(
                [
                    record["case"] + seed if mine else "",
                    key,
                    _show(taken["median"]),
                    f"{_show(taken['q1'])} .. {_show(taken['q3'])}",
                    ratio,
                    share,
                ]
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows
    ]
    return "\n".join([name, *(line.rstrip() for line in lines)])


def load(name: str) -> list[dict[str, Any]]:
    """The records of a benchmark; none where it has not run."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    kept = json.loads(path.read_text())
    return kept["records"] if kept["schema"] == SCHEMA else []


def save(name: str, records: list[dict[str, Any]]) -> None:
    """Write the records of a benchmark."""
    content = {"schema": SCHEMA, "name": name, "records": records}
    files.publish_json(RESULTS / f"{name}.json", content)


def keep(name: str, *records: dict[str, Any]) -> None:
    """Put records in the place of those of the same cases, beside the others."""
    kept = {r["case"]: r for r in load(name)} | {r["case"]: r for r in records}
    save(name, list(kept.values()))


def process_bytes(field: str) -> int:
    """A line of /proc/self/status in bytes: ``VmRSS``, ``VmHWM`` (the most so far)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def pin(threads: int) -> None:
    """Keep this process on ``threads`` cores, one compute thread on each."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:threads])
    torch.set_num_threads(threads)


def machine() -> dict[str, Any]:
    """What ran and where: commit, processor, versions, native libraries."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    status = native.load()
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    # A copy of the tree without its history: whoever made the copy says what it is of.
    commit, dirty = os.environ.get("GRAPHLAB_COMMIT", ""), False
    if not commit:
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "dirty": dirty,
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "native": status.cpu.name if status.cpu else f"twins ({status.reason})",
        "cuda": cuda,
    }


@cache
def bandwidth(threads: int, device: str = "cpu") -> float:
    """Bytes per second read and written in a copy, measured once.

    Made by ``threads`` threads on the CPU; on a device by a copy of 1 GiB.
    """
    on_cpu = device == "cpu"
    source = torch.zeros(2**25 if on_cpu else 2**28, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        target.copy_(source)
        if not on_cpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * source.nbytes / best


class _Run(NamedTuple):
    seconds: float
    notes: dict[str, Any]
    result: Any = None


def _check(trial: Trial) -> tuple[str, dict[str, _Run]]:
    """Run every contender once and compare; what was said of it, and the runs."""
    runs: dict[str, _Run] = {}

    def value(contender: Contender) -> Any:
        done = _time(contender)
        runs[contender.name] = done._replace(result=None)
        return contender.value(done.result)

    if trial.agree is None:
        for contender in trial.contenders:
            value(contender)
        return "not comparable", runs
    rest = list(trial.contenders)
    if trial.reference is not None:
        expected = trial.reference()
    else:
        expected = value(rest.pop(1))
    for contender in rest:
        try:
            trial.agree(value(contender), expected)
        except AssertionError as error:
            raise AssertionError(f"{contender.name} differs: {error}") from error
    return "checked", runs


def _time(contender: Contender, loops: int = 1) -> _Run:
    if contender.prepare is not None:
        contender.prepare()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(loops):
            result = contender.run()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        taken = (time.perf_counter() - start) / loops
    finally:
        gc.enable()
    if contender.seconds is not None:
        taken = contender.seconds(result)
    return _Run(
        taken, {} if contender.notes is None else contender.notes(result), result
    )


def _summary(seconds: list[float]) -> dict[str, Any]:
    low, middle, high = (
        statistics.quantiles(seconds, n=4, method="inclusive")
        if len(seconds) > 1
        else seconds * 3
    )
    return {
        "median": _round(middle),
        "q1": _round(low),
        "q3": _round(high),
        "best": _round(min(seconds)),
        "repeats": len(seconds),
    }


def _about(contender: Contender, notes: list[dict[str, Any]]) -> dict[str, Any]:
    """Versions, the notes of the last run, and what differed from run to run."""
    about: dict[str, Any] = {
        "versions": {p: importlib.metadata.version(p) for p in contender.packages},
        "notes": notes[-1] if notes else {},
    }
    varied = [k for k in about["notes"] if any(n[k] != notes[0][k] for n in notes)]
    if varied:
        about["each"] = {key: [n[key] for n in notes] for key in varied}
    return about


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _show(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"git {arguments[0]} failed: no commit recorded", file=sys.stderr)
    return done.stdout.strip()
