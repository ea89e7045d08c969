"""GraphBolt and MAG240M folders become stores; batches become DGL blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

import graphlab as gl
from graphlab.errors import StoreError
from graphlab.outofcore import Store


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    edges = generator.integers(0, 50, (2, 300))
    x = generator.standard_normal((50, 7)).astype(np.float32)
    np.save(tmp_path / "edges.npy", edges)
    np.savetxt(tmp_path / "edges.csv", edges.T, "%d", ",")
    np.save(tmp_path / "x.npy", x)
    torch.save(torch.from_numpy(x), tmp_path / "x.pt")
    train, labels = np.arange(0, 30, 2), generator.integers(0, 4, 15)
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "train_y.npy", labels)
    torch.save(torch.tensor([1, 3]), tmp_path / "test.pt")
    torch.save(torch.tensor([2, 0]), tmp_path / "test_y.pt")
    return tmp_path, edges, x, train, labels


def describe(path, **changes):
    def entry(name, file):
        kind = "torch" if file.endswith(".pt") else "numpy"
        return {"name": name, "format": kind, "path": file}

    text = {
        "dataset_name": "toy",
        "graph": {
            "nodes": [{"num": 50}],
            "edges": [{"format": "numpy", "path": "edges.npy"}],
        },
        "feature_data": [
            {"domain": "edge", **entry("weight", "x.npy")},
            {"domain": "node", **entry("feat", "x.npy")},
        ],
        "tasks": [
            {
                "name": "node_classification",
                "num_classes": 4,
                "train_set": [
                    {
                        "data": [
                            entry("seeds", "train.npy"),
                            entry("labels", "train_y.npy"),
                        ]
                    }
                ],
                "test_set": [
                    {"data": [entry("seeds", "test.pt"), entry("labels", "test_y.pt")]}
                ],
            }
        ],
        **changes,
    }
    (path / "metadata.yaml").write_text(yaml.safe_dump(text))
    return text


@pytest.mark.parametrize("edge_format", ["numpy", "csv"])
@pytest.mark.parametrize("feature_format", ["numpy", "torch"])
def test_a_graphbolt_folder_becomes_a_store(
    folder, edge_format, feature_format, capsys
):
    path, edges, x, train, labels = folder
    name = "edges.npy" if edge_format == "numpy" else "edges.csv"
    file = "x.npy" if feature_format == "numpy" else "x.pt"
    features = {
        "domain": "node",
        "name": "feat",
        "format": feature_format,
        "path": file,
    }
    other = {"domain": "edge", "name": "weight", "format": "numpy", "path": "x.npy"}
    describe(
        path,
        graph={
            "nodes": [{"num": 50}],
            "edges": [{"format": edge_format, "path": name}],
        },
        feature_data=[other, features],
    )
    store = Store.convert(path, path / "store", memory="64MiB")
    assert "not converted: edge/weight" in capsys.readouterr().err
    d = store.dataset()
    assert torch.equal(d.graph.edge_index, torch.from_numpy(edges))
    assert torch.equal(store.columns["x"].gather(torch.arange(50)), torch.from_numpy(x))
    assert torch.equal(d.ids("train"), torch.from_numpy(train))
    assert d.y[train].tolist() == labels.tolist()
    assert d.y[[1, 3]].tolist() == [2, 0]
    assert int(d.y[49]) == -1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"graph": {"nodes": []}}, StoreError, "graph.nodes and graph.edges"),
        (
            {"graph": {"nodes": [{"type": "a"}, {"type": "b"}], "edges": [{}]}},
            ValueError,
            r"one node type, got \['a', 'b'\]",
        ),
        (
            {
                "graph": {
                    "nodes": [{"num": 50}],
                    "edges": [{"format": "numpy", "path": "gone.npy"}],
                }
            },
            StoreError,
            "gone.npy: expected a file",
        ),
    ],
)
def test_wrong_folders(folder, change, error, message):
    path = folder[0]
    describe(path, **change)
    with pytest.raises(error, match=message):
        Store.convert(path, path / "store")


def test_mag240m_is_papers_and_citations(tmp_path):
    papers = tmp_path / "processed" / "paper"
    cites = tmp_path / "processed" / "paper___cites___paper"
    papers.mkdir(parents=True)
    cites.mkdir()
    x = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float16)
    edges = np.random.default_rng(1).integers(0, 20, (2, 60))
    label = np.full(20, np.nan, np.float32)
    label[:5] = [3, 1, 0, 2, 2]
    np.save(papers / "node_feat.npy", x)
    np.save(papers / "node_label.npy", label)
    np.save(cites / "edge_index.npy", edges)
    torch.save(
        {"train": np.arange(3), "valid": np.array([3, 4])}, tmp_path / "split_dict.pt"
    )
    store = Store.convert(tmp_path, tmp_path / "store", memory="64MiB")
    d = store.dataset()
    assert (d.num_nodes, d.num_edges) == (20, 120)
    assert d.graph.is_undirected()
    assert d.y.tolist() == [3, 1, 0, 2, 2] + [-1] * 15
    assert d.ids("val").tolist() == [3, 4]
    got = store.columns["x"].gather(torch.arange(20))
    assert torch.equal(got, torch.from_numpy(x))


def test_pyg_reads_a_store_through_its_own_loader(tmp_path):
    from torch_geometric.data.feature_store import TensorAttr

    edge_index = torch.randint(40, (2, 200), generator=torch.Generator().manual_seed(0))
    d = gl.Dataset(gl.Graph(edge_index, 40), x=torch.randn(40, 3), y=torch.arange(40))
    store = Store.convert(d, tmp_path / "s")
    features, graph = store.to_pyg_stores()
    assert {a.attr_name for a in features.get_all_tensor_attrs()} == {"x", "y"}
    attr = TensorAttr("node", "x", index=torch.tensor([5, 2]))
    assert torch.equal(features.get_tensor(attr), d.x[[5, 2]])
    assert features.get_tensor_size(TensorAttr("node", "x")) == (40, 3)
    assert torch.equal(features["node", "y", None], d.y)
    (found,) = graph.get_all_edge_attrs()
    row, ptr = graph.get_edge_index(found)
    col = torch.repeat_interleave(torch.arange(40), ptr.diff())
    ours = torch.stack([row, col])
    assert ours.shape == edge_index.shape
    assert torch.equal(ours.unique(dim=1), edge_index.unique(dim=1))
    with pytest.raises(ValueError, match="be writable, got a store"):
        features.put_tensor(d.x, group_name="node", attr_name="z", index=None)


def test_batches_become_blocks(tmp_path):
    dgl = pytest.importorskip("dgl", reason="DGL is not installed")
    from graphlab.interop.dgl import batch_to_blocks
    from graphlab.sample import NeighborLoader

    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(60, (2, 400), generator=generator)
    d = gl.Dataset(gl.Graph(edge_index, 60), x=torch.randn(60, 5), y=torch.arange(60))
    batch = next(iter(NeighborLoader(d, [3, 2], 8)))
    blocks = batch_to_blocks(batch)
    assert [b.num_dst_nodes() for b in blocks] == [
        sum(batch.num_sampled_nodes[:2]),
        batch.num_sampled_nodes[0],
    ]
    assert torch.equal(blocks[0].srcdata["feat"], batch.x)
    assert torch.equal(blocks[-1].dstdata["label"], batch.y[:8])
    assert torch.equal(blocks[0].srcdata[dgl.NID], batch.n_id)
    h = batch.x
    for block in blocks:
        block.srcdata["h"] = h
        block.update_all(dgl.function.copy_u("h", "m"), dgl.function.sum("m", "h"))
        h = block.dstdata["h"]
    reference = batch.x
    source, target = batch.edge_index
    for hop in (2, 1):
        used = sum(batch.num_sampled_edges[:hop])
        out = torch.zeros(sum(batch.num_sampled_nodes[:hop]), 5)
        out.index_add_(0, target[:used], reference[source[:used]])
        reference = out
    torch.testing.assert_close(h, reference)


def test_blocks_need_counts_by_hop():
    from graphlab.interop.dgl import batch_to_blocks

    with pytest.raises(TypeError, match="num_sampled_nodes"):
        batch_to_blocks(object())
