from __future__ import annotations

import pytest
import torch

import graphlab as gl


def test_parallel_edges_and_directions():
    edges = torch.tensor([[1, 1, 2, 0, 3], [0, 0, 0, 3, 3]])
    g = gl.Graph(edges, num_nodes=4)
    ptr, idx = gl.graph.neighbor_rows(g)
    assert ptr.tolist() == [0, 2, 2, 2, 4]
    assert idx.tolist() == [1, 2, 0, 3]
    simple = gl.Graph(torch.tensor([[0, 1], [1, 0]]))
    assert gl.graph.neighbor_rows(simple)[1] is simple.csc().idx


def test_rows_that_begin_with_the_node_the_one_before_ends_with():
    g = gl.Graph(torch.tensor([[3, 3, 3, 0], [0, 1, 1, 3]]), num_nodes=5)
    ptr, idx = gl.graph.neighbor_rows(g)
    assert ptr.tolist() == [0, 1, 2, 2, 3, 3]
    assert idx.tolist() == [3, 3, 0]


def test_all_outputs():
    g = gl.Graph(torch.tensor([[0, 0, 1, 2, 0], [1, 2, 3, 3, 4]])).to_undirected()
    pairs = torch.tensor([[0], [3]])
    assert gl.graph.common_neighbors(g, pairs).tolist() == [2]
    ends, nodes = gl.graph.common_neighbors(g, pairs, output="ids")
    assert (ends.tolist(), nodes.tolist()) == ([0, 2], [1, 2])
    sets = gl.graph.common_neighbors(g, pairs, output="sets")
    assert sets.left_idx.tolist() == [4]
    assert sets.right_idx.tolist() == []
    x = torch.arange(5.0)[:, None].requires_grad_()
    total = gl.graph.common_neighbors(g, pairs, x=x)
    total.sum().backward()
    assert total.tolist() == [[3.0]]
    assert x.grad.flatten().tolist() == [0, 1, 1, 0, 0]
    assert gl.graph.common_neighbors(g, [[0], [3]], exclude=pairs).tolist() == [2]


def test_wrong_output_is_named():
    g = gl.Graph(torch.tensor([[0], [1]]))
    with pytest.raises(ValueError, match="`output` must be one of 'count', 'ids'"):
        gl.graph.common_neighbors(g, torch.tensor([[0], [1]]), output="all")


def test_the_order_of_the_edge_list_does_not_matter():
    # Directed, in no order, with parallel edges: the graph's own CSC does not ascend.
    g = gl.Graph(torch.tensor([[3, 1, 2, 0, 1, 1, 0, 2], [4, 4, 4, 4, 4, 5, 5, 5]]), 6)
    pair = torch.tensor([[4], [5]])
    assert gl.graph.common_neighbors(g, pair).tolist() == [3]
    ids = gl.graph.common_neighbors(g, pair, output="ids")[1]
    assert ids.tolist() == [0, 1, 2]
