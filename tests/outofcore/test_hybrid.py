"""Hybrid: rows that many batches miss are shared, so that a smaller disk does."""

from __future__ import annotations

import numpy as np
import pytest

from graphlab.errors import BudgetError, StoreError
from graphlab.outofcore import Belady, Static, plan
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.sharing import split_shared
from graphlab.sample import NeighborLoader
from tests.outofcore.test_damage import flip
from tests.outofcore.test_plan import assert_epochs_equal, same

SHAPE = {"num_nodes": 3000, "num_edges": 24000, "width": 200}


@pytest.mark.parametrize("seed", range(15))
def test_the_fewest_rows_are_shared(tmp_path, seed):
    generator = np.random.default_rng(seed)
    ids = (40 * generator.random(300) ** 2).astype(np.uint32)
    ids.tofile(tmp_path / "misses")
    counts = np.bincount(ids, minlength=40)
    for room in (0, int((counts > 0).sum()), 60, 150, 299, 300):
        ledger = Ledger(2**20, "plan")
        found = split_shared(tmp_path / "misses", 300, 40, room, ledger)
        order = np.argsort(-counts, kind="stable")
        fits = [k for k in range(41) if k + int(counts[order[k:]].sum()) <= room]
        if not fits:
            assert found is None
            continue
        assert found is not None
        assert len(found.shared) + found.packed <= room
        assert found.packed + found.reads == 300
        # Among rows that are missed as often, any will do.
        assert len(found.shared) == min(fits)


@pytest.mark.parametrize("stored", ["source", "int8"])
@pytest.mark.parametrize("policy", [Belady(0.3), Static()], ids=repr)
def test_batches_are_equal_and_the_disk_is_kept(make_store, tmp_path, stored, policy):
    _, store = make_store(stored, **SHAPE)
    reference = NeighborLoader(store.dataset(), [4, 3], 32)
    memory = "1400KiB" if stored == "source" else "1000KiB"
    given = {"memory": memory, "policy": policy, "epochs": 2}
    whole = plan(store, [4, 3], None, 32, mode="replay", path=tmp_path / "w", **given)
    size = sum(p.stat().st_size for p in whole.path.iterdir())
    disk = int(0.75 * size)
    with pytest.raises(BudgetError, match="`disk` must be at least"):
        plan(
            store,
            [4, 3],
            None,
            32,
            mode="replay",
            disk=disk,
            path=tmp_path / "n",
            **given,
        )
    made = plan(
        store, [4, 3], None, 32, mode="hybrid", disk=disk, path=tmp_path / "p", **given
    )
    assert 0 < made.totals["shared_reads"] < made.totals["misses"]
    held = sum(p.stat().st_size for p in made.path.iterdir())
    assert held <= disk + 64 * 1024  # the manifest and indexes
    loader = made.loader()
    expected = [list(reference) for _ in range(2)]
    for epoch in expected:
        assert all(same(a, b) for a, b in zip(loader, epoch, strict=True))
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    assert same(loader.batch(0, 40), expected[0][40])
    told = made.explain()
    assert "shared on disk" in [level.name for level in told.levels]
    assert sum(level.accesses for level in told.levels) == made.totals["accesses"] // 2
    assert "> hybrid" in str(told)


def test_damage_of_shared_rows_is_told(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    given = {"memory": "1400KiB", "policy": Belady(0.3)}
    whole = plan(store, [4, 3], None, 32, mode="replay", path=tmp_path / "w", **given)
    disk = int(0.8 * sum(p.stat().st_size for p in whole.path.iterdir()))
    path = tmp_path / "p"
    made = plan(store, [4, 3], None, 32, mode="hybrid", disk=disk, path=path, **given)
    flip(path / "shared-x.bin", made.totals["shared_bytes"] // 2)
    with pytest.raises(StoreError, match=r"shared-x\.bin: .*CRC32C"):
        made.loader()
    made.loader(verify=False).close()


def test_a_roomy_disk_shares_nothing(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    made = plan(store, [4, 3], None, 32, memory="1400KiB", mode="hybrid", path=tmp_path)
    assert made.totals["shared_rows"] == 0
    assert_epochs_equal(made.loader(), NeighborLoader(dataset, [4, 3], 32), 1)


@pytest.mark.parametrize("sparse", [False, True])
def test_what_hybrid_cannot_do_is_told(make_store, tmp_path, sparse):
    _, store = make_store(**SHAPE, sparse=sparse)
    with pytest.raises(
        BudgetError, match="sparse columns" if sparse else "`disk` must"
    ):
        plan(
            store,
            [4, 3],
            None,
            32,
            memory="1400KiB",
            mode="hybrid",
            disk="1MiB" if sparse else "700KiB",
            columns=["x"],
            path=tmp_path,
        )
