from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.datasets import SparseColumn
from graphlab.errors import DatasetNotFoundError, StoreError

# name: nodes, stored edges, edges after load, features, classes, runs
PUBLISHED = {
    "acm": (3025, 13128, 26256, 1870, 3, 0),
    "amazon_computers": (13752, 287209, 287209, 767, 10, 0),
    "blogcatalog": (10312, 667966, 667966, 0, 39, 0),
    "chameleon": (2277, 36101, 36101, 2325, 5, 10),
    "chameleon_filtered": (890, 8854, 17708, 2325, 5, 10),
    "chameleon_filtered_directed": (890, 13584, 13584, 2325, 5, 10),
    "citeseer": (3327, 9228, 9228, 3703, 6, 1),
    "citeseer_directed": (3312, 4715, 4715, 3703, 6, 0),
    "coauthor_physics": (34493, 495924, 495924, 8415, 5, 0),
    "cora": (2708, 10556, 10556, 1433, 7, 1),
    "cora_ml": (2995, 8416, 8416, 2879, 7, 0),
    # simple undirected edges twice, plus the self loops
    "cornell": (183, 298, 2 * 277 + 3, 1703, 5, 10),
    "cornell_fixed": (183, 277, 554, 1703, 5, 10),
    "dblp_cluster": (4057, 3528, 7056, 334, 4, 0),
    "minesweeper": (10000, 39402, 78804, 7, 2, 10),
    "musae_facebook": (22470, 171002, 2 * 170823 + 179, 4714, 4, 0),
    "ogbl_ddi": (4267, 1067911, 2135822, 0, 0, 0),
    "ppi": (3890, 76584, 76584, 0, 50, 0),
    "squirrel": (5201, 217073, 217073, 2089, 5, 10),
    "squirrel_filtered": (2223, 46998, 93996, 2089, 5, 10),
    "squirrel_filtered_directed": (2223, 65718, 65718, 2089, 5, 10),
    "texas": (183, 325, 2 * 279 + 16, 1703, 5, 10),
    "usps": (9298, 0, 0, 256, 10, 0),
    "web_notredame": (325729, 1497134, 1497134, 0, 0, 0),
    "wisconsin": (251, 515, 2 * 450 + 16, 1703, 5, 10),
}
DIRECTED = {
    "amazon_computers",
    "chameleon",
    "chameleon_filtered_directed",
    "citeseer_directed",
    "cora_ml",
    "squirrel",
    "squirrel_filtered_directed",
    "web_notredame",
}


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_real_graph_loads(name, real_data):
    nodes, stored, edges, features, classes, runs = PUBLISHED[name]
    d = gl.datasets.load(name, real_data)
    found = (d.num_nodes, d.meta["stored_edges"], d.num_edges, d.num_features)
    assert found == (nodes, stored, edges, features)
    assert (d.num_classes, d.num_runs, d.name) == (classes, runs, name)
    assert d.meta["directed"] == (name in DIRECTED)
    assert d.meta["directed"] != d.graph.is_undirected()
    assert d.meta["symmetrised"] == (edges != stored)
    d.validate()


@pytest.mark.data
def test_the_folder_holds_no_other_graphs(real_data):
    assert [entry.name for entry in gl.datasets.list(real_data)] == sorted(PUBLISHED)


@pytest.mark.data
def test_sparse_features_stay_sparse(real_data):
    d = gl.datasets.load("coauthor_physics", real_data)
    assert isinstance(d.x, SparseColumn)
    assert d.x.idx.dtype == np.uint16
    assert d.nbytes < 20e6 < d.x.dense_nbytes
    row = d.x.gather(torch.tensor([17]))[0]
    with np.load(real_data / "coauthor_physics.npz") as file:
        start, end = file["x_indptr"][17:19]
        assert row.nonzero()[:, 0].tolist() == sorted(file["x_indices"][start:end])
        assert row.sum() == file["x_data"][start:end].sum()


@pytest.mark.data
def test_geom_splits_by_option(real_data):
    public = gl.datasets.load("cora", real_data)
    assert [int(public.mask(s).sum()) for s in ("train", "val", "test")] == [
        140,
        500,
        1000,
    ]
    geom = gl.datasets.load("cora", real_data, splits="geom")
    assert geom.num_runs == 10
    assert geom.meta["splits"] == "geom"
    message = r"be None or one of \['geom'\], got 'dev' for 'cora'"
    with pytest.raises(ValueError, match=message):
        gl.datasets.load("cora", real_data, splits="dev")


@pytest.mark.data
def test_direction_by_option(real_data):
    stored = gl.datasets.load("texas", real_data, undirected=False)
    assert stored.num_edges == 325
    assert stored.meta["directed"]
    both = gl.datasets.load("cora_ml", real_data, undirected=True)
    assert both.num_edges == 2 * 8158
    assert both.meta["symmetrised"]


