from __future__ import annotations

import pytest
import torch
from torch_geometric.utils import subgraph

from graphlab import models
from graphlab.datasets import Dataset
from graphlab.graph import Graph
from graphlab.sample import ClusterLoader, partition

NODES = 120


@pytest.fixture(scope="module")
def dataset():
    """Four planted blocks of 30: within a block 1500 edges, between blocks 100."""
    generator = torch.Generator().manual_seed(0)
    block = torch.arange(NODES) % 4
    source = torch.randint(0, NODES, (12_000,), generator=generator)
    target = torch.randint(0, NODES, (12_000,), generator=generator)
    inside = block[source] == block[target]
    keep = torch.cat([inside.nonzero()[:1500, 0], (~inside).nonzero()[:100, 0]])
    return Dataset(
        Graph(torch.stack([source[keep], target[keep]]), num_nodes=NODES),
        x=torch.randn(NODES, 5, generator=generator),
        y=block,
        splits={"train": torch.arange(0, NODES, 5)},
    )


def cut(graph, part):
    source, target = graph.edge_index
    return float((part[source] != part[target]).float().mean())


@pytest.mark.parametrize("num_parts", [1, 4, 7, NODES])
@pytest.mark.parametrize("method", ["ldg", "random"])
def test_parts_are_balanced_and_follow_the_seed(dataset, num_parts, method):
    part = partition(dataset.graph, num_parts, method=method, seed=1)
    sizes = torch.bincount(part, minlength=num_parts)
    assert int(sizes.sum()) == NODES
    assert len(sizes) == num_parts
    bound = max(int(NODES / num_parts * 1.05), -(-NODES // num_parts))
    assert int(sizes.max()) <= bound
    assert torch.equal(part, partition(dataset.graph, num_parts, method=method, seed=1))


def test_ldg_finds_the_planted_blocks(dataset):
    ldg = cut(dataset.graph, partition(dataset.graph, 4))
    random = cut(dataset.graph, partition(dataset.graph, 4, method="random"))
    # The blocks themselves cut 100 of 1600 edges, a random partition three quarters.
    assert ldg < 0.25 < 0.7 < random


def test_isolated_nodes_and_components_are_placed():
    graph = Graph(torch.tensor([[0, 1], [1, 0]]), num_nodes=9)
    assert torch.bincount(partition(graph, 3)).tolist() == [3, 3, 3]


@pytest.mark.parametrize("clusters_per_batch", [1, 3])
def test_batches_are_induced_subgraphs(dataset, clusters_per_batch):
    loader = ClusterLoader(dataset, 6, clusters_per_batch, input_nodes="train")
    seen_nodes, seen_inputs = [], []
    inputs = dataset.ids("train")
    for batch in loader:
        size = batch.batch_size
        assert torch.equal(batch.n_id[:size], inputs[batch.input_id])
        assert not set(batch.n_id[size:].tolist()) & set(inputs.tolist())
        assert len(loader.part[batch.n_id].unique()) == clusters_per_batch
        assert torch.equal(batch.x, dataset.x[batch.n_id])
        assert torch.equal(batch.y, dataset.y[batch.n_id])
        assert torch.equal(
            dataset.graph.edge_index[:, batch.e_id], batch.n_id[batch.edge_index]
        )
        expected, _ = subgraph(batch.n_id, dataset.graph.edge_index)
        assert batch.edge_index.shape == expected.shape
        seen_nodes += batch.n_id.tolist()
        seen_inputs += batch.input_id.tolist()
    assert sorted(seen_nodes) == list(range(NODES))
    assert sorted(seen_inputs) == list(range(len(inputs)))


def test_epochs_resume_and_threads(dataset):
    def n_ids(loader):
        return [batch.n_id.tolist() for batch in loader]

    loader = ClusterLoader(dataset, 12, 2)
    first, second = n_ids(loader), n_ids(loader)
    assert len(first) == len(loader) == 6
    assert first != second
    other = ClusterLoader(dataset, 12, 2, num_threads=3)
    iterator = iter(other)
    for _ in range(4):
        next(iterator)
    resumed = ClusterLoader(dataset, 12, 2, prefetch=0)
    resumed.load_state_dict(other.state_dict())
    assert n_ids(resumed) == first[4:]
    assert n_ids(resumed) == second


def test_clusters_without_inputs_are_left_out(dataset):
    part = torch.arange(NODES) // 40
    loader = ClusterLoader(dataset, part=part, input_nodes=[3, 5, 100])
    assert len(loader) == 2
    assert {len(b.n_id) for b in loader} == {40}
    assert sorted(b.batch_size for b in loader) == [1, 2]


def test_a_model_trains_on_batches_without_counts(dataset):
    loader = ClusterLoader(dataset, 6, columns=["x", "y", "train_mask"])
    model = models.GCN(5, 4, 8)
    for batch in loader:
        assert torch.equal(batch.train_mask, dataset.train_mask[batch.n_id])
        assert model(batch.x, batch.edge_index).shape == (batch.num_nodes, 4)
    stats = loader.stats()
    assert stats["hits"] == NODES
    assert stats["useful_bytes"] == NODES * (5 * 4 + 8 + 1)


def test_transform(dataset):
    loader = ClusterLoader(
        dataset, 3, transform=lambda data: data.subgraph(torch.tensor([0]))
    )
    assert {batch.num_nodes for batch in loader} == {1}


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "`num_parts` must be given, got None; or give part="),
        ({"num_parts": 0}, ValueError, "`num_parts` must be at least 1"),
        ({"num_parts": 121}, ValueError, "`num_parts` must be at most num_nodes = 120"),
        ({"num_parts": 3, "method": "metis"}, ValueError, "one of 'ldg', 'random'"),
        ({"part": torch.zeros(3).long()}, ValueError, r"one entry per node \(120\)"),
        ({"part": torch.full((NODES,), -1)}, ValueError, "`part` must not be negative"),
        ({"part": torch.zeros(NODES)}, TypeError, "`part` must be int32 or int64"),
        (
            {"num_parts": 3, "clusters_per_batch": 0},
            ValueError,
            "`clusters_per_batch` must be at least 1",
        ),
    ],
)
def test_bad_arguments(dataset, arguments, error, match):
    with pytest.raises(error, match=match):
        ClusterLoader(dataset, **arguments)
