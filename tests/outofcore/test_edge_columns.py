"""Edge columns that memory does not hold: the same batches, read from the store."""

from __future__ import annotations

import pytest
import torch

import graphlab as gl
from graphlab.outofcore import Store, plan
from graphlab.sample import NeighborLoader
from tests.outofcore.conftest import make_dataset
from tests.outofcore.test_plan import same


@pytest.fixture
def store(tmp_path):
    plain = make_dataset(1500, 12000, 60)
    generator = torch.Generator().manual_seed(0)
    graph = gl.Graph(
        plain.graph.edge_index, 1500, torch.rand(12000, generator=generator)
    )
    attr = torch.randn(12000, 30, generator=generator)
    d = gl.Dataset(graph, x=plain.x, y=plain.y, edge_attr=attr)
    d["emb"] = torch.randn(1500, 40, generator=generator)
    return Store.convert(d, tmp_path / "store")


@pytest.mark.parametrize("mode", ["direct", "replay", "rolling"])
@pytest.mark.parametrize("options", [{}, {"disjoint": True, "replace": True}])
def test_batches_are_equal(store, tmp_path, mode, options):
    memory = "1500KiB"
    made = plan(
        store,
        [3, 2],
        None,
        32,
        memory=memory,
        mode=mode,
        path=tmp_path / "p",
        **options,
    )
    assert made.sizing.edges > 0
    assert made.sizing.total <= made.memory
    loader = made.loader()
    reference = NeighborLoader(store.dataset(), [3, 2], 32, **options)
    count = 0
    for batch, expected in zip(loader, reference, strict=True):
        assert same(batch, expected)
        assert batch.edge_attr.shape[1] == 30
        assert batch.emb.shape[1] == 40
        count += 1
    assert count == len(reference)
    stats = loader.stats()
    assert stats["device_bytes"] > 12000 * 4
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    loader.close()


def test_small_ones_stay_in_memory(store, tmp_path):
    made = plan(store, [3, 2], None, 32, memory="64MiB", path=tmp_path / "p")
    assert made.sizing.edges == 0
