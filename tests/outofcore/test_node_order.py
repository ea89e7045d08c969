"""Order "packed": the same batches but for the order of nodes inside a hop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import trim_to_layer

from graphlab.outofcore import Belady, Static, layout, plan
from graphlab.outofcore.node_order import packed_order, permute
from graphlab.sample import LinkNeighborLoader, NeighborLoader
from tests.outofcore.test_plan import same

SHAPE = {"num_nodes": 1500, "num_edges": 12000, "width": 300}
COUNTS = ("num_sampled_nodes", "num_sampled_edges", "batch_size")


def as_discovered(batch, reference):
    """The batch with its nodes in the order of the reference's."""

    def names(data):
        tree = data.get("batch", torch.zeros_like(data.n_id))
        return zip(data.n_id.tolist(), tree.tolist(), strict=True)

    place = {name: i for i, name in enumerate(names(reference))}
    found = [place[name] for name in names(batch)]
    assert sorted(found) == list(range(len(place)))
    to = torch.tensor(found)
    restored = batch.clone()
    for name, value in batch.items():
        if torch.is_tensor(value) and batch.is_node_attr(name):
            restored[name] = torch.empty_like(value)
            restored[name][to] = value
    edge_index = to[batch.edge_index]
    # Edges of a target keep their order.
    order = torch.argsort(edge_index[1], stable=True)
    restored.edge_index, restored.e_id = edge_index[:, order], batch.e_id[order]
    return restored


def is_sorted(values) -> bool:
    return bool((np.diff(values) >= 0).all())


@pytest.mark.parametrize("mode", ["replay", "hybrid", "rolling"])
@pytest.mark.parametrize("policy", [Belady(0.3), Static()], ids=repr)
def test_batches_are_equal_up_to_order(make_store, tmp_path, mode, policy):
    dataset, store = make_store(**SHAPE)
    given = {"memory": "3MiB", "mode": mode, "policy": policy}
    if mode != "replay":
        given["disk"] = "4500KiB" if mode == "hybrid" else "2500KiB"
    made = plan(
        store, [4, 3], None, 32, node_order="packed", path=tmp_path / "p", **given
    )
    assert made.mode == mode
    assert made.node_order == layout.read_manifest(made.path)["node_order"] == "packed"
    assert "nodes in order of copying" in str(made.explain())
    loader, reference = made.loader(), NeighborLoader(dataset, [4, 3], 32)
    differ = 0
    for batch, expected in zip(loader, reference, strict=True):
        assert all(batch[name] == expected[name] for name in COUNTS)
        seeds = batch.batch_size
        assert torch.equal(batch.n_id[:seeds], expected.n_id[:seeds])
        # Targets ascend by hop, as trim_to_layer wants them.
        assert is_sorted(batch.edge_index[1].numpy())
        assert same(as_discovered(batch, expected), expected)
        differ += not torch.equal(batch.n_id, expected.n_id)
    assert differ > len(loader) // 2
    stats = loader.stats()
    assert stats["peak_memory_bytes"] <= stats["declared_memory_bytes"]
    loader.close()
    names = {p.name for p in made.path.iterdir()}
    assert "samples-00000.bin" not in names


