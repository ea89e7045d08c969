"""One training epoch with features on disk: graphlab against memory maps and memory.

Every contender is a process of its own that trains the same model on the same batches (same
sampler, same seeds), so losses must agree bit for bit. All but the in-memory bound run in one
memory cgroup: what the bare process takes, plus the budget. Caches are dropped before each
run. A cold memory map gathers some hundred rows a second, hours an epoch, so they take part,
with each number of threads, in a case of a few small batches; whole epochs are compared with
memory.

Data and plans are kept in ``GRAPHLAB_BENCH`` (default ``/tmp/graphlab-bench``); preparation
is not timed here: its seconds are in the notes of our contender.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial

FOLDER = Path(os.environ.get("GRAPHLAB_BENCH", "/tmp/graphlab-bench"))
MIB = 2**20
MAPS = ("memmap", "memmap MADV_RANDOM")
THREADS = (1, 2, 4)


class Setting(NamedTuple):
    """A workload: a generated graph, GraphSAGE, float32."""

    num_nodes: int = 2_000_000
    num_edges: int = 20_000_000
    num_features: int = 128
    seed_share: float = 0.1
    fanout: tuple[int, ...] = (15, 10)
    batch_size: int = 1024
    hidden: int = 64
    budget_share: float = 0.25
    batches: int = 0  # 0: the whole epoch
    graph: str = "sbm"

    @property
    def budget(self) -> int:
        return int(self.budget_share * self.num_nodes * self.num_features * 4)

    @property
    def store(self) -> Path:
        return (
            FOLDER
            / f"{self.graph}-{self.num_nodes}-{self.num_edges}-{self.num_features}"
        )

    @property
    def facts(self) -> dict[str, Any]:
        return {"model": "SAGE", "dtype": "float32", **self._asdict()}


def make_store(setting: Setting) -> None:
    import graphlab as gl

    if not (setting.store / "manifest.json").exists():
        gl.datasets.generate(
            setting.graph,
            setting.num_nodes,
            setting.num_edges,
            setting.num_features,
            path=setting.store,
            train=setting.seed_share,
            overwrite=True,
        )


def make_plan(setting: Setting) -> Any:
    from graphlab.outofcore import Store, plan

    # Named after all that decides it, so that a changed setting is another plan.
    text = json.dumps(setting)
    name = f"plan-{zlib.crc32(text.encode()):08x}"
    reused = (FOLDER / name / "manifest.json").exists()
    start = time.perf_counter()
    store = Store.open(setting.store)
    made = plan(
        store,
        list(setting.fanout),
        seeds(store.dataset(), setting),
        setting.batch_size,
        memory=setting.budget,
        mode="replay",
        path=FOLDER / name,
    )
    # Opening a plan of an earlier run says nothing about what preparing it took.
    return made, None if reused else time.perf_counter() - start


def seeds(dataset: Any, setting: Setting) -> Any:
    """The training nodes, of which a case of a few batches has as many as it uses."""
    ids = dataset.ids("train")
    return ids[: setting.batches * setting.batch_size] if setting.batches else ids


def make_loader(kind: str, threads: int, setting: Setting) -> tuple[Any, Any]:
    """The loader of a contender, and where its batches' features come from."""
    import numpy as np
    import torch

    import graphlab as gl
    from graphlab.datasets.column import MemmapColumn
    from graphlab.sample import NeighborLoader

    if kind == "replay":
        made, _ = make_plan(setting)
        return made.loader(), made
    dataset = gl.datasets.open(setting.store)
    column = dataset.columns["x"]
    if kind == "memory":
        dataset["x"] = column.gather(torch.arange(setting.num_nodes))
    else:
        shape = (setting.num_nodes, setting.num_features)
        array = np.memmap(column.path, np.float32, "r", shape=shape)
        if kind == "memmap MADV_RANDOM":
            import mmap

            array._mmap.madvise(mmap.MADV_RANDOM)
        dataset["x"] = MemmapColumn(array)
    loader = NeighborLoader(
        dataset,
        list(setting.fanout),
        setting.batch_size,
        seeds(dataset, setting),
        num_threads=threads,
        prefetch=1,  # a batch ahead for each thread: more would not fit the cgroup
    )
    return loader, None


def read_bytes() -> int:
    return int(
        re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.M)[1]
    )


