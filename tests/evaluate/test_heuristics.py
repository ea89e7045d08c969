from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.evaluate import heuristics


@pytest.fixture(scope="module")
def case():
    nx = networkx.gnm_random_graph(60, 150, seed=3)
    nx.add_nodes_from(range(60, 63))
    g = gl.Graph.from_networkx(nx).to_undirected()
    rng = np.random.default_rng(0)
    pairs = torch.tensor(rng.integers(63, size=(2, 300)))
    return nx, g, pairs[:, pairs[0] != pairs[1]]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adamic_adar", "adamic_adar_index"),
        ("resource_allocation", "resource_allocation_index"),
        ("jaccard", "jaccard_coefficient"),
        ("preferential_attachment", "preferential_attachment"),
    ],
)
def test_equals_networkx(case, name, theirs):
    nx, g, pairs = case
    expected = [s for _, _, s in getattr(networkx, theirs)(nx, pairs.t().tolist())]
    out = heuristics.score(name, g, pairs)
    torch.testing.assert_close(out, torch.tensor(expected, dtype=torch.float64))


def test_common_neighbors_and_exclusion(case):
    nx, g, pairs = case
    expected = [
        len(list(networkx.common_neighbors(nx, *p))) for p in pairs.t().tolist()
    ]
    assert heuristics.common_neighbors(g, pairs).tolist() == expected
    without = heuristics.common_neighbors(g, pairs, exclude=g.edge_index)
    assert without.tolist() == [0.0] * len(expected)


def test_katz(case):
    _, g, pairs = case
    a = torch.zeros(63, 63, dtype=torch.float64)
    a[g.edge_index[0], g.edge_index[1]] = 1
    beta = 0.05
    walks = beta * a + beta**2 * a @ a + beta**3 * a @ a @ a
    i, j = pairs
    torch.testing.assert_close(heuristics.katz(g, pairs, beta), walks[i, j])
    exact = torch.linalg.inv(torch.eye(63, dtype=torch.float64) - beta * a)
    exact -= torch.eye(63, dtype=torch.float64)
    torch.testing.assert_close(heuristics.katz(g, pairs, beta, None), exact[i, j])
    with pytest.raises(ValueError, match=r"one over the largest eigenvalue, got 0\.9"):
        heuristics.katz(g, pairs, 0.9, None)
    with pytest.raises(ValueError, match=r"`beta` must be in \(0, 1\)"):
        heuristics.katz(g, pairs, 2.0)


def test_pagerank_stays_within_its_bound(case):
    _, g, pairs = case
    n, alpha, epsilon = 63, 0.15, 1e-4
    a = torch.zeros(n, n, dtype=torch.float64)
    a[g.edge_index[0], g.edge_index[1]] = 1
    degree = a.sum(1)
    walk = a / degree.clamp(min=1)[:, None]
    walk[degree == 0] = torch.eye(n, dtype=torch.float64)[degree == 0]
    exact = alpha * torch.linalg.inv(
        torch.eye(n, dtype=torch.float64) - (1 - alpha) * walk
    )
    i, j = pairs
    expected = exact[i, j] + exact[j, i]
    out = heuristics.pagerank(g, pairs, alpha, epsilon)
    slack = epsilon * (degree[i] + degree[j]).clamp(min=1)
    assert ((expected - out) >= -1e-12).all()
    assert ((expected - out) <= slack + 1e-12).all()
    # One node's pairs are seen from that node, whichever comes first.
    star = torch.stack([torch.full((40,), 7), torch.arange(8, 48)])
    flipped = heuristics.pagerank(g, star.flip(0), alpha, epsilon)
    assert torch.equal(heuristics.pagerank(g, star, alpha, epsilon), flipped)


def test_shortest_path_without_the_pairs_own_edge(case):
    nx, g, _ = case
    edges = g.edge_index[:, g.edge_index[0] < g.edge_index[1]][:, :60]
    apart = torch.tensor([[0, 61, 5], [61, 62, 5]])
    pairs = torch.cat([edges, apart], 1)
    expected = []
    for i, j in pairs.t().tolist():
        cut = nx.copy()
        if cut.has_edge(i, j):
            cut.remove_edge(i, j)
        try:
            length = networkx.shortest_path_length(cut, i, j)
            expected.append(1 / length if length else 2.0)
        except networkx.NetworkXNoPath:
            expected.append(0.0)
    assert heuristics.shortest_path(g, pairs).tolist() == expected
    near = heuristics.shortest_path(g, pairs, cutoff=2)
    wanted = [s if s >= 0.5 else 0.0 for s in expected]
    assert near.tolist() == wanted


def test_cosine_of_dense_and_sparse(case):
    _, _, pairs = case
    x = (torch.rand(63, 20, generator=torch.Generator().manual_seed(1)) < 0.2).float()
    x[5] = 0
    expected = torch.nn.functional.cosine_similarity(x[pairs[0]], x[pairs[1]])
    out = heuristics.cosine(x, pairs)
    torch.testing.assert_close(out.float(), expected)
    import scipy.sparse as sp

    sparse = gl.Dataset(gl.Graph(pairs, 63), x=sp.csr_matrix(x.numpy())).x
    torch.testing.assert_close(heuristics.cosine(sparse, pairs), out)


def test_unknown_names(case):
    _, g, pairs = case
    with pytest.raises(ValueError, match="`name` must be one of 'common_neighbors'"):
        heuristics.score("cn", g, pairs)
    with pytest.raises(IndexError, match=r"cosine: `pairs` must be in \[0, 9\)"):
        heuristics.cosine(torch.rand(9, 2), torch.tensor([[0], [9]]))
    with pytest.raises(ValueError, match="`x` must be given for cosine"):
        heuristics.score("cosine", g, pairs)


@pytest.mark.parametrize("name", heuristics.HEURISTICS)
def test_wrong_pairs_and_directed_graphs_are_refused(case, name):
    _, g, _ = case
    for pairs, error, message in (
        (
            torch.tensor([[0], [63]]),
            IndexError,
            r"`pairs` must be in \[0, 63\), got 63",
        ),
        (torch.tensor([[0], [-1]]), IndexError, "got -1"),
        (torch.tensor([[0.0], [1.0]]), TypeError, "`pairs` must be int64, got float32"),
        (torch.zeros(3, 3, dtype=torch.int64), ValueError, r"have shape \[2, n\]"),
    ):
        with pytest.raises(error, match=message):
            heuristics.score(name, g, pairs)
    one_way = gl.Graph(torch.tensor([[0, 1], [1, 2]]))
    with pytest.raises(ValueError, match=f"{name}: `g` must be undirected"):
        heuristics.score(name, one_way, torch.tensor([[0], [2]]))
