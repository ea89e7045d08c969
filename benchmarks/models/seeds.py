"""Records of experiments that are run seed by seed: one a case, its seeds inside."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import harness
from graphlab.evaluate import Difference, Scores, Stamp
from graphlab.tasks import LinkResult

_OF_SEED = ("seed", "test", "valid", "best_epoch", "epochs", "seconds", "baselines")


def missing(name: str, case: str, seeds: Sequence[int]) -> list[int]:
    """Seeds of a case that no record holds yet."""
    held = {r["case"]: r["seeds"] for r in harness.load(name)}
    return [seed for seed in seeds if seed not in held.get(case, [])]


def keep(
    name: str, case: str, goal: float | None, result: LinkResult, order: Sequence[str]
) -> None:
    """Put one finished seed into the record of its case.

    Raises:
        StampMismatchError: the record's seeds were measured on something else.
    """
    records = {r["case"]: r for r in harness.load(name)}
    old = records.get(case)
    run = {key: result.runs[0][key] for key in _OF_SEED}
    run["machine"], run["stamp"] = harness.machine(), result.stamp.to_json()
    runs = [] if old is None else [r for r in old["runs"] if r["seed"] != run["seed"]]
    # The checksum of the pairs differs where each seed has its own split.
    for earlier in runs:
        plain = [Stamp.from_json({**r["stamp"], "masks": ""}) for r in (earlier, run)]
        plain[0].require_same(plain[1], any_commit=True)
    runs = sorted([*runs, run], key=lambda r: r["seed"])
    names = runs[0]["baselines"]
    records[case] = {
        "case": case,
        "goal": goal,
        "metric": result.metric,
        "seeds": [r["seed"] for r in runs],
        "test": over([r["test"] for r in runs]),
        "valid": over([r["valid"] for r in runs]),
        "baselines": {n: over([r["baselines"][n] for r in runs]) for n in names},
        "parameters": {"model": result.num_parameters},
        "model": result.config["model"],
        "fit": result.config["fit"],
        "stamp": run["stamp"],
        "machine": run["machine"],
        "runs": runs,
    }
    harness.save(name, [records[c] for c in order if c in records])


def table(name: str, order: Sequence[str]) -> str:
    """One line a case: mean, deviation and interval over its seeds, and its goal."""
    lines = [name]
    records = {r["case"]: r for r in harness.load(name)}
    for case in order:
        if case not in records:
            continue
        record = records[case]
        stamp = Stamp.from_json(record["stamp"])
        scores = Scores(tuple(record["test"]["values"]), tuple(record["seeds"]), stamp)
        goal = (
            "" if record["goal"] is None else f", published {100 * record['goal']:.2f}"
        )
        spread = " over one seed"
        if len(scores.values) > 1:
            low, high = scores.interval()
            spread = (
                f" ± {100 * scores.std:.2f} over {len(scores.values)} seeds, 95 % interval "
                f"{100 * low:.2f} to {100 * high:.2f}"
            )
        lines.append(f"{case}: {100 * scores.mean:.2f}{spread}{goal}")
        for other, value in record["baselines"].items():
            lines.append(f"    {other}: {100 * value['mean']:.2f}")
    return "\n".join(lines)


def paired(name: str, first: str, second: str) -> str:
    """Difference of two cases over the seeds that both have, on the same pairs."""
    records = {r["case"]: r for r in harness.load(name)}
    if first not in records or second not in records:
        return ""
    scores = [
        {run["seed"]: run["test"] for run in records[case]["runs"]}
        for case in (first, second)
    ]
    found = difference(*scores)
    if len(found.values) < 2:
        return ""
    low, high = found.interval()
    return (
        f"{first} - {second}: {100 * found.mean:+.2f} over {len(found.values)} paired seeds, "
        f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}"
    )


def difference(one: dict[int, float], other: dict[int, float]) -> Difference:
    """Paired difference of scores by seed, over the seeds that both have."""
    return Difference(tuple(one[s] - other[s] for s in sorted(set(one) & set(other))))


def cell(one: dict[int, float], other: dict[int, float], digits: int) -> str:
    """Difference and interval in points for a table; bold where clear of zero."""
    found = difference(one, other)
    if len(found.values) < 2:
        return "-"
    ends = [f"{100 * v:+.{digits}f}" for v in (found.mean, *found.interval())]
    text = f"{ends[0]} [{ends[1]}, {ends[2]}]"
    return f"**{text}**" if found.is_clear else text


def run_missing(
    name: str,
    cases: Sequence[str],
    seeds: Sequence[int],
    goals: dict[str, float],
    order: Sequence[str],
    run: Callable[[str, int], LinkResult],
) -> None:
    """Run what is missing, seed after seed; each is kept as soon as it is done."""
    for case in cases:
        for seed in missing(name, case, seeds):
            keep(name, case, goals.get(case), run(case, seed), order)


def over(values: list[float]) -> dict[str, Any]:
    """Mean, sample deviation (None for one seed) and values."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std, "values": values}
