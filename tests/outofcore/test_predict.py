"""Predictions: laws between modes, and the choice that follows from them."""

from __future__ import annotations

import pytest

from graphlab.outofcore import build, choice, plan, predict
from graphlab.outofcore.calibrate import Calibration, calibrate
from graphlab.sample import NeighborLoader
from tests.outofcore.test_plan import assert_epochs_equal

DISK = Calibration(1e9, 2e4, True, 5e8)
DEMAND = predict.Demand(
    batches=100,
    misses=1_000_000,
    sample_bytes=20_000_000,
    programme_bytes=8_000_000,
    pack_bytes=512_000_000,
    scan_bytes=2_000_000_000,
    hot_bytes=100_000_000,
)


class _Rows:
    row_bytes = 512


def test_packing_beats_windows_beat_single_rows():
    replay = predict.replay(DEMAND, 1, DISK)
    rolling = predict.rolling(DEMAND, 2, 1, DISK)
    direct = predict.direct(DEMAND, [_Rows()], DISK)
    assert replay.seconds < rolling.seconds < direct.seconds
    assert replay.read_bytes == DEMAND.file_bytes
    assert rolling.read_bytes > 2 * DEMAND.scan_bytes
    assert direct.seconds >= DEMAND.misses * 4096 / DISK.sequential


def test_sharing_lies_between_packing_and_single_rows():
    replay = predict.replay(DEMAND, 1, DISK)
    direct = predict.direct(DEMAND, [_Rows()], DISK)
    costs = [
        predict.hybrid(DEMAND, [_Rows()], reads // 8, reads, 1, DISK)
        for reads in (0, 100_000, 500_000, 1_000_000)
    ]
    assert costs[0].seconds == pytest.approx(replay.seconds)
    seconds = [cost.seconds for cost in costs]
    assert seconds == sorted(seconds)
    assert costs[-1].seconds <= direct.seconds + replay.seconds
    disk = [cost.disk_bytes for cost in costs]
    assert disk == sorted(disk, reverse=True)


def test_more_disk_is_never_slower():
    sizes = [1, 10**8, 2 * 10**8, 10**9, 10**10, None]
    windows = [predict.windows_of(DEMAND, size) for size in sizes]
    assert windows == sorted(windows, reverse=True)
    assert windows[0] == DEMAND.batches
    assert windows[-1] == 1
    costs = [predict.rolling(DEMAND, w, 1, DISK).seconds for w in windows]
    assert costs == sorted(costs, reverse=True)


def test_samples_that_are_used_again_cost_less():
    once, twice = (predict.rolling(DEMAND, 1, reuse, DISK) for reuse in (1, 2))
    assert twice.seconds < once.seconds
    assert twice.read_bytes < once.read_bytes


def test_few_misses_are_not_worth_a_scan():
    few = DEMAND._replace(misses=100, pack_bytes=51_200)
    direct = predict.direct(few, [_Rows()], DISK)
    assert direct.per_epoch < predict.rolling(few, 1, 1, DISK).per_epoch


@pytest.mark.parametrize(
    ("random", "disk", "modes"),
    [
        (10.0, "2500KiB", ["rolling"]),
        (1e12, "2500KiB", ["direct", "hybrid"]),
        (10.0, None, ["replay"]),
    ],
)
def test_auto_takes_what_is_predicted_to_be_fastest(
    make_store, tmp_path, monkeypatch, random, disk, modes
):
    dataset, store = make_store(num_nodes=3000, num_edges=24000, width=200)
    found = Calibration(1e9, random, True, 1e9)
    monkeypatch.setattr(choice, "calibrate", lambda *_, **__: found)
    monkeypatch.setattr(choice, "LEAST_BYTES", 0)
    made = plan(store, [4, 3], None, 32, memory="2MiB", disk=disk, path=tmp_path / "p")
    assert made.mode in modes
    assert_epochs_equal(made.loader(), NeighborLoader(dataset, [4, 3], 32), 1)


def test_a_killed_plan_goes_on_with_what_it_measured(make_store, tmp_path, monkeypatch):
    _, store = make_store(num_nodes=3000, num_edges=24000, width=200)
    arguments = {"memory": "2MiB", "mode": "replay", "path": tmp_path / "p"}

    def end(*_, **__):
        raise KeyboardInterrupt

    found = Calibration(1e9, 123.0, True, 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(choice, "calibrate", lambda *_, **__: found)
        patch.setattr(build.Packed, "run", end)
        with pytest.raises(KeyboardInterrupt):
            plan(store, [4, 3], None, 32, **arguments)
    made = plan(store, [4, 3], None, 32, **arguments)
    assert made.calibration == found
    assert not list(made.path.glob("journal-*"))


def test_writing_is_measured_within_its_room(tmp_path):
    (tmp_path / "data").write_bytes(bytes(200_000))
    found = calibrate(tmp_path / "data", 2, 65536, 0.01, folder=tmp_path, room=2**20)
    assert found.write > 1000
    assert found.writing == found.write
    assert not (tmp_path / ".calibration").exists()
    without = calibrate(tmp_path / "data", 2, 65536, 0.01)
    assert without.write == 0
    assert without.writing == without.sequential
