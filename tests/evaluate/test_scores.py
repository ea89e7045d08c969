from __future__ import annotations

import dataclasses
import math
import subprocess

import pytest
from scipy import stats

from graphlab.evaluate import Scores, Stamp, StampMismatchError
from graphlab.evaluate import stamp as stamps

STAMP = Stamp("cora", "public", "best validation", "accuracy")


def test_mean_deviation_and_interval():
    values = (0.80, 0.83, 0.79, 0.82)
    scores = Scores(values, (0, 1, 2, 3), STAMP)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert scores.interval() == pytest.approx(tuple(expected))
    assert scores.mean == pytest.approx(0.81)
    assert scores.std == pytest.approx(0.018257418)  # ddof=1
    assert scores.to_json()["values"] == list(values)
    assert str(scores) == "0.8100 ± 0.0183"


def test_one_seed_has_no_deviation():
    scores = Scores((0.8,), (0,), STAMP)
    assert math.isnan(scores.std)
    assert scores.to_json() == {"mean": 0.8, "std": None, "values": [0.8]}
    assert scores.interval() == (-math.inf, math.inf)
    assert str(scores) == "0.8000"


def test_paired_difference_goes_by_seed():
    first = Scores((0.81, 0.82, 0.84), (0, 1, 2), STAMP)
    second = Scores((0.80, 0.80, 0.80), (2, 0, 1), STAMP)
    difference = first - second
    assert difference.values == pytest.approx((0.01, 0.02, 0.04))
    expected = stats.ttest_rel(first.values, (0.8, 0.8, 0.8)).confidence_interval()
    assert difference.interval() == pytest.approx(tuple(expected))
    assert not difference.is_clear
    assert (first - Scores((0.7, 0.71, 0.73), (0, 1, 2), STAMP)).is_clear
    assert second < first
    assert first > second


@pytest.mark.parametrize("field", ["dataset", "split", "protocol", "metric", "commit"])
def test_other_stamps_are_refused_by_name(field):
    first = Scores((0.8,), (0,), STAMP)
    changed = dataclasses.replace(STAMP, **{field: "other"})
    second = Scores((0.9,), (0,), changed)
    for compare in (first.minus, first.__lt__, first.__gt__):
        with pytest.raises(StampMismatchError, match=rf"differ in {field} \(.*'other'"):
            compare(second)


def test_two_versions_of_the_code_compare_on_request():
    first = Scores((0.8,), (0,), STAMP)
    second = Scores((0.9,), (0,), dataclasses.replace(STAMP, commit="x", version="0"))
    with pytest.raises(StampMismatchError, match="pass any_commit=True"):
        first.minus(second)
    assert first.minus(second, any_commit=True).mean == pytest.approx(-0.1)


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="hold a score, got none"):
        Scores((), (), STAMP)
    with pytest.raises(ValueError, match="be finite, got nan for seed 4"):
        Scores((0.1, math.nan), (3, 4), STAMP)
    with pytest.raises(ValueError, match="one score for each of 2 seeds, got 1"):
        Scores((0.1,), (3, 4), STAMP)
    with pytest.raises(ValueError, match=r"have the seeds \[0\], got \[1\]"):
        Scores((0.1,), (0,), STAMP).minus(Scores((0.1,), (1,), STAMP))
    with pytest.raises(ValueError, match="between 0 and 1, got 95"):
        Scores((0.1, 0.2), (3, 4), STAMP).interval(95)


def test_stamp_names_the_commit_and_goes_through_json():
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True
    )
    if head.returncode == 0:
        assert STAMP.commit.startswith(head.stdout.strip())
    assert Stamp.from_json({**STAMP.to_json(), "of_a_later_version": "1"}) == STAMP


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(
        stamps, "__file__", str(tmp_path / "graphlab" / "evaluate" / "stamp.py")
    )
    (tmp_path / "graphlab").mkdir()
    assert stamps.current_commit.__wrapped__() == "unknown"
    monkeypatch.setenv("PATH", "")
    assert stamps.current_commit.__wrapped__() == "unknown"
