"""The table of LAGNN and its controls, from the records alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.models import seeds
from graphlab.report import Table

DATA = ("cora", "citeseer")
CHANNELS = ("same", "mean", "ridge", "untrained", "cvae-collapsed", "cvae-kl1", "cvae")
# With consistency alone: how the generator's weights are chosen.
CHOSEN = ("cvae-bald+c", "cvae-released+c")
# Published means of the public split (the card's table): backbone -> data -> (plain, LA).
PUBLISHED = {
    "gcn": {"cora": (0.815, 0.846), "citeseer": (0.703, 0.747)},
    "gat": {"cora": (0.830, 0.847), "citeseer": (0.725, 0.737)},
    "gcnii": {"cora": (0.855, 0.857), "citeseer": (0.734, 0.741)},
    "grand": {"cora": (0.854, 0.857), "citeseer": (0.754, 0.758)},
}
SEEDS = {"gcn": 10, "gat": 5, "gcnii": 5, "grand": 5}
BUCKETS = ((0, 1), (2, 5), (6, 20), (21, 10**9))
_NOTE = (
    "Public split; mean and sample deviation over so many seeds, in brackets. `over` columns "
    "are paired differences over common seeds with 95 % intervals, in points, bold where "
    "clear of zero, not corrected for their number. `+c`: with the consistency of four views. "
    "The last columns are the mean gain over plain in points by a test node's degree, of so "
    "many nodes. GRAND alone has the settings of its release, LA-GRAND those of LAGNN's. "
    "Published: the paper's means of 100 runs."
)


def rows(backbone: str) -> list[str]:
    """Names of a backbone's rows."""
    if backbone == "grand":
        return ["plain", "cvae"]
    if backbone != "gcn":
        return ["plain", "same+c", "cvae+c"]
    return ["plain", *(f"{c}{k}" for c in CHANNELS for k in ("", "+c")), *CHOSEN]


def bucket(low: int, high: int) -> str:
    """Name of a range of degrees."""
    return f"{low}-{high}" if high < 10**9 else f"{low}+"


def markdown(records: Iterable[dict[str, Any]]) -> str:
    """A table for each data set and backbone, and what held-out edges say of generators."""
    of = {r["case"]: r for r in records}
    parts = []
    for data in DATA:
        for backbone in SEEDS:
            if any(f"{data}/{backbone}/{row}" in of for row in rows(backbone)):
                parts.append(_table(of, data, backbone))
    evidence = [
        f"- {name.replace('/gcn/', ', ')}: held-out ELBO {e['elbo']:.2f} nats a pair, KL "
        f"{e['kl']:.3g} nats, {e['active_units']} active units, {e['share_from_z']:.1%} of "
        "the decoded variance from z"
        for name, r in of.items()
        for e in [r.get("evidence")]
        if e is not None
        and "/gcn/" in name
        and ("+c" not in name or e.get("score") is not None)
    ]
    return "\n\n".join([*parts, _NOTE, "\n".join(evidence)])


def _table(of: dict[str, dict[str, Any]], data: str, backbone: str) -> str:
    plain = of.get(f"{data}/{backbone}/plain", {"runs": []})
    same = of.get(f"{data}/{backbone}/same+c")
    names = [bucket(*pair) for pair in BUCKETS]
    lines = []
    for row in rows(backbone):
        record = of.get(f"{data}/{backbone}/{row}")
        if record is None:
            continue
        over = "-" if row == "plain" else seeds.cell(_scores(record), _scores(plain), 2)
        beside = (
            "-"
            if same is None or same is record
            else seeds.cell(_scores(record), _scores(same), 2)
        )
        gains = ["-"] * len(names) if row == "plain" else _gains(record, plain, names)
        lines.append((row, _mean(record), over, beside, *gains))
    base, goal = (100 * v for v in PUBLISHED[backbone][data])
    title = f"{data}, {backbone} (published {base:.1f}, LA {goal:.1f})"
    columns = (title, "test, %", "over plain", "over same+c")
    some = next(of[f"{data}/{backbone}/{row[0]}"] for row in lines)["runs"][0][
        "degrees"
    ]
    degrees = (f"degree {n} ({some[n][1]})" for n in names)
    return Table("", (*columns, *degrees), lines).markdown()


def _scores(record: dict[str, Any]) -> dict[int, float]:
    return {r["seed"]: r["test"] for r in record["runs"]}


def _mean(record: dict[str, Any]) -> str:
    values = [100 * v for v in _scores(record).values()]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread} ({len(values)})"


def _gains(
    record: dict[str, Any], plain: dict[str, Any], names: list[str]
) -> list[str]:
    """Mean gain over the plain runs of the same seeds, by degree."""
    of = {r["seed"]: r["degrees"] for r in plain["runs"]}
    runs = [r for r in record["runs"] if r["seed"] in of]
    shown = []
    for name in names:
        gains = [
            100
            * (r["degrees"][name][0] - of[r["seed"]][name][0])
            / max(1, r["degrees"][name][1])
            for r in runs
        ]
        shown.append(f"{statistics.fmean(gains):+.1f}" if gains else "-")
    return shown
