"""Policies: rows come and go, and batches stay what they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.outofcore import (
    LRU,
    Belady,
    Static,
    Store,
    build_rolling,
    choice,
    layout,
    plan,
)
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.schedule import CLEARLY
from graphlab.sample import NeighborLoader
from tests.outofcore.conftest import make_dataset
from tests.outofcore.test_plan import assert_epochs_equal, same

# 2.4 MB of rows, of which about a quarter find room.
SHAPE = {"num_nodes": 3000, "num_edges": 24000, "width": 200}
MEMORY = "1400KiB"


@dataclass(frozen=True)
class Odd:
    """A user's policy: nodes of odd number, the largest first."""

    static_share: float | None = 0.3

    def keys(self, batch, num_batches, n_id, next_use):
        keys = num_batches - n_id % (num_batches + 1)
        return np.where(n_id % 2 == 1, keys, -1)


POLICIES = {
    "belady": "belady",
    "all slots": Belady(static_share=0.0),
    "half": Belady(static_share=0.5),
    "lru": LRU(),
    "static": Static(),
    "own": Odd(),
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
def test_batches_equal_whatever_the_policy(make_store, tmp_path, policy):
    dataset, store = make_store(**SHAPE)
    made = plan(
        store,
        [4, 3],
        None,
        32,
        epochs=2,
        memory=MEMORY,
        mode="replay",
        policy=policy,
        path=tmp_path / "p",
    )
    loader = made.loader()
    assert_epochs_equal(loader, NeighborLoader(dataset, [4, 3], 32), 2)
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    static = made.totals["slots"] == 0
    assert static == (policy == Static())
    # Later epochs: the same batches, in the recorded order where rows come and go.
    reference = NeighborLoader(dataset, [4, 3], 32)
    recorded = [list(reference) for _ in range(2)]
    later = [list(loader) for _ in range(2)]
    if not static:
        for epoch, again in zip(recorded, later, strict=True):
            assert all(same(a, b) for a, b in zip(again, epoch, strict=True))


def misses(store, path, policy, **more) -> int:
    made = plan(
        store,
        [4, 3],
        None,
        32,
        memory=MEMORY,
        mode="replay",
        policy=policy,
        path=path,
        **more,
    )
    total = made.totals["misses"] + made.totals["hot_rows"]
    loader = made.loader()
    for _ in loader:
        pass
    assert loader.stats()["misses"] == made.totals["misses"]
    return total


def test_belady_misses_least(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    found = {
        name: misses(store, tmp_path / name, policy)
        for name, policy in POLICIES.items()
    }
    assert found["all slots"] == min(found.values())
    assert found["belady"] <= found["static"]
    assert found["all slots"] < found["static"]


@pytest.mark.parametrize("stored", ["source", "int8", "float16"])
def test_slots_are_refilled_out_of_order(make_store, tmp_path, stored):
    _, store = make_store(stored, **SHAPE)
    reference = NeighborLoader(store.dataset(), [4, 3], 32)
    memory = MEMORY if stored == "source" else "1000KiB"
    made = plan(
        store,
        [4, 3],
        None,
        32,
        memory=memory,
        mode="replay",
        policy=Belady(0.2),
        path=tmp_path / "p",
    )
    assert made.totals["slots"] > 0
    expected = list(reference)
    loader = made.loader()
    order = [5, 0, 1, 40, 41, 42, 3, 62, 5, 6, 7]
    for number in order:
        assert same(loader.batch(0, number), expected[number])
    assert loader.stats()["misses"] > 0
    # In the middle of an epoch, and then to its end.
    state = {**loader.state_dict(), "epoch": 0, "batch": 9}
    loader.load_state_dict(state)
    rest = list(loader)
    assert all(same(a, b) for a, b in zip(rest, expected[9:], strict=True))
    # Any single batch between those of an iteration.
    loader.set_epoch(0)
    for number, batch in enumerate(loader):
        assert same(batch, expected[number])
        if number % 7 == 3:
            assert same(loader.batch(0, 60), expected[60])


@pytest.mark.parametrize("compiled", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_read_disjoint_parts(make_store, tmp_path, compiled, ranks):
    dataset, store = make_store(**SHAPE)
    made = plan(
        store,
        [4, 3],
        None,
        64,
        memory="2MiB",
        mode="replay",
        policy=Belady(0.0),
        world_size=compiled,
        path=tmp_path / "p",
    )
    expected = list(NeighborLoader(dataset, [4, 3], 64))
    missed = 0
    for rank in range(ranks):
        loader = made.loader(rank=rank, world_size=ranks)
        for number, batch in enumerate(loader):
            assert same(batch, expected[number * ranks + rank])
        missed += loader.stats()["misses"]
    # In the order that was compiled nothing is read but what was packed.
    if compiled == ranks:
        assert missed == made.totals["misses"]
    elif ranks > 1:
        assert missed > made.totals["misses"]


def test_a_share_is_measured(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = plan(store, [4, 3], None, 32, memory=MEMORY, mode="replay", path=tmp_path)
    tried = {float(k): v for k, v in made.totals["misses_by_share"].items()}
    assert 0.0 in tried
    assert 1.0 in tried
    assert tried[0.0] < tried[1.0]
    assert tried[made.totals["static_share"]] == made.totals["misses"]


@pytest.mark.parametrize(
    ("gather", "share"), [(1e12, 0.0), (2e8, 1.0)], ids=["slow disk", "fast disk"]
)
def test_the_share_is_the_fastest_by_prediction(
    make_store, tmp_path, monkeypatch, gather, share
):
    """Copies into slots cost nothing beside a slow disk; beside a fast one they bind."""
    _, store = make_store(**SHAPE)
    disk = Calibration(1e9, 1e5, True, 1e9, gather)
    monkeypatch.setattr(choice, "calibrate", lambda *_, **__: disk)
    made = plan(store, [4, 3], None, 32, memory=MEMORY, mode="replay", path=tmp_path)
    shares = made.explain().shares
    chosen = next(each for each in shares if each.chosen)
    assert (chosen.share == 1.0) == (share == 1.0)
    assert chosen.seconds <= min(each.seconds for each in shares) / CLEARLY
    assert made.totals["static_share"] == chosen.share
    assert f"> {100 * chosen.share:.0f} %" in str(made.explain())


@pytest.mark.parametrize("epochs", [1, 2])
def test_every_row_in_a_slot_is_read_there(make_store, tmp_path, epochs):
    _, store = make_store(**SHAPE)
    made = plan(
        store,
        [4, 3],
        None,
        32,
        epochs=epochs,
        memory=MEMORY,
        mode="replay",
        policy=Belady(0.1),
        path=tmp_path,
    )
    first, kept = made.totals["hot_rows"], 0
    table = layout.read_index(
        tmp_path / "programme-00000.idx", made.body["files"]["programme-00000.idx"]
    )
    data = np.fromfile(tmp_path / "programme-00000.bin", np.uint8)
    for epoch in range(epochs):
        unread: set[int] = set()
        for entry in table[epoch * len(table) // epochs :][: len(table) // epochs]:
            record = data[int(entry["offset"]) :][: int(entry["length"])]
            assert layout.crc(record) == entry["crc"]
            source, keep, _ = layout.decode_programme(record)
            unread -= set(source[source >= first].tolist())
            filled = keep[keep >= 0].tolist()
            assert unread.isdisjoint(filled)
            unread |= set(filled)
            kept += len(filled)
        assert not unread
    assert kept == made.totals["kept"] > 0


def test_levels_account_for_every_access(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = plan(
        store,
        [4, 3],
        None,
        32,
        memory=MEMORY,
        mode="replay",
        policy=Belady(0.5),
        path=tmp_path,
    )
    told = made.explain()
    still, slots, packed = told.levels
    assert still.rows == made.totals["hot_rows"]
    assert slots.rows == made.totals["slots"]
    assert packed.accesses == made.totals["misses"]
    assert sum(level.accesses for level in told.levels) == made.totals["accesses"]
    loader = made.loader()
    list(loader)
    assert loader.stats()["hits"] == still.accesses + slots.accesses
    assert "slots in memory" in str(told)
    assert still.accesses > 0
    assert slots.accesses > 0


def test_slots_survive_damage_in_the_middle(make_store, tmp_path):
    from graphlab.errors import StoreError
    from tests.outofcore.test_damage import flip

    dataset, store = make_store(**SHAPE)
    made = plan(
        store,
        [4, 3],
        None,
        32,
        memory=MEMORY,
        mode="replay",
        policy=Belady(0.0),
        path=tmp_path / "p",
    )
    entry = layout.read_index(
        made.path / "pack-x-00000.idx", made.body["files"]["pack-x-00000.idx"]
    )[5]
    place = int(entry["offset"]) + int(entry["length"]) - 7
    flip(made.path / "pack-x-00000.bin", place)
    loader = made.loader()
    with pytest.raises(StoreError, match="of batch 5"):
        list(loader)
    flip(made.path / "pack-x-00000.bin", place)
    expected = list(NeighborLoader(dataset, [4, 3], 32))
    for number in (6, 7, 5, 6, 30):
        assert same(loader.batch(0, number), expected[number])


@pytest.mark.parametrize("mode", ["replay", "rolling"])
def test_several_columns_share_the_slots(tmp_path, mode):
    """Features, embeddings and labels by node, and a column by edge."""
    base = make_dataset(**SHAPE)
    generator = torch.Generator().manual_seed(1)
    dataset = gl.Dataset(
        base.graph,
        x=base.x,
        y=base.y,
        splits=base.splits,
        edge_attr=torch.rand(base.num_edges, 3, generator=generator),
    )
    dataset["emb"] = torch.randn(3000, 90, generator=generator).half()
    store = Store.convert(dataset, tmp_path / "store")
    made = plan(
        store,
        [4, 3],
        "train",
        32,
        memory="3MiB",
        disk="64MiB",
        mode=mode,
        policy=Belady(0.3),
        path=tmp_path / "p",
    )
    assert made.totals["slots"] > 0
    assert len(made.body["columns"]) == 2
    loader = made.loader()
    reference = NeighborLoader(dataset, [4, 3], 32, "train")
    first = next(iter(reference))
    assert {"emb", "edge_attr", "x", "y"} <= set(first.keys())
    assert_epochs_equal(loader, NeighborLoader(dataset, [4, 3], 32, "train"), 1)
    assert loader.stats()["hits"] > 0
    assert same(loader.batch(0, 20), reference.batch(0, 20))


@pytest.mark.parametrize(
    ("mode", "free"), [("replay", 0), ("rolling", 0), ("rolling", 2**40)]
)
def test_a_graph_larger_than_the_budget_is_sampled_from_disk(
    make_store, tmp_path, mode, free, monkeypatch
):
    monkeypatch.setattr(build_rolling, "available", lambda: free)
    dataset, store = make_store(num_nodes=2000, num_edges=400_000, width=300)
    made = plan(
        store,
        [3, 2],
        None,
        32,
        memory="2MiB",
        disk="64MiB",
        mode=mode,
        path=tmp_path / "p",
    )
    assert made.job.topology_bytes > made.memory
    assert made.sizing.topology == 0
    # Its files are read past the page cache, or mapped where the system can keep them.
    mapped = made.job.topology_bytes if free else 0
    assert made.explain().page_cache_bytes == mapped
    assert_epochs_equal(made.loader(), NeighborLoader(dataset, [3, 2], 32), 1)


def test_losses_do_not_depend_on_the_policy(make_store, tmp_path):
    _, store = make_store(**SHAPE)

    def sums(policy) -> torch.Tensor:
        made = plan(
            store,
            [4],
            None,
            64,
            memory=MEMORY,
            mode="replay",
            policy=policy,
            path=tmp_path / repr(policy),
        )
        return torch.stack([b.x.sum() for b in made.loader()])

    assert torch.equal(sums(Static()), sums(Belady()))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_are_checked(share):
    with pytest.raises(ValueError, match=r"`static_share` must be in \[0, 1\]"):
        Belady(share)