def child(kind: str, threads: int, setting: Setting) -> dict[str, Any]:
    """Train; what a contender prints."""
    import torch

    import graphlab as gl

    torch.manual_seed(0)
    model = gl.models.SAGE(
        setting.num_features, 10, hidden_channels=setting.hidden, num_layers=2
    )
    optimiser = torch.optim.Adam(model.parameters(), 0.003)
    if kind == "nothing":
        import graphlab.outofcore

        graphlab.outofcore.Store.open(setting.store).dataset()
        batches: Iterator[Any] = iter([warm_batch(setting)])
        loader = made = None
    else:
        loader, made = make_loader(kind, threads, setting)
        batches = iter(loader)
    losses, before, start = [], read_bytes(), time.perf_counter()
    for batch in batches:
        out = model(
            batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
        )
        size = batch.batch_size
        loss = torch.nn.functional.cross_entropy(out[:size], batch.y[:size])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    found = {
        "seconds": time.perf_counter() - start,
        "batches": len(losses),
        "losses": losses,
        "read_bytes": read_bytes() - before,
    }
    if loader is not None:
        stats = loader.stats()
        found |= {key: stats[key] for key in ("stall_seconds", "hits", "misses")}
        found["compute_seconds"] = found["seconds"] - stats["stall_seconds"]
    if made is not None:
        found["limit_seconds"] = stats["limit_seconds"]
        found["device_bytes"] = stats["device_bytes"]
        found["sequential_bandwidth"] = made.calibration.sequential
        found["peak_memory_bytes"] = stats["peak_memory_bytes"]
        found["declared_memory_bytes"] = stats["declared_memory_bytes"]
    return found


def warm_batch(setting: Setting) -> Any:
    """A batch of the largest shape, so that the bare process meets its activations."""
    import torch
    from torch_geometric.data import Data

    nodes, edges = [setting.batch_size], []
    for count in setting.fanout:
        edges.append(nodes[-1] * count)
        nodes.append(min(edges[-1], setting.num_nodes - sum(nodes)))
    total, targets = sum(nodes), sum(nodes[:-1])
    col = torch.arange(sum(edges)) % targets
    return Data(
        x=torch.zeros(total, setting.num_features),
        y=torch.zeros(total, dtype=torch.int64),
        edge_index=torch.stack([torch.arange(sum(edges)) % total, col.sort().values]),
        batch_size=setting.batch_size,
        num_sampled_nodes=nodes,
        num_sampled_edges=edges,
    )


def run(kind: str, threads: int, setting: Setting, limit: int) -> dict[str, Any]:
    """One contender in its cgroup."""
    arguments = json.dumps([kind, threads, setting])
    command = [
        sys.executable,
        "-m",
        "benchmarks.systems.disk_epoch",
        "--child",
        arguments,
    ]
    done = cgroup.in_cgroup(limit, command, cwd=harness.ROOT)
    if done.oom_kills:
        raise MemoryError(f"{kind}, {threads} threads: out of memory in {limit} bytes")
    if done.returncode != 0:
        raise RuntimeError(f"{kind}, {threads} threads: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        **found,
        "cgroup_bytes": limit,
        "cgroup_peak_bytes": done.peak_bytes,
        "resident_peak_bytes": done.peak_resident_bytes,
    }


def setup(setting: Setting, facts: dict[str, Any]) -> Trial:
    make_store(setting)
    made, seconds = make_plan(setting)
    bare = run("nothing", 1, setting, 2**40)["resident_peak_bytes"]
    limit = bare + setting.budget + 4 * MIB

    def contender(name: str, kind: str, threads: int, limit: int) -> Contender:
        def notes(found: dict[str, Any]) -> dict[str, Any]:
            kept = {key: value for key, value in found.items() if key != "losses"}
            if kind == "replay":
                kept["prepare_seconds"] = seconds
                kept["planner_peak_bytes"] = made.totals["planner_peak_bytes"]
                kept["of_limit"] = found["seconds"] / found["limit_seconds"]
            return kept

        return Contender(
            name,
            lambda: run(kind, threads, setting, limit),
            ["torch", "torch-geometric", "numpy"],
            prepare=cgroup.drop_caches,
            value=lambda found: found["losses"],
            seconds=lambda found: found["seconds"],
            notes=notes,
        )

    contenders = [contender("graphlab replay", "replay", 1, limit)]
    for kind in MAPS if setting.batches else ():
        for threads in THREADS:
            name = f"{kind}, {threads} threads"
            contenders.append(contender(name, kind, threads, limit))
    contenders.append(contender("in memory, no limit", "memory", 1, 2**40))

    def agree(mine: list[float], theirs: list[float]) -> None:
        assert mine == theirs, f"losses {mine} are not {theirs}"

    reference = contenders[-1]
    return Trial(contenders, agree, reference=lambda: reference.value(reference.run()))


def cases(quick: bool) -> Iterable[Case]:
    small = Setting(20_000, 100_000, 128, 0.1, (5, 5), 64, 16, budget_share=0.8)
    whole = small if quick else Setting()
    # Four batches keep four threads busy; one run of each takes two minutes and more.
    for setting in (whole, whole._replace(batches=4, batch_size=64)):
        part = "whole epoch"
        if setting.batches:
            part = f"first {setting.batches} batches of {setting.batch_size} seeds"
        facts = setting.facts
        yield Case(
            f"{part}, {setting.num_nodes:,} x {setting.num_features}, "
            f"budget {100 * setting.budget_share:.0f} %",
            lambda seed, s=setting, f=facts: setup(s, f),
            facts,
            repeats=1 if quick or setting.batches else 5,
            warmups=0,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        kind, threads, values = json.loads(sys.argv[2])
        values[4] = tuple(values[4])
        print(json.dumps(child(kind, threads, Setting(*values))))
    else:
        harness.main("disk_epoch", cases, repeats=3)
