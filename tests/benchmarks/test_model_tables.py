"""Tables of ADPA and LAGNN from records of which every figure is known."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.models import adpa_table, lagnn_table

SEEDS = range(adpa_table.SEEDS)


def record(case: str, scores: list[float], **more: Any) -> dict[str, Any]:
    runs = [{"seed": s, "test": v} for s, v in enumerate(scores)]
    return {"case": case, "runs": runs, "stamp": {"split": "ten"}, **more}


def level(mean: float) -> list[float]:
    """Ten scores that differ a little."""
    return [mean + 0.001 * (s - 4.5) for s in SEEDS]


def whole(data: str, means: dict[str, tuple[float, float]]) -> list[dict[str, Any]]:
    """Every row of a directed graph: (directed, undirected) means by model."""
    of = dict.fromkeys((*adpa_table.RANKED, "ridge", "ridge+rows"), (0.5, 0.4)) | means
    chosen = ["directed" if s < 5 else "undirected" for s in SEEDS]
    verdicts = [{"seed": s, "direction": w} for s, w in enumerate(chosen)]
    found = [record(f"{data}/ridge/features", level(0.3))]
    for model, pair in of.items():
        name, _, extra = model.partition("+")
        for way, mean in zip(("directed", "undirected"), pair, strict=True):
            case = f"{data}/{name}/{way}{'+' if extra else ''}{extra}"
            found.append(record(case, level(mean), verdicts=verdicts))
    return found


def test_auto_takes_each_split_as_the_diagnosis_says():
    rows = adpa_table.rows(whole("cora_ml", {"adpa": (0.8, 0.6)}), "cora_ml")
    expected = [0.8 if s < 5 else 0.6 for s in SEEDS]
    found = [rows["adpa/auto"][s] - 0.001 * (s - 4.5) for s in SEEDS]
    assert found == pytest.approx(expected)
    assert rows["ridge/auto+rows"][0] == rows["ridge/directed+rows"][0]
    assert rows["ridge/auto+rows"][9] == rows["ridge/undirected+rows"][9]


def test_standing_counts_whole_graphs_ranks_and_clear_differences():
    ahead = whole("cora_ml", {"adpa": (0.9, 0.9)})
    behind = whole("citeseer_directed", {"adpa": (0.6, 0.6), "sgc": (0.7, 0.7)})
    partly = whole("chameleon", {"adpa": (0.9, 0.9)})
    partly = [r for r in partly if r["case"] != "chameleon/gcn/directed"]
    found = adpa_table.standing([*ahead, *behind, *partly])
    assert found["graphs"] == 2
    assert found["won"] == ["cora_ml"]
    assert found["lost"] == {"citeseer_directed": ["sgc"]}
    assert found["mean_rank"]["adpa"] == 1.5
    text = adpa_table.markdown([*ahead, *behind, *partly])
    assert "**-10.0 [-10.0, -10.0]**" in text
    assert "Clearly behind: citeseer (sgc)." in text
    assert "| gcn | undirected | 40.0 ± 0.3 | 40.0 ± 0.3 | 40.0 ± 0.3 |" in text


def test_gains_of_lagnn_are_paired_and_by_degree():
    names = [lagnn_table.bucket(*pair) for pair in lagnn_table.BUCKETS]

    def row(name: str, scores: list[float], right: int) -> dict[str, Any]:
        made = record(f"cora/gcn/{name}", scores)
        for run in made["runs"]:
            run["degrees"] = {n: [right, 10] for n in names}
        return made

    records = [row("plain", [0.80, 0.82], 5), row("cvae+c", [0.81, 0.84, 0.9], 7)]
    text = lagnn_table.markdown(records)
    assert "| plain | 81.00 ± 1.41 (2) | - |" in text
    assert "| +1.50 [-4.85, +7.85] |" in text
    assert text.count("+20.0") == len(names)
    alone = lagnn_table.markdown(records[1:])
    assert "| cvae+c | 85.00 ± 4.58 (3) | - |" in alone
