from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from graphlab.datasets import Dataset
from graphlab.graph import Graph
from graphlab.sample import LinkNeighborLoader, NonEdges
from graphlab.sample.negative import bounded

NODES, PAIRS = 80, 70


@pytest.fixture(scope="module")
def dataset():
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, NODES, (2, 600), generator=generator)
    return Dataset(
        Graph(edges, num_nodes=NODES), x=torch.randn(NODES, 4, generator=generator)
    )


@pytest.fixture(scope="module")
def pairs():
    return torch.randint(
        0, NODES, (2, PAIRS), generator=torch.Generator().manual_seed(1)
    )


def codes(edge_index):
    return set((edge_index[0] * NODES + edge_index[1]).tolist())


def ends(batch):
    return batch.n_id[batch.edge_label_index]


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("ratio", [0.0, 1.0, 2.5])
def test_fields_agree_with_the_pairs(dataset, pairs, disjoint, ratio):
    loader = LinkNeighborLoader(
        dataset,
        [3, 2],
        pairs,
        batch_size=16,
        neg_sampling_ratio=ratio,
        disjoint=disjoint,
    )
    seen = []
    for batch in loader:
        positives = len(batch.input_id)
        total = positives + math.ceil(positives * ratio)
        assert batch.batch_size == positives
        assert batch.edge_label_index.shape == (2, total)
        assert torch.equal(ends(batch)[:, :positives], pairs[:, batch.input_id])
        if ratio:
            expected = [1.0] * positives + [0.0] * (total - positives)
            assert batch.edge_label.tolist() == expected
        else:
            assert "edge_label" not in batch
        seeds = batch.num_sampled_nodes[0]
        assert torch.equal(batch.x, dataset.x[batch.n_id])
        assert torch.equal(
            dataset.graph.edge_index[:, batch.e_id], batch.n_id[batch.edge_index]
        )
        if disjoint:
            assert seeds == 2 * total
            assert batch.batch[:seeds].tolist() == [*range(total), *range(total)]
        else:
            assert torch.equal(batch.n_id[:seeds], ends(batch).unique())
        seen += batch.input_id.tolist()
    assert sorted(seen) == list(range(PAIRS))


def test_negatives_are_never_positive_and_follow_their_key(dataset, pairs):
    def negatives(**arguments):
        loader = LinkNeighborLoader(
            dataset, [1], pairs, batch_size=16, neg_sampling_ratio=4, **arguments
        )
        return [
            ends(batch)[:, len(batch.input_id) :] for _ in range(2) for batch in loader
        ]

    drawn = negatives()
    taken = codes(dataset.graph.edge_index) | codes(pairs)
    for part in drawn:
        assert codes(part).isdisjoint(taken)
        assert bool((part[0] != part[1]).all())
    assert len({tuple(part.flatten().tolist()) for part in drawn}) == len(drawn)
    for arguments in ({"prefetch": 0}, {"num_threads": 3}):
        again = negatives(**arguments)
        assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not torch.equal(negatives(seed=1)[0], drawn[0])


def test_negatives_avoid_reversed_pairs_of_undirected_graphs():
    graph = Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])).to_undirected()
    held_out = torch.tensor([[0], [2]])
    drawn = NonEdges(graph, held_out).draw(200, stream=1)
    assert codes(drawn) == {1 * NODES + 3, 3 * NODES + 1}


def test_negatives_of_an_almost_complete_graph():
    size = 40
    full = torch.cartesian_prod(torch.arange(size), torch.arange(size)).t()
    free = (full[0] == 7) & (full[1] == 31)
    non_edges = NonEdges(Graph(full[:, ~free], num_nodes=size))
    assert non_edges.count == 1
    assert non_edges.draw(5, stream=3).tolist() == [[7] * 5, [31] * 5]
    with pytest.raises(ValueError, match="leave a pair of nodes unjoined to draw"):
        NonEdges(Graph(full, num_nodes=size))


