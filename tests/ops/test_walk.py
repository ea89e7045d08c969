from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

import graphlab as gl
from graphlab import ops
from graphlab.ops.twins import walk as twin
from graphlab.ops.walk import second_order


def random_graph(seed=0, nodes=150, edges=700):
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes, (2, edges), generator=generator)
    weight = torch.rand(edges, generator=generator)
    weight[::7] = 0
    weight[edge_index[0] == 3] = 0
    return gl.graph.walk_graph(gl.Graph(edge_index, nodes, weight))


@pytest.mark.parametrize(("p", "q"), [(1, 1), (4, 2), (0.25, 0.5), (1, 3)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_equals_twin(p, q, weighted, dtype, threads):
    g = random_graph()
    if weighted and dtype == torch.int64:
        pytest.skip("slots hold 32-bit ids")
    slots = g.slots if weighted else None
    idx = g.idx.to(dtype)
    starts = torch.arange(300) % 150
    ours = ops.random_walk(g.ptr, idx, starts, 17, slots=slots, p=p, q=q, key=3)
    expected = twin.random_walk(g.ptr, idx, slots, starts, 17, second_order(p, q), 3, 0)
    assert torch.equal(ours, expected)
    assert ours.dtype == dtype


def test_a_walk_depends_on_its_number_alone():
    g = random_graph()
    starts = torch.arange(150)
    for q in (1, 2):
        whole = ops.random_walk(g.ptr, g.idx, starts, 9, q=q, key=1, first=100)
        part = ops.random_walk(g.ptr, g.idx, starts[40:60], 9, q=q, key=1, first=140)
        assert torch.equal(part, whole[40:60])


def test_steps_are_edges_and_dead_ends_stay():
    g = random_graph()
    walks = ops.random_walk(g.ptr, g.idx, torch.arange(150), 12, slots=g.slots).long()
    ends = walks < 0
    assert bool(ends.any())
    # Once ended, a walk stays ended.
    assert torch.equal(ends, ends.cummax(1).values)
    edges = set(
        zip(
            torch.repeat_interleave(torch.arange(150), g.ptr.diff()).tolist(),
            g.idx.tolist(),
            strict=True,
        )
    )
    for walk in walks.tolist():
        for a, b in pairwise(walk):
            assert b < 0 or (a, b) in edges


def chi_square_bound(degrees: int, alarm: float = 1e-6) -> float:
    """Upper quantile of chi-square by Wilson and Hilferty's cube."""
    z = math.sqrt(2) * torch.erfinv(torch.tensor(1 - 2 * alarm).double()).item()
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + z * math.sqrt(spread)) ** 3


@pytest.mark.parametrize("weighted", [False, True])
def test_second_order_steps_have_the_exact_distribution(weighted):
    """Chi-square of the step after (t, v); false alarm 1e-6 a case."""
    # Node 0 (t) - 1 (v); v's neighbours: 0 (back), 2 and 3 (near 0), 4, 5, 6 (far).
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6)]
    source, target = torch.tensor(pairs).T
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    weight = torch.arange(1.0, 9.0).repeat(2)
    p, q, count = 4.0, 0.5, 60_000
    g = gl.Graph(edge_index, 7, weight if weighted else None)
    walks = gl.graph.random_walk(g, torch.zeros(count).long(), 2, p=p, q=q, seed=1)
    steps = walks[walks[:, 1] == 1, 2].long()
    found = torch.bincount(steps, minlength=7).double()
    w = torch.tensor([1.0, 0, 4, 5, 6, 7, 8]) if weighted else torch.ones(7)
    bias = torch.tensor([1 / p, 0, 1, 1, 1 / q, 1 / q, 1 / q])
    expected = w * bias / (w * bias).sum() * found.sum()
    kept = expected > 0
    assert found[~kept].sum() == 0
    statistic = ((found - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < chi_square_bound(5)


def test_negatives_equal_twin_and_follow_the_weights(threads):
    weight = torch.tensor([1.0, 0, 3, 10, 0.5])
    tables = ops.alias_build(torch.tensor([0, 5]), weight)
    drawn = ops.negative_sample(*tables, 50_000, key=4)
    assert torch.equal(drawn, twin.negative_sample(*tables, 50_000, 4, 0))
    assert torch.equal(drawn[7:9], ops.negative_sample(*tables, 2, key=4, first=7))
    expected = weight / weight.sum() * 50_000
    found = torch.bincount(drawn, minlength=5)
    assert found[1] == 0
    kept = weight > 0
    statistic = ((found - expected)[kept] ** 2 / expected[kept]).sum()
    assert statistic < chi_square_bound(3)


def test_graph_function_sorts_and_weighs():
    edges = torch.tensor([[0, 0, 1, 2], [2, 1, 0, 0]])
    g = gl.Graph(edges, 3, torch.tensor([0.0, 1.0, 1.0, 1.0]))
    walks = gl.graph.random_walk(g, torch.tensor([0, 0, 2]), 2)
    assert walks.tolist() == [[0, 1, 0], [0, 1, 0], [2, 0, 1]]
    free = gl.graph.random_walk(g, torch.zeros(64).long(), 1, weighted=False)
    assert set(free[:, 1].tolist()) == {1, 2}
    ready = gl.graph.walk_graph(g)
    assert ready.idx.tolist() == [1, 2, 0, 0]
    assert ready.strength.tolist() == [1, 1, 1]


def test_contract():
    g = random_graph()
    starts = torch.arange(5)
    for slots, bias in ((None, []), (g.slots, second_order(2, 3))):
        arguments = (g.ptr, g.idx, slots, starts, 4, bias, 0, 0)
        torch.library.opcheck(torch.ops.graphlab.random_walk, arguments)
    tables = ops.alias_build(torch.tensor([0, 5]), torch.ones(5))
    torch.library.opcheck(torch.ops.graphlab.negative_sample, (*tables, 6, 0, 0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"starts": torch.zeros(2)}, TypeError, "`starts` must be int64, got float32"),
        ({"length": -1}, ValueError, "`length` must be at least 0, got -1"),
        ({"p": 0.0}, ValueError, "`p` must be between 1e-4 and 1e4, got 0.0"),
        ({"q": math.inf}, ValueError, "`q` must be between 1e-4 and 1e4, got inf"),
        ({"slots": torch.zeros(3, 4).int()}, ValueError, r"`slots` must be \[700, 4\]"),
        ({"starts": torch.tensor([150])}, RuntimeError, "`starts`"),
        ({"starts": torch.tensor([-1])}, RuntimeError, "`starts`"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    g = random_graph()
    arguments = {"starts": torch.arange(3), "length": 2} | change
    with pytest.raises(error, match=message):
        ops.random_walk(g.ptr, g.idx, **arguments)


def test_bad_neighbours_are_found():
    with pytest.raises(RuntimeError, match="`idx`"):
        ops.random_walk(torch.tensor([0, 1]), torch.tensor([5]), torch.tensor([0]), 2)
    g = gl.Graph(torch.tensor([[0], [1]]), 3)
    with pytest.raises(IndexError, match=r"`starts` must be in \[0, 3\), got 3"):
        gl.graph.random_walk(g, torch.tensor([3]), 1)
    tables = ops.alias_build(torch.tensor([0, 2]), torch.zeros(2))
    with pytest.raises(ValueError, match="`threshold` must have positive weight"):
        ops.negative_sample(*tables, 1)