def test_rows_in_memory_come_first_then_the_pack(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    given = {"memory": "3MiB", "mode": "replay", "policy": Belady(0.3)}
    made = plan(store, [4, 3], None, 32, node_order="packed", path=tmp_path, **given)
    files = made.body["files"]
    read = {}
    for stem in ("ordered-00000", "programme-00000"):
        table = layout.read_index(tmp_path / f"{stem}.idx", files[f"{stem}.idx"])
        data = np.fromfile(tmp_path / f"{stem}.bin", dtype=np.uint8)
        read[stem] = [data[e["offset"] : e["offset"] + e["length"]] for e in table]
    for sample, programme in zip(*read.values(), strict=True):
        record = layout.decode_sample(sample)
        source = layout.decode_programme(programme).source
        ends = np.cumsum(record.nodes)
        for begin, end in itertools.pairwise(ends):
            hop = source[begin:end]
            hits = int((hop >= 0).sum())
            assert (hop[:hits] >= 0).all()
            assert is_sorted(hop[:hits])
            assert is_sorted(-hop[hits:])


def test_pairs(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    pairs = dataset.graph.edge_index[:, ::40].contiguous()
    given = {"batch_size": 24, "edge_label_index": pairs, "neg_sampling_ratio": 1.0}
    made = plan(
        store,
        [3, 2],
        memory="3800KiB",
        mode="replay",
        node_order="packed",
        path=tmp_path / "p",
        **given,
    )
    expected = LinkNeighborLoader(dataset, [3, 2], **given)
    for batch, other in zip(made.loader(), expected, strict=True):
        assert same(as_discovered(batch, other), other)


@pytest.mark.parametrize("disjoint", [False, True])
def test_sparse_rows_trees_and_ranks(make_store, tmp_path, disjoint):
    dataset, store = make_store(sparse=not disjoint, **SHAPE)
    given = {"memory": "3MiB", "mode": "replay", "disjoint": disjoint, "world_size": 2}
    made = plan(
        store, [4, 3], None, 32, node_order="packed", path=tmp_path / "p", **given
    )
    reference = list(NeighborLoader(dataset, [4, 3], 32, disjoint=disjoint))
    for rank in range(2):
        loader = made.loader(rank=rank, world_size=2)
        for batch, expected in zip(loader, reference[rank::2], strict=True):
            assert same(as_discovered(batch, expected), expected)


def test_losses_are_equal(make_store, tmp_path):
    dataset, store = make_store(**SHAPE)
    torch.manual_seed(0)
    layers = [SAGEConv(300, 16), SAGEConv(16, 5)]

    def loss(batch):
        x, edge_index = batch.x, batch.edge_index
        nodes, edges = batch.num_sampled_nodes, batch.num_sampled_edges
        for i, layer in enumerate(layers):
            x, edge_index, _ = trim_to_layer(i, nodes, edges, x, edge_index)
            x = layer(x, edge_index).relu()
        size = batch.batch_size
        return torch.nn.functional.cross_entropy(x[:size], batch.y[:size])

    made = plan(
        store,
        [4, 3],
        None,
        64,
        memory="4MiB",
        mode="replay",
        node_order="packed",
        path=tmp_path / "p",
    )
    pairs = zip(made.loader(), NeighborLoader(dataset, [4, 3], 64), strict=True)
    for batch, expected in pairs:
        torch.testing.assert_close(loss(batch), loss(expected), rtol=1e-5, atol=1e-6)


def test_a_record_and_its_order():
    record = layout.Record(
        n_id=np.array([7, 5, 9, 3, 4, 8], dtype=np.uint32),
        degree=np.array([3, 1, 2, 0], dtype=np.uint8),
        row=np.array([1, 2, 3, 0, 4, 5], dtype=np.uint32),
        e_id=np.arange(6, dtype=np.uint32),
        input_id=np.array([0], dtype=np.uint32),
        tree=np.zeros(0, dtype=np.uint32),
        nodes=[1, 3, 2],
        edges=[3, 3],
    )
    # The seed is missing; of hop 1 the last two are in memory.
    order = packed_order(record, np.array([-2, -1, 6, 2, -3, 1], dtype=np.int32))
    assert order.tolist() == [0, 3, 2, 1, 5, 4]
    to = record._replace(
        **{k: getattr(record, k).copy() for k in ("n_id", "degree", "row", "e_id")}
    )
    permute(record, order, to)
    assert to.n_id.tolist() == [7, 3, 9, 5, 8, 4]
    assert to.degree.tolist() == [3, 0, 2, 1]
    assert to.row.tolist() == [3, 2, 1, 5, 4, 0]
    assert to.e_id.tolist() == [0, 1, 2, 4, 5, 3]


@pytest.mark.parametrize("mode", ["memory", "direct"])
def test_modes_without_packs_refuse(make_store, tmp_path, mode):
    _, store = make_store(**SHAPE)
    with pytest.raises(
        ValueError, match=f"'discovery' in mode '{mode}', which packs no"
    ):
        plan(store, [4], mode=mode, node_order="packed", path=tmp_path / "p")
    with pytest.raises(ValueError, match="`node_order` must be one of"):
        plan(store, [4], node_order="sampled", path=tmp_path / "p")


def test_auto_falls_back_where_nothing_is_packed(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    made = plan(store, [4], memory="64MiB", node_order="packed", path=tmp_path / "p")
    assert (made.mode, made.node_order) == ("memory", "discovery")
    with pytest.raises(ValueError, match="node_order = 'packed'"):
        plan(store, [4], memory="64MiB", path=tmp_path / "p")
