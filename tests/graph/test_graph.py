from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab.errors import BudgetError
from graphlab.graph import Adjacency, Graph

SMALL = torch.tensor([[0, 3, 0, 0, 2, 2], [1, 1, 1, 2, 2, 0]])


@st.composite
def edge_lists(draw):
    num_nodes = draw(st.integers(1, 8))
    node = st.integers(0, num_nodes - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=30))
    dtype = draw(st.sampled_from([torch.int32, torch.int64]))
    return torch.tensor(edges, dtype=dtype).reshape(-1, 2).t(), num_nodes


def rows_of(adjacency: Adjacency) -> list[list[tuple[int, int]]]:
    ptr, idx, edge_id = (t.tolist() for t in adjacency)
    bounds = itertools.pairwise(ptr)
    return [list(zip(idx[a:b], edge_id[a:b], strict=True)) for a, b in bounds]


@settings(max_examples=60, deadline=None)
@given(edge_lists())
def test_compressed_forms_hold_every_edge_with_its_id(case):
    edge_index, num_nodes = case
    graph = Graph(edge_index, num_nodes)
    by_target = [[] for _ in range(num_nodes)]
    by_source = [[] for _ in range(num_nodes)]
    for edge, (source, target) in enumerate(edge_index.t().tolist()):
        by_target[target].append((source, edge))
        by_source[source].append((target, edge))
    assert rows_of(graph.csc()) == by_target
    assert rows_of(graph.csr()) == by_source
    assert graph.in_degree().tolist() == [len(r) for r in by_target]
    assert graph.out_degree().tolist() == [len(r) for r in by_source]
    graph.validate()


@settings(max_examples=60, deadline=None)
@given(edge_lists())
def test_from_csc_is_the_same_graph(case):
    edge_index, num_nodes = case
    graph = Graph(edge_index, num_nodes)
    again = Graph.from_csc(*graph.csc())
    assert torch.equal(again.edge_index, graph.edge_index)
    assert rows_of(again.csr()) == rows_of(graph.csr())
    assert again.in_degree().tolist() == graph.in_degree().tolist()
    assert again.out_degree().tolist() == graph.out_degree().tolist()
    assert again.is_undirected() == graph.is_undirected()
    again.validate()


@settings(max_examples=60, deadline=None)
@given(edge_lists(), st.sampled_from(["mean", "sum", "max"]))
def test_to_undirected_against_brute_force(case, reduce):
    edge_index, num_nodes = case
    weight = torch.arange(1.0, edge_index.shape[1] + 1)
    graph, origin = Graph(edge_index, num_nodes, weight).to_undirected_with_origin(
        reduce
    )
    held: dict[tuple[int, int], list[int]] = {}
    for edge, (u, v) in enumerate(edge_index.t().tolist()):
        for pair in {(u, v), (v, u)}:
            held.setdefault(pair, []).append(edge)
    combine = {"mean": np.mean, "sum": np.sum, "max": np.max}[reduce]
    expected = sorted(held)
    assert [tuple(p) for p in graph.edge_index.t().tolist()] == expected
    assert origin.tolist() == [min(held[p]) for p in expected]
    values = [float(combine([weight[e].item() for e in held[p]])) for p in expected]
    torch.testing.assert_close(graph.edge_weight, torch.tensor(values).float())
    fresh = Graph(graph.edge_index, num_nodes, graph.edge_weight)
    assert fresh.is_undirected()
    again = graph.to_undirected("mean")
    assert torch.equal(again.edge_index, graph.edge_index)
    torch.testing.assert_close(again.edge_weight, graph.edge_weight)


@settings(max_examples=60, deadline=None)
@given(edge_lists())
def test_is_undirected_counts_parallel_edges(case):
    edge_index, num_nodes = case
    pairs = [tuple(p) for p in edge_index.t().tolist()]
    expected = sorted(pairs) == sorted((v, u) for u, v in pairs)
    assert Graph(edge_index, num_nodes).is_undirected() == expected


