"""The table of ADPA and its controls, from the records alone.

``auto`` is no run of its own: each split takes the directed or the undirected run, as the
diagnosis says from that split's training labels.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.models import seeds
from graphlab.report import Table

# Small first, so that whole data sets are done early.
DATA = (
    "texas",
    "wisconsin",
    "cornell_fixed",
    "chameleon_filtered_directed",
    "cora_ml",
    "citeseer_directed",
    "squirrel_filtered_directed",
    "minesweeper",
    "chameleon",
    "squirrel",
)
DIRECTED = {
    name for name in DATA if name not in ("texas", "wisconsin", "cornell_fixed")
}
DIRECTED -= {"minesweeper"}
# `adpa-reference` repeats the release, defects included. Not ranked, as more was tried for
# them: `adpa-wide`, tuned over more settings, and `dirgnn-released`, settings of its release;
# nor `magnet`, which came after the ranking was settled.
RANKED = ("adpa", "mlp", "gcn", "sgc", "sign", "dirgnn", "gcnii", "adpa-reference")
MODELS = (*RANKED, "magnet", "adpa-wide", "dirgnn-released")
WAYS = ("auto", "directed", "undirected")
PROBES = ("features", *WAYS, *(f"{way}+rows" for way in WAYS))
SEEDS = 10
_SHOWN = {name: name.replace("_directed", "").replace("_", " ") for name in DATA}
Scores = dict[int, float]


def rows(records: Iterable[dict[str, Any]], data: str) -> dict[str, Scores]:
    """``model/direction`` -> seed -> test score of a data set, ``auto`` among them."""
    of = {r["case"]: r for r in records}
    found: dict[str, Scores] = {}
    for name, record in of.items():
        if name.startswith(f"{data}/"):
            row = name.partition("/")[2]
            found[row] = {r["seed"]: r["test"] for r in record["runs"]}
    probed = of.get(f"{data}/ridge/directed")
    if probed is not None and data in DIRECTED:
        chosen = {r["seed"]: r["direction"] for r in probed["verdicts"]}
        rows_of = [(m, "") for m in (*MODELS, "ridge")] + [("ridge", "+rows")]
        for model, extra in rows_of:
            pair = {
                w: found.get(f"{model}/{w}{extra}", {})
                for w in ("directed", "undirected")
            }
            if all(pair.values()):
                common = set(pair["directed"]) & set(pair["undirected"]) & set(chosen)
                found[f"{model}/auto{extra}"] = {
                    s: pair[chosen[s]][s] for s in sorted(common)
                }
    return found


def compared(found: dict[str, Scores], data: str) -> dict[str, Scores]:
    """What is ranked on a data set: each model with ``--direction auto``, and the probes."""
    table = {}
    for model in (*RANKED, "ridge"):
        way = "auto" if data in DIRECTED and model != "mlp" else "undirected"
        table[model] = found.get(f"{model}/{way}", {})
    table["ridge on features"] = found.get("ridge/features", {})
    way = "auto+rows" if data in DIRECTED else "undirected+rows"
    table["ridge with rows"] = found.get(f"ridge/{way}", {})
    return table


def standing(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Where ADPA stands among the rows of :func:`compared`, on graphs that have all of them.

    A graph counts as lost where some other row is ahead with a paired 95 % interval clear of
    zero, as won where ADPA is so ahead of every other row.
    """
    records = list(records)
    lost: dict[str, list[str]] = {}
    won, ranks = [], []
    for data in DATA:
        table = compared(rows(records, data), data)
        if any(len(scores) < SEEDS for scores in table.values()):
            continue
        ours, ahead = table["adpa"], 0
        for name, scores in table.items():
            if name == "adpa":
                continue
            low, high = seeds.difference(ours, scores).interval()
            ahead += low > 0
            if high < 0:
                lost.setdefault(data, []).append(name)
        if ahead == len(table) - 1:
            won.append(data)
        means = {name: statistics.fmean(v.values()) for name, v in table.items()}
        order = sorted(means.values(), reverse=True)
        ranks.append(
            {
                name: order.index(m) + 1 + (order.count(m) - 1) / 2
                for name, m in means.items()
            }
        )
    mean = {n: statistics.fmean(r[n] for r in ranks) for n in (ranks or [{}])[0]}
    return {"graphs": len(ranks), "lost": lost, "won": won, "mean_rank": mean}