@pytest.mark.data
def test_ddi_keeps_its_pairs(real_data):
    d = gl.datasets.load("ogbl-ddi", real_data)
    shapes = {
        s: {k: v.shape[1] for k, v in p.items()} for s, p in d.edge_splits.items()
    }
    assert shapes == {
        "train": {"edge": 1067911},
        "val": {"edge": 133489, "edge_neg": 101882},
        "test": {"edge": 133489, "edge_neg": 95599},
    }
    assert d.edge_splits["test"]["edge"].dtype == torch.int64


def write(folder, name="ring", **members):
    arrays = {"edge_index": np.array([[0, 1, 2], [1, 2, 0]], np.int32), **members}
    np.savez(folder / f"{name}.npz", **arrays)


def test_a_file_of_ones_own(tmp_path):
    write(
        tmp_path,
        num_nodes=4,
        x=np.ones((4, 2), np.float16),
        age=np.arange(4),
        edge_weight=np.arange(3.0),
        train_mask=np.array([1, 0, 0, 0], bool),
        meta=json.dumps({"directed": False, "note": "made up"}),
    )
    d = gl.datasets.load("Ring", tmp_path)
    assert d.num_edges == 6
    assert d.x.dtype == torch.float32
    assert d["age"].tolist() == [0, 1, 2, 3]
    assert d.graph.edge_weight.tolist() == [0, 2, 0, 1, 2, 1]
    assert d.meta["note"] == "made up"
    assert gl.datasets.load(tmp_path / "ring.npz").num_nodes == 4
    assert gl.datasets.load(str(tmp_path / "ring.npz")).num_nodes == 4
    write(tmp_path, "my_Big_one")
    assert gl.datasets.load("my-Big-one", tmp_path).name == "my_Big_one"


def test_direction_is_found_where_it_is_not_stated(tmp_path):
    write(tmp_path)
    assert gl.datasets.load("ring", tmp_path).meta["directed"]
    edges = np.array([[0, 1], [1, 0]])
    write(tmp_path, "both", edge_index=edges)
    assert not gl.datasets.load("both", tmp_path).meta["directed"]


def test_saved_datasets_load_by_name(tmp_path):
    write(tmp_path, x=np.eye(3, dtype=np.float32))
    gl.datasets.load("ring", tmp_path).save(tmp_path / "stored")
    d = gl.datasets.load("stored", tmp_path)
    assert torch.equal(d.x.gather(torch.arange(3)), torch.eye(3))
    assert gl.datasets.load(tmp_path / "stored").num_edges == 3
    assert gl.datasets.load("stored", tmp_path, undirected=True).num_edges == 6
    kinds = [(e.name, e.kind) for e in gl.datasets.list(tmp_path)]
    assert kinds == [("ring", "npz"), ("stored", "store")]
    with pytest.raises(ValueError, match="`splits` must be None for this dataset"):
        gl.datasets.load("stored", tmp_path, splits="geom")


def test_a_missing_dataset_says_what_to_put_where(tmp_path, monkeypatch):
    write(tmp_path, "cora")
    write(tmp_path, "texas")
    np.savez(tmp_path / "table.npz", a=np.zeros(3))
    message = (
        r"got 'kora'; did you mean cora\? put .*kora.npz, .* It holds: cora, texas$"
    )
    with pytest.raises(DatasetNotFoundError, match=message):
        gl.datasets.load("kora", tmp_path)
    message = r"unpack http\S+/arxiv.zip and name the folder \S+/ogbn_arxiv, or choose"
    with pytest.raises(DatasetNotFoundError, match=message):
        gl.datasets.load("ogbn-arxiv", tmp_path)
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path))
    assert gl.datasets.load("cora").name == "cora"
    monkeypatch.delenv("GRAPHLAB_DATA")
    with pytest.raises(DatasetNotFoundError, match="pass root= or set GRAPHLAB_DATA"):
        gl.datasets.load("cora")
    with pytest.raises(
        DatasetNotFoundError, match=r"must be a folder, got .*none \(from"
    ):
        gl.datasets.load("cora", tmp_path / "none")
    with pytest.raises(DatasetNotFoundError, match=r"nothing.npz is not there"):
        gl.datasets.load(tmp_path / "nothing.npz")
    with pytest.raises(DatasetNotFoundError, match=r"table.npz is none of these"):
        gl.datasets.load(tmp_path / "table.npz")
    assert isinstance(DatasetNotFoundError(), FileNotFoundError)


def test_damaged_files_are_named(tmp_path):
    write(tmp_path)
    whole = (tmp_path / "ring.npz").read_bytes()
    middle = len(whole) // 3
    (tmp_path / "flip.npz").write_bytes(
        whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    )
    with pytest.raises(StoreError, match=r"flip.npz: expected an npz of arrays, found"):
        gl.datasets.load("flip", tmp_path)
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetNotFoundError):
        gl.datasets.load("half", tmp_path)
