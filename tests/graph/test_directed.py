"""Directed operators against products that are built, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab import Graph
from graphlab.graph import DirectedOperators
from graphlab.graph.directed import PATTERNS, patterns_of_order

THIRD = ("AAT", "TAT", "TTT")


def digraph(n: int, m: int, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    return Graph(rng.integers(0, n, (2, m)), num_nodes=n)


def built(
    g: Graph, word: str, r: float, loops: bool, degree: str, drop: bool
) -> torch.Tensor:
    a = torch.zeros(g.num_nodes, g.num_nodes, dtype=torch.float64)
    a[g.edge_index[0], g.edge_index[1]] = 1
    a.fill_diagonal_(0)
    p = torch.eye(g.num_nodes, dtype=torch.float64)
    for letter in word:
        p = p @ (a if letter == "A" else a.t())
    if drop and len(word) == 2:
        p.fill_diagonal_(0)
    if loops:
        p = p + torch.eye(g.num_nodes, dtype=torch.float64)
    row, column = p.sum(1), p.sum(0) if degree == "in_out" else p.sum(1)
    left = row.pow(r - 1).masked_fill(row == 0, 0)
    right = column.pow(-r)
    right[right.isinf()] = 0  # 0 to the power 0 is 1, as in ADPA's release
    return left[:, None] * p * right


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(0, 30),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from(["first", "all", "none"]),
    st.sampled_from(["in_out", "row"]),
    st.booleans(),
)
def test_a_step_is_a_product_with_the_built_operator(
    n: int, m: int, seed: int, r: float, loops: str, degree: str, drop: bool
) -> None:
    g = digraph(n, m, seed)
    patterns = PATTERNS if drop else (*PATTERNS, *THIRD)
    operators = DirectedOperators(
        g, patterns, r=r, self_loops=loops, degree=degree, drop_diagonal=drop
    )
    x = torch.randn(n, 5, dtype=torch.float64)
    for word, found in zip(patterns, operators.step(x), strict=True):
        own = loops == "all" or (loops == "first" and len(word) == 1)
        torch.testing.assert_close(found, built(g, word, r, own, degree, drop) @ x)


def test_wide_features_are_taken_in_blocks() -> None:
    g, x = digraph(30, 90, 0), torch.randn(30, 150, dtype=torch.float64)
    found = DirectedOperators(g).step(x)
    one = DirectedOperators(g).step(x[:, 100:101])
    for whole, column in zip(found, one, strict=True):
        torch.testing.assert_close(whole[:, 100:101], column)


@pytest.mark.parametrize("decay", ["none", "reference"])
def test_hops_are_powers(decay: str) -> None:
    g, x = digraph(20, 60, 1), torch.randn(20, 3, dtype=torch.float64)
    operators = DirectedOperators(g, ("A", "AT"))
    rows = operators.propagate(x, 3, decay=decay)
    assert rows.shape == (20, 7, 3)
    torch.testing.assert_close(rows[:, 0], x)
    for p, word in enumerate(("A", "AT")):
        at = x
        for hop in range(1, 4):
            c = np.log(1 / hop) + 1 + 1e-6 if decay == "reference" else 1.0
            at = built(g, word, 0.5, word == "A", "in_out", False) @ at * c
            torch.testing.assert_close(rows[:, 3 * p + hop], at)


def test_on_an_undirected_graph_all_patterns_of_an_order_are_equal() -> None:
    g = digraph(20, 60, 2).to_undirected()
    a, t, *second = DirectedOperators(g).step(torch.randn(20, 4))
    torch.testing.assert_close(a, t)
    for other in second[1:]:
        torch.testing.assert_close(second[0], other)


def test_the_transposed_operator_is_that_of_the_reversed_graph() -> None:
    g, x = digraph(25, 70, 3), torch.randn(25, 2)
    reverse = Graph(g.edge_index.flip(0), num_nodes=25)
    flip = str.maketrans("AT", "TA")
    for word in PATTERNS:
        here = DirectedOperators(g, [word]).step(x)[0]
        there = DirectedOperators(reverse, [word.translate(flip)]).step(x)[0]
        torch.testing.assert_close(here, there)


def test_float32_is_within_a_millionth() -> None:
    g, x = digraph(300, 6000, 4), torch.randn(300, 16, dtype=torch.float64)
    operators = DirectedOperators(g)
    single = operators.propagate(x.float(), 2).double()
    exact = operators.propagate(x, 2)
    assert float((single - exact).norm() / exact.norm()) < 1e-6


def test_cost_counts_paths() -> None:
    g = digraph(12, 40, 5)
    a = torch.zeros(12, 12)
    a[g.edge_index[0], g.edge_index[1]] = 1
    a.fill_diagonal_(0)
    cost = DirectedOperators(g).cost()
    paths = 2 * (a @ a).sum() + (a @ a.t()).sum() + (a.t() @ a).sum()
    assert cost.entries_if_built == int(paths)
    assert cost.multiply_adds == 10 * int(a.sum())


def test_patterns_of_order() -> None:
    assert patterns_of_order(2) == PATTERNS
    assert len(patterns_of_order(3)) == 14


def test_messages() -> None:
    g = digraph(5, 8, 0)
    with pytest.raises(
        ValueError, match="`patterns` must be different words over A and T"
    ):
        DirectedOperators(g, ["AB"])
    with pytest.raises(
        ValueError, match="`drop_diagonal` must be used with patterns of"
    ):
        DirectedOperators(g, ["AAA"], drop_diagonal=True)
    with pytest.raises(ValueError, match=r"`r` must be in \[0, 1\], got 2"):
        DirectedOperators(g, r=2)
    with pytest.raises(ValueError, match="`x` must have 5 rows, got 4"):
        DirectedOperators(g).step(torch.zeros(4, 2))


def test_row_degrees_silence_nodes_without_targets_unless_r_is_zero() -> None:
    graph = Graph(torch.tensor([[0, 1], [1, 2]]), num_nodes=3)
    x = torch.ones(3, 1)
    for r, reached in ((0.0, 1), (0.5, 0)):
        options = {"r": r, "self_loops": "none"}
        by_row = DirectedOperators(graph, ["A", "AA"], degree="row", **options).step(x)
        both = DirectedOperators(graph, ["A", "AA"], **options).step(x)
        # Node 2 has no targets; 1 hears of it by A, 0 by AA.
        assert by_row[0][1] == by_row[1][0] == reached
        assert both[0][1] == both[1][0] == 1
