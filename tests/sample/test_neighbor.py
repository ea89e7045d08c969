from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.datasets import Dataset
from graphlab.graph import Graph
from graphlab.sample import NeighborLoader, NeighborSampler, to_data

NODES = 200


@pytest.fixture(scope="module")
def dataset():
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, NODES, (2, 1500), generator=generator)
    runs = torch.zeros(NODES, 2, dtype=torch.bool)
    runs[:20, 0] = runs[20:40, 1] = True
    return Dataset(
        Graph(
            edges, num_nodes=NODES, edge_weight=torch.rand(1500, generator=generator)
        ),
        x=torch.randn(NODES, 6, generator=generator),
        y=torch.randint(0, 3, (NODES,), generator=generator),
        columns={"emb": torch.randn(NODES, 2, generator=generator)},
        edge_attr=torch.randn(1500, 3, generator=generator),
        splits={"train": runs},
    )


def n_ids(loader):
    return [batch.n_id.tolist() for batch in loader]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_threads_change_nothing(dataset, num_threads, prefetch):
    plain = NeighborLoader(dataset, [3, 2], 32, prefetch=0)
    other = NeighborLoader(
        dataset, [3, 2], 32, prefetch=prefetch, num_threads=num_threads
    )
    for _ in range(2):
        assert n_ids(plain) == n_ids(other)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_the_global_list(dataset, world_size, drop_last):
    options = {"batch_size": 30, "drop_last": drop_last, "seed": 5}
    whole = n_ids(NeighborLoader(dataset, [3], **options))
    assert len(whole) == (6 if drop_last else 7)
    loaders = [
        NeighborLoader(dataset, [3], rank=r, world_size=world_size, **options)
        for r in range(world_size)
    ]
    parts = [n_ids(loader) for loader in loaders]
    assert [len(p) for p in parts] == [len(loader) for loader in loaders]
    if drop_last:
        even = len(whole) // world_size
        assert [len(p) for p in parts] == [even] * world_size
        whole = whole[: even * world_size]
    for rank, part in enumerate(parts):
        assert part == whole[rank::world_size]


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_resume_with_another_number_of_ranks(dataset, before, after):
    def loaders(world_size):
        return [
            NeighborLoader(dataset, [3], 16, rank=r, world_size=world_size)
            for r in range(world_size)
        ]

    whole = n_ids(NeighborLoader(dataset, [3], 16))
    states = []
    for loader in loaders(before):
        iterator = iter(loader)
        next(iterator), next(iterator)
        states.append(loader.state_dict())
    assert all(state == states[0] for state in states)
    rest = []
    for loader in loaders(after):
        loader.load_state_dict(states[0])
        rest += n_ids(loader)
        assert loader.state_dict()["epoch"] == 1
    assert sorted(rest) == sorted(whole[2 * before :])


def test_a_rank_without_batches(dataset):
    loader = NeighborLoader(
        dataset, [3], 10, input_nodes=range(10), rank=1, world_size=2
    )
    assert len(loader) == 0
    assert list(loader) == []
    assert loader.state_dict()["epoch"] == 1


def test_batch_reads_any_batch_and_moves_nothing(dataset):
    loader = NeighborLoader(dataset, [3, 2], 32)
    batches = [list(loader), list(loader)]
    for epoch in (0, 1):
        for number in (0, 3):
            single = loader.batch(epoch, number)
            assert torch.equal(single.n_id, batches[epoch][number].n_id)
    assert loader.state_dict()["epoch"] == 2
    with pytest.raises(IndexError, match=r"`number` must be in \[0, 7\), got 7"):
        loader.batch(0, 7)


def test_columns_and_edge_columns(dataset):
    batch = next(iter(NeighborLoader(dataset, [3], 32)))
    assert torch.equal(batch.emb, dataset["emb"][batch.n_id])
    assert torch.equal(batch.edge_attr, dataset.edge_attr[batch.e_id])
    assert torch.equal(batch.edge_weight, dataset.graph.edge_weight[batch.e_id])
    assert "train_mask" not in batch
    loader = NeighborLoader(dataset, [3], 32, columns=["emb", "train_mask"])
    batch = next(iter(loader))
    assert "x" not in batch
    assert "y" not in batch
    assert batch.num_nodes == len(batch.n_id)
    assert torch.equal(batch.train_mask, dataset.train_mask[batch.n_id])
    assert loader.stats()["useful_bytes"] == len(batch.n_id) * (8 + 2) + len(
        batch.e_id
    ) * (12 + 4)