def test_negatives_are_uniform_over_free_pairs():
    # Chi-square at a false-alarm rate of 1e-6.
    edges = torch.tensor([[0, 1, 5, 5, 9], [1, 0, 5, 2, 8]])
    graph = Graph(edges, num_nodes=10)
    non_edges = NonEdges(graph)
    drawn = non_edges.draw(86 * 500, stream=11)
    count = torch.bincount(drawn[0] * 10 + drawn[1], minlength=100)
    assert non_edges.count == 86
    assert int((count > 0).sum()) == 86
    assert stats.chisquare(count[count > 0].numpy()).pvalue > 1e-6


def test_bounded_redraws_what_would_bias():
    # An eighth of all draws fall in the incomplete repetition of this range.
    limit = 2**63 - 2**60
    drawn = bounded(5, 20_000, limit)
    assert 0 <= drawn.min() <= drawn.max() < limit
    # Kolmogorov-Smirnov at a false-alarm rate of 1e-6.
    assert stats.kstest(drawn / np.float64(limit), "uniform").pvalue > 1e-6


def test_labels(dataset, pairs):
    labels = torch.arange(PAIRS) % 3
    loader = LinkNeighborLoader(dataset, [1], pairs, labels)
    batch = next(iter(loader))
    assert torch.equal(batch.edge_label, labels[batch.input_id])
    loader = LinkNeighborLoader(dataset, [1], pairs, labels, neg_sampling_ratio=1)
    batch = next(iter(loader))
    assert torch.equal(batch.edge_label[:PAIRS], labels[batch.input_id] + 1)
    assert batch.edge_label[PAIRS:].tolist() == [0] * PAIRS
    loader = LinkNeighborLoader(dataset, [1], pairs, labels + 5, neg_sampling_ratio=1)
    batch = next(iter(loader))
    assert torch.equal(batch.edge_label[:PAIRS], labels[batch.input_id] + 5)


def test_the_graphs_own_edges_by_default(dataset):
    batch = next(iter(LinkNeighborLoader(dataset, [1], shuffle=False, batch_size=8)))
    assert torch.equal(ends(batch), dataset.graph.edge_index[:, :8])


def test_ranks_and_resume(dataset, pairs):
    def inputs(**arguments):
        return LinkNeighborLoader(
            dataset, [1], pairs, batch_size=10, neg_sampling_ratio=1, **arguments
        )

    whole = [b.edge_label_index.tolist() for b in inputs()]
    for rank in (0, 1):
        part = [b.edge_label_index.tolist() for b in inputs(rank=rank, world_size=2)]
        assert part == whole[rank::2]
    loader = inputs()
    iterator = iter(loader)
    next(iterator), next(iterator)
    resumed = inputs()
    resumed.load_state_dict(loader.state_dict())
    assert [b.edge_label_index.tolist() for b in resumed] == whole[2:]
    assert loader.stats()["peak_memory_bytes"] > loader.negatives.nbytes


def test_transform(dataset, pairs):
    def transform(data):
        data.pairs = data.edge_label_index.shape[1]
        return data

    assert next(
        iter(LinkNeighborLoader(dataset, [1], pairs, transform=transform))
    ).pairs


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"edge_label_index": torch.zeros(3, 2).long()}, ValueError, r"\[2, pairs\]"),
        ({"edge_label_index": torch.zeros(2, 2)}, TypeError, "must be int32 or int64"),
        (
            {"edge_label_index": [[0], [80]]},
            IndexError,
            r"must be in \[0, 80\), got 80",
        ),
        (
            {"edge_label_index": torch.zeros(2, 0).long()},
            ValueError,
            "at least one pair",
        ),
        ({"edge_label": torch.ones(3)}, ValueError, r"one entry per pair \(600\)"),
        (
            {"neg_sampling_ratio": -1.0},
            ValueError,
            "be a number of at least 0, got -1.0",
        ),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
    ],
)
def test_bad_arguments(dataset, arguments, error, match):
    with pytest.raises(error, match=f"LinkNeighborLoader: .*{match}"):
        LinkNeighborLoader(dataset, [2], **arguments)
