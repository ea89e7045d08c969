from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch

import graphlab as gl

# The package's attribute of this name is the function.
module = importlib.import_module("graphlab.datasets.info")


def test_counts_and_plain_json():
    edges = torch.tensor([[0, 0, 1, 2], [1, 1, 2, 2]])
    d = gl.Dataset(
        gl.Graph(edges, num_nodes=4),
        x=torch.ones(4, 2),
        y=[0, 0, 1, -1],
        splits={"train": np.array([[1, 0], [0, 1], [0, 0], [0, 0]], bool)},
    )
    found = gl.datasets.info(d)
    json.dumps(found)
    assert found["num_parallel_edges"] == 1
    assert found["num_self_loops"] == 1
    assert found["num_isolated_nodes"] == 1
    # 0 -> 1 twice inside a class; 1 -> 2 across; 2 -> 2 inside.
    assert found["edge_homophily"] == 3 / 4
    assert found["class_counts"] == [2, 1]
    assert found["splits"] == {"train": {"runs": 2, "nodes": 1}}
    assert found["columns"]["x"]["kind"] == "Tensor"
    assert (found["max_in_degree"], found["max_out_degree"]) == (2, 2)
    assert found["is_undirected"] is False


def test_pieces_hold_whole_targets(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 30, (2, 500), generator=generator)
    edges[1, :100] = 7
    d = gl.Dataset(gl.Graph(edges, num_nodes=33), y=torch.arange(33) % 3)
    whole = gl.datasets.info(d)
    monkeypatch.setattr(module, "_EDGES", 20)
    pieces = list(module._by_target(d.graph))
    assert len(pieces) > 10
    assert sum(len(s) for s, _ in pieces) == 500
    ends = [set(t.tolist()) for _, t in pieces]
    assert sum(len(e) for e in ends) == len(set.union(*ends))
    assert gl.datasets.info(d) == whole


def test_a_stored_graph_larger_than_memory(tmp_path):
    # A sparse file of 1 TiB: nothing of it may be read for the direction.
    path = tmp_path / "idx.bin"
    with open(path, "wb") as file:
        file.truncate(2**40)
    idx = torch.from_file(str(path), shared=True, size=2**38, dtype=torch.int32)
    graph = gl.Graph.from_csc(torch.tensor([0, 2**38]), idx)
    assert module._is_undirected(gl.Dataset(graph)) is None
    assert module._is_undirected(gl.Dataset(graph, meta={"directed": False})) is True


@pytest.mark.data
def test_published_homophily(real_data):
    # Edge homophily: cora 0.81, minesweeper 0.68 (Platonov et al. 2023, table 1).
    for name, expected in (("cora", 0.81), ("minesweeper", 0.68)):
        found = gl.datasets.info(gl.datasets.load(name, real_data))
        assert round(found["edge_homophily"], 2) == expected
