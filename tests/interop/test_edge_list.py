from __future__ import annotations

import gzip
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from graphlab import Graph, datasets
from graphlab.interop import edge_list

EDGES = [[0, 2, 1], [1, 0, 1]]


def write(tmp_path, text, name="edges.csv"):
    path = tmp_path / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("edges.csv", "0,1\n2,0\n1,1\n"),
        ("edges.csv", "0,1\r\n2,0\r\n1,1"),
        ("edges.csv", "source,target\n0,1\n2,0\n1,1\n"),
        ("edges.csv", "a,b\n0,1\n2,0\n1,1\n"),
        ("edges.csv", '"src";"dst"\n0;1\n2;0\n1;1\n'),
        ("edges.tsv", "# from SNAP\n# Nodes: 3\n\n0\t1\n2\t0\n1\t1\n"),
        ("edges.txt", "% KONECT\n0 1\n2 0\n1 1\n"),
        ("edges.csv.gz", "0,1\n2,0\n1,1\n"),
    ],
)
def test_text_of_many_kinds(tmp_path, name, text):
    graph = Graph.from_edge_list(write(tmp_path, text, name))
    assert graph.edge_index.tolist() == EDGES
    assert graph.node_names is None
    assert graph.edge_weight is None


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.uint16()])
def test_parquet(tmp_path, kind):
    table = pa.table(
        {
            "weight": pa.array([0.5, 1.0, 2.0]),
            "target": pa.array(EDGES[1], kind),
            "source": pa.array(EDGES[0], kind),
        }
    )
    parquet.write_table(table, tmp_path / "edges.parquet", row_group_size=2)
    graph = Graph.from_edge_list(tmp_path / "edges.parquet")
    assert graph.edge_index.tolist() == EDGES
    assert graph.edge_weight.tolist() == [0.5, 1.0, 2.0]


def test_names_are_kept(tmp_path):
    path = write(tmp_path, "src,dst,w\nbob,äda,1\nada,bob,2\nbob,eve,3\n")
    graph = Graph.from_edge_list(path)
    assert graph.node_names.tolist() == ["bob", "äda", "ada", "eve"]
    assert graph.edge_index.tolist() == [[0, 2, 0], [1, 0, 3]]
    assert graph.edge_weight.tolist() == [1, 2, 3]
    assert graph.to_undirected().node_names is graph.node_names


def test_names_in_parquet_also_as_dictionaries(tmp_path):
    names = pa.array(["b", "a", "b"])
    table = pa.table({"u": names.dictionary_encode(), "v": pa.array(["a", "c", "c"])})
    parquet.write_table(table, tmp_path / "edges.parquet")
    graph = Graph.from_edge_list(tmp_path / "edges.parquet")
    assert graph.node_names.tolist() == ["b", "a", "c"]
    assert graph.edge_index.tolist() == [[0, 1, 0], [1, 2, 2]]


def test_numbers_that_turn_into_words_are_names(tmp_path):
    # The column looks like integers for more than a block, then is not.
    lines = [f"{i},{i + 1}" for i in range(200)] * 13_000 + ["x1,0"]
    path = write(tmp_path, "\n".join(lines))
    assert path.stat().st_size > 2**24
    graph = Graph.from_edge_list(path, header=False)
    assert graph.num_nodes == 202
    assert graph.node_names[graph.edge_index[0, -1]] == "x1"


def test_large_numbers_are_refused_or_relabelled(tmp_path):
    path = write(tmp_path, "9000000000,5\n5,7\n")
    message = r"few gaps, got 9,000,000,000 among 4 ends .* pass relabel=True"
    with pytest.raises(ValueError, match=message):
        Graph.from_edge_list(path)
    graph = Graph.from_edge_list(path, relabel=True)
    assert graph.node_names.tolist() == [9000000000, 5, 7]
    assert graph.edge_index.tolist() == [[0, 1], [1, 2]]
    kept = edge_list.read(path, relabel=False)
    assert kept.edge_index.tolist() == [[9000000000, 5], [5, 7]]


