"""Ranks that make a plan together write what one process writes."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from graphlab.errors import BudgetError
from graphlab.outofcore import Belady, layout, pack, plan, trace
from graphlab.outofcore.checksum import joined
from graphlab.outofcore.together import PeerFailedError
from tests.outofcore.test_damage import contents

SHAPE = {"num_nodes": 1500, "num_edges": 12000, "width": 300}
GIVEN = {"batch_size": 32, "memory": "2MiB", "mode": "replay"}


def run(store, path, world_size, **given):
    """All ranks, each on a thread: their plans, or what they raised."""

    def one(rank):
        try:
            return plan(
                store, [4, 3], path=path, rank=rank, world_size=world_size, **given
            )
        except Exception as error:
            return error

    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(one, range(world_size)))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"mode": "hybrid", "disk": "5MiB", "policy": Belady(0.3)},
        {"node_order": "packed", "epochs": 2},
        {"sparse": True, "memory": "1536KiB", "batch_size": 8},
        {"mode": "auto", "disk": "40MiB"},
    ],
    ids=str,
)
@pytest.mark.parametrize("world_size", [2, 3])
def test_files_are_those_of_one_process(
    make_store, tmp_path, given, world_size, monkeypatch
):
    given = {**GIVEN, **given}
    sparse = given.pop("sparse", False)
    _, store = make_store(sparse=sparse, **SHAPE | ({"width": 900} if sparse else {}))
    # Several pieces a rank, and several checkpoints.
    monkeypatch.setattr(pack, "CHUNK_BYTES", 2**17)
    monkeypatch.setattr(trace, "CHECKPOINT_BATCHES", 4)
    alone = plan(store, [4, 3], path=tmp_path / "a", world_size=world_size, **given)
    plans = run(store, tmp_path / "b", world_size, **given)
    assert [p.mode for p in plans] == [alone.mode] * world_size
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    assert plans[0].totals["pack_bytes"] == alone.totals["pack_bytes"] > 0
    for rank, made in enumerate(plans):
        loader = made.loader(rank=rank, world_size=world_size)
        expected = alone.loader(rank=rank, world_size=world_size)
        for batch, other in zip(loader, expected, strict=True):
            assert (batch.n_id == other.n_id).all()
            assert (batch.x == other.x).all()


@pytest.mark.parametrize("mode", ["memory", "direct", "rolling"])
def test_other_modes_are_made_by_the_first(make_store, tmp_path, mode):
    _, store = make_store(**SHAPE)
    given = {**GIVEN, "mode": mode, "memory": "4MiB", "disk": "16MiB"}
    plans = run(store, tmp_path / "b", 2, **given)
    assert [p.mode for p in plans] == [mode, mode]


# A rank that ends itself by SIGKILL at the n-th call of a function that writes.
CHILD = """
import os, signal, sys
from graphlab.outofcore import pack, plan, trace
trace.CHECKPOINT_BATCHES = 4
pack.CHUNK_BYTES = 2**17
store, folder, rank, name, left = sys.argv[1:5] + [int(sys.argv[5])]
full = getattr(os, name)
def counted(*given, **named):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return full(*given, **named)
setattr(os, name, counted)
plan(store, [4, 3], batch_size=32, memory="2MiB", mode="replay", path=folder,
     rank=int(rank), world_size=2)
"""


def test_killed_ranks_go_on(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    alone = plan(store, [4, 3], path=tmp_path / "a", world_size=2, **GIVEN)
    folder = tmp_path / "b"
    children = []

    def start(rank, name="pwrite", count=10**9):
        given = map(str, (store.path, folder, rank, name, count))
        command = [sys.executable, "-c", CHILD, *given]
        children.append(subprocess.Popen(command))
        return children[-1]

    try:
        # The first waits while the second dies twice: sampling, and packing.
        first = start(0)
        for count in (12, 60):
            assert start(1, count=count).wait(60) == -signal.SIGKILL
            assert first.poll() is None
        # Then the first dies, and both end.
        first.kill()
        first.wait(60)
        assert not (folder / layout.MANIFEST).exists()
        last = [start(0), start(1)]
        assert [child.wait(60) for child in last] == [0, 0]
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert contents(folder) == contents(alone.path)


def test_a_rank_that_gives_up_tells_the_others(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    given = {**GIVEN, "disk": "200KiB"}
    found = run(store, tmp_path / "b", 2, **given)
    assert {type(error) for error in found} <= {
        BudgetError,
        trace.SamplesTooLargeError,
        PeerFailedError,
    }
    assert any("`disk` must be" in str(error) for error in found)
    # What failed before is no news.
    plans = run(store, tmp_path / "c", 2, **GIVEN)
    assert [p.mode for p in plans] == ["replay", "replay"]


def test_arguments(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    with pytest.raises(ValueError, match="`rank` must be below world_size = 2"):
        plan(store, [4], rank=2, world_size=2, path=tmp_path / "p")
    with pytest.raises(ValueError, match="`overwrite` must be False where rank"):
        plan(store, [4], rank=0, world_size=2, overwrite=True, path=tmp_path / "p")


def test_checksums_join():
    generator = np.random.default_rng(0)
    for _ in range(20):
        cuts = np.sort(generator.integers(0, 5000, 3))
        data = generator.integers(0, 256, 5000, dtype=np.uint8)
        whole, done = np.zeros(1, dtype=np.uint32), 0
        for end in (*cuts, 5000):
            part = np.array([layout.crc(data[done:end])], dtype=np.uint32)
            whole = joined(whole, part, np.array([end - done]))
            done = int(end)
        assert int(whole[0]) == layout.crc(data)
