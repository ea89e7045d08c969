from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import eye

from graphlab.datasets import Dataset, MemmapColumn, SparseColumn
from graphlab.datasets import open as open_dataset
from graphlab.graph import Graph

NAN = float("nan")


def graph():
    return Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]))


def make(**arguments):
    defaults = {"x": torch.eye(4), "y": torch.tensor([0, 2, 1, -1])}
    return Dataset(graph(), **{**defaults, **arguments})


def test_holds_columns_labels_splits_and_meta():
    d = make(
        splits={"valid": [1], "train": np.array([0, 2])},
        edge_attr=torch.ones(4, 3),
        meta={"name": "ring"},
    )
    assert (d.num_nodes, d.num_edges, d.num_features, d.num_classes) == (4, 4, 4, 3)
    assert d.train_mask.tolist() == [True, False, True, False]
    assert d.val_mask.tolist() == [False, True, False, False]
    assert d.ids("train").tolist() == [0, 2]
    assert list(d.splits) == ["train", "val"]
    assert d.num_runs == 1
    assert d.edge_attr.shape == (4, 3)
    assert d.name == "ring"
    d["emb"] = np.zeros((4, 2), np.float32)
    assert d["emb"].shape == (4, 2)
    assert "emb" in d
    assert "y" in d
    assert "z" not in d
    assert d["y"] is d.y
    assert list(d.columns) == ["x", "emb"]
    del d["emb"]
    assert "emb" not in d
    d.x = torch.zeros(4, 7)
    assert d.num_features == 7
    d.validate()
    expected = (
        "Dataset('ring', 4 nodes, 4 edges, x: [4, 7] float32, y: [4] int64, "
        "edge_attr (edges): [4, 3] float32, splits: train/val x 1)"
    )
    assert repr(d) == expected


def test_runs():
    train = torch.tensor([[1, 0], [0, 1], [0, 0], [0, 0]]).bool()
    d = make(splits={"train": train, "test": [3]})
    assert d.num_runs == 2
    assert d.train_mask.shape == (4, 2)
    assert d.mask("train", 1).tolist() == [False, True, False, False]
    assert d.mask("test", 1).tolist() == [False, False, False, True]
    assert d.ids("train", 1).tolist() == [1]
    with pytest.raises(IndexError, match=r"`run` must be in \[0, 2\), got 2"):
        d.mask("train", 2)
    with pytest.raises(AttributeError, match="has no 'val' split; make one"):
        _ = d.val_mask
    assert not hasattr(d, "val_mask")
    with pytest.raises(
        ValueError, match="`split` must be one of 'train', 'val', 'test'"
    ):
        d.mask("dev")


def test_kinds_of_columns(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 5), np.float32))
    d = make(x=eye(4), columns={"m": np.load(tmp_path / "x.npy", mmap_mode="r")})
    assert isinstance(d.x, SparseColumn)
    assert isinstance(d["m"], MemmapColumn)
    d["list"] = [1, 2, 3, 4]
    assert d["list"].tolist() == [1, 2, 3, 4]
    d.validate()


def test_kinds_of_labels():
    assert make(y=[[1], [0], [3], [0]]).y.tolist() == [1, 0, 3, 0]
    assert make(y=np.array([0, 1, 1, 0], np.uint8)).y.dtype == torch.int64
    assert make(y=torch.tensor([True, False, True, False])).num_classes == 2
    multi = make(y=torch.zeros(4, 9).byte())
    assert multi.num_classes == 9
    assert make(y=torch.rand(4)).num_classes == 0
    assert make(y=None).num_classes == 0
    assert make(x=None).num_features == 0


def test_nbytes_accounts_for_everything():
    d = make(splits={"train": [0]}, edge_attr=torch.ones(4, 3))
    assert d.nbytes == d.graph.nbytes + 64 + 32 + 4 + 48
    d.graph.csc()
    assert d.nbytes == d.graph.nbytes + 64 + 32 + 4 + 48
    pairs = {"val": {"edge": torch.zeros(2, 5).long()}}
    assert make(edge_splits=pairs).nbytes == make().nbytes + 80


