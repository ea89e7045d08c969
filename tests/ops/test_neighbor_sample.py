from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from graphlab import ops
from graphlab.ops.rng import key
from graphlab.ops.twins import sample as twin


def graph(nodes, edges, seed=0, dtype=torch.int32, hub=False):
    """Random in-edges with repeats and self loops; node 0 may hold half of them."""
    generator = np.random.default_rng(seed)
    target = generator.integers(0, nodes, edges)
    if hub:
        target[: edges // 2] = 0
    ptr = np.zeros(nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(target, minlength=nodes), out=ptr[1:])
    idx = torch.from_numpy(generator.integers(0, nodes, edges)).to(dtype)
    return torch.from_numpy(ptr), idx


def options_of(how, ptr, edges, seed):
    weight = np.random.default_rng(seed).random(edges) ** 8
    weight[np.random.default_rng(seed + 1).random(edges) < 0.3] = 0
    tables = ops.alias_build(ptr, torch.from_numpy(weight))
    return {
        "uniform": {},
        "replace": {"replace": True},
        "weighted": {"alias": tables},
        "weighted replace": {"alias": tables, "replace": True},
        "labor": {"labor": True},
    }[how]


HOWS = ["uniform", "replace", "weighted", "weighted replace", "labor"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("disjoint", [False, True], ids=["joint", "disjoint"])
def test_equals_twin(how, disjoint, threads):
    fanouts = [[], [0], [-1], [1, 2], [3, 0, 4], [5, 40, 2], [-1, 33], [2, -1]]
    for seed, fanout in itertools.product(range(3), fanouts):
        generator = np.random.default_rng(seed)
        nodes, edges = int(generator.integers(1, 90)), int(generator.integers(0, 500))
        dtype = (torch.int32, torch.int64)[seed % 2]
        ptr, idx = graph(nodes, edges, seed, dtype, hub=seed == 2)
        options = options_of(how, ptr, edges, seed)
        ids = generator.integers(0, nodes, 9) if disjoint else np.arange(nodes)[-9:]
        edge_id = None if seed == 0 else torch.randperm(edges).to(dtype)
        arguments = (
            ptr,
            idx,
            edge_id,
            torch.from_numpy(ids),
            fanout,
            options.get("replace", False),
            *options.get("alias", (None, None)),
            disjoint,
            options.get("labor", False),
            key(seed, 7),
        )
        ours = torch.ops.graphlab.neighbor_sample(*arguments)
        expected = twin.neighbor_sample(*arguments)
        for one, other in zip(ours, expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("disjoint", [False, True], ids=["joint", "disjoint"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_hop_by_hop_from_what_was_read(replace, disjoint, dtype):
    ptr, idx = graph(80, 900, 1, dtype, hub=True)
    # Lengths count, and nothing else.
    empty = torch.zeros_like(ptr), torch.full_like(idx, -7)
    empty[0][-1] = len(idx)
    seeds = torch.tensor([0, 5, 79])
    for fanout in ([3, 0, 4], [-1, 33], [5, 2, 2], [2]):
        plain = {"replace": replace, "disjoint": disjoint, "key": key(3)}
        expected = ops.neighbor_sample(ptr, idx, seeds, fanout, **plain)
        rows = torch.empty((0, 2), dtype=torch.int64)
        sources = torch.empty(0, dtype=dtype)
        for hop in range(len(fanout)):
            some = fanout[:hop]
            s = ops.neighbor_sample(*empty, seeds, some, read=(rows, sources), **plain)
            new = s.n_id[len(s.n_id) - s.num_sampled_nodes[-1] :]
            rows = torch.cat([rows, torch.stack([ptr[new], ptr.diff()[new]], dim=1)])
            given = (*empty, None, seeds, fanout[: hop + 1], replace, None, None)
            given = (*given, disjoint, False, key(3), rows, sources)
            drawn = torch.ops.graphlab.neighbor_sample(*given)
            for one, other in zip(drawn, twin.neighbor_sample(*given), strict=True):
                assert torch.equal(one, other)
            last = int(drawn[6][-1])
            assert bool((drawn[0][len(drawn[0]) - last :] == -1).all())
            sources = torch.cat([sources, idx[drawn[3][len(drawn[3]) - last :]]])
        read = (rows, sources)
        found = ops.neighbor_sample(*empty, seeds, fanout, read=read, **plain)
        for one, other in zip(found, expected, strict=True):
            assert (
                one == other
                if isinstance(one, list)
                else one is other is None or (torch.equal(one, other))
            )


def test_what_was_read_must_fit():
    ptr, idx = graph(30, 200)
    seeds = torch.tensor([1, 2])
    rows, none = torch.zeros((1, 2), dtype=torch.int64), idx[:0]
    with pytest.raises(RuntimeError, match="`rows` must hold every target"):
        ops.neighbor_sample(ptr, idx, seeds, [2], read=(rows, none))
    rows = torch.tensor([[0, 4], [0, 5]])
    with pytest.raises(RuntimeError, match="`sources` must end with a hop"):
        ops.neighbor_sample(ptr, idx, seeds, [2], read=(rows, idx[:3]))
    rows[1, 1] = 201
    with pytest.raises(RuntimeError, match="`ptr` must be offsets"):
        ops.neighbor_sample(ptr, idx, seeds, [2], read=(rows, none))
    with pytest.raises(ValueError, match="`labor` must be left out with read"):
        ops.neighbor_sample(ptr, idx, seeds, [2], labor=True, read=(rows, none))
    with pytest.raises(TypeError, match=r"`read\[1\]`"):
        ops.neighbor_sample(ptr, idx, seeds, [2], read=(rows, none.long()))


@pytest.mark.cuda
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("disjoint", [False, True], ids=["joint", "disjoint"])
def test_cuda_equals_cpu(how, disjoint):
    for seed, fanout in itertools.product(range(3), [[3, 0, 4], [5, 40, 2], [-1, 33]]):
        ptr, idx = graph(700, 9000, seed, hub=True)
        options = options_of(how, ptr, 9000, seed)
        seeds = torch.arange(60, 80)
        expected = ops.neighbor_sample(
            ptr, idx, seeds, fanout, disjoint=disjoint, key=key(seed), **options
        )
        if "alias" in options:
            options["alias"] = tuple(t.cuda() for t in options["alias"])
        ours = ops.neighbor_sample(
            ptr.cuda(),
            idx.cuda(),
            seeds.cuda(),
            fanout,
            disjoint=disjoint,
            key=key(seed),
            **options,
        )
        for one, other in zip(ours[:5], expected[:5], strict=True):
            assert one is other is None or torch.equal(one.cpu(), other)
        assert ours[5:] == expected[5:]
    with pytest.raises(ValueError, match="got 4 again at position 2"):
        ops.neighbor_sample(ptr.cuda(), idx.cuda(), torch.tensor([4, 2, 4]).cuda(), [2])


@pytest.mark.parametrize("how", HOWS)
def test_sample_is_a_relabelled_subgraph(how):
    ptr, idx = graph(300, 4000, hub=True)
    seeds = torch.tensor([7, 0, 299, 12])
    fanout = [4, 3, 2]
    options = options_of(how, ptr, 4000, 0)
    s = ops.neighbor_sample(ptr, idx, seeds, fanout, **options)
    assert len(s.num_sampled_nodes) == 4
    assert len(s.num_sampled_edges) == 3
    assert sum(s.num_sampled_nodes) == s.n_id.numel() == s.n_id.unique().numel()
    assert sum(s.num_sampled_edges) == s.row.numel() == s.col.numel()
    assert torch.equal(s.n_id[:4], seeds)
    assert s.batch is None
    assert bool((s.col.diff() >= 0).all())
    # Each edge is one of the graph, at its own position.
    assert torch.equal(s.n_id[s.row], idx[s.e_id].long())
    target = torch.repeat_interleave(torch.arange(300), ptr.diff())
    assert torch.equal(s.n_id[s.col], target[s.e_id])
    # Hop h samples for the nodes of hop h - 1 only, and finds its new nodes in order.
    node, edge, first = 4, 0, 0
    for count, new in zip(s.num_sampled_edges, s.num_sampled_nodes[1:], strict=True):
        col, row = s.col[edge : edge + count], s.row[edge : edge + count]
        assert count == 0 or (col.min() >= first and col.max() < node)
        found = list(dict.fromkeys(r for r in row.tolist() if r >= node))
        assert found == list(range(node, node + new))
        first, node, edge = node, node + new, edge + count


@pytest.mark.parametrize("how", ["uniform", "weighted", "labor"])
def test_no_edge_is_drawn_twice_without_replacement(how):
    ptr, idx = graph(50, 3000, hub=True)
    options = options_of(how, ptr, 3000, 0)
    s = ops.neighbor_sample(ptr, idx, torch.arange(50), [40], **options)
    assert s.e_id.unique().numel() == s.e_id.numel()
    if how == "uniform":
        expected = ptr.diff().clamp(max=40)
        assert torch.equal(torch.bincount(s.col, minlength=50), expected)


def test_graph_too_large_for_one_entry_a_node():
    # More than 2^24 nodes use the hash map; most of them are isolated here.
    small_ptr, small_idx = graph(300, 6000)
    nodes = 2**24 + 1
    ptr = torch.full((nodes + 1,), 6000)
    ptr[:301] = small_ptr
    seeds = torch.arange(0, 300, 5)
    s = ops.neighbor_sample(ptr, small_idx, seeds, [15, 10])
    expected = ops.neighbor_sample(small_ptr, small_idx, seeds, [15, 10])
    assert all(map(torch.equal, s[:4], expected[:4]))


def test_full_neighbourhood_keeps_order():
    ptr, idx = graph(40, 400)
    s = ops.neighbor_sample(ptr, idx, torch.arange(40), [-1])
    assert s.e_id.tolist() == list(range(400))
    assert s.row.tolist() == idx.tolist()


def test_disjoint_trees_equal_separate_calls():
    # Full neighbourhoods need no draws, so trees can be compared with calls of their own.
    ptr, idx = graph(30, 90)
    seeds = torch.tensor([3, 3, 8])
    s = ops.neighbor_sample(ptr, idx, seeds, [-1, -1], disjoint=True)
    for tree, seed in enumerate(seeds):
        alone = ops.neighbor_sample(ptr, idx, seed[None], [-1, -1])
        mine = s.batch == tree
        assert s.n_id[mine].tolist() == alone.n_id.tolist()
        assert s.e_id[mine[s.col]].tolist() == alone.e_id.tolist()


# Independence of threads, calls and storage ------------------------------------------


def test_same_samples_on_any_thread_and_after_any_call():
    ptr, idx = graph(2000, 30_000)
    small = graph(10, 40)

    def batch(number):
        if number % 3 == 0:
            ops.neighbor_sample(
                *small, torch.arange(10), [-1], disjoint=number % 2 == 0
            )
        seeds = torch.arange(number, number + 64)
        disjoint = number % 4 == 0
        s = ops.neighbor_sample(
            ptr, idx, seeds, [5, 5], key=key(number), disjoint=disjoint
        )
        return s.row, s.col, s.n_id, s.e_id

    expected = [batch(i) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(batch, range(40)))
    for one, other in zip(expected, found, strict=True):
        assert all(map(torch.equal, one, other))


def test_an_error_leaves_nothing_behind():
    ptr, idx = graph(50, 500)
    seeds = torch.arange(20)
    expected = ops.neighbor_sample(ptr, idx, seeds, [3, 3])
    broken = idx.clone()
    broken[ptr[5] :] = 50
    for disjoint in (False, True):
        with pytest.raises(RuntimeError, match="must hold node ids"):
            ops.neighbor_sample(ptr, broken, seeds, [-1], disjoint=disjoint)
        with pytest.raises(IndexError, match="seeds"):
            ops.neighbor_sample(ptr, idx, seeds + 40, [-1], disjoint=disjoint)
    again = ops.neighbor_sample(ptr, idx, seeds, [3, 3])
    assert all(map(torch.equal, expected[:4], again[:4]))


def test_read_only_memory_mapped_graph(tmp_path):
    ptr, idx = graph(100, 900)
    mapped = []
    for name, values in (("ptr", ptr), ("idx", idx), ("edge_id", torch.arange(900))):
        values.numpy().tofile(tmp_path / name)
        array = np.memmap(tmp_path / name, dtype=values.numpy().dtype, mode="r")
        mapped.append(ops.tensor_over(array))
    seeds = torch.arange(10, dtype=torch.int32)
    s = ops.neighbor_sample(mapped[0], mapped[1], seeds, [4, 4], edge_id=mapped[2])
    expected = ops.neighbor_sample(ptr, idx, seeds, [4, 4])
    assert all(map(torch.equal, s[:4], expected[:4]))


# Edges of the input space, contract, errors -------------------------------------------


def test_empty_and_isolated():
    empty = torch.zeros(1, dtype=torch.int64), torch.empty(0, dtype=torch.int32)
    none = torch.empty(0, dtype=torch.int64)
    for disjoint in (False, True):
        s = ops.neighbor_sample(*empty, none, [2, 2], disjoint=disjoint)
        assert (s.num_sampled_nodes, s.num_sampled_edges) == ([0, 0, 0], [0, 0])
    ptr, idx = torch.zeros(6, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    for replace in (False, True):
        s = ops.neighbor_sample(ptr, idx, torch.tensor([4, 1]), [3], replace=replace)
        assert (s.n_id.tolist(), s.num_sampled_nodes) == ([4, 1], [2, 0])
    ptr, idx = graph(20, 100)
    s = ops.neighbor_sample(ptr, idx, torch.tensor([3]), [])
    assert (s.n_id.tolist(), s.num_sampled_nodes, s.num_sampled_edges) == ([3], [1], [])


@pytest.mark.parametrize("disjoint", [False, True])
def test_contract(disjoint):
    ptr, idx = graph(30, 200)
    tables = ops.alias_build(ptr, torch.rand(200))
    arguments = (ptr, idx, torch.arange(200), torch.tensor([3, 1]), [2, 2])
    torch.library.opcheck(
        torch.ops.graphlab.neighbor_sample,
        (*arguments, True, *tables, disjoint, False, 1),
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_neighbors": 5}, TypeError, "`num_neighbors` must be a list of ints"),
        ({"num_neighbors": [5.0]}, TypeError, r"`num_neighbors\[0\]` must be an int"),
        ({"num_neighbors": [1, -2]}, ValueError, r"`num_neighbors\[1\]` .* least -1"),
        ({"num_neighbors": [2**31]}, ValueError, r"must be below 2\^31"),
        ({"seeds": [0]}, TypeError, "`seeds` must be a tensor"),
        ({"seeds": torch.tensor([0.5])}, TypeError, "`seeds` must be int32 or int64"),
        ({"seeds": torch.tensor([4, 10])}, IndexError, r"in \[0, 10\), got 10 at pos"),
        ({"seeds": torch.tensor([-1])}, IndexError, r"in \[0, 10\), got -1"),
        ({"seeds": torch.tensor([4, 2, 4])}, ValueError, "got 4 again at position 2"),
        ({"idx": torch.zeros(30)}, TypeError, "`idx` must be int32 or int64"),
        ({"ptr": torch.zeros(11).int()}, TypeError, "`ptr` must be int64"),
        ({"ptr": torch.zeros(11).long()}, ValueError, "`ptr` must end at 30"),
        ({"edge_id": torch.arange(5)}, ValueError, "each of the 30 edges, got 5"),
        ({"edge_id": torch.rand(30)}, TypeError, "`edge_id` must be int32 or int64"),
        ({"alias": (torch.rand(30),) * 2}, TypeError, r"`alias\[0\]` must be int32"),
        ({"labor": True, "replace": True}, ValueError, "`labor` must stand alone"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    ptr, idx = graph(10, 30)
    arguments = {"ptr": ptr, "idx": idx, "seeds": torch.tensor([0, 1])}
    arguments = {**arguments, "num_neighbors": [2], **change}
    with pytest.raises(error, match=message):
        ops.neighbor_sample(**arguments)


@pytest.mark.parametrize("disjoint", [False, True])
def test_broken_graphs_never_crash(disjoint):
    ptr, idx = graph(10, 30)
    seeds = torch.arange(10)
    broken = ptr.clone()
    broken[4] = 10**12
    with pytest.raises(RuntimeError, match="must be offsets into"):
        ops.neighbor_sample(broken, idx, seeds, [2], disjoint=disjoint)
    wild = torch.zeros(30, dtype=torch.int32), torch.full((30,), 10**6).int()
    for replace in (False, True):
        with pytest.raises(RuntimeError, match="must point inside"):
            ops.neighbor_sample(
                ptr, idx, seeds, [2], alias=wild, replace=replace, disjoint=disjoint
            )