def test_to_data_takes_rows_read_elsewhere(dataset):
    sample = NeighborSampler(dataset.graph, [3]).sample(
        torch.tensor([4, 9]), epoch=0, batch=0
    )
    rows = torch.rand(len(sample.n_id), 6)
    data = to_data(
        sample,
        dataset,
        input_id=torch.tensor([7, 8]),
        batch_size=2,
        x=rows,
        columns=["y"],
    )
    assert data.x is rows
    assert data.input_id.tolist() == [7, 8]
    assert torch.equal(data.y, dataset.y[sample.n_id])


def test_inputs_as_ids_mask_name_and_none(dataset):
    mask = dataset.mask("train", 1)
    ids = torch.arange(20, 40)
    as_ids = n_ids(NeighborLoader(dataset, [2], 8, input_nodes=ids))
    for same in (mask, ids.tolist(), ids.numpy(), ids.int(), range(20, 40)):
        assert n_ids(NeighborLoader(dataset, [2], 8, input_nodes=same)) == as_ids
    single = Dataset(dataset.graph, splits={"train": ids})
    assert n_ids(NeighborLoader(single, [2], 8, input_nodes="train")) == as_ids
    assert len(NeighborLoader(dataset, [2], 8).input_nodes) == NODES


def test_disjoint_batches_hold_one_tree_per_seed(dataset):
    loader = NeighborLoader(
        dataset, [3, 2], 4, input_nodes=[5, 5, 6, 7], disjoint=True, shuffle=False
    )
    batch = next(iter(loader))
    assert batch.n_id[:4].tolist() == [5, 5, 6, 7]
    assert batch.batch[:4].tolist() == [0, 1, 2, 3]
    source, target = batch.edge_index
    assert torch.equal(batch.batch[source], batch.batch[target])


def test_transform_runs_on_every_batch(dataset):
    def transform(data):
        data.size_before = data.num_nodes
        return data

    for batch in NeighborLoader(dataset, [2], 64, transform=transform):
        assert batch.size_before == len(batch.n_id)


def test_an_error_in_a_transform_reaches_the_caller(dataset):
    def transform(data):
        raise ZeroDivisionError("in transform")

    loader = NeighborLoader(dataset, [2], 64, transform=transform)
    with pytest.raises(ZeroDivisionError, match="in transform"):
        list(loader)


def test_weighted_sampler_uses_the_weights_of_edges():
    # All edges end at node 0; ids are not in CSC order, only one edge has weight.
    edges = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]]).flip(1)
    graph = Graph(edges, num_nodes=4, edge_weight=torch.tensor([1.0, 0.0, 5.0, 0.0]))
    for replace in (False, True):
        sampler = NeighborSampler(graph, [2], weighted=True, replace=replace)
        sample = sampler.sample(torch.tensor([0]), epoch=0, batch=0)
        assert set(sample.n_id.tolist()) == {0, 2}
        assert set(sample.e_id.tolist()) == {2}
        assert sampler.nbytes == 32


def test_labor_keeps_fewer_nodes_than_uniform(dataset):
    def nodes(method):
        loader = NeighborLoader(dataset, [4, 4], NODES, method=method, shuffle=False)
        return sum(len(b.e_id) for b in loader), loader

    uniform, _ = nodes("uniform")
    labor, loader = nodes("labor")
    assert labor != uniform
    assert n_ids(loader) != []


def test_samples_are_those_of_the_op(dataset):
    seeds = torch.tensor([3, 1, 4])
    ptr, idx, edge_id = dataset.graph.csc()
    key = ops.rng.key(9, 2, 5)
    expected = ops.neighbor_sample(ptr, idx, seeds, [3, -1], edge_id=edge_id, key=key)
    sampler = NeighborSampler(dataset.graph, [3, -1], seed=9)
    sample = sampler.sample(seeds, epoch=2, batch=5)
    assert torch.equal(sample.n_id, expected.n_id)
    assert torch.equal(sample.e_id, expected.e_id)


