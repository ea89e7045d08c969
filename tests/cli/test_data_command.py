from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphlab import datasets
from graphlab.cli import main


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    edges = rng.integers(50, size=(200, 2))
    table = pa.table({"source": edges[:, 0], "target": edges[:, 1]})
    pq.write_table(table, tmp_path / "e.parquet")
    np.save(tmp_path / "x.npy", rng.normal(size=(50, 4)).astype(np.float32))
    labels = pa.table({"id": np.arange(50), "label": np.arange(50) % 3})
    pq.write_table(labels, tmp_path / "y.parquet")
    return tmp_path


def convert(files, *more):
    arguments = ["--edges", files / "e.parquet", "--features", files / "x.npy"]
    arguments += ["--labels", files / "y.parquet", "--out", files / "store", *more]
    return main(["data", "convert", *map(str, arguments)])


def test_three_files_become_a_store(files, capsys):
    assert convert(files, "--memory", "64MiB", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["num_nodes"], facts["num_edges"]) == (50, 200)
    d = datasets.open(files / "store")
    assert (d.num_features, d.num_classes) == (4, 3)


def test_a_converted_store_is_listed_and_described(files, capsys):
    assert convert(files) == 0
    assert "Store" in capsys.readouterr().out
    assert main(["data", "list", "--root", str(files), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["datasets"]
    assert (row["name"], row["kind"]) == ("store", "store")
    assert row["bytes"] > 50 * 4 * 4
    assert main(["data", "info", "store", "--root", str(files)]) == 0
    assert "num_nodes" in capsys.readouterr().out


def test_list_prints_a_table(files, capsys):
    convert(files)
    capsys.readouterr()
    assert main(["data", "list", "--root", str(files)]) == 0
    assert "store" in capsys.readouterr().out


def test_a_missing_dataset_says_which_folder_to_put_where(tmp_path, capsys):
    assert main(["data", "info", "ogbn-arxiv", "--root", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://snap.stanford.edu" in line
    assert "ogbn_arxiv" in line


def test_a_budget_that_cannot_hold_is_refused(files, capsys):
    assert convert(files, "--memory", "1KiB") == 1
    assert "error: convert: `memory` must be at least" in capsys.readouterr().err


@pytest.mark.data
def test_a_named_dataset_is_described_and_converted(real_data, tmp_path, capsys):
    assert main(["data", "info", "cora", "--root", str(real_data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_edges"] == 10556
    out = str(tmp_path / "cora")
    arguments = ["data", "convert", "cora", "--root", str(real_data), "--out", out]
    assert main([*arguments, "--layout", "dense"]) == 0
    assert datasets.open(out).x.shape == (2708, 1433)
    capsys.readouterr()
    assert main(arguments) == 1
    assert "error:" in capsys.readouterr().err
