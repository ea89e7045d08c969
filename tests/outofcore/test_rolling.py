"""Rolling windows: fresh samples every epoch, the disk ceiling kept, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from graphlab.errors import BudgetError
from graphlab.outofcore import Belady, Static, build_rolling, plan
from graphlab.sample import NeighborLoader
from tests.outofcore.test_plan import assert_epochs_equal, same

SHAPE = {"num_nodes": 2000, "num_edges": 16000, "width": 300}


def make(store, path, **more):
    given = {
        "batch_size": 32,
        "memory": "3MiB",
        "disk": "2500KiB",
        "mode": "rolling",
        **more,
    }
    return plan(store, [4, 3], None, path=path, **given)


@pytest.mark.parametrize("policy", ["belady", Belady(0.0), Static()], ids=repr)
def test_every_epoch_is_fresh_and_equal_to_memory(make_store, tmp_path, policy):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", policy=policy)
    assert made.mode == "rolling"
    assert 1 < made.totals["window_batches"] < made.batches_per_epoch
    loader = made.loader()
    assert_epochs_equal(loader, NeighborLoader(dataset, [4, 3], 32), 2)
    stats = loader.stats()
    assert stats["misses"] > 0
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    loader.close()
    assert not list((tmp_path / "p").glob("window-*"))


def disk_of(folder) -> int:
    total = 0
    # Folders and files may vanish while they are counted.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += 512 * os.stat(os.path.join(place, name)).st_blocks
    return total


def test_disk_ceiling_holds_at_every_moment(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", policy=Belady(0.0), disk="2MiB")
    most, end = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not end.is_set():
            most = max(most, disk_of(made.path))
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    loader = made.loader()
    for _ in range(2):
        for _ in loader:
            pass
    end.set()
    watcher.join()
    loader.close()
    # The manifest and the list of seeds are not packs: a few KiB.
    assert most <= 2 * 2**20 + 64 * 1024
    assert most > 2**20


def test_a_window_that_comes_out_too_large_is_made_smaller(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p")
    made.totals["window_batches"] = made.batches_per_epoch
    assert_epochs_equal(made.loader(), NeighborLoader(dataset, [4, 3], 32), 1)


@pytest.mark.parametrize("stop", [3, 40])
def test_resume_and_single_batches(make_store, tmp_path, stop):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p")
    reference = NeighborLoader(dataset, [4, 3], 32)
    expected = list(reference)
    loader = made.loader()
    for _, batch in zip(range(stop), loader, strict=False):
        last = batch
    assert same(last, expected[stop - 1])
    state = loader.state_dict()
    loader.close()
    again = made.loader()
    again.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(again, expected[stop:], strict=True))
    assert same(again.batch(0, 60), expected[60])
    assert same(again.batch(1, 5), reference.batch(1, 5))


def test_ranks_make_their_own_windows(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", disk="4MiB")
    expected = list(NeighborLoader(dataset, [4, 3], 32))
    loaders = [made.loader(rank=r, world_size=2) for r in range(2)]
    for rank, loader in enumerate(loaders):
        got = list(loader)
        assert all(same(a, b) for a, b in zip(got, expected[rank::2], strict=True))
        assert disk_of(made.path) <= 4 * 2**20 + 64 * 1024


@pytest.mark.parametrize("disk", ["8MiB", "64MiB"])
def test_replay_may_sample_afresh(make_store, tmp_path, disk):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", mode="replay", resample_every=2, disk=disk)
    assert made.totals["ahead"] == (disk == "64MiB")
    reference = NeighborLoader(dataset, [4, 3], 32)
    loader = made.loader()
    epochs = [list(reference) for _ in range(3)]
    for source in (0, 0, 2, 2):
        got = list(loader)
        assert all(same(a, b) for a, b in zip(got, epochs[source], strict=True))


def test_sparse_columns_roll_too(make_store, tmp_path):
    dataset, store = make_store(width=800, sparse=True, num_nodes=1500, num_edges=9000)
    made = make(store, tmp_path / "p", memory="6MiB", disk="2MiB", columns=["x"])
    reference = NeighborLoader(dataset, [4, 3], 32, columns=["x"])
    assert_epochs_equal(made.loader(), reference, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"disk": "100KiB"}, BudgetError, "`disk` must be at least"),
        ({"mode": "replay", "resample_every": 2}, BudgetError, "an epoch at a time"),
        ({"mode": "direct", "resample_every": 2}, ValueError, "or mode be 'replay'"),
        ({"resample_every": 0}, ValueError, "`resample_every` must be at least 1"),
        ({"resample_every": 2, "epochs": 3}, ValueError, "`epochs` must be 1"),
    ],
)
def test_bad_arguments(make_store, tmp_path, arguments, error, message):
    _, store = make_store(**SHAPE)
    with pytest.raises(error, match=message):
        make(store, tmp_path / "p", **arguments)


def test_closing_ends_the_work_in_the_background(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p")
    before = set(threading.enumerate())
    loader = made.loader()
    iteration = iter(loader)
    next(iteration)
    del iteration
    loader.close()
    assert not list((tmp_path / "p").glob("window-*"))
    new = [t.name for t in set(threading.enumerate()) - before]
    assert not any(name.startswith("graphlab-window") for name in new)


def test_a_batch_whose_packs_are_gone_is_made_again(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", policy=Belady(0.0))
    assert made.totals["window_space"] > 0, "no holes in files here"
    loader, reference = made.loader(), NeighborLoader(dataset, [4, 3], 32)
    expected = list(reference)
    got = []
    for number, batch in enumerate(loader):
        got.append(batch)
        if number == 8:
            break
    assert loader._engine._window.gone
    assert all(same(a, b) for a, b in zip(got, expected, strict=False))
    assert same(loader.batch(0, 1), expected[1])
    assert same(loader.batch(0, 8), expected[8])
    loader.close()


def test_windows_that_cannot_share_the_disk_halve_it(make_store, tmp_path, monkeypatch):
    dataset, store = make_store(**SHAPE)
    monkeypatch.setattr(build_rolling, "can_punch", lambda folder: False)
    made = make(store, tmp_path / "p", disk="3MiB")
    assert made.totals["window_space"] == 0
    shared = make(store, tmp_path / "s", disk="3MiB", resample_every=2)
    assert shared.totals["window_batches"] == made.totals["window_batches"]
    loader = made.loader()
    assert_epochs_equal(loader, NeighborLoader(dataset, [4, 3], 32), 2)
    loader.close()


def test_windows_of_a_killed_process_are_removed(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p")
    # No process has so large a number, and this one is alive.
    dead, alive = f"window-0-{2**30}-0-0", f"window-0-{os.getpid()}-999999-0"
    for name in (dead, alive):
        (made.path / name).mkdir()
        (made.path / name / "samples-00000.bin").write_bytes(b"cut")
    loader = made.loader()
    next(iter(loader))
    assert not (made.path / dead).exists()
    loader.close()
    assert (made.path / alive).exists()


# Reads a part of the second epoch, and is killed while a window is read and another made,
# which cannot be whole before the first has given its disk back.
KILLED = """
import json, os, signal, sys
from graphlab.outofcore import plan
store, path, given, stop = sys.argv[1:5]
loader = plan(store, [4, 3], None, path=path, **json.loads(given)).loader(epoch=1)
for number, batch in enumerate(loader):
    if number == int(stop):
        print(json.dumps(loader.state_dict()), flush=True)
        while not list(loader.plan.path.glob("window-*/window.json")):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_windows_of_a_killed_process_are_read_on(make_store, tmp_path, monkeypatch):
    dataset, store = make_store(**SHAPE)
    given = {"batch_size": 32, "memory": "3MiB", "disk": "2500KiB", "mode": "rolling"}
    made = plan(store, [4, 3], None, path=tmp_path / "p", **given)
    command = [sys.executable, "-c", KILLED]
    command += [str(store.path), str(made.path), json.dumps(given), "4"]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr
    state = json.loads(child.stdout.splitlines()[-1])
    assert (state["epoch"], state["batch"]) == (1, 5)
    left = list(made.path.glob("window-*/window.json"))
    about = [json.loads(path.read_text()) for path in left]
    # What was handed over is given back, but not what was only made ahead.
    assert about[0]["gone"]
    assert max(about[0]["gone"]) < 5
    end = max(range(*each["numbers"])[-1] for each in about) + 1
    loader = made.loader()
    spans = []
    make = type(loader._engine._maker).make

    def noted(self, folder, epoch, numbers, stop):
        spans.append((epoch, numbers.start))
        return make(self, folder, epoch, numbers, stop)

    monkeypatch.setattr(type(loader._engine._maker), "make", noted)
    loader.load_state_dict(state)
    reference = NeighborLoader(dataset, [4, 3], 32)
    reference.set_epoch(1)
    expected = list(reference)[5:]
    assert all(same(a, b) for a, b in zip(loader, expected, strict=True))
    # The window was not made again.
    assert spans[0] == (1, end)
    loader.close()
    assert not list(made.path.glob("window-*"))


def test_two_loaders_of_one_plan_do_not_meet(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    made = make(store, tmp_path / "p", disk="4MiB")
    expected = list(NeighborLoader(dataset, [4, 3], 32))
    pairs = zip(made.loader(), made.loader(), expected, strict=True)
    assert all([same(a, c) and same(b, c) for a, b, c in pairs])


def test_explain_tells_of_windows(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    told = make(store, tmp_path / "p").explain()
    assert "> rolling" in str(told)
    rolling = next(cost for cost in told.modes if cost.mode == "rolling")
    assert "window by window" in str(told)
    assert rolling.disk_bytes <= 2500 * 1024
    assert rolling.read_bytes > 0