def test_columns_are_chosen_by_name_or_position(tmp_path):
    path = write(tmp_path, "time,to,from,amount\n9,1,0,5\n9,0,2,6\n9,1,1,7\n")
    graph = Graph.from_edge_list(path)
    assert graph.edge_index.tolist() == EDGES
    assert graph.edge_weight is None
    graph = Graph.from_edge_list(path, source="to", target=2, weight="amount")
    assert graph.edge_index.tolist() == EDGES[::-1]
    assert graph.edge_weight.tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("text", "arguments", "error", "message"),
    [
        ("", {}, ValueError, "hold edges, got an empty file"),
        ("# only\n", {}, ValueError, "hold edges, got an empty file"),
        ("12\n13\n", {}, ValueError, "hold two columns, got the line '12'"),
        (
            "ada,bob\nbob,eve\n",
            {},
            ValueError,
            "`header` must be given .* header=True or",
        ),
        (
            "0,1\n2,\n",
            {},
            ValueError,
            "a value in every row, got none in row 1 of column '1'",
        ),
        ("0,1\n2,3,4\n", {}, ValueError, "Expected 2 columns, got 3"),
        ("0.5,1\n2.5,3\n", {}, TypeError, "integers or names, got double"),
        ("0,1\n-2,3\n", {}, IndexError, "got -2 in edge 1"),
        ("0,1,x\n", {"weight": 2}, TypeError, "`weight` must hold numbers, got string"),
        ("0,1\n", {"source": "who"}, ValueError, "`source` must be one of '0', '1'"),
        ("0,1\n", {"target": 5}, IndexError, r"`target` must be in \[0, 2\), got 5"),
        (
            "a,b\n",
            {"header": False, "relabel": False},
            ValueError,
            "`relabel` must be True",
        ),
    ],
)
def test_bad_files_are_refused_with_words(tmp_path, text, arguments, error, message):
    with pytest.raises(error, match=message):
        Graph.from_edge_list(write(tmp_path, text), **arguments)


def test_a_missing_or_broken_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"`path` must be a file, got .*none.csv"
    ):
        Graph.from_edge_list(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"`path` must be a file"):
        Graph.from_edge_list(tmp_path / "none.parquet")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "one.parquet")
    with pytest.raises(ValueError, match="hold two columns"):
        Graph.from_edge_list(tmp_path / "one.parquet")


def test_without_pyarrow_the_remedy_is_named(tmp_path):
    path = write(tmp_path, "0,1\n")
    probe = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from graphlab.interop.edge_list import read\n"
        f"try: read({str(path)!r})\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert "pip install 'graphlab[arrow]'" in run.stdout, run.stderr


def test_weights_stay_in_edge_order(tmp_path):
    generator = np.random.default_rng(0)
    source, target = generator.integers(0, 50, (2, 1000))
    weight = generator.random(1000)
    table = pa.table({"source": source, "target": target, "w": weight})
    parquet.write_table(table, tmp_path / "e.parquet", row_group_size=100)
    graph = Graph.from_edge_list(tmp_path / "e.parquet")
    assert torch.equal(graph.edge_index, torch.tensor(np.stack([source, target])))
    assert np.array_equal(graph.edge_weight.numpy(), weight)


def test_streaming_to_a_store_numbers_nodes_alike(tmp_path):
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 300, (2000, 2))
    text = "".join(f"n{a},n{b}\n" for a, b in rows)
    path = write(tmp_path, f"src,dst\n{text}")
    graph = Graph.from_edge_list(path)
    datasets.convert(path, tmp_path / "store", names=True, memory="64MiB")
    stored = datasets.open(tmp_path / "store").graph
    assert stored.node_names.tolist() == graph.node_names.tolist()
    assert torch.equal(stored.edge_index, graph.edge_index)