def test_is_undirected_compares_weights():
    edges = [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert Graph(edges, edge_weight=[1.0, 1.0, 2.0, 2.0]).is_undirected()
    assert not Graph(edges, edge_weight=[1.0, 1.0, 2.0, 3.0]).is_undirected()
    parallel = Graph([[0, 0, 1], [1, 1, 0]], edge_weight=[1.0, 1.0, 2.0])
    assert not parallel.is_undirected()


def test_keeps_what_it_was_given():
    graph = Graph(SMALL, edge_weight=torch.arange(6.0))
    assert graph.num_nodes == 4
    assert graph.num_edges == 6
    assert graph.edge_index is SMALL
    assert graph.csc().idx.dtype == torch.int32
    assert graph.csc().edge_id.dtype == torch.int32
    assert graph.csc() is graph.csc()
    assert graph.csr() is graph.csr()
    assert repr(graph) == "Graph(num_nodes=4, num_edges=6, weighted)"
    loopless = graph.without_self_loops()
    assert loopless.edge_index.tolist() == [[0, 3, 0, 0, 2], [1, 1, 1, 2, 0]]
    assert loopless.edge_weight.tolist() == [0, 1, 2, 3, 5]
    assert loopless.num_nodes == 4


@pytest.mark.parametrize(
    "edges",
    [
        SMALL.int(),
        SMALL.short(),
        SMALL.numpy(),
        SMALL.numpy().astype(np.uint16),
        SMALL.numpy().astype(np.uint64),
        SMALL.numpy().astype(">i4"),
        SMALL.tolist(),
        tuple(SMALL.tolist()),
        (SMALL[0], SMALL[1]),
        SMALL.t().contiguous().numpy().T,
    ],
)
def test_accepts_ids_of_any_kind(edges):
    graph = Graph(edges)
    assert torch.equal(graph.edge_index, SMALL)
    assert graph.edge_index.dtype == torch.int64
    assert torch.equal(graph.csc().idx, Graph(SMALL).csc().idx)


def test_read_only_arrays_are_neither_copied_nor_warned_about(tmp_path):
    np.save(tmp_path / "edges.npy", SMALL.numpy())
    mapped = np.load(tmp_path / "edges.npy", mmap_mode="r")
    graph = Graph(mapped)
    assert graph.edge_index.data_ptr() == mapped.ctypes.data
    assert torch.equal(graph.csr().idx, Graph(SMALL).csr().idx)


def test_graph_without_edges():
    graph = Graph(torch.empty(2, 0, dtype=torch.int64), num_nodes=3)
    assert graph.csc().ptr.tolist() == [0, 0, 0, 0]
    assert graph.in_degree().tolist() == [0, 0, 0]
    assert graph.is_undirected()
    assert graph.to_undirected().num_edges == 0
    assert Graph([[], []], num_nodes=2).num_edges == 0


def test_edge_id_none_means_position():
    graph = Graph.from_csc(torch.tensor([0, 0, 2, 3]), torch.tensor([2, 0, 1]))
    assert graph.csc().edge_id is None
    assert graph.edge_index.tolist() == [[2, 0, 1], [1, 1, 2]]
    assert rows_of(graph.csr()) == [[(1, 1)], [(2, 2)], [(1, 0)]]
    graph.validate()


def test_pickle_keeps_edges_and_drops_what_can_be_built():
    graph = Graph(SMALL, edge_weight=torch.arange(6.0))
    graph.csc(), graph.csr()
    again = pickle.loads(pickle.dumps(graph))
    assert again.nbytes == SMALL.nbytes + 24
    assert torch.equal(again.edge_index, graph.edge_index)
    assert torch.equal(again.edge_weight, graph.edge_weight)
    mapped = pickle.loads(pickle.dumps(Graph.from_csc(*graph.csc())))
    assert torch.equal(mapped.edge_index, graph.edge_index)


def test_nbytes_counts_each_array_once():
    graph = Graph(SMALL)
    assert graph.nbytes == SMALL.nbytes == 96
    csc = graph.csc()
    assert csc.nbytes == 5 * 8 + 6 * 4 + 6 * 4
    assert graph.nbytes == 96 + csc.nbytes


@pytest.mark.parametrize(
    ("edges", "num_nodes", "error", "message"),
    [
        (
            [[0, 1], [1]],
            None,
            ValueError,
            "equal length and of integers, got lengths 2, 1",
        ),
        ([[0, 1], [1, None]], None, ValueError, "of integers"),
        ([torch.ones(2), torch.ones(3)], None, ValueError, "lengths 2, 3"),
        (torch.zeros(2, 3), None, TypeError, r"got float32; .* edge_index.long\(\)"),
        (torch.zeros(2, 3).bool(), None, TypeError, r"got bool; use mask.nonzero"),
        (np.zeros((2, 3)), None, TypeError, "got float64; ids are integers"),
        (np.array([["a"], ["b"]]), None, TypeError, "map names to ids"),
        (torch.zeros(5, 2).long(), None, ValueError, r"\[5, 2\]; use edge_index.t"),
        (torch.zeros(4).long(), None, ValueError, r"shape \[2, E\], got \[4\]"),
        (
            torch.zeros(2, 2).to_sparse(),
            None,
            TypeError,
            "dense tensor, got sparse_coo",
        ),
        ("edges.csv", None, TypeError, "be a tensor or array .* got str"),
        (
            [[0, -2], [1, 1]],
            None,
            IndexError,
            r"at least 0, got -2 in edge 1 \(-2 -> 1\)",
        ),
        ([[0, 5], [1, 2]], 3, IndexError, r"num_nodes = 3, got 5 in edge 1 \(5 -> 2\)"),
        (np.array([[2**63], [0]], np.uint64), None, IndexError, "ids below 2\\*\\*63"),
        (
            [[], []],
            None,
            ValueError,
            "`num_nodes` must be given for a graph without edges",
        ),
        ([[], []], 0, ValueError, "`num_nodes` must be at least 1"),
        ([[0], [1]], 2.5, TypeError, "`num_nodes` must be an int, got float"),
    ],
)
def test_bad_edges_are_refused_with_words(edges, num_nodes, error, message):
    with pytest.raises(error, match=message):
        Graph(edges, num_nodes)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (torch.ones(3), ValueError, r"one entry per edge \(6\), got 3"),
        (torch.ones(6, 1), ValueError, r"use edge_weight.flatten"),
        (torch.ones(6, 2), ValueError, "wider ones are `edge_attr`"),
        (
            torch.ones(6, dtype=torch.complex64),
            TypeError,
            "real numbers, got complex64",
        ),
        ("weight", TypeError, "`edge_weight` must be a tensor, got str"),
    ],
)
def test_bad_weights_are_refused_with_words(weight, error, message):
    with pytest.raises(error, match=message):
        Graph(SMALL, edge_weight=weight)


