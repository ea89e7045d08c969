from __future__ import annotations

import warnings

import pytest
import torch

from graphlab import Dataset, Graph
from graphlab.datasets import SparseColumn, as_dataset

EDGES = torch.tensor([[0, 1, 2, 3, 3], [1, 2, 3, 0, 1]])


def make():
    return Dataset(
        Graph(EDGES, edge_weight=torch.arange(5.0)),
        x=torch.eye(4),
        y=torch.tensor([0, 2, 1, 1]),
        splits={"train": [0, 1], "val": [2], "test": [3]},
        edge_attr=torch.ones(5, 2),
        columns={"emb": torch.zeros(4, 3)},
    )


def same(ours, reference):
    assert repr(ours) == repr(reference)
    assert torch.equal(ours.graph.edge_index, reference.graph.edge_index)
    assert torch.equal(ours.graph.edge_weight, reference.graph.edge_weight)
    for name in reference.columns:
        assert torch.equal(ours[name], reference[name])
    assert torch.equal(ours.y, reference.y)
    for split, mask in reference.splits.items():
        assert torch.equal(ours.splits[split], mask)
    assert torch.equal(ours.edge_attr, reference.edge_attr)


def test_pyg_goes_through():
    data = make().to_pyg()
    assert data.validate()
    same(Dataset.from_pyg(data), make())
    same(as_dataset(data), make())


def test_dgl_goes_through():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import dgl
        except Exception as error:
            pytest.skip(f"needs dgl==1.1.3: {error}")
    theirs = make().to_dgl()
    assert isinstance(theirs, dgl.DGLGraph)
    assert set(theirs.ndata) == {"feat", "label", "emb"} | {
        f"{split}_mask" for split in ("train", "val", "test")
    }
    same(Dataset.from_dgl(theirs), make())
    same(as_dataset(theirs), make())


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_columns():
    d = make()
    d.x = SparseColumn([0, 1, 1, 2, 3], [2, 0, 1], [1.0], (4, 3))
    data = d.to_pyg()
    assert torch.equal(data.x, d.x.to_dense())
    data.x = data.x.to_sparse_csr()
    assert torch.equal(Dataset.from_pyg(data).x.to_dense(), d.x.to_dense())
    data.x = data.x.to_sparse_coo()
    back = Dataset.from_pyg(data).x
    assert isinstance(back, SparseColumn)
    assert torch.equal(back.to_dense(), d.x.to_dense())


def test_graphs_and_datasets_pass():
    d = make()
    assert as_dataset(d) is d
    assert as_dataset(d.graph).graph is d.graph
    with pytest.raises(
        TypeError, match=r"`source` must be a Dataset, .* got str; use gl"
    ):
        as_dataset("cora")


def test_masks_of_wrong_length_in_a_data_are_named():
    data = make().to_pyg()
    data.train_mask = torch.ones(3).bool()
    with pytest.raises(ValueError, match="`train_mask` must have one row per node"):
        Dataset.from_pyg(data)
