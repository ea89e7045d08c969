from __future__ import annotations

import resource
import sys
from pathlib import Path

import networkx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab import ops
from graphlab.ops.common_neighbors import STRATEGIES
from graphlab.ops.twins import common_neighbors as twin


def adjacency(num_nodes: int, num_edges: int, seed: int = 0, hub: bool = False):
    """Sorted rows without repetition; a hub is everybody's neighbour."""
    draw = np.random.default_rng(seed)
    row, col = draw.integers(num_nodes, size=(2, num_edges))
    if hub:
        row = np.concatenate([row, np.zeros(num_nodes - 1, np.int64)])
        col = np.concatenate([col, np.arange(1, num_nodes)])
    both = np.concatenate([row, col]), np.concatenate([col, row])
    matrix = sp.csr_matrix((np.ones(len(both[0])), both), (num_nodes, num_nodes))
    matrix.sum_duplicates()
    matrix.sort_indices()
    ptr = torch.from_numpy(matrix.indptr.astype(np.int64))
    return ptr, torch.from_numpy(matrix.indices.astype(np.int32))


def draw_pairs(num_nodes: int, count: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(num_nodes, (2, count), generator=generator)


def by_sets(ptr, idx, pairs, exclude=None):
    """The definition, with Python's sets."""
    taken = set()
    if exclude is not None:
        for a, b in exclude.t().tolist():
            taken |= {(a, b), (b, a)}
    near = [
        {u for u in idx[ptr[v] : ptr[v + 1]].tolist() if (v, u) not in taken}
        for v in range(len(ptr) - 1)
    ]
    out = []
    for i, j in pairs.t().tolist():
        out.append(
            tuple(
                sorted(part - {i, j})
                for part in (near[i] & near[j], near[i] - near[j], near[j] - near[i])
            )
        )
    return out


CASES = {
    "no pairs": (10, 20, 0, False),
    "no edges": (5, 0, 7, False),
    "one node": (1, 3, 4, False),
    "sparse": (200, 300, 300, False),
    "dense": (60, 1500, 300, False),
    "hub": (900, 1200, 400, True),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("excluding", [False, True])
def test_equals_sets_and_twin(case, strategy, excluding, threads):
    num_nodes, num_edges, count, hub = case
    ptr, idx = adjacency(num_nodes, num_edges, hub=hub)
    pairs = draw_pairs(num_nodes, count)
    exclude = draw_pairs(num_nodes, 2 * num_edges, 5) if excluding else None
    expected = by_sets(ptr, idx, pairs, exclude)
    options = {"exclude": exclude, "strategy": strategy}
    counts = ops.common_neighbors(ptr, idx, pairs, **options)
    assert counts.tolist() == [len(common) for common, _, _ in expected]
    ends, found = ops.common_neighbors_ids(ptr, idx, pairs, **options)
    assert found.dtype == idx.dtype
    assert found.tolist() == [u for common, _, _ in expected for u in common]
    assert ends.diff().tolist() == counts.tolist()
    x = torch.randn(num_nodes, 37, dtype=torch.float64)
    out = ops.common_neighbors_pool(ptr, idx, pairs, x, **options)
    theirs, *_ = twin.common_neighbors_pool(ptr, idx, pairs, exclude, x, False)
    torch.testing.assert_close(out, theirs)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("excluding", [False, True])
def test_three_sets(case, excluding, threads):
    num_nodes, num_edges, count, hub = case
    ptr, idx = adjacency(num_nodes, num_edges, hub=hub)
    pairs = draw_pairs(num_nodes, count)[:, :300]
    exclude = draw_pairs(num_nodes, num_edges, 5) if excluding else None
    sets = ops.common_neighbors_sets(ptr, idx.long(), pairs, exclude=exclude)
    expected = by_sets(ptr, idx, pairs, exclude)
    for number in range(3):
        ends, found = sets[2 * number], sets[2 * number + 1]
        assert ends.diff().tolist() == [len(e[number]) for e in expected]
        assert found.tolist() == [u for e in expected for u in e[number]]
    theirs = twin.common_neighbors(ptr, idx.long(), pairs, exclude, "sets")
    assert all(torch.equal(a, b) for a, b in zip(sets, theirs, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_small_graph(data):
    n = data.draw(st.integers(1, 8))
    node = st.integers(0, n - 1)
    several = st.lists(st.tuples(node, node), max_size=20)

    def pairs():
        return torch.tensor(data.draw(several), dtype=torch.int64).reshape(-1, 2).t()

    edges = pairs()
    both = torch.cat([edges, edges.flip(0)], 1).unique(dim=1)
    ptr, idx, _ = ops.csr_build(*both, n, n)
    wanted, exclude = pairs(), pairs()
    expected = by_sets(ptr, idx, wanted, exclude)
    for strategy in STRATEGIES:
        _, found = ops.common_neighbors_ids(
            ptr, idx, wanted, exclude=exclude, strategy=strategy
        )
        assert found.tolist() == [u for common, _, _ in expected for u in common]


def test_excluding_equals_the_graph_without_the_pairs():
    ptr, idx = adjacency(300, 2000)
    row = torch.repeat_interleave(torch.arange(300), ptr.diff())
    edges = torch.stack([row, idx.long()])
    batch = edges[:, torch.randperm(edges.shape[1])[:200]]
    keys = torch.cat([batch[0] * 300 + batch[1], batch[1] * 300 + batch[0]])
    kept = edges[:, ~torch.isin(edges[0] * 300 + edges[1], keys)]
    cut_ptr, cut_idx, _ = ops.csr_build(*kept, 300, 300)
    x = torch.randn(300, 16)
    torch.testing.assert_close(
        ops.common_neighbors_pool(ptr, idx, batch, x, exclude=batch),
        ops.common_neighbors_pool(cut_ptr, cut_idx, batch, x),
    )


def test_equals_networkx_and_scipy():
    ptr, idx = adjacency(80, 400)
    n = 80
    matrix = sp.csr_matrix((np.ones(len(idx)), idx.numpy(), ptr.numpy()), (n, n))
    graph = networkx.from_scipy_sparse_array(matrix)
    pairs = draw_pairs(n, 200)
    counts = ops.common_neighbors(ptr, idx, pairs).tolist()
    for (i, j), count in zip(pairs.t().tolist(), counts, strict=True):
        if i != j:
            assert len(list(networkx.common_neighbors(graph, i, j))) == count
    matrix.setdiag(0)
    product = np.asarray((matrix @ matrix).todense())
    distinct = pairs[0] != pairs[1]
    i, j = pairs[:, distinct].numpy()
    assert product[i, j].tolist() == np.array(counts)[distinct.numpy()].tolist()


@pytest.mark.parametrize("excluding", [False, True])
def test_gradients_and_contract(excluding):
    ptr, idx = adjacency(12, 30)
    pairs = draw_pairs(12, 9)
    exclude = draw_pairs(12, 6, 3) if excluding else None
    x = torch.randn(12, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: ops.common_neighbors_pool(ptr, idx, pairs, v, exclude=exclude), x
    )
    check = torch.library.opcheck
    for output in ("count", "ids", "sets"):
        arguments = (ptr, idx, pairs, exclude, output, "auto")
        check(torch.ops.graphlab.common_neighbors, arguments)
    arguments = (ptr, idx, pairs, exclude, x, True, "auto")
    check(torch.ops.graphlab.common_neighbors_pool, arguments)


def test_gradient_equals_the_twins_and_needs_no_list_without_it():
    ptr, idx = adjacency(100, 800)
    pairs = draw_pairs(100, 300)
    x = torch.randn(100, 20, requires_grad=True)
    weight = torch.randn(300, 20)
    (ops.common_neighbors_pool(ptr, idx, pairs, x) * weight).sum().backward()
    y = x.detach().clone().requires_grad_()
    out, *_ = twin.common_neighbors_pool(ptr, idx, pairs, None, y, False)
    (out * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    _, ends, found = torch.ops.graphlab.common_neighbors_pool(
        ptr, idx, pairs, None, x.detach(), False, "auto"
    )
    assert ends.numel() <= 1
    assert found.numel() == 0


def test_float32_error_is_at_most_twice_torchs():
    ptr, idx = adjacency(400, 60_000)
    pairs = draw_pairs(400, 200)
    x = torch.randn(400, 64, dtype=torch.float64)
    exact, *_ = twin.common_neighbors_pool(ptr, idx, pairs, None, x, False)
    theirs, *_ = twin.common_neighbors_pool(ptr, idx, pairs, None, x.float(), False)
    ours = ops.common_neighbors_pool(ptr, idx, pairs, x.float())
    assert (ours - exact).abs().max() <= 2 * (theirs - exact).abs().max() + 1e-7


def test_same_bits_for_any_strategy_and_thread_count():
    ptr, idx = adjacency(2000, 30_000, hub=True)
    pairs = draw_pairs(2000, 3000)
    x = torch.randn(2000, 33)
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        for strategy in STRATEGIES:
            results.append(
                ops.common_neighbors_pool(ptr, idx, pairs, x, strategy=strategy)
            )
    torch.set_num_threads(2)
    first, *others = results
    if ops.backends()["graphlab::common_neighbors_pool"]["cpu"] == "native":
        assert all(torch.equal(first, other) for other in others)


PTR, IDX = torch.tensor([0, 1, 2]), torch.tensor([1, 0])
PAIR = torch.tensor([[0], [1]])


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((PTR, IDX.float(), PAIR), {}, TypeError, "`idx` must be int32 or int64"),
        ((PTR, IDX[:1], PAIR), {}, ValueError, "`ptr` must end at 1, got 2"),
        ((PTR, IDX, PAIR.int()), {}, TypeError, "`pairs` must be int64, got int32"),
        ((PTR, IDX, PAIR[:1]), {}, ValueError, r"`pairs` must have shape \[2, n\]"),
        ((PTR, IDX, torch.zeros(3, 2).long()), {}, ValueError, r"use pairs.t\(\)"),
        ((PTR, IDX, PAIR + 1), {}, IndexError, r"`pairs` must be in \[0, 2\), got 2"),
        ((PTR, IDX, PAIR), {"exclude": PAIR - 1}, IndexError, "`exclude` must be in"),
        ((PTR, IDX, PAIR), {"strategy": "fast"}, ValueError, "`strategy` must be one"),
    ],
)
def test_errors_name_the_argument(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ops.common_neighbors(*arguments, **options)


def test_pool_wants_a_row_for_each_node():
    with pytest.raises(ValueError, match="`x` must have a row for each of 2 nodes"):
        ops.common_neighbors_pool(PTR, IDX, PAIR, torch.ones(3, 1))
    with pytest.raises(TypeError, match="`x` must be float32 or float64, got int64"):
        ops.common_neighbors_pool(PTR, IDX, PAIR, torch.ones(2, 1).long())


def test_dense_rows_are_refused_where_they_would_not_fit():
    ptr = torch.zeros(20_001, dtype=torch.int64)
    with pytest.raises(ValueError, match="at most 11,585 nodes"):
        ops.common_neighbors(ptr, IDX[:0], PAIR, strategy="dense")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_memory_does_not_grow_with_pairs_times_nodes():
    num_nodes, count = 2**20, 2**15  # a bit for each would be 4 GiB
    ptr, idx = adjacency(num_nodes, num_nodes)
    pairs = draw_pairs(num_nodes, count)
    x = torch.ones(num_nodes, 2, requires_grad=True)
    # Threads and their stacks come first.
    small = adjacency(100, 200)
    ops.common_neighbors_pool(*small, draw_pairs(100, 50), x[:100]).sum().backward()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + 512 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        ops.common_neighbors(ptr, idx, pairs, exclude=pairs)
        ops.common_neighbors_sets(ptr, idx, pairs)
        ops.common_neighbors_pool(ptr, idx, pairs, x, exclude=pairs).sum().backward()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_damaged_rows_never_crash():
    ptr = torch.tensor([0, 9, 2, 4])
    idx = torch.tensor([7, 1, 5, 2])
    pairs = torch.tensor([[0, 1, 2], [1, 2, 0]])
    for strategy in ("merge", "gallop", "bitmap", "dense"):
        try:
            ops.common_neighbors(ptr, idx, pairs, strategy=strategy)
        except (RuntimeError, IndexError):
            pass
