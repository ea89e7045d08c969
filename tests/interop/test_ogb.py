"""OGB folders: hand-written ones, and those that OGB's own DatasetSaver writes."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.errors import BudgetError
from graphlab.interop import arrow, ogb

SAVER = """
import os, sys, warnings
warnings.simplefilter("ignore")
sys.modules["outdated"] = None  # ogb would start a thread that asks the network
import numpy as np
from ogb.io import DatasetSaver

root = sys.argv[1]
os.makedirs(os.path.join(root, "mapping"))
open(os.path.join(root, "mapping", "README.md"), "w").close()
edges = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
graph = {
    "edge_index": edges,
    "num_nodes": 5,
    "node_feat": np.arange(10.0).reshape(5, 2),
    "node_year": np.arange(2000, 2005).reshape(5, 1),
    "edge_feat": np.arange(4.0).reshape(4, 1),
}
node = {"train": np.array([0, 3]), "valid": np.array([1]), "test": np.array([2, 4])}
link = {
    "train": {"edge": edges.T[:2], "year": np.array([1, 2])},
    "valid": {"edge": edges.T[2:3], "edge_neg": np.array([[0, 4]])},
    "test": {"edge": edges.T[3:], "edge_neg": np.array([[4, 0], [3, 1]])},
}
for name, split in (("ogbn-tiny", node), ("ogbl-tiny", link)):
    saver = DatasetSaver(name, False, 1, root=os.path.join(root, "sub"))
    saver.save_graph_list([graph])
    if name.startswith("ogbn"):
        saver.save_target_labels(np.array([[0], [1], [2], [1], [0]]))
    saver.save_split(split, "random")
    saver.copy_mapping_dir(os.path.join(root, "mapping"))

from ogb.io.read_graph_raw import read_csv_graph_raw

