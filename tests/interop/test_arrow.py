from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from graphlab.interop import arrow


def test_batches_stream_named_columns(tmp_path):
    table = pa.table({"a": np.arange(10), "b": np.arange(10) * 2})
    parquet.write_table(table, tmp_path / "t.parquet")
    pieces = list(arrow.batches(tmp_path / "t.parquet", ["b"], rows=4))
    assert [len(p) for p in pieces] == [4, 4, 2]
    assert pieces[1]["b"].to_pylist() == [8, 10, 12, 14]
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n2,y\n")
    (piece,) = arrow.batches(path, ["b", "a"], header=True)
    assert piece.to_pydict() == {"b": ["x", "y"], "a": [1, 2]}


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_columns_go_there_and_back(tmp_path, name):
    score = torch.rand(4, 2, dtype=torch.float64)
    columns = {"node": np.arange(4), "name": np.array(list("abcd")), "score": score}
    arrow.write_columns(tmp_path / name, columns)
    found = arrow.read_columns(tmp_path / name)
    assert found["node"].tolist() == [0, 1, 2, 3]
    assert found["name"].tolist() == list("abcd")
    if name == "t.csv":
        found["score"] = np.stack([found["score_0"], found["score_1"]], 1)
    assert np.allclose(found["score"], score)
    assert list(arrow.read_columns(tmp_path / name, ["node"])) == ["node"]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(ValueError, match="`columns` must be one of 'node'"):
        arrow.read_columns(tmp_path / name, ["who"])


def test_columns_with_gaps_and_ragged_lists(tmp_path):
    table = pa.table({"a": pa.array([1, None, 3]), "b": pa.array([[1], [2, 3], [4]])})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert np.isnan(arrow.read_columns(tmp_path / "t.parquet", ["a"])["a"][1])
    with pytest.raises(
        ValueError, match=r"lists of equal length, got lengths \['1', '2'\]"
    ):
        arrow.read_columns(tmp_path / "t.parquet", ["b"])
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(ValueError, match="Expected 2 columns"):
        arrow.read_columns(path)
