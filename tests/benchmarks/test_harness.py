from __future__ import annotations

import json

import pytest

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial


def same(mine, theirs):
    assert mine == theirs, f"{mine} is not {theirs}"


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    # Records go to a folder of the test, and no core is taken from the other tests.
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(harness, "pin", lambda threads: None)
    return tmp_path


def case(log: list[str], *, wrong: bool = False, **options) -> Case:
    def contender(name: str, value: int) -> Contender:
        return Contender(name, lambda: log.append(name) or value, ["torch"])

    def setup(seed: int) -> Trial:
        contenders = [contender("ours", seed + wrong), contender("peer", seed)]
        return Trial(contenders, same, bytes=8, close=lambda: log.append("closed"))

    return Case("one", setup, {"graph": "none"}, **options)


def test_record_holds_what_was_compared(results, capsys):
    log: list[str] = []
    (record,) = harness.compare("toy", [case(log)], repeats=3)
    # One run each for agreement and warm-up, then in turn.
    assert log[2:] == ["ours", "peer"] * 4 + ["closed"]
    assert record["agreement"] == "checked"
    assert record["best_peer"] == "peer"
    assert record["ratio"] > 0
    assert record["bound"]["bytes"] == 8
    peer = record["contenders"]["peer"]
    assert peer["repeats"] == 3
    assert set(peer["versions"]) == {"torch"}
    assert peer["q1"] <= peer["median"] <= peer["q3"]
    for key in ("commit", "dirty", "cpu", "cores", "torch", "native"):
        assert key in record["machine"]
    assert json.loads((results / "toy.json").read_text())["records"] == [record]
    assert "of bound" in capsys.readouterr().out


def test_finished_cases_are_kept_unless_asked_again():
    log: list[str] = []
    harness.compare("toy", [case(log)], repeats=2)
    runs = len(log)
    harness.compare("toy", [case(log, seeds=(0, 1))], repeats=2)
    assert len(log) == 2 * runs
    assert [r["seed"] for r in harness.load("toy")] == [0, 1]
    harness.compare("toy", [case(log)], repeats=2, again=True)
    assert len(log) == 3 * runs
    assert len(harness.load("toy")) == 2


def test_a_wrong_contender_is_never_timed():
    log: list[str] = []
    with pytest.raises(AssertionError, match="ours differs: 1 is not 0"):
        harness.compare("toy", [case(log, wrong=True)])
    assert log == ["peer", "ours", "closed"]
    assert harness.load("toy") == []


def test_work_that_times_itself_and_takes_notes():
    contender = Contender(
        "ours",
        lambda: {"seconds": 7.0, "bytes": 5},
        seconds=lambda result: result["seconds"],
        notes=lambda result: {"bytes": result["bytes"]},
    )
    trial = Trial([contender], None)
    (record,) = harness.compare("toy", [Case("one", lambda seed: trial)], repeats=2)
    assert record["contenders"]["ours"]["median"] == 7.0
    assert record["contenders"]["ours"]["notes"] == {"bytes": 5}


def test_notes_that_differ_are_kept_for_each_run():
    counter = iter(range(100))
    contender = Contender(
        "ours", lambda: next(counter), notes=lambda run: {"run": run, "same": 1}
    )
    trial = Trial([contender], None)
    record = harness.run_case(Case("c", lambda _: trial), 0, 3, 1)
    first = record["contenders"]["ours"]["each"]["run"][0]
    assert record["contenders"]["ours"]["each"] == {
        "run": [first, first + 1, first + 2]
    }
    assert record["contenders"]["ours"]["notes"] == {"run": first + 2, "same": 1}
    assert record["agreement"] == "not comparable"
    assert record["ratio"] is None


def test_quick_records_nothing(results):
    log: list[str] = []
    harness.main("toy", lambda quick: [case(log)] * quick, argv=["--quick"])
    assert log
    assert not list(results.iterdir())


def test_work_of_minutes_is_checked_and_timed_in_one_run():
    log: list[str] = []
    (record,) = harness.compare("toy", [case(log, repeats=1, warmups=0)])
    assert log == ["peer", "ours", "closed"]
    assert record["contenders"]["peer"]["repeats"] == 1
    assert record["agreement"] == "checked"


def test_a_result_is_let_go_before_the_next_run():
    class Result:
        alive = 0

        def __init__(self):
            type(self).alive += 1
            held.append(self.alive)

        def __del__(self):
            type(self).alive -= 1

    held: list[int] = []
    contender = Contender("ours", Result)
    harness.run_case(Case("c", lambda _: Trial([contender], None)), 0, 3, 1)
    assert held[2:] == [1, 1, 1]