def test_pickle():
    d = make(splits={"train": [0]}, meta={"name": "ring"})
    again = pickle.loads(pickle.dumps(d))
    assert repr(again) == repr(d)
    assert torch.equal(again.x, d.x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"x": torch.eye(3)},
            ValueError,
            r"`x` must have one row per node \(4\), got .*3, 3",
        ),
        (
            {"x": "x.npy"},
            TypeError,
            "`x` must be a tensor, an array or a Column, got str",
        ),
        ({"y": torch.zeros(3)}, ValueError, r"`y` must have one row per node \(4\)"),
        ({"y": torch.tensor([0, -3, 1, 1])}, ValueError, "class ids from 0.* got -3"),
        ({"y": -torch.ones(4, 2).int()}, ValueError, "`y` must hold 0 and 1, got -1"),
        ({"y": np.array(list("abca"))}, TypeError, "return_inverse"),
        ({"y": "labels"}, TypeError, "`y` must be a tensor, got str"),
        ({"edge_attr": torch.ones(3, 2)}, ValueError, r"one row per edge \(4\)"),
        (
            {"splits": {"train": torch.ones(3).bool()}},
            ValueError,
            "`train_mask` must have",
        ),
        (
            {"splits": {"train": torch.ones(3)}},
            TypeError,
            "bool mask or integer node ids",
        ),
        (
            {"splits": {"train": [4]}},
            IndexError,
            r"`train_mask` must be in \[0, 4\), got 4",
        ),
        ({"splits": {"training": [1]}}, ValueError, "`split` must be one of"),
        ({"splits": {"val": [1], "valid": [2]}}, ValueError, "name each split once"),
        (
            {"splits": {"train": [0, 1], "test": [1, 2]}},
            ValueError,
            "disjoint train and test masks, got 1 nodes in both, such as node 1",
        ),
        (
            {
                "splits": {
                    "train": torch.ones(4, 2).bool(),
                    "val": torch.ones(4, 3).bool(),
                }
            },
            ValueError,
            "equally many runs, got 2 and 3",
        ),
    ],
)
def test_bad_parts_are_refused_with_words(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


def test_masks_can_be_set_one_by_one():
    d = make()
    d.train_mask = [0, 1]
    d.val_mask = torch.tensor([False, False, True, False])
    d.test_mask = [3]
    assert [d.ids(s).tolist() for s in ("train", "val", "test")] == [[0, 1], [2], [3]]
    with pytest.raises(ValueError, match="disjoint train and test"):
        d.test_mask = [1]
    assert d.ids("test").tolist() == [3]


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([[0, 1, 2]], ValueError, r"`val edge` must have shape \[2, P\], got \[1, 3\]"),
        ([[0.5], [1.0]], TypeError, "`val edge` must be int32 or int64, got float64"),
        ([[0], [4]], IndexError, r"`val edge` must be in \[0, 4\), got 4"),
        ("all", TypeError, "`val edge` must be a tensor, got str"),
    ],
)
def test_pairs_are_checked(pairs, error, message):
    with pytest.raises(error, match=message):
        make(edge_splits={"valid": {"edge": pairs}})


def test_graph_must_be_a_graph():
    with pytest.raises(
        TypeError, match=r"be a Graph, got Tensor; use gl.Graph\(edge_index\)"
    ):
        Dataset(torch.zeros(2, 3))
    with pytest.raises(KeyError, match="no column 'emb'; it has 'x'"):
        make()["emb"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"x": torch.tensor([1.0, 2, NAN, NAN])},
            "`x` must be finite, got NaN .* in row 2",
        ),
        ({"x": torch.tensor([1.0, 2, 3, NAN]).diag()}, "row 3"),
        ({"x": SparseColumn([0, 0, 0, 1, 1], [0], [NAN], (4, 2))}, "in row 2"),
        (
            {"edge_attr": torch.tensor([float("inf"), 0, 0, 0])},
            "`edge_attr` must be finite",
        ),
        (
            {"splits": {"train": [0, 3]}},
            "`train` must hold labelled .* 1 without, .* node 3",
        ),
        ({"splits": {"train": []}}, "`train` must hold nodes, got none in run 0"),
    ],
)
def test_validate_reads_the_values(arguments, message):
    d = make(**arguments)
    with pytest.raises(ValueError, match=message):
        d.validate()


def test_bytes_of_0_and_1_are_a_mask():
    d = make(splits={"train": torch.tensor([1, 0, 0, 1], dtype=torch.uint8)})
    assert d.ids("train").tolist() == [0, 3]


def test_to_undirected_moves_edge_columns():
    weighted = Graph(graph().edge_index, edge_weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    d = Dataset(weighted, edge_attr=torch.arange(4)[:, None], meta={"directed": True})
    both = d.to_undirected()
    assert both.graph.edge_index.tolist() == [
        [0, 0, 1, 1, 2, 2, 3, 3],
        [1, 3, 0, 2, 1, 3, 0, 2],
    ]
    assert both.edge_attr[:, 0].tolist() == [0, 3, 0, 1, 1, 2, 3, 2]
    assert both.graph.edge_weight.tolist() == [1, 4, 1, 2, 2, 3, 4, 3]
    assert not both.meta["directed"]
    assert d.meta["directed"]
    assert d.num_edges == 4
    with pytest.raises(
        ValueError, match="`reduce` must be one of 'mean', 'sum', 'max'"
    ):
        d.to_undirected("min")


def test_copies_do_not_share_their_dicts():
    d = make(splits={"train": [0]})
    other = d.with_splits({"test": [1]})
    other["emb"] = torch.zeros(4, 1)
    other.meta["note"] = "changed"
    assert "emb" not in d
    assert d.meta == {}
    assert list(d.splits) == ["train"]
    assert other.x is d.x


def test_save_and_open(tmp_path):
    d = make(splits={"train": [0]}, edge_splits={"val": {"edge": [[0], [1]]}})
    d.save(tmp_path / "d")
    again = open_dataset(tmp_path / "d")
    assert torch.equal(again.x.gather(torch.arange(4)), d.x)
    assert torch.equal(again.y, d.y)
    assert torch.equal(again.train_mask, d.train_mask)
    assert again.edge_splits["val"]["edge"].tolist() == [[0], [1]]
    with pytest.raises(ValueError, match="must not hold a store"):
        d.save(tmp_path / "d")
    d.save(tmp_path / "d", overwrite=True)
