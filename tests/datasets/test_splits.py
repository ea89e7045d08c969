from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphlab as gl
from graphlab.datasets import splits

SPLITS = ("train", "val", "test")


def nodes(num_nodes=100, num_classes=4):
    y = torch.arange(num_nodes) % num_classes
    graph = gl.Graph(torch.tensor([[0], [1]]), num_nodes=num_nodes)
    return gl.Dataset(graph, y=y)


def sizes(d, run=0):
    return [int(d.mask(s, run).sum()) for s in SPLITS]


def test_random_shares_and_runs():
    d = nodes()
    d.y[[3, 5]] = -1
    s = gl.datasets.split_random(d, train=0.5, val=0.25, runs=3)
    assert d.splits == {}
    assert s.num_runs == 3
    for run in range(3):
        assert sizes(s, run) == [49, 24, 25]
        total = sum(s.mask(split, run).int() for split in SPLITS)
        assert total[[3, 5]].tolist() == [0, 0]
        assert int(total.max()) == 1
    assert not torch.equal(s.mask("train", 0), s.mask("train", 1))


def test_random_is_named_by_its_seed_and_run():
    d = nodes()
    first = gl.datasets.split_random(d, runs=2, seed=7)
    more = gl.datasets.split_random(d, runs=5, seed=7)
    assert torch.equal(first.train_mask, more.train_mask[:, :2])
    other = gl.datasets.split_random(d, runs=2, seed=8)
    assert not torch.equal(first.train_mask, other.train_mask)
    assert gl.datasets.split_random(d, runs=1).train_mask.dim() == 1


def test_stratified():
    d = gl.datasets.split_random(nodes(), stratified=True, runs=1)
    for label in range(4):
        members = d.y == label
        assert int((d.train_mask & members).sum()) == 15
        assert int((d.val_mask & members).sum()) == 5


def test_per_class():
    d = nodes()
    d.y[0] = -1
    s = gl.datasets.split_per_class(d, per_class=5, num_val=30, runs=2)
    for run in range(2):
        assert sizes(s, run) == [20, 30, 49]
        assert torch.bincount(d.y[s.mask("train", run)]).tolist() == [5, 5, 5, 5]
        assert not s.mask("test", run)[0]
    few = gl.datasets.split_per_class(d, per_class=5, num_val=30, num_test=10, runs=1)
    assert sizes(few) == [20, 30, 10]


def test_every_node_is_equally_likely():
    # 2000 draws of 20 of 40 nodes; the chi-square statistic of 40 counts of p = 1/2 has
    # about 39 degrees of freedom: beyond 100 with probability below 1e-6.
    d = nodes(40)
    s = gl.datasets.split_random(d, train=0.5, val=0.25, runs=2000)
    counts = s.train_mask.sum(1).double()
    statistic = float(((counts - 1000) ** 2 / 500).sum())
    assert statistic < 100


@pytest.mark.data
def test_minesweeper_does_not_leak_through_numpys_seed(real_data):
    # Its mines are default_rng(0).permutation(10000)[:2000]. Under independence the number
    # of mines among 6000 of 10000 nodes has sd 31: 6 sd is passed once in 5e8.
    d = gl.datasets.load("minesweeper", real_data)
    for seed in range(3):
        s = gl.datasets.split_random(d, seed=seed, runs=1)
        assert abs(int(d.y[s.train_mask].sum()) - 1200) < 6 * 31


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda d: splits.split_random(d, train=0),
            r"`train` must be a share in \(0, 1\)",
        ),
        (
            lambda d: splits.split_random(d, train=0.8, val=0.2),
            "leave a test split, got 1.0",
        ),
        (
            lambda d: splits.split_random(d, train=0.001),
            "give the train split at least one",
        ),
        (lambda d: splits.split_random(d, runs=0), "`runs` must be at least 1"),
        (lambda d: splits.split_per_class(d, 26), "got 26 where class 0 has 25"),
        (
            lambda d: splits.split_per_class(d, 20),
            "enough nodes .* got 500 and -480 left",
        ),
        (lambda d: splits.split_per_class(d, 0), "`per_class` must be at least 1"),
    ],
)
def test_node_splits_refuse_with_words(call, message):
    with pytest.raises(ValueError, match=message):
        call(nodes())


def test_classes_need_class_ids():
    d = nodes()
    d.y = torch.zeros(100, 3).byte()
    with pytest.raises(ValueError, match=r"one class id per node in y, got \[100, 3\]"):
        gl.datasets.split_per_class(d)
    assert sizes(gl.datasets.split_random(d, runs=1)) == [60, 20, 20]


@st.composite
def graphs(draw):
    num_nodes = draw(st.integers(12, 30))
    seed = draw(st.integers(0, 1000))
    generator = np.random.default_rng(seed)
    edges = torch.from_numpy(generator.integers(0, num_nodes, (2, 40)))
    undirected = draw(st.booleans())
    weight = torch.arange(1.0, 41.0)
    graph = gl.Graph(edges, num_nodes, weight)
    return graph.to_undirected() if undirected else graph


