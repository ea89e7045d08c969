from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from graphlab.evaluate import clustering_scores, modularity
from graphlab.graph import Graph

vectors = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30
)


@given(vectors)
def test_accuracy_is_the_best_over_all_matchings(pairs):
    y, found = (torch.tensor(v) for v in zip(*pairs, strict=True))
    classes, clusters = y.unique().tolist(), found.unique().tolist()
    padded = [*clusters, *[-1] * (len(classes) - len(clusters))]
    best = max(
        sum(
            int(((y == c) & (found == k)).sum())
            for c, k in zip(classes, order, strict=False)
        )
        for order in itertools.permutations(padded)
    )
    scores = clustering_scores(y, found)
    assert scores["accuracy"] == pytest.approx(best / len(y))
    again = clustering_scores(y, found * 7 + 3)
    assert scores == pytest.approx(again)


def test_known_values():
    y = torch.tensor([0, 0, 0, 1, 1, 2])
    perfect = clustering_scores(y, torch.tensor([5, 5, 5, 0, 0, 9]))
    assert perfect == dict.fromkeys(("accuracy", "nmi", "ari", "f1_macro"), 1.0)
    # One cluster: class 0 is found with recall 1, the others never.
    one = clustering_scores(y, torch.zeros(6, dtype=torch.int64))
    assert one["accuracy"] == 0.5
    assert one["nmi"] == one["ari"] == 0.0
    assert one["f1_macro"] == pytest.approx((2 * 3 / 9) / 3)
    # A cluster too many: its nodes are wrong.
    more = clustering_scores(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]))
    assert more["accuracy"] == pytest.approx(2 / 3)
    assert more["f1_macro"] == pytest.approx((2 / 3 + 1) / 2)


def test_modularity_equals_networkx():
    networkx = pytest.importorskip("networkx")
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(20, (2, 60), generator=generator)
    graph = Graph(edges, 20).without_self_loops().to_undirected()
    clusters = torch.randint(4, (20,), generator=generator)
    groups = [set((clusters == c).nonzero()[:, 0].tolist()) for c in range(4)]
    expected = networkx.community.modularity(graph.to_networkx(), groups)
    assert modularity(graph, clusters) == pytest.approx(expected)
    assert modularity(Graph(edges[:, :0], 20), clusters) == 0.0
    assert modularity(graph, torch.zeros(20, dtype=torch.int64)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("y", "clusters", "error", "message"),
    [
        (torch.ones(3), torch.ones(3).long(), TypeError, "`y` must hold integers"),
        (
            torch.ones(3).long(),
            torch.ones(2).long(),
            ValueError,
            r"length of `y` \(3\)",
        ),
        (torch.ones(0).long(), torch.ones(0).long(), ValueError, "at least one node"),
        ([0], torch.ones(1).long(), TypeError, "`y` must be a tensor, got list"),
    ],
)
def test_errors_name_the_argument(y, clusters, error, message):
    with pytest.raises(error, match=message):
        clustering_scores(y, clusters)
