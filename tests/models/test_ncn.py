from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import graphlab as gl
from graphlab.models import (
    GAE,
    NCN,
    NCNC,
    LinkEncoder,
    LinkModel,
    link_model,
    link_preset,
)
from graphlab.models.completion import InnerLogits, chunks_within, sample_entries
from graphlab.models.link_graph import LinkGraph, link_graph


def graph(num_nodes: int = 30, num_edges: int = 70, seed: int = 0) -> gl.Graph:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(num_nodes, (2, num_edges), generator=generator)
    return gl.Graph(edges, num_nodes).to_undirected().without_self_loops()


def pairs_of(num_nodes: int = 30, count: int = 40, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(num_nodes, (2, count), generator=generator)
    return pairs[:, pairs[0] != pairs[1]]


def near(g: gl.Graph, exclude=None) -> list[set[int]]:
    sets = [set() for _ in range(g.num_nodes)]
    taken = set()
    if exclude is not None:
        taken = {frozenset(p) for p in exclude.t().tolist()}
    for a, b in g.edge_index.t().tolist():
        if frozenset((a, b)) not in taken:
            sets[a].add(b)
    return sets


# Card, section 1.8: encoder, NCN's head, NCN, NCNC, for (features, nodes).
COUNTS = {
    "cora": ((1433, 2708), 367_105, 397_058, 764_163, 830_212),
    "citeseer": ((3703, 3327), 948_225, 463_362, 1_411_587, 1_477_636),
    "pubmed": ((500, 19_717), 128_257, 397_058, 525_315, 591_364),
    "ogbl-collab": ((128, 235_868), 8_384, 25_538, 33_922, 38_147),
    "ogbl-ppa": ((58, 576_289), 16_448, 17_090, 33_538, 37_763),
    "ogbl-citation2": ((128, 2_927_963), 8_256, 25_538, 33_794, 38_019),
    "ogbl-ddi": ((0, 4_267), 956_032, 456_066, 1_412_098, 1_462_723),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_to_the_unit(name):
    sizes, encoder, head, ncn, ncnc = COUNTS[name]

    def count(module):
        return sum(p.numel() for p in module.parameters())

    small = link_model(*sizes, **link_preset(name, "ncn")["model"])
    large = link_model(*sizes, **link_preset(name, "ncnc")["model"])
    assert count(small.encoder) == encoder
    assert count(small.head) == head
    assert (count(small), count(large)) == (ncn, ncnc)


def by_hand(head: NCN, h, sets, i, j, weight=None):
    """Equation 8 for one pair, with Python's sets; ``weight`` adds completed nodes."""
    h_hat = h if head.neighbor_mlp is None else h + head.neighbor_mlp(h)
    pooled = torch.zeros(h.shape[1], dtype=h.dtype)
    for u in sorted(sets[i] & sets[j] - {i, j}):
        pooled = pooled + h_hat[u]
    for u, q in (weight or {}).items():
        pooled = pooled + q * h_hat[u]
    joined = head.beta * head.common_mlp(pooled[None]) + head.pair_mlp(h[i] * h[j])
    return head.score_mlp(joined)[0, 0]


@pytest.mark.parametrize("options", [{}, {"deep": True, "last_linear": True}])
@pytest.mark.parametrize("excluding", [False, True])
def test_ncn_equals_the_equation(options, excluding):
    g, pairs = graph(), pairs_of()
    exclude = g.edge_index[:, ::5].contiguous() if excluding else None
    h = torch.randn(30, 6, dtype=torch.float64)
    head = NCN(6, beta=0.7, **options).double().eval()
    out = head(h, g, pairs, exclude)
    sets = near(g, exclude)
    expected = torch.stack(
        [by_hand(head, h, sets, i, j) for i, j in pairs.t().tolist()]
    )
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("compat", [None, "reference"])
def test_ncnc_equals_the_equation(compat):
    g, pairs = graph(), pairs_of(count=12)
    h = torch.randn(30, 5, dtype=torch.float64)
    options = {"scale": 1.3, "offset": 0.2, "prior": 0.3, "alpha": 1.1}
    head = NCNC(5, **options, compat=compat).double().eval()
    exclude = g.edge_index[:, ::7].contiguous()
    sets = near(g, exclude)
    inner = h if compat is None else h + head.neighbor_mlp(h)

    def chance(a, b):
        p = torch.sigmoid(1.3 * (by_hand(head, inner, sets, a, b) - 0.2))
        return 1.1 * 0.3 * p / (0.3 * p + 1 - p)

    expected = []
    for i, j in pairs.t().tolist():
        weight = {u: chance(j, u) for u in sets[i] - sets[j] - {i, j}}
        weight |= {u: chance(i, u) for u in sets[j] - sets[i] - {i, j}}
        expected.append(by_hand(head, h, sets, i, j, weight))
    torch.testing.assert_close(head(h, g, pairs, exclude), torch.stack(expected))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    other.load_state_dict(one.state_dict(), strict=False)


@pytest.mark.parametrize("options", [{"depth": 0}, {"alpha": 0.0}])
def test_ncnc_without_completion_is_ncn(options):
    g, pairs, h = graph(), pairs_of(), torch.randn(30, 8)
    plain = NCN(8).eval()
    completed = NCNC(8, **options).eval()
    same_weights(plain, completed)
    torch.testing.assert_close(completed(h, g, pairs), plain(h, g, pairs))


@pytest.mark.parametrize("head", [GAE(8), NCN(8), NCNC(8), NCNC(8, depth=2)])
def test_symmetric_and_free_of_the_batch_size(head):
    g, pairs = graph(), pairs_of()
    model = LinkModel(LinkEncoder(4, 8), head)
    x = torch.randn(30, 4)
    scores = model.score(x, g, pairs)
    assert torch.equal(scores, model.score(x, g, pairs.flip(0)))
    torch.testing.assert_close(model.score(x, g, pairs, batch_size=3), scores)
    torch.testing.assert_close(model.eval()(x, g, pairs), scores)


def test_memory_bound_does_not_change_values():
    g, pairs, h = graph(), pairs_of(count=200), torch.randn(30, 8).double()
    wide = NCNC(8, depth=2).double().eval()
    narrow = NCNC(8, depth=2, memory=4096).double().eval()
    same_weights(wide, narrow)
    expected = wide(h, g, pairs)
    torch.testing.assert_close(narrow(h, g, pairs), expected)
    with narrow.caching():
        torch.testing.assert_close(narrow(h, g, pairs), expected)
        torch.testing.assert_close(narrow(h, g, pairs[:, :9]), expected[:9])


def test_caching_makes_the_neighbours_once_and_forgets():
    g, pairs, h = graph(), pairs_of(), torch.randn(30, 8)
    head = NCN(8).eval()
    calls = []
    head.neighbor_mlp.register_forward_hook(lambda *_: calls.append(1))
    expected = head(h, g, pairs)
    with head.caching():
        for _ in range(3):
            with head.caching():
                assert torch.equal(head(h, g, pairs), expected)
        assert len(calls) == 2
        assert not torch.equal(head(h + 1, g, pairs), expected)
    head(h, g, pairs)
    assert len(calls) == 4


def test_excluding_equals_the_graph_without_the_pairs():
    g, x = graph(), torch.randn(30, 4)
    batch = g.edge_index[:, g.edge_index[0] < g.edge_index[1]][:, ::3].contiguous()
    keep = torch.tensor(
        [
            frozenset(e) not in {frozenset(p) for p in batch.t().tolist()}
            for e in g.edge_index.t().tolist()
        ]
    )
    cut = gl.Graph(g.edge_index[:, keep], 30)
    for conv in ("puregcn", "puresum", "puremean", "puremax", "gcn", "max"):
        for head in (NCN(8), NCNC(8)):
            model = LinkModel(LinkEncoder(4, 8, 2, conv), head).eval()
            torch.testing.assert_close(
                model(x, g, batch, exclude=batch), model(x, cut, batch)
            )


def test_puregcn_equals_dense_algebra_and_gcn_equals_pyg():
    from torch_geometric.nn import GCNConv

    g, x = graph(), torch.randn(30, 4, dtype=torch.float64)
    a = torch.zeros(30, 30, dtype=torch.float64)
    a[g.edge_index[1], g.edge_index[0]] = 1
    a += torch.eye(30, dtype=torch.float64)
    scale = a.sum(1).rsqrt()
    norm = scale[:, None] * a * scale
    encoder = LinkEncoder(4, 6, 2, "puregcn", jumping=True, residual=True).double()
    h0 = encoder.lin(x)
    h1 = h0 + norm @ h0
    h2 = h1 + norm @ h1
    expected = encoder.jumping[0] * h1 + encoder.jumping[1] * h2
    torch.testing.assert_close(encoder(x, g), expected)
    encoder = LinkEncoder(4, 6, 1, "gcn", norm=False).double()
    theirs = GCNConv(4, 6).double()
    with torch.no_grad():
        theirs.lin.weight.copy_(encoder.convs[0].weight)
    torch.testing.assert_close(encoder(x, g), theirs(x, g.edge_index).relu())


def test_max_equals_a_loop_over_neighbours():
    g, x = gl.Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 4), torch.randn(4, 5)
    encoder = LinkEncoder(5, 5, 1, "puremax").eval()
    h = encoder.lin(x)
    expected = torch.stack([h[1], torch.maximum(h[0], h[2]), h[1], torch.zeros(5)])
    torch.testing.assert_close(encoder(x, g), expected)


def test_sparse_features_give_the_same_rows():
    import numpy as np

    g, dense = graph(), (torch.rand(30, 12) < 0.2).float()
    rows, columns = dense.nonzero().t()
    ptr = np.concatenate([[0], np.bincount(rows, minlength=30).cumsum()])
    sparse = gl.datasets.SparseColumn(
        ptr, columns.numpy(), np.ones(len(columns), np.float32), (30, 12)
    )
    for conv in ("puregcn", "gcn"):
        encoder = LinkEncoder(12, 6, 1, conv)
        torch.testing.assert_close(encoder(sparse, g), encoder(dense, g))


def test_featureless_and_one_hot():
    g = graph()
    encoder = LinkEncoder(0, 40, num_embeddings=30)
    weight = encoder.embedding.weight
    torch.testing.assert_close(weight @ weight.t(), torch.eye(30), atol=1e-5, rtol=0)
    ids = torch.arange(30) % 7
    small = LinkEncoder(7, 8, num_embeddings=7).eval()
    torch.testing.assert_close(small(ids, g), small(F.one_hot(ids, 7).float(), g))
    assert encoder(None, g).shape == (30, 40)


def test_training_draws_edges_and_gradients_reach_every_used_parameter():
    torch.manual_seed(0)
    g, pairs, x = graph(), pairs_of(), torch.randn(30, 4)
    encoder = LinkEncoder(4, 8, 2, edge_dropout=0.5, jumping=True)
    model = LinkModel(encoder, NCNC(8, edge_dropout=0.4, learned_prior=True)).train()
    first = model(x, g, pairs, exclude=pairs)
    assert not torch.equal(first, model(x, g, pairs, exclude=pairs))
    first.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    thin = link_graph("test", g).thinned(0.5)
    assert 0 < len(thin.idx) < g.num_edges


def test_sampled_neighbours_are_unbiased():
    torch.manual_seed(0)
    ptr, idx = torch.tensor([0, 3, 23]), torch.arange(23)
    total = torch.zeros(23)
    # 4000 samples of 5 of 20: each entry's mean has a deviation of 2 / sqrt(4000) = 0.031;
    # seven of them in any of 20 entries come by chance in 1 of 10^10 runs.
    for _ in range(4000):
        rows = sample_entries(ptr, idx, 5)
        total.index_add_(0, rows.idx, rows.weight)
    assert rows.ptr.tolist() == [0, 3, 8]
    assert total[:3].tolist() == [4000.0] * 3
    assert (total[3:] / 4000 - 1).abs().max() < 7 * 0.031


def test_limits_change_only_what_they_must():
    g, pairs, h = graph(), pairs_of(), torch.randn(30, 8)
    plain, limited = NCNC(8).eval(), NCNC(8, test_limit=1000).eval()
    same_weights(plain, limited)
    torch.testing.assert_close(limited(h, g, pairs), plain(h, g, pairs))


def test_parts_of_completion():
    degree = torch.tensor([1, 5, 2])
    pairs = torch.tensor([[0, 1, 2], [0, 1, 2]])
    parts = list(chunks_within(degree, pairs, 60, each=10))
    assert [(p.start, p.stop) for p in parts] == [(0, 1), (1, 2), (2, 3)]
    assert list(chunks_within(degree, pairs[:, :0], 60, each=10)) == []
    seen = []

    def score(some):
        seen.append(some.shape[1])
        return (some[0] * 10 + some[1]).double()

    kept = InnerLogits(16 * 3)
    assert kept.of(torch.tensor([11, 3, 11]), 10, score).tolist() == [11, 3, 11]
    assert kept.of(torch.tensor([3, 12]), 10, score).tolist() == [3, 12]
    assert kept.of(torch.tensor([12, 77, 3]), 10, score).tolist() == [12, 77, 3]
    assert kept.of(torch.tensor([77]), 10, score).tolist() == [77]
    # 77 was beyond the memory.
    assert seen == [2, 1, 1, 1]


def test_places_of_pairs():
    g = graph()
    rows = link_graph("test", g)
    where = rows.places(torch.tensor([[0, 3, 7], [1, 3, 9]]))
    owner = torch.repeat_interleave(torch.arange(30), rows.degree)
    found = {(int(owner[p]), int(rows.idx[p])) for p in where}
    wanted = {(0, 1), (1, 0), (7, 9), (9, 7)}
    assert found == wanted & set(map(tuple, g.edge_index.t().tolist()))
    everything = rows.places(g.edge_index)
    assert sorted(everything.tolist()) == sorted(2 * list(range(g.num_edges)))
    empty = LinkGraph(torch.zeros(4, dtype=torch.int64), torch.zeros(0).int())
    assert empty.places(torch.tensor([[0], [1]])).numel() == 0


def test_wrong_input_is_named():
    directed = gl.Graph(torch.tensor([[0], [1]]))
    with pytest.raises(ValueError, match=r"both directions .* graph.to_undirected\(\)"):
        NCN(4)(torch.randn(2, 4), directed, torch.tensor([[0], [1]]))
    with pytest.raises(TypeError, match="`graph` must be a Graph, got Tensor"):
        NCN(4)(torch.randn(2, 4), directed.edge_index, torch.tensor([[0], [1]]))
    with pytest.raises(ValueError, match=r"in_channels\] = \[30, 5\], got \[30, 4\]"):
        LinkEncoder(5, 4)(torch.randn(30, 4), graph())
    with pytest.raises(TypeError, match="num_embeddings for a graph without features"):
        LinkEncoder(5, 4)(None, graph())
    with pytest.raises(ValueError, match="`conv` must be one of 'puregcn'"):
        LinkEncoder(5, 4, conv="gat")
    with pytest.raises(ValueError, match=r"`dropout` must be in \[0, 1\), got 1"):
        GAE(4, dropout=1.0)
    with pytest.raises(ValueError, match="`compat` must be 'reference' or None"):
        NCNC(4, compat="paper")
    with pytest.raises(ValueError, match="`head` must be one of 'gae'"):
        link_model(4, 4, "nope")
    with pytest.raises(ValueError, match="`data` must be one of 'cora'"):
        link_preset("corra")
    with pytest.raises(TypeError, match="`head` must be a module, got type"):
        LinkModel(LinkEncoder(4, 4), NCN)
    with pytest.raises(
        ValueError, match="a graph without features learns a row a node"
    ):
        link_model(0, 9)


def test_published_constants_of_citation_graphs_come_with_the_releases_mode():
    assert link_preset("citeseer", "ncnc")["model"]["compat"] == "reference"
    assert "compat" not in link_preset("citeseer", "ncn")["model"]
    assert "compat" not in link_preset("ogbl-collab", "ncnc")["model"]
