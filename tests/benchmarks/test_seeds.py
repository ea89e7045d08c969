from __future__ import annotations

import types

import pytest

from benchmarks import harness
from benchmarks.models import seeds
from graphlab.evaluate import Stamp, StampMismatchError


def result(seed: int, split: str = "ncn", masks: str = "") -> types.SimpleNamespace:
    outcome = {
        "seed": seed,
        "test": 0.5 + 0.1 * seed,
        "valid": 0.6,
        "best_epoch": 3,
        "epochs": 4,
        "seconds": 1.0,
        "baselines": {"katz": 0.2},
    }
    return types.SimpleNamespace(
        runs=[outcome],
        metric="mrr",
        num_parameters=7,
        config={"model": {}, "fit": {}},
        stamp=Stamp("cora", split, "best", "mrr", masks=masks),
    )


def test_seeds_gather_in_one_record_and_finished_ones_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    ran = []

    def run(case, seed):
        ran.append((case, seed))
        return result(seed, masks=str(seed))

    for _ in range(2):
        seeds.run_missing("t", ["a", "b"], range(2), {"a": 0.4}, ["a", "b"], run)
    assert ran == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    first, second = harness.load("t")
    assert first["seeds"] == [0, 1]
    assert first["test"]["values"] == [0.5, 0.6]
    assert first["test"]["mean"] == pytest.approx(0.55)
    assert (first["goal"], second["goal"]) == (0.4, None)
    shown = seeds.table("t", ["a", "b"])
    assert "a: 55.00 ± 7.07 over 2 seeds" in shown
    assert "katz: 20.00" in shown
    assert "a - b: +0.00 over 2 paired seeds" in seeds.paired("t", "a", "b")
    assert seeds.paired("t", "a", "c") == ""


def test_seeds_of_another_split_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    seeds.keep("t", "a", None, result(0), ["a"])
    with pytest.raises(StampMismatchError, match="split"):
        seeds.keep("t", "a", None, result(1, split="heart"), ["a"])