def test_integer_weights_become_float32():
    assert Graph(SMALL, edge_weight=np.arange(6)).edge_weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (([0, 1, 3], [5, 0, 1], None), IndexError, r"`idx` must be in \[0, 2\), got 5"),
        (([0, 4, 3], [1, 0, 1], None), ValueError, "`ptr` must never fall"),
        (([0, 1, 3], [1, 0, 1], [0, 0, 1]), ValueError, "edge 0 2 times"),
        (([0, 1, 3], [1, 0, 1], [0, 7, 1]), IndexError, "`edge_id` must be in"),
    ],
)
def test_validate_reads_a_csc_that_came_from_outside(parts, error, message):
    ptr, idx, edge_id = parts
    graph = Graph.from_csc(
        torch.tensor(ptr),
        torch.tensor(idx),
        None if edge_id is None else torch.tensor(edge_id),
    )
    with pytest.raises(error, match=message):
        graph.validate()


def test_validate_finds_weights_that_are_not_numbers():
    weight = torch.ones(6)
    weight[4] = float("nan")
    with pytest.raises(ValueError, match="be finite, got nan at edge 4"):
        Graph(SMALL, edge_weight=weight).validate()


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ((torch.tensor([0, 2]), torch.tensor([0])), ValueError, "`ptr` must end at 1"),
        ((torch.tensor([0]), torch.empty(0).long()), ValueError, "at least 2 entries"),
        (
            (torch.tensor([0, 1]), torch.zeros(1)),
            TypeError,
            "`idx` must be int32 or int64",
        ),
        (
            (torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([0, 1])),
            ValueError,
            r"`edge_id` must have one entry per edge \(1\), got 2",
        ),
    ],
)
def test_from_csc_checks_what_is_cheap(parts, error, message):
    with pytest.raises(error, match=message):
        Graph.from_csc(*parts)


def test_coo_that_does_not_fit_is_refused(tmp_path):
    # A sparse file of 1 TiB stands for a store larger than memory; nothing of it is read.
    path = tmp_path / "idx.bin"
    num_edges = 2**38
    with open(path, "wb") as file:
        file.truncate(4 * num_edges)
    idx = torch.from_file(str(path), shared=True, size=num_edges, dtype=torch.int32)
    graph = Graph.from_csc(torch.tensor([0, num_edges]), idx)
    message = (
        r"COO form needs 6.0 TiB of memory and .* are free; use g.csc\(\) or g.csr"
    )
    with pytest.raises(BudgetError, match=message):
        _ = graph.edge_index
    with pytest.raises(BudgetError, match="transposed adjacency needs"):
        graph.csr()