(graph,) = read_csv_graph_raw(
    os.path.join(root, "ogbn_proteins", "raw"),
    add_inverse_edge=True,
    additional_node_files=["node_species"],
    additional_edge_files=["edge_year"],
)
graph = {key: value for key, value in graph.items() if value is not None}
np.savez(os.path.join(root, "oracle.npz"), **graph)
"""


def write(folder, files):
    for name, rows in files.items():
        path = folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(",".join(str(v) for v in row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()))


def columns(*values):
    return [[v] for v in values]


def csv_folder(root, name, **files):
    arrays = {
        "raw/edge": [[0, 1], [2, 1]],
        "raw/num-node-list": [[3]],
        "raw/num-edge-list": [[2]],
        **{
            key.replace("__", "/").replace("_dash_", "-"): v for key, v in files.items()
        },
    }
    write(root / name, arrays)
    return root / name


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of DatasetSaver, made in a process of their own: ogb takes seconds to import."""
    pytest.importorskip("pandas")
    root = tmp_path_factory.mktemp("ogb")
    csv_folder(
        root,
        "ogbn_proteins",
        raw__edge_dash_feat=[[0.25, 0], [0.5, 1]],
        raw__node_dash_label=[[0, 1], [1, 1], [0, 0]],
        raw__node_species=columns(3702, 4932, 6239),
        raw__edge_year=columns(7, 8),
    )
    run = subprocess.run(
        [sys.executable, "-c", SAVER, str(root)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if "No module named 'ogb'" in run.stderr:
        pytest.skip("needs the extra graphlab[ogb]")
    assert run.returncode == 0, run.stderr
    return root


def test_csv_folder_equals_ogbs_own_reader(saved):
    ours = ogb.read(saved / "ogbn_proteins")
    with np.load(saved / "oracle.npz") as theirs:
        assert np.array_equal(ours.edges.edge_index, theirs["edge_index"])
        assert ours.edges.num_nodes == int(theirs["num_nodes"])
        assert np.array_equal(ours.edge_columns["edge_attr"], theirs["edge_feat"])
        assert np.array_equal(ours.edge_columns["edge_year"], theirs["edge_year"])
        assert np.array_equal(ours.columns["node_species"], theirs["node_species"])


def test_node_folder_of_dataset_saver(saved):
    d = gl.datasets.load("tiny", saved / "sub_ogbn_tiny")
    assert d.graph.edge_index.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert torch.equal(d.x, torch.arange(10.0).reshape(5, 2))
    assert d["node_year"].tolist() == [[y] for y in range(2000, 2005)]
    assert d.edge_attr.tolist() == [[0], [1], [2], [3]]
    assert d.y.tolist() == [0, 1, 2, 1, 0]
    assert [d.ids(s).tolist() for s in ("train", "val", "test")] == [
        [0, 3],
        [1],
        [2, 4],
    ]
    assert d.meta["split"] == "random"
    d.validate()


def test_link_folder_of_dataset_saver(saved):
    d = gl.datasets.load("tiny", saved / "sub_ogbl_tiny")
    assert d.y is None
    assert d.edge_splits["train"]["edge"].tolist() == [[0, 1], [1, 2]]
    assert d.edge_splits["train"]["year"].tolist() == [1, 2]
    assert d.edge_splits["val"]["edge_neg"].tolist() == [[0], [4]]
    assert d.edge_splits["test"]["edge_neg"].tolist() == [[4, 3], [0, 1]]


def test_csv_folder_of_nodes(tmp_path):
    csv_folder(
        tmp_path,
        "ogbn_arxiv",
        raw__node_dash_feat=[[0.5, 1], [2, 3], [4, 5]],
        raw__node_dash_label=columns(0, "nan", 2),
        raw__node_year=columns(2001, 2002, 2003),
        split__time__train=columns(0),
        split__time__valid=columns(2),
        split__time__test=columns(1),
        split__other__train=columns(1),
    )
    d = gl.datasets.load("ogbn-arxiv", tmp_path)
    assert d.graph.edge_index.tolist() == [[0, 2], [1, 1]]
    assert d.x.tolist() == [[0.5, 1], [2, 3], [4, 5]]
    assert d.x.dtype == torch.float32
    assert d.y.tolist() == [0, -1, 2]
    assert d["node_year"].dtype == torch.int64
    assert d.ids("val").tolist() == [2]
    assert d.meta["directed"]
    assert d.meta["metric"] == "acc"
    assert [(e.name, e.kind) for e in gl.datasets.list(tmp_path)] == [
        ("ogbn_arxiv", "ogb")
    ]


def test_proteins_kind_gets_inverse_edges_and_species(tmp_path):
    csv_folder(
        tmp_path,
        "ogbn_proteins",
        raw__edge_dash_feat=[[0.25, 0], [0.5, 1]],
        raw__node_dash_label=[[0, 1], [1, 1], [0, 0]],
        raw__species=columns(3702, 4932, 6239),
    )
    d = gl.datasets.load("ogbn_proteins", tmp_path)
    assert d.graph.edge_index.tolist() == [[0, 1, 2, 1], [1, 0, 1, 2]]
    assert d.edge_attr.tolist() == [[0.25, 0], [0.25, 0], [0.5, 1], [0.5, 1]]
    assert d["node_species"].tolist() == [[3702], [4932], [6239]]
    assert d.num_classes == 2
    assert d.x is None
    assert not d.meta["directed"]
    assert d.graph.is_undirected()
    assert (tmp_path / "ogbn_proteins/raw/species.csv.gz").is_file()


@pytest.mark.parametrize("name", sorted(ogb.OFFICIAL))
def test_inverse_edges_as_ogb_does(name, tmp_path):
    inverse = {"products", "proteins", "ppa", "collab", "ddi"}
    path = csv_folder(tmp_path, name)
    edges = ogb.read(path).edges.edge_index
    assert edges.shape[1] == (4 if name.split("_")[1] in inverse else 2)
    assert ogb.read(path, inverse=False).edges.edge_index.shape[1] == 2


def test_collab_weights_and_pt_splits(tmp_path):
    path = csv_folder(
        tmp_path,
        "ogbl_collab",
        raw__edge_weight=columns(1, 3),
        raw__edge_year=columns(2001, 2002),
    )
    (path / "split/time").mkdir(parents=True)
    edge = np.array([[0, 1], [2, 1]])
    for split, protocol in (("train", 2), ("valid", 4), ("test", 2)):
        part = {"edge": edge, "year": np.array([2001, 2002])}
        if split != "train":
            part["edge_neg"] = np.array([[0, 2]])
        torch.save(part, path / f"split/time/{split}.pt", pickle_protocol=protocol)
    d = gl.datasets.load("ogbl_collab", tmp_path)
    assert d.graph.edge_weight.tolist() == [1, 1, 3, 3]
    assert d.edge_columns["edge_year"].flatten().tolist() == [2001, 2001, 2002, 2002]
    for split in ("train", "val", "test"):
        assert d.edge_splits[split]["edge"].tolist() == edge.T.tolist()
    assert d.edge_splits["val"]["edge_neg"].tolist() == [[0], [2]]


def test_citation_pairs_stay_as_they_are(tmp_path):
    path = csv_folder(tmp_path, "ogbl_citation2")
    (path / "split/time").mkdir(parents=True)
    part = {"source_node": np.array([0, 1]), "target_node_neg": np.zeros((2, 5), int)}
    torch.save(
        dict.fromkeys(("train", "valid", "test"), part),
        path / "split/time/split_dict.pt",
    )
    found = gl.datasets.load("ogbl-citation2", tmp_path).edge_splits["test"]
    assert found["source_node"].tolist() == [0, 1]
    assert found["target_node_neg"].shape == (2, 5)


def test_integers_that_turn_into_fractions(tmp_path):
    rows = [[1, 2]] * 1_100_000 + [[3, 0.5]]
    path = csv_folder(tmp_path, "ogbn_x", raw__edge_dash_feat=rows)
    matrix = arrow.read_matrix(path / "raw/edge-feat.csv.gz")
    assert matrix.dtype == np.float32
    assert matrix.shape == (1_100_001, 2)
    assert matrix[-1].tolist() == [3, 0.5]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"raw__triplet_dash_type_dash_list": [["a", "b", "c"]]},
            "be homogeneous, got a het",
        ),
        ({"raw__num_dash_node_dash_list": [[2], [1]]}, "hold one graph, got 2"),
        (
            {"raw__num_dash_edge_dash_list": [[7]]},
            r"hold num-edge-list = 7 edges, got 2",
        ),
        (
            {"split__a__train": columns(0), "split__b__train": columns(0)},
            "hold one split folder, got a, b",
        ),
        (
            {"raw__node_dash_feat": [["a"], ["b"], ["c"]]},
            "must hold numbers, got words",
        ),
        ({"raw__node_dash_feat": [[1, 2], [3], [4, 5]]}, "Expected 2 columns, got 1"),
        (
            {"raw__node_dash_label": columns(0, 1)},
            r"`y` must have one row per node \(3\)",
        ),
    ],
)
def test_folders_that_do_not_fit_are_refused_with_words(tmp_path, files, message):
    csv_folder(tmp_path, "ogbn_own", **files)
    with pytest.raises(ValueError, match=message):
        gl.datasets.load("ogbn_own", tmp_path)


def test_ids_out_of_range(tmp_path):
    csv_folder(tmp_path, "ogbn_own", raw__edge=[[0, 9], [1, 2]])
    with pytest.raises(IndexError, match="num_nodes = 3, got 9 in edge 0"):
        gl.datasets.load("ogbn_own", tmp_path)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_read(tmp_path):
    raw = tmp_path / "ogbn_papers100M" / "raw"
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "data.npz", "w") as file:
        file.writestr("edge_index.npy", b"")
        # The directory of the archive claims 16 TiB.
        file.infolist()[0].file_size = 2**44
    with pytest.raises(
        BudgetError, match=r"raw needs 16.0 TiB .* --edges edge_index.npy"
    ):
        gl.datasets.load("ogbn-papers100M", tmp_path)
