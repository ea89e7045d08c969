"""Embedding on a CUDA device; run by `make gpu-check`."""

from __future__ import annotations

import pytest
import torch

import graphlab as gl
from tests.embed.test_node_embedding import WAYS, make, purity

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("change", WAYS, ids=lambda c: "-".join(c) or "default")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto"])
def test_blocks_are_found(change, device):
    d = gl.datasets.generate("sbm", num_nodes=200, num_edges=2000, num_features=2)
    emb = make(**change, device=device).fit(d.graph)
    assert emb.vectors.isfinite().all()
    assert purity(emb, d.y) > 0.5
    assert emb.history["pairs"] >= emb.history["settings"]["samples"]


@pytest.mark.parametrize("change", [{}, {"memory": "590KiB", "dim": 64}])
def test_a_grid_over_devices(change):
    d = gl.datasets.generate("sbm", num_nodes=200, num_edges=2000, num_features=2)
    emb = make(partitions=4, devices=["cuda:0", "cuda:0"], **change).fit(d.graph)
    assert purity(emb, d.y) > 0.5