def as_set(pairs):
    return set(map(tuple, pairs.t().tolist()))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.booleans())
def test_links_do_not_leak(graph, listed):
    d = gl.Dataset(graph, edge_attr=torch.arange(graph.num_edges)[:, None])
    before = splits._LISTED_PAIRS
    splits._LISTED_PAIRS = before if listed else 0
    try:
        s = gl.datasets.split_links(d, val=0.1, test=0.2, negatives=3, seed=5)
    finally:
        splits._LISTED_PAIRS = before
    undirected = graph.is_undirected()
    parts = {split: as_set(s.edge_splits[split]["edge"]) for split in SPLITS}
    links = {(u, v) for u, v in as_set(graph.edge_index) if u != v}
    if undirected:
        assert s.graph.is_undirected()
        links = {(u, v) for u, v in links if u < v}
    assert parts["train"] | parts["val"] | parts["test"] == links
    assert sum(len(p) for p in parts.values()) == len(links)
    assert len(parts["val"]) == int(0.1 * len(links) + 1e-9)
    assert len(parts["test"]) == int(0.2 * len(links) + 1e-9)

    held = as_set(s.graph.edge_index)
    expected = parts["train"]
    if undirected:
        expected = expected | {(v, u) for u, v in expected}
    assert held == expected

    kept = s.edge_attr[:, 0]
    assert torch.equal(graph.edge_index[:, kept], s.graph.edge_index)
    assert torch.equal(graph.edge_weight[kept], s.graph.edge_weight)
    in_training = [(u, v) in expected for u, v in graph.edge_index.t().tolist()]
    assert len(kept) == sum(in_training)

    negative = [as_set(s.edge_splits[split]["edge_neg"]) for split in ("val", "test")]
    assert [len(n) for n in negative] == [3, 3]
    assert not negative[0] & negative[1]
    for u, v in negative[0] | negative[1]:
        assert u != v
        assert (u, v) not in links
        assert u < v or not undirected


def test_links_are_named_by_their_seed():
    ring = torch.arange(50)
    d = gl.Dataset(gl.Graph(torch.stack([ring, ring.roll(-1)])))
    first, again, other = (gl.datasets.split_links(d, seed=s) for s in (1, 1, 2))
    for split in SPLITS:
        for key, pairs in first.edge_splits[split].items():
            assert torch.equal(pairs, again.edge_splits[split][key])
    assert not torch.equal(
        first.edge_splits["test"]["edge"], other.edge_splits["test"]["edge"]
    )
    assert d.num_edges == 50
    assert d.edge_splits == {}
    assert first.meta["link_split"] == {"val": 0.1, "test": 0.2, "seed": 1}


def test_negatives_are_uniform():
    # A path of 8 nodes has 21 pairs without an edge; 3 of them drawn 1400 times fill each
    # 200 times. Chi-square with 20 degrees of freedom is beyond 70 with probability 2e-7.
    path = torch.arange(7)
    edges = torch.cat([torch.stack([path, path + 1]), torch.stack([path + 1, path])], 1)
    d = gl.Dataset(gl.Graph(edges))
    pairs = np.arange(7) * 8 + np.arange(1, 8)
    for limit in (2**22, 0):
        counts: dict[int, int] = {}
        before, splits._LISTED_PAIRS = splits._LISTED_PAIRS, limit
        for seed in range(1400):
            for key in splits._non_edges("f", pairs, 8, True, 3, seed).tolist():
                counts[key] = counts.get(key, 0) + 1
        splits._LISTED_PAIRS = before
        assert len(counts) == 21
        assert sum((c - 200) ** 2 / 200 for c in counts.values()) < 70
    assert d.graph.is_undirected()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"), [("cora", (3696, 527, 1055)), ("citeseer", (3187, 455, 910))]
)
def test_planetoid_sizes_of_ncn(name, expected, real_data):
    d = gl.datasets.load(name, real_data)
    s = gl.datasets.split_links(d, val=0.1, test=0.2, negatives=expected[2])
    assert tuple(s.edge_splits[k]["edge"].shape[1] for k in SPLITS) == expected
    assert s.edge_splits["val"]["edge_neg"].shape[1] == expected[2]
    assert s.graph.is_undirected()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"val": 0.5, "test": 0.5}, "leave training edges, got 10 . 10 of 20"),
        ({"val": 0}, "`val` must be a positive share"),
        ({"test": -0.1}, "`test` must be a positive share"),
        ({"negatives": 300}, "at most the 360 pairs without an edge, got 600"),
    ],
)
def test_links_refuse_with_words(arguments, message):
    ring = torch.arange(20)
    d = gl.Dataset(gl.Graph(torch.stack([ring, ring.roll(-1)])))
    with pytest.raises(ValueError, match=message):
        gl.datasets.split_links(d, **arguments)
