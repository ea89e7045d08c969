from __future__ import annotations

import pytest
import torch

import graphlab as gl
from graphlab.embed import ProNE, Spectral, layout


@pytest.fixture(scope="module")
def sbm():
    return gl.datasets.generate("sbm", num_nodes=150, num_edges=1500, num_features=2)


@pytest.mark.parametrize("kind", [ProNE, Spectral])
def test_baselines_find_blocks_and_repeat(sbm, kind):
    emb = kind(8, seed=3).fit(sbm.graph)
    ids = emb.knn(torch.arange(150), 5).ids
    assert float((sbm.y[ids] == sbm.y[:, None]).float().mean()) > 0.6
    assert torch.equal(kind(8, seed=3).fit(sbm.graph).vectors, emb.vectors)
    with pytest.raises(ValueError, match="`dim` must be less than the 150 nodes"):
        kind(150).fit(sbm.graph)


def test_spectral_vectors_are_eigenvectors(sbm):
    g = sbm.graph.to_undirected().without_self_loops()
    vectors = Spectral(4).fit(g).vectors.double()
    a = torch.zeros(150, 150, dtype=torch.float64)
    a[g.edge_index[0], g.edge_index[1]] = 1
    scale = a.sum(1).clamp(min=1e-12).rsqrt()
    normal = scale[:, None] * a * scale
    values = (vectors * (normal @ vectors)).sum(0)
    torch.testing.assert_close(normal @ vectors, vectors * values, atol=1e-5, rtol=0)
    exact = torch.linalg.eigvalsh(normal).flip(0)[1:5]
    torch.testing.assert_close(values, exact, atol=1e-5, rtol=0)


def test_layout_keeps_neighbours_together_and_repeats():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    centres = 4 * torch.eye(3, 10)
    vectors = centres[y] + 0.3 * torch.randn(90, 10, generator=generator)
    place = layout(vectors, neighbors=10, samples_per_node=2000)
    assert place.shape == (90, 2)
    assert place.isfinite().all()
    assert torch.equal(place, layout(vectors, neighbors=10, samples_per_node=2000))
    distance = torch.cdist(place, place).fill_diagonal_(torch.inf)
    nearest = distance.topk(5, largest=False).indices
    assert float((y[nearest] == y[:, None]).float().mean()) > 0.95
    with pytest.raises(ValueError, match="`vectors` must hold at least 4 nodes, got 3"):
        layout(torch.ones(3, 2))
