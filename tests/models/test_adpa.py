"""ADPA, SGC, SIGN, DirGNN and MagNet against their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import graphlab as gl
from graphlab import Graph
from graphlab.datasets import SparseColumn
from graphlab.models import ADPA, SGC, SIGN, DirGNN, MagNet
from graphlab.models.adpa import (
    HOP_ATTENTION,
    PATTERN_ATTENTION,
    HopAttention,
    PatternAttention,
)


@pytest.fixture
def graph() -> Graph:
    rng = np.random.default_rng(0)
    return Graph(rng.integers(0, 12, (2, 40)), num_nodes=12)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(12, 5)


def adjacency(g: Graph) -> Tensor:
    a = torch.zeros(g.num_nodes, g.num_nodes)
    a[g.edge_index[0], g.edge_index[1]] = 1
    return a.fill_diagonal_(0)


MODELS = [
    lambda: ADPA(5, 3),
    lambda: ADPA(5, 3, compat="reference"),
    lambda: SGC(5, 3),
    lambda: SIGN(5, 3),
    lambda: DirGNN(5, 3),
    lambda: DirGNN(5, 3, conv="sage", jumping="max", normalise=True),
    lambda: DirGNN(5, 3, conv="gat", jumping="cat", learn_alpha=False),
    lambda: MagNet(5, 3),
]


@pytest.mark.parametrize("make", MODELS)
def test_a_graph_and_its_edge_index_give_the_same(
    make, graph: Graph, x: Tensor
) -> None:
    model = make().eval()
    torch.testing.assert_close(model(x, graph), model(x, graph.edge_index))
    torch.testing.assert_close(model(x, graph), model(x, graph))


@pytest.mark.parametrize("make", MODELS)
def test_every_parameter_gets_a_gradient(make, graph: Graph, x: Tensor) -> None:
    model = make()
    model(x, graph).square().sum().backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert bool(p.grad.isfinite().all()), name


@pytest.mark.parametrize("make", MODELS[:4])
def test_some_rows_are_those_of_all(make, graph: Graph, x: Tensor) -> None:
    model = make().eval()
    nodes = torch.tensor([3, 1, 7])
    torch.testing.assert_close(model(x, graph, nodes=nodes), model(x, graph)[nodes])


@pytest.mark.parametrize("make", MODELS[:4])
def test_some_rows_are_those_of_the_graph_at_hand(
    make, graph: Graph, x: Tensor
) -> None:
    model, nodes = make().eval(), torch.tensor([3, 1, 7])
    other = Graph(graph.edge_index.flip(0)[:, :25], num_nodes=12)
    weighted = Graph(other.edge_index, 12, edge_weight=torch.rand(25))
    for edges in (graph, other, other.edge_index, graph.edge_index, weighted, graph):
        expected = model(x, edges)[nodes]
        torch.testing.assert_close(model(x, edges, nodes=nodes), expected)


@pytest.mark.parametrize("kind", [ADPA, SGC, SIGN])
def test_precomputed_rows_give_the_same(kind, graph: Graph, x: Tensor) -> None:
    torch.manual_seed(0)
    model = kind(5, 3).eval()
    rows = model.rows(x, graph).flatten(1)
    torch.manual_seed(0)
    other = kind(rows.shape[1], 3, precomputed=True).eval()
    torch.testing.assert_close(other(rows[4:9]), model(x, graph)[4:9])


def test_rows_have_length_one(graph: Graph, x: Tensor) -> None:
    torch.manual_seed(0)
    model = ADPA(5, 3)
    rows = model.rows(x, graph)
    plain = model.operators(graph).propagate(x, 2)
    length = plain.norm(dim=2, keepdim=True)
    torch.testing.assert_close(rows, plain / length.clamp(min=1e-12))
    # A Store holds rows of any length: a batch of them is scaled when it comes.
    torch.manual_seed(0)
    other = ADPA(13 * 5, 3, precomputed=True).eval()
    torch.testing.assert_close(other(plain.flatten(1)), model.eval()(x, graph))


def test_rows_of_other_features_are_made_anew(graph: Graph, x: Tensor) -> None:
    model = SGC(5, 3)
    first = model.rows(x, graph)
    assert model.rows(x, graph) is first
    torch.testing.assert_close(model.rows(2 * x, graph), 2 * first)


@pytest.mark.parametrize("own_hop", [True, False])
@pytest.mark.parametrize("kind", HOP_ATTENTION)
def test_hop_attention_is_its_equation(kind: str, own_hop: bool) -> None:
    first, rest = torch.randn(4, 3), torch.randn(4, 2, 3)
    attention = HopAttention(3, 2, kind, own_hop=own_hop)
    with torch.no_grad():
        for p in attention.parameters():
            p.uniform_(-1, 1)
    hops = torch.cat([first[:, None], rest], 1)
    score = torch.zeros(4, 3)
    for v in range(4):
        for k in range(3):
            if kind == "simple":
                score[v, k] = attention.weight[k]
            elif kind != "none":
                seen = {"original": [0, 1, 2], "ori_ref": [0], "gate": []}[kind]
                parts = torch.stack([*(hops[v, j] for j in seen), hops[v, k]])
                score[v, k] = (parts * attention.weight).sum() + attention.bias
    weighed = slice(0 if own_hop else 1, None)
    weight = torch.sigmoid(score[:, weighed]).softmax(1)
    if kind == "none":
        weight = torch.ones_like(weight)
    expected = (weight[..., None] * hops[:, weighed]).sum(1)
    torch.testing.assert_close(attention(first, rest), expected)


def test_the_reference_mixes_the_scores_of_nodes() -> None:
    first, rest = torch.randn(4, 3), torch.randn(4, 2, 3)
    right, scrambled = HopAttention(3, 2), HopAttention(3, 2, scrambled=True)
    scrambled.load_state_dict(right.state_dict())
    score = right.scores(first, rest)
    # Node 0 gets the hop-0 scores of nodes 0 .. K.
    torch.testing.assert_close(scrambled.scores(first, rest)[0], score[:3, 0])


@pytest.mark.parametrize("kind", PATTERN_ATTENTION)
def test_pattern_attention_weighs_rows(kind: str) -> None:
    h = torch.randn(6, 4, 3)
    join = PatternAttention(3, 4, kind)
    out = join(h)
    assert out.shape == (6, join.out_channels)
    if kind == "original":
        torch.testing.assert_close(out, h.flatten(1))
    elif kind == "none":
        torch.testing.assert_close(out, h.sum(1))
    else:  # weights are positive and sum to one
        assert bool((out <= h.amax(1) + 1e-6).all())
        assert bool((out >= h.amin(1) - 1e-6).all())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"own_hop": True, "normalise_hops": False},
        {"own_hop": True, "normalise_rows": True},
        {"compat": "reference"},
    ],
)
@pytest.mark.parametrize("kind", HOP_ATTENTION)
def test_sparse_features_are_multiplied_first(
    kind: str, options: dict[str, Any], graph: Graph
) -> None:
    x = torch.randn(12, 9) * (torch.rand(12, 9) < 0.4)
    model = ADPA(9, 3, 4, hops=3, num_layers=2, hop_attention=kind, **options).eval()
    dense = model(x, graph)
    torch.testing.assert_close(
        model(SparseColumn.from_torch(x.to_sparse()), graph), dense
    )
    dense.square().sum().backward()
    expected = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(SparseColumn.from_torch(x.to_sparse()), graph).square().sum().backward()
    for p, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_adpa_takes_attentions_of_ones_own(graph: Graph, x: Tensor) -> None:
    class First(nn.Module):
        def __init__(self, channels: int, hops: int) -> None:
            super().__init__()

        def forward(self, first: Tensor, rest: Tensor) -> Tensor:
            return first

    class Mean(nn.Module):
        def __init__(self, channels: int, patterns: int) -> None:
            super().__init__()
            self.out_channels = channels

        def forward(self, h: Tensor) -> Tensor:
            return h.mean(1)

    model = ADPA(5, 3, hop_attention=First, pattern_attention=Mean).eval()
    other = Graph(graph.edge_index.flip(0)[:, :10], num_nodes=12)
    torch.testing.assert_close(model(x, graph), model(x, other))


def test_sgc_is_a_power_of_the_normalised_adjacency(graph: Graph, x: Tensor) -> None:
    g = graph.to_undirected()
    a = adjacency(g) + torch.eye(12)
    d = a.sum(1).rsqrt()
    p = d[:, None] * a * d
    model = SGC(5, 3, hops=3)
    torch.testing.assert_close(model(x, g), model.lin(p @ p @ p @ x))


def test_dirgnn_is_its_equation(graph: Graph, x: Tensor) -> None:
    a = adjacency(graph)
    out, into = a.sum(1).clamp(min=1e-9), a.sum(0).clamp(min=1e-9)
    p = out.rsqrt()[:, None] * a * into.rsqrt()
    model = DirGNN(5, 3, num_layers=1, alpha=0.3, own_row=False, dropout=0.0)
    incoming = p.t() @ x @ model.incoming[0].lin.weight.t()
    outgoing = p @ x @ model.outgoing[0].lin.weight.t()
    torch.testing.assert_close(model(x, graph), 0.7 * incoming + 0.3 * outgoing)


def test_dirgnn_learns_the_share_of_the_outgoing_run(graph: Graph, x: Tensor) -> None:
    model = DirGNN(5, 3, num_layers=1, alpha=0.3, own_row=False, dropout=0.0)
    torch.testing.assert_close(model.alpha, torch.tensor([0.3]))
    runs = []
    for share in (-50.0, 50.0):  # incoming alone, outgoing alone
        model.alpha_logit.data.fill_(share)
        runs.append(model(x, graph).detach())
    a = adjacency(graph)
    targets = a.sum(1) > 0
    assert bool((runs[1][~targets] == 0).all())  # who points at nobody hears nothing
    model.alpha_logit.data.fill_(0.7)
    out = model(x, graph)
    alpha = torch.tensor(0.7).sigmoid()
    torch.testing.assert_close(out, (1 - alpha) * runs[0] + alpha * runs[1])
    weight = torch.randn(12, 3)
    (out * weight).sum().backward()
    slope = (weight * (runs[1] - runs[0])).sum() * alpha * (1 - alpha)
    torch.testing.assert_close(model.alpha_logit.grad, slope[None])
    deep = DirGNN(5, 3, num_layers=3)
    optimiser = torch.optim.SGD(deep.parameters(), lr=1.0)
    deep(x, graph).square().sum().backward()
    optimiser.step()
    assert bool((deep.alpha != 0.5).all())
    assert bool(((deep.alpha > 0) & (deep.alpha < 1)).all())


def test_magnet_is_its_equation(graph: Graph, x: Tensor) -> None:
    a = adjacency(graph).double()
    sym = (a + a.t()) / 2
    d = sym.sum(1)
    d = d.pow(-0.5).masked_fill(d == 0, 0)
    h = d[:, None] * sym * d * torch.exp(2j * torch.pi * 0.2 * (a - a.t()))
    model = MagNet(5, 3, q=0.2, dropout=0.0, num_layers=2).double()
    z = x.double().to(torch.complex128)
    for own, others, bias in zip(model.own, model.others, model.bias, strict=True):
        first = own.weight.t().to(z.dtype)
        second = others.weight.t().to(z.dtype)
        z = z @ first - h @ z @ second + bias * (1 + 1j)
        z = z * (z.real >= 0)
    expected = model.lin(torch.cat([z.real, z.imag], 1))
    torch.testing.assert_close(model(x.double(), graph), expected)


def test_magnet_with_no_charge_forgets_direction(graph: Graph, x: Tensor) -> None:
    model = MagNet(5, 3, q=0.0).eval()
    reverse = Graph(graph.edge_index.flip(0), num_nodes=12)
    torch.testing.assert_close(model(x, graph), model(x, reverse))


def test_node_fit_trains_them() -> None:
    d = gl.datasets.generate("sbm", num_nodes=300, num_edges=1800, num_features=8)
    d = gl.datasets.split_random(d, train=0.5, val=0.2)
    for kind in (ADPA, SGC, SIGN, DirGNN, MagNet):
        r = gl.tasks.node.fit(d, kind, seeds=[0], epochs=30, lr=0.02)
        assert r.test.mean > r.baselines["majority"].mean + 0.3, kind


def test_messages(graph: Graph, x: Tensor) -> None:
    with pytest.raises(ValueError, match="`kind` must be one of 'original'"):
        ADPA(5, 3, hop_attention="none2")
    with pytest.raises(ValueError, match="`compat` must be one of 'reference'"):
        ADPA(5, 3, compat="paper")
    with pytest.raises(ValueError, match="`in_channels` must be a multiple of the 13"):
        ADPA(27, 3, precomputed=True)
    for kind, width in ((ADPA, 26), (SGC, 4), (SIGN, 6)):
        with pytest.raises(ValueError, match="`normalise_rows` must be False with pre"):
            kind(width, 3, precomputed=True, normalise_rows=True)
    with pytest.raises(
        ValueError, match=r"`x` must have shape \[nodes, in_channels = 5\]"
    ):
        SIGN(5, 3)(x[:, :4], graph)
    with pytest.raises(ValueError, match=r"`alpha` must be in \[0, 1\]"):
        DirGNN(5, 3, alpha=2.0)
    with pytest.raises(ValueError, match=r"`q` must be in \[0, 0.25\]"):
        MagNet(5, 3, q=1.0)