def test_equals_pygs_loader_on_full_neighbourhoods(dataset):
    # With -1 nothing is drawn: the fields must be PyG's, were its sampler installed; here
    # against the k-hop subgraph that it is made of.
    from torch_geometric.utils import k_hop_subgraph

    batch = next(
        iter(NeighborLoader(dataset, [-1, -1], 3, input_nodes=[8, 2, 5], shuffle=False))
    )
    nodes, _, _, edge_mask = k_hop_subgraph(
        [8, 2, 5], 2, dataset.graph.edge_index, num_nodes=NODES, directed=True
    )
    assert sorted(batch.n_id.tolist()) == sorted(nodes.tolist())
    assert sorted(batch.e_id.tolist()) == edge_mask.nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_neighbors": 5}, TypeError, "`num_neighbors` must be a list"),
        ({"num_neighbors": []}, ValueError, "must name at least one hop"),
        ({"num_neighbors": [-2]}, ValueError, "`num_neighbors` must be at least -1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
        ({"input_nodes": []}, ValueError, "must hold at least one node, got none"),
        ({"input_nodes": [NODES]}, IndexError, r"must be in \[0, 200\), got 200"),
        ({"input_nodes": [1, 2, 1]}, ValueError, "hold each node once, got node 1"),
        (
            {"input_nodes": torch.ones(3, dtype=torch.bool)},
            ValueError,
            r"must have one entry per node \(200\) as a mask, got 3",
        ),
        ({"input_nodes": [0.5]}, TypeError, "must be bool or int32 or int64"),
        ({"input_nodes": "tain"}, ValueError, "one of 'train', 'val', 'test'"),
        ({"input_nodes": "train"}, ValueError, r"pass d.mask\('train', run\)"),
        ({"columns": ["emd"]}, ValueError, "`columns` must be one of 'x', 'emb'"),
        ({"columns": "x"}, TypeError, "`columns` must be a list of names"),
        ({"method": "gns"}, ValueError, "`method` must be one of 'uniform', 'labor'"),
        (
            {"method": "labor", "replace": True},
            ValueError,
            "`replace` must be False with method='labor'",
        ),
        ({"rank": 0}, ValueError, "`world_size` must be given with its pair"),
        ({"world_size": 2}, ValueError, "`rank` must be given with its pair"),
        ({"rank": 2, "world_size": 2}, ValueError, "must be below world_size = 2"),
        ({"prefetch": -1}, ValueError, "`prefetch` must be at least 0"),
        ({"num_threads": 0}, ValueError, "`num_threads` must be at least 1"),
    ],
)
def test_bad_arguments(dataset, arguments, error, match):
    with pytest.raises(error, match=f"Neighbor(Loader|Sampler): .*{match}"):
        NeighborLoader(dataset, **{"num_neighbors": [2], **arguments})


def test_other_bad_input(dataset):
    with pytest.raises(TypeError, match="must be a graphlab Dataset, a PyG Data"):
        NeighborLoader([1, 2], [2])
    plain = Dataset(Graph(torch.tensor([[0], [1]])))
    with pytest.raises(ValueError, match="`weighted` must be False on a graph without"):
        NeighborLoader(plain, [2], weighted=True)
    loader = NeighborLoader(dataset, [2])
    with pytest.raises(ValueError, match="set_epoch: `epoch` must be at least 0"):
        loader.set_epoch(-1)
    with pytest.raises(ValueError, match=r"num_neighbors = \[2\], got None"):
        loader.load_state_dict(
            {
                "seed": 0,
                **{
                    k: v for k, v in loader.state_dict().items() if k != "num_neighbors"
                },
            }
        )


def test_a_pyg_data_and_a_dgl_graph_go_straight_in(dataset):
    dgl = pytest.importorskip("dgl")
    from torch_geometric.data import Data

    edges = dataset.graph.edge_index
    data = Data(x=dataset.x, y=dataset.y, edge_index=edges)
    graph = dgl.graph((edges[0], edges[1]), num_nodes=NODES)
    graph.ndata["x"], graph.ndata["y"] = dataset.x, dataset.y
    expected = n_ids(NeighborLoader(dataset, [3, 2], 64))
    for given in (data, graph):
        batch = next(iter(NeighborLoader(given, [3, 2], 64)))
        assert batch.n_id.tolist() == expected[0]
        assert torch.equal(batch.x, dataset.x[batch.n_id])
        assert torch.equal(batch.y, dataset.y[batch.n_id])