def markdown(records: Iterable[dict[str, Any]]) -> str:
    """Scores of every row, paired differences, standing."""
    records = list(records)
    found = {data: rows(records, data) for data in DATA}
    data = [name for name in DATA if found[name]]
    lines: list[tuple[str, ...]] = []
    wanted = [(m, w) for m in MODELS for w in WAYS] + [("ridge", w) for w in PROBES]
    for model, way in wanted:
        cells = [_mean(found[d].get(f"{model}/{way}", {})) for d in data]
        if any(cell != "-" for cell in cells):
            lines.append((model, way, *cells))
    columns = ("test, %", "direction", *(_SHOWN[d] for d in data))
    table = Table("", columns, lines).markdown()
    differences = []
    whole = {d: compared(found[d], d) for d in data}
    for name in whole[data[0]] if data else ():
        if name != "adpa":
            cells = [seeds.cell(whole[d]["adpa"], whole[d][name], 1) for d in data]
            differences.append((name, *cells))
    columns = ("ADPA, auto, over", *(_SHOWN[d] for d in data))
    paired = Table("", columns, differences).markdown()
    splits = []
    for d in data:
        stamps = [r["stamp"]["split"] for r in records if r["case"].startswith(f"{d}/")]
        splits.append(f"{_SHOWN[d]}: {stamps[0]}")
    note = (
        "Accuracy, for minesweeper ROC-AUC: mean and sample deviation over ten splits (fewer "
        "in brackets). Every model is tuned on validation nodes of the first split, which "
        "other splits may test on, with six trials. Not ranked: `dirgnn-released`, the "
        "settings of DirGNN's release, up to 2000 epochs; `magnet`, which came after the "
        "ranks were known; and `adpa-wide`, ADPA's first round, whose test scores were seen "
        "before its space was cut to the one of `adpa` (on validation scores of chameleon); "
        "no other model had a second round. "
        "`auto` takes each split's run as `diagnose` says from its training labels. Ridge "
        "rows are the diagnosis' probe, `+rows` with each node's rows of the adjacency. "
        f"Splits: {'; '.join(splits)}."
    )
    second = (
        "Paired differences over the splits with 95 % intervals, in points; bold where clear "
        "of zero. Each row has the direction that `diagnose` asks for (`auto`). The intervals "
        "are not corrected for their number or for splits that share nodes: single ones near "
        "zero mean little."
    )
    first = [
        {**r, "case": r["case"].replace("/adpa-wide/", "/adpa/")}
        for r in records
        if "/adpa/" not in r["case"]
    ]
    rank = standing(first)
    told = (
        f"\n- With `adpa-wide` in its place: mean rank {rank['mean_rank']['adpa']:.1f} over "
        f"{rank['graphs']} graphs."
        if rank["graphs"]
        else ""
    )
    return "\n\n".join(
        [table, note, paired, second, _standing(standing(records)) + told]
    )


def _standing(where: dict[str, Any]) -> str:
    ranks = sorted(where["mean_rank"].items(), key=lambda pair: pair[1])
    named = ", ".join(f"{name} {rank:.1f}" for name, rank in ranks) or "none yet"
    behind = [f"{_SHOWN[d]} ({', '.join(names)})" for d, names in where["lost"].items()]
    ahead = ", ".join(_SHOWN[d] for d in where["won"])
    return (
        f"- Mean ranks over {where['graphs']} whole graphs: {named}.\n"
        f"- Clearly ahead of every other row: {ahead or 'nowhere'}.\n"
        f"- Clearly behind: {'; '.join(behind) or 'nowhere'}."
    )


def _mean(scores: Scores) -> str:
    values = [100 * v for v in scores.values()]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    count = "" if len(values) == SEEDS else f" ({len(values)})"
    return f"{statistics.fmean(values):.1f}{spread}{count}"
