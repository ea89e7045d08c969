from __future__ import annotations

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.evaluate import audit_links, hard_negatives, random_negatives
from graphlab.evaluate.heuristics import resource_allocation


def split():
    d = gl.datasets.generate("sbm", num_nodes=120, num_edges=600, num_features=4)
    return gl.datasets.split_links_ncn(d.to_undirected())


def test_a_clean_split_has_no_findings():
    assert audit_links(split()) == []


@pytest.mark.parametrize(
    ("part", "take", "kind"),
    [
        ("edge", lambda d: d.graph.edge_index[:, :2], "target_in_graph"),
        ("edge", lambda d: d.edge_splits["test"]["edge"][:, :1], "duplicate"),
        ("edge", lambda d: d.edge_splits["test"]["edge"][:, :1].flip(0), "reversed"),
        ("edge", lambda d: d.edge_splits["val"]["edge"][:, :3], "in_two_splits"),
        ("edge", lambda d: torch.tensor([[4], [4]]), "self_pair"),
        ("edge_neg", lambda d: d.edge_splits["val"]["edge"][:, :1], "negative_is_pos"),
        ("edge_neg", lambda d: d.edge_splits["test"]["edge_neg"][:, :1], "duplicate"),
    ],
)
def test_planted_leaks_are_found(part, take, kind):
    d = split()
    held = d.edge_splits["test"]
    held[part] = torch.cat([held[part], take(d)], 1)
    found = audit_links(d)
    assert any(leak.kind.startswith(kind) and leak.split == "test" for leak in found)
    assert all(str(leak).startswith(("test: ", "val: ")) for leak in found)


def test_directed_graphs_tell_reversed_targets():
    g = gl.Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=6)
    pairs = {"edge": torch.tensor([[1, 4], [0, 5]])}
    d = gl.Dataset(g, edge_splits={"train": {"edge": g.edge_index}, "test": pairs})
    kinds = {leak.kind for leak in audit_links(d)}
    assert "reversed_in_graph" in kinds
    assert "target_in_graph" not in kinds


def test_no_split_says_how_to_make_one():
    d = gl.Dataset(gl.Graph(torch.tensor([[0], [1]])))
    with pytest.raises(ValueError, match=r"make one with gl.datasets.split_links"):
        audit_links(d)


@pytest.mark.parametrize("features", [False, True])
def test_hard_negatives_keep_their_promises(features):
    d = split()
    g, pos = d.graph, d.edge_splits["test"]["edge"]
    known = d.edge_splits["val"]["edge"]
    x = d.x if features else None
    out = hard_negatives(g, pos, x, number=20, known=known)
    assert out.shape == (pos.shape[1], 20, 2)
    again = hard_negatives(g, pos, x, number=20, known=known, num_threads=1)
    assert torch.equal(out, again)
    barred = {tuple(e) for e in g.edge_index.t().tolist()}
    barred |= {p for e in known.t().tolist() for p in (tuple(e), tuple(e[::-1]))}
    for (a, b), rows in zip(pos.t().tolist(), out.tolist(), strict=True):
        assert all(r[0] == a for r in rows[:10])
        assert all(r[1] == b for r in rows[10:])
        for half in (rows[:10], rows[10:]):
            assert len({tuple(r) for r in half}) == 10
        for u, v in rows:
            assert u != v
            assert (u, v) not in barred
            assert {u, v} != {a, b}


def test_without_features_the_best_by_either_ranking_come_first():
    d = split()
    g = d.graph
    pos = d.edge_splits["test"]["edge"][:, :5]
    out = hard_negatives(g, pos, number=4)
    a = int(pos[0, 0])
    others = torch.arange(g.num_nodes)
    score = resource_allocation(g, torch.stack([torch.full_like(others, a), others]))
    near = set(g.csc().idx[g.csc().ptr[a] : g.csc().ptr[a + 1]].tolist())
    allowed = [v for v in range(g.num_nodes) if v not in near | {a, int(pos[1, 0])}]
    best = max(allowed, key=lambda v: float(score[v]))
    assert best in out[0, :2, 1].tolist()


def test_hard_negatives_refuse_what_cannot_be():
    d = split()
    pos = d.edge_splits["test"]["edge"]
    with pytest.raises(ValueError, match="`number` must be even, got 3"):
        hard_negatives(d.graph, pos, number=3)
    with pytest.raises(ValueError, match="nodes that are no neighbours"):
        hard_negatives(d.graph, pos, number=400)
    with pytest.raises(ValueError, match="`x` must have a row for each of"):
        hard_negatives(d.graph, pos, torch.rand(3, 2), number=4)
    one_way = gl.Graph(d.edge_splits["train"]["edge"], d.num_nodes)
    for function in (hard_negatives, random_negatives):
        with pytest.raises(ValueError, match="`g` must be undirected"):
            function(one_way, pos, number=4)


def test_second_sight_changes_nothing():
    """The fault of the published generator: a node met again got another ranking."""
    d = split()
    pos = d.edge_splits["test"]["edge"][:, :8]
    once = hard_negatives(d.graph, pos, d.x, number=10)
    twice = hard_negatives(d.graph, torch.cat([pos, pos], 1), d.x, number=10)
    assert np.array_equal(twice[:8].numpy(), once.numpy())
    assert torch.equal(twice[8:], once)


def test_random_negatives_are_uniform_over_what_is_allowed():
    d = split()
    pos = d.edge_splits["test"]["edge"][:, :1]
    known = d.edge_splits["val"]["edge"]
    number = 40_000
    out = random_negatives(d.graph, pos, number=number, known=known)
    assert torch.equal(out, random_negatives(d.graph, pos, number=number, known=known))
    keys = torch.cat([d.graph.edge_index, known, known.flip(0)], 1)
    for side in (0, 1):
        fixed, other = int(pos[side, 0]), int(pos[1 - side, 0])
        part = out[0, side * number // 2 : (side + 1) * number // 2]
        assert (part[:, side] == fixed).all()
        barred = {*keys[1][keys[0] == fixed].tolist(), fixed, other}
        count = torch.bincount(part[:, 1 - side], minlength=d.num_nodes).double()
        allowed = torch.tensor([v not in barred for v in range(d.num_nodes)])
        assert (count[~allowed] == 0).all()
        mean = number / 2 / int(allowed.sum())
        # Chi-square over about 110 cells: mean 110, deviation 15; beyond 240 by chance in
        # less than one run in 10^10.
        assert ((count[allowed] - mean) ** 2 / mean).sum() < 240
