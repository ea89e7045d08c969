from __future__ import annotations

import csv
import functools
import json
import tempfile

import numpy as np
import pytest
import torch
from torch import nn

from graphlab import datasets, models
from graphlab.datasets import Dataset, MemmapColumn, SparseColumn
from graphlab.errors import BudgetError
from graphlab.graph import Graph
from graphlab.tasks import inference, node
from graphlab.tasks.predict import predict
from tests.tasks import toy


@pytest.fixture(scope="module")
def d() -> Dataset:
    return toy.dataset()


def trained(kind, d, **arguments):
    torch.manual_seed(0)
    made = kind(d.num_features, 3, **arguments)
    return made.eval()


BACKBONES = {
    "gcn": (models.GCN, {"hidden_channels": 16, "num_layers": 3}),
    "sage": (models.SAGE, {"hidden_channels": 16, "norm": "batch"}),
    "gat": (models.GAT, {"hidden_channels": 16, "heads": 4}),
    "gcnii": (models.GCNII, {"hidden_channels": 16, "num_layers": 4}),
    "mlp": (models.MLP, {"hidden_channels": 16}),
}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("where", ["memory", "disk", "store"])
def test_chunks_equal_the_full_pass(d, name, where, tmp_path):
    kind, arguments = BACKBONES[name]
    model = trained(kind, d, **arguments)
    with torch.no_grad():
        expected = model(d.x, d.graph)
    if where == "disk":
        np.save(tmp_path / "x.npy", d.x.numpy())
        d = Dataset(d.graph, x=MemmapColumn(tmp_path / "x.npy"), y=d.y)
    if where == "store":
        d.save(tmp_path / "store")
        d = datasets.open(tmp_path / "store")
    # 50 kB: chunks of some dozens of nodes; 20 kB: smaller ones, layers go to files too.
    for memory in (50_000, 20_000):
        found = inference.exact(model, d, memory=memory)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    some = torch.tensor([7, 3, 200])
    torch.testing.assert_close(
        inference.exact(model, d, some, memory=50_000),
        expected[some],
        atol=1e-5,
        rtol=1e-5,
    )
    torch.testing.assert_close(inference.exact(model, d, some), expected[some])
    assert not list(tmp_path.rglob("graphlab-inference-*"))


def test_layers_go_beside_the_store(d, tmp_path, monkeypatch):
    d.save(tmp_path / "store")
    d = datasets.open(tmp_path / "store")
    folders = []
    make = tempfile.TemporaryDirectory
    monkeypatch.setattr(
        tempfile,
        "TemporaryDirectory",
        lambda **given: folders.append(given["dir"]) or make(**given),
    )
    inference.exact(trained(models.SAGE, d, hidden_channels=16), d, memory=20_000)
    assert folders == [tmp_path / "store"]


def test_going_in_chunks_is_said_once(capsys):
    d = toy.dataset()
    model = trained(models.SAGE, d, hidden_channels=4)
    for _ in range(2):
        inference.exact(model, d, memory=50_000)
    assert capsys.readouterr().err.count("going in chunks") == 1


class Stack(nn.Module):
    """A model of PyG's layers."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        from torch_geometric.nn import GCNConv, SAGEConv

        super().__init__()
        self.first = GCNConv(in_channels, 16)
        self.second = SAGEConv(16, out_channels)

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


@pytest.mark.filterwarnings("ignore")
def test_models_of_pyg_layers_run_over_full_neighbourhoods(d):
    model = trained(Stack, d)
    with torch.no_grad():
        expected = model(d.x, d.graph.edge_index)
    found = inference.exact(model, d, memory=50_000)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_is_refused(d):
    with pytest.raises(
        TypeError, match=r"a backbone of graphlab or of PyG's .* got Mean"
    ):
        inference.exact(trained(toy.Mean, d), d, memory=1000)
    with pytest.raises(BudgetError, match="hold the node of most neighbours"):
        inference.exact(trained(models.GCN, d), d, memory=100)


def test_estimates_grow_with_the_graph(d):
    model = trained(models.SAGE, d)
    small = inference.estimate(model, d, "1MiB")
    twice = Graph(torch.cat([d.graph.edge_index] * 2, 1), d.num_nodes)
    large = inference.estimate(model, Dataset(twice, x=d.x, y=d.y), "1MiB")
    assert large.full > small.full > small.layer
    assert small.available == 2**20
    sparse = Dataset(d.graph, x=SparseColumn([0] * 241, [], [1.0], (240, 8)), y=d.y)
    assert inference.estimate(model, sparse).full <= small.full


@pytest.fixture(scope="module")
def run(d, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    factory = functools.partial(models.SAGE, hidden_channels=16)
    result = node.fit(d, factory, seeds=[0, 1], epochs=5, run_dir=folder)
    return folder, result


def test_files_hold_what_the_result_predicts(d, run, tmp_path):
    folder, result = run
    p = result.predict(d)
    pq = pytest.importorskip("pyarrow.parquet")
    out = predict(folder, tmp_path / "p.parquet", d=d, probabilities=True)
    table = pq.read_table(out)
    assert table.column_names == ["node", "label", "p_0", "p_1", "p_2"]
    assert table["node"].to_pylist() == list(range(d.num_nodes))
    assert table["label"].to_pylist() == p.argmax(1).tolist()
    assert table["p_1"].to_pylist() == p[:, 1].tolist()
    with open(predict(folder, tmp_path / "p.csv", d=d, seed=1)) as file:
        rows = list(csv.DictReader(file))
    labels = result.predict(d, seed=1).argmax(1)
    assert [int(r["label"]) for r in rows] == labels.tolist()
    assert set(rows[0]) == {"node", "label"}
    array = np.load(predict(folder, tmp_path / "p.npy", d=d))
    assert array.tolist() == p.argmax(1).tolist()
    array = np.load(predict(folder, tmp_path / "q.npy", d=d, probabilities=True))
    assert np.array_equal(array, p.numpy())


def test_names_of_nodes_and_several_labels_are_kept(d, tmp_path):
    multi = Dataset(
        Graph(d.graph.edge_index, d.num_nodes),
        x=d.x,
        y=nn.functional.one_hot(d.y, 3).to(torch.uint8),
        splits=d.splits,
    )
    multi.graph.node_names = np.array([f"n{i}" for i in range(d.num_nodes)])
    node.fit(multi, models.SAGE, seeds=[0], epochs=2, run_dir=tmp_path / "run")
    with open(predict(tmp_path / "run", tmp_path / "p.csv", d=multi)) as file:
        rows = list(csv.DictReader(file))
    assert rows[3]["name"] == "n3"
    assert set(rows[0]) == {"node", "name", "label_0", "label_1", "label_2"}


def test_predict_refuses_with_words(d, run, tmp_path):
    folder, _ = run
    with pytest.raises(ValueError, match=r"end in .parquet, .csv, .npy, got 'p.txt'"):
        predict(folder, tmp_path / "p.txt", d=d)
    with pytest.raises(ValueError, match="that was not made from a recipe"):
        predict(folder, tmp_path / "p.csv")
    assert json.loads((folder / "result.json").read_text())["seeds"] == [0, 1]
