from __future__ import annotations

import pytest
import torch
from torch import nn

from graphlab.graph import Graph
from graphlab.models import GAE, NCN, NCNC
from graphlab.models.dense import DenseLayers, layer, packable
from graphlab.models.link_rows import (
    distinct,
    distinct_pairs,
    products,
    take_distinct,
)


def test_products_have_torchs_gradient():
    h = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    pairs = torch.tensor([[0, 3, 3, 6, 2], [1, 3, 0, 6, 2]])
    assert torch.autograd.gradcheck(lambda rows: products(rows, pairs), h)
    none = pairs[:, :0]
    products(h, none).sum().backward()
    assert not h.grad.any()


def test_taken_rows_have_torchs_gradient():
    h = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([5, 0, 2])
    assert torch.autograd.gradcheck(lambda all: take_distinct(all, rows), h)


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_distinct_pairs_equal_unique(count):
    pairs = torch.randint(40, (2, count))
    found, place = distinct_pairs(pairs, 40)
    expected, inverse = pairs.unique(dim=1, return_inverse=True)
    assert torch.equal(found, expected.view(2, -1))
    assert torch.equal(place, inverse.view(-1))


def test_distinct_nodes():
    idx = torch.randint(40, (25,)).int()
    rows, place = distinct(idx, 40)
    assert torch.equal(rows, idx.unique().long())
    assert torch.equal(rows[place.long()].int(), idx)


def test_dense_layers_are_torchs():
    plain = nn.Sequential(*layer(8, 0.5, True), *layer(8, 0.5, False), nn.Linear(8, 1))
    joined = DenseLayers(*plain).eval()
    x = torch.randn(5, 8, requires_grad=True)
    torch.testing.assert_close(joined(x), plain.eval()(x))
    mine = torch.autograd.grad(joined(x).sum(), [x, *plain.parameters()])
    theirs = torch.autograd.grad(plain(x).sum(), [x, *plain.parameters()])
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert packable(DenseLayers(nn.Linear(2, 2), nn.GELU())) is None


@pytest.mark.parametrize("head", [GAE, NCN, NCNC])
@pytest.mark.parametrize("options", [{}, {"last_linear": True, "deep": True}])
def test_scores_without_a_gradient_are_those_with_one(head, options):
    edges = torch.randint(30, (2, 90))
    graph = Graph(edges, 30).to_undirected()
    module, h = head(16, **options).eval(), torch.randn(30, 16)
    pairs = torch.randint(30, (2, 50))
    expected = module(h, graph, pairs)
    with torch.no_grad():
        out = module(h, graph, pairs)
        torch.testing.assert_close(out, expected.detach(), rtol=1e-4, atol=1e-4)
        # Whatever a user puts in place of the layers is what is computed.
        module.pair_mlp = nn.Sequential(nn.Linear(16, 16), nn.Tanh())
        other = module(h, graph, pairs)
    assert not torch.allclose(other, out)
    torch.testing.assert_close(module(h, graph, pairs).detach(), other)
