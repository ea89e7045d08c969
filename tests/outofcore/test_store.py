from __future__ import annotations

import numpy as np
import pytest
import torch

from graphlab import Dataset, Graph
from graphlab.datasets import Column
from graphlab.datasets.stored import StoredColumn
from graphlab.errors import StoreError
from graphlab.outofcore import Store


def make(n: int = 60) -> Dataset:
    g = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, n, (2, 5 * n), generator=g)
    return Dataset(
        Graph(edge_index, n),
        x=torch.randn(n, 8, generator=g),
        y=torch.arange(n) % 3,
        splits={"train": torch.arange(10)},
        edge_attr=torch.rand(5 * n, 2, generator=g),
        meta={"name": "toy"},
    )


def test_a_store_shows_what_it_holds(tmp_path):
    d = make()
    store = Store.convert(d, tmp_path / "s", dtype="float16")
    assert (store.num_nodes, store.num_edges) == (60, 300)
    assert isinstance(store.x, StoredColumn)
    assert isinstance(store.x, Column)
    assert (store.x.nbytes, store.x.file_bytes, len(store.x)) == (0, 60 * 16, 60)
    assert store.x is store.columns["x"]
    assert store.x.stored == torch.float16
    assert torch.equal(store.y, d.y)
    assert set(store.columns) == {"x", "y"}
    assert set(store.edge_columns) == {"edge_attr"}
    assert torch.equal(store.graph.edge_index, d.graph.edge_index)
    assert store.graph is store.graph
    assert store.verify() == store.nbytes
    info = store.info()
    assert info["columns"]["node/x"]["stored"] == "float16"
    assert info["fingerprint"] == store.fingerprint
    assert repr(store).endswith("60 nodes, 300 edges, 6.6 KiB)")
    opened = store.dataset()
    assert opened.num_features == 8
    assert torch.equal(opened.train_mask, d.train_mask)


def test_fingerprints_follow_the_content_alone(tmp_path):
    d = make()
    first = Store.convert(d, tmp_path / "a")
    d.meta["note"] = "does not count"
    assert Store.convert(d, tmp_path / "b").fingerprint == first.fingerprint
    assert Store.open(tmp_path / "a").fingerprint == first.fingerprint
    d.x[7, 3] += 1
    assert Store.convert(d, tmp_path / "c").fingerprint != first.fingerprint


def test_other_sources(tmp_path):
    from torch_geometric.data import Data

    d = make()
    data = Data(x=d.x, y=d.y, edge_index=d.graph.edge_index, train_mask=d.train_mask)
    store = Store.convert(data, tmp_path / "pyg")
    assert torch.equal(store.columns["x"].gather(torch.arange(60)), d.x)
    assert torch.equal(store.dataset().train_mask, d.train_mask)
    np.save(tmp_path / "e.npy", d.graph.edge_index.numpy())
    files = {"edges": tmp_path / "e.npy", "features": d.x, "labels": d.y.numpy()}
    store = Store.convert(files, tmp_path / "files", memory="64MiB")
    assert torch.equal(store.graph.edge_index, d.graph.edge_index)
    assert torch.equal(store.columns["x"].gather(torch.arange(60)), d.x)
    store = Store.convert(d.graph, tmp_path / "graph")
    assert store.columns == {}
    assert store.x is None
    assert store.y is None


def test_errors(tmp_path):
    with pytest.raises(TypeError, match=r"`source` must be a Dataset, .* got list"):
        Store.convert([1], tmp_path / "s")
    with pytest.raises(ValueError, match="`memory` must be a size such as"):
        Store.convert(make(), tmp_path / "s", memory="lots")
    with pytest.raises(ValueError, match="`source` must be one of 'edges', 'features'"):
        Store.convert({"edges": "e.npy", "feature": "x.npy"}, tmp_path / "s")
    with pytest.raises(ValueError, match="`source` must name edges, got only"):
        Store.convert({"features": "x.npy"}, tmp_path / "s")
    with pytest.raises(StoreError, match="expected the manifest of a store"):
        Store.open(tmp_path / "s")
