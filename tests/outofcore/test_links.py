"""Batches of pairs from disk are those of LinkNeighborLoader."""

from __future__ import annotations

import pytest
import torch

from graphlab.outofcore import plan
from graphlab.sample import LinkNeighborLoader
from tests.outofcore.test_plan import same

SHAPE = {"num_nodes": 1500, "num_edges": 12000, "width": 300}


@pytest.mark.parametrize("mode", ["memory", "direct", "replay", "rolling"])
@pytest.mark.parametrize(
    "options", [{}, {"neg_sampling_ratio": 1.5}, {"disjoint": True}]
)
def test_batches_are_equal(make_store, tmp_path, mode, options):
    _, store = make_store(**SHAPE)
    dataset = store.dataset()
    pairs = dataset.graph.edge_index[:, 1::9].contiguous()
    given = {"batch_size": 48, "seed": 3, "edge_label_index": pairs, **options}
    memory = "16MiB" if mode == "memory" else "3800KiB"
    made = plan(store, [3, 2], memory=memory, mode=mode, path=tmp_path / "p", **given)
    loader, expected = made.loader(), LinkNeighborLoader(dataset, [3, 2], **given)
    for epoch in range(1 if mode == "replay" else 2):
        batches = list(zip(loader, expected, strict=True))
        assert all(same(a, b) for a, b in batches), epoch
    a, b = batches[0]
    assert torch.equal(a.edge_label_index, b.edge_label_index)
    assert ("edge_label" in a) == ("neg_sampling_ratio" in options)
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    loader.close()


def test_other_pairs_are_another_plan(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    pairs = store.dataset().graph.edge_index
    given = {"batch_size": 48, "memory": "16MiB", "path": tmp_path / "p"}
    plan(store, [2], edge_label_index=pairs[:, :500], **given)
    with pytest.raises(ValueError, match="inputs"):
        plan(store, [2], edge_label_index=pairs[:, :501], **given)
    with pytest.raises(ValueError, match="`input_nodes` must be left out"):
        plan(store, [2], "train", edge_label_index=pairs, **given)
    with pytest.raises(ValueError, match="`edge_label_index` must be given"):
        plan(store, [2], neg_sampling_ratio=1.0, **given)
