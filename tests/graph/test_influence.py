from __future__ import annotations

import pytest
import torch

from graphlab.graph import Graph, influence, knn_graph


def random_graph(num_nodes=30, num_edges=80, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(num_nodes, (2, num_edges), generator=generator)
    return Graph(edges, num_nodes)


def dense_steps(graph):
    adjacency = torch.eye(graph.num_nodes, dtype=torch.float64)
    source, target = graph.edge_index
    adjacency[target, source] = 1
    return adjacency / adjacency.sum(1, keepdim=True)


def to_dense(w):
    dense = torch.zeros(w.num_nodes, w.num_nodes, dtype=torch.float64)
    source, target = w.edge_index
    dense[target, source] = w.edge_weight.double()
    return dense


@pytest.mark.parametrize("order", [1, 2, 4])
def test_equals_powers_of_the_dense_matrix(order):
    graph = random_graph()
    step = dense_steps(graph)
    powers = [torch.linalg.matrix_power(step, p) for p in range(1, order + 1)]
    ours = to_dense(influence(graph, order))
    torch.testing.assert_close(ours, sum(powers), rtol=1e-5, atol=1e-6)
    last = to_dense(influence(graph, order, powers="last"))
    torch.testing.assert_close(last, powers[-1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.sum(1), torch.full((30,), float(order)).double())


def test_topk_keeps_the_largest_of_each_row():
    graph = random_graph(num_edges=200)
    step = dense_steps(graph)
    whole = step + step @ step
    cut = influence(graph, 2, topk=5)
    assert int(cut.in_degree().max()) == 5
    ours = to_dense(cut)
    fifth = whole.topk(5, 1).values[:, -1:]
    assert bool((ours[ours > 0] >= (fifth - 1e-6).expand(-1, 30)[ours > 0]).all())
    assert int(influence(graph, 1, topk=2).in_degree().max()) == 2


def test_parallel_edges_loops_and_weights_count_once():
    plain = Graph(torch.tensor([[0, 1], [1, 2]]), 3)
    messy = Graph(torch.tensor([[0, 0, 1, 1], [1, 1, 1, 2]]), 3, torch.rand(4))
    assert torch.equal(to_dense(influence(plain, 2)), to_dense(influence(messy, 2)))


def test_isolated_nodes_influence_themselves():
    w = influence(Graph(torch.empty(2, 0, dtype=torch.int64), 3), 2)
    assert torch.equal(to_dense(w), 2 * torch.eye(3).double())


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "overlap"])
def test_knn_graph_equals_brute_force(metric, monkeypatch):
    from graphlab.graph import knn

    monkeypatch.setattr(knn, "_CHUNK_VALUES", 7 * 40)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    if metric == "euclidean":
        near = -torch.cdist(x, x)
    elif metric == "cosine":
        near = torch.nn.functional.cosine_similarity(x[:, None], x[None], dim=2)
    else:
        x = x.clamp(min=0) * torch.rand(40, 5, dtype=x.dtype, generator=generator)
        words = (x > 0).double()
        count = words.sum(1).clamp(min=1)
        near = words @ words.T / (count[:, None] * count)
    near.fill_diagonal_(-torch.inf)
    graph = knn_graph(x, 3, metric=metric)
    assert graph.is_undirected()
    has = torch.zeros(40, 40, dtype=torch.bool)
    has[graph.edge_index[0], graph.edge_index[1]] = True
    assert not bool(has.diagonal().any())
    third = near.topk(3, 1).values[:, -1:]
    sure = near > third + 1e-12
    assert bool((has | ~(sure | sure.T)).all())
    assert int(has.sum(1).min()) >= 3
    assert bool((near[has] >= torch.minimum(third, third.T)[has] - 1e-12).all())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: influence([1], 2), TypeError, "`graph` must be a Graph, got list"),
        (
            lambda: influence(random_graph(), 0),
            ValueError,
            "`order` must be at least 1",
        ),
        (lambda: influence(random_graph(), topk=0), ValueError, "`topk` must be at"),
        (lambda: influence(random_graph(), powers="all"), ValueError, "'sum', 'last'"),
        (lambda: knn_graph(torch.ones(3, 2), 3), ValueError, "below the 3 rows"),
        (lambda: knn_graph(torch.ones(3, 2), 1, metric="l1"), ValueError, "got 'l1'"),
        (lambda: knn_graph(torch.full((3, 2), torch.nan), 1), ValueError, "be finite"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
