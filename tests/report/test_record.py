from __future__ import annotations

import json
import math

import pytest

from graphlab import report
from graphlab.errors import StoreError
from graphlab.report.record import LOADER_KEYS


def test_reads_a_finished_run(make_run):
    run = report.read(make_run())
    assert run.finished
    assert run.label == "run"
    assert run.seeds == [0, 1, 2]
    assert run.metric == "accuracy"
    test = run.score("test")
    assert test.mean == pytest.approx(0.91)
    assert test.std == pytest.approx(0.01)
    assert len(run.epochs(0)) == 6
    assert run.stamp["dataset"] == "amazon_computers"


def test_the_first_epoch_of_a_seed_does_not_count_in_the_time(make_run):
    assert report.read(make_run()).seconds_per_epoch() == 0.5
    assert math.isnan(report.read(make_run("short", epochs=1)).seconds_per_epoch())


def test_an_unfinished_run_counts_its_finished_seeds(make_run):
    folder = make_run(finished=False)
    run = report.read(folder)
    assert not run.finished
    assert run.score("test").values == (0.90, 0.92, 0.91)


def test_a_line_cut_by_a_kill_is_ignored_but_only_at_the_end(make_run):
    path = make_run() / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, '{"event": "epo']))
    assert len(report.read(path.parent).events) == len(lines)
    path.write_text("\n".join(['{"event": "epo', *lines]))
    with pytest.raises(
        StoreError, match=r"metrics.jsonl: expected a JSON object on line 1"
    ):
        report.read(path.parent)


def test_a_repeated_epoch_counts_once_its_last_line(make_run):
    path = make_run() / "metrics.jsonl"
    again = {"event": "epoch", "seed": 0, "epoch": 5, "loss": 0.125, "seconds": 0.1}
    path.write_text(path.read_text() + json.dumps(again) + "\n")
    epochs = report.read(path.parent).epochs(0)
    assert len(epochs) == 6
    assert epochs[-1]["loss"] == 0.125


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`run_dir` must be a run folder with config"):
        report.read(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_config_is_named(make_run, text):
    folder = make_run()
    (folder / "config.json").write_text(text)
    with pytest.raises(StoreError, match=r"config.json: expected a JSON object"):
        report.read(folder)


def test_loader_statistics_add_up(make_run):
    assert report.read(make_run()).loader() is None
    loader = report.read(make_run("disk", disk=True)).loader()
    assert loader.epochs == 18
    assert loader.device_bytes == 18 * 40 * 2**20
    assert loader.hit_rate == pytest.approx(0.9)
    assert loader.stall_share == pytest.approx(0.1)
    assert loader.kept
    assert not report.read(make_run("big", disk=True, peak=2**30)).loader().kept
    assert set(LOADER_KEYS) <= set(vars(loader))


def test_a_single_seed_has_no_deviation():
    score = report.Score.over([0.5])
    assert math.isnan(score.std)
    assert score.show() == "50.00"
    assert report.Score.over([]).show() == "-"
    assert report.Score.over([0.5, 0.7]).show(1) == "60.0 ± 14.1"
