from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from graphlab import Graph
from graphlab.datasets import (
    chunked,
    convert,
    manifest,
    open,
    storage,
    tables,
    topology,
)
from graphlab.datasets.journal import Journal
from graphlab.datasets.ledger import Ledger
from graphlab.datasets.runs import Sizes
from graphlab.errors import BudgetError, OutOfDiskError

RNG = np.random.default_rng(0)
N, E = 500, 20_000
EDGES = RNG.integers(0, N, (2, E))
EDGES[1, :9000] = 77  # a hub
EDGES[:, -1] = N - 1
X = RNG.standard_normal((N, 13)).astype(np.float32)
Y = RNG.integers(0, 4, N)


def check_graph(out: Path, edges: np.ndarray = EDGES, n: int = N) -> None:
    expected = Graph(torch.from_numpy(np.ascontiguousarray(edges)).long(), n).csc()
    found = open(out).graph.csc()
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert storage.verify(out) > 0
    assert {p.name for p in out.iterdir() if p.name.startswith(".")} == set()


LAYOUTS = {
    "2xE": EDGES,
    "Ex2": np.ascontiguousarray(EDGES.T),
    "2xE Fortran": np.asfortranarray(EDGES),
    "Ex2 Fortran": np.asfortranarray(EDGES.T),
    "int32": EDGES.astype(np.int32),
    "uint32": EDGES.astype(np.uint32),
    "uint16": EDGES.astype(np.uint16),
}


@pytest.mark.parametrize("edges", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_npy_edges_of_any_layout(tmp_path, edges):
    np.save(tmp_path / "e.npy", edges)
    made = convert(tmp_path / "e.npy", tmp_path / "s")
    assert (made.num_nodes, made.num_edges) == (N, E)
    check_graph(tmp_path / "s")


def test_the_three_files_of_a_user(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"src": EDGES[0], "dst": EDGES[1], "weight": RNG.random(E)})
    parquet.write_table(table, tmp_path / "e.parquet", row_group_size=3000)
    np.save(tmp_path / "x.npy", X)
    order = RNG.permutation(N)[:400]
    labels = {
        "node_id": order,
        "label": [f"class {c}" for c in Y[order]],
        "split": [("train", "valid", "test", None)[i % 4] for i in range(400)],
    }
    parquet.write_table(arrow.table(labels), tmp_path / "y.parquet")
    made = convert(
        tmp_path / "e.parquet",
        tmp_path / "s",
        features=tmp_path / "x.npy",
        labels=tmp_path / "y.parquet",
        memory="64MiB",
        meta={"licence": "mine"},
    )
    check_graph(tmp_path / "s")
    d = open(tmp_path / "s")
    assert torch.equal(d.x.gather(torch.arange(N)), torch.from_numpy(X))
    expected = np.full(N, -1)
    expected[order] = Y[order]
    assert d.y.tolist() == expected.tolist()
    assert d.meta["class_names"] == [f"class {c}" for c in range(4)]
    assert d.meta["licence"] == "mine"
    assert d.train_mask.nonzero()[:, 0].tolist() == sorted(order[::4])
    assert d.val_mask.nonzero()[:, 0].tolist() == sorted(order[1::4])
    weight = torch.from_numpy(table["weight"].to_numpy().astype(np.float32))
    assert torch.equal(d.graph.edge_weight, weight)
    assert made.provenance["peak_memory_bytes"] <= 64 * 2**20


def write_text(path: Path, separator: str, header: str = "", comment: str = "") -> Path:
    opened = gzip.open if path.suffix == ".gz" else path.__class__.open
    with opened(path, "wt") as file:
        file.write(comment + header)
        file.writelines(f"{a}{separator}{b}\n" for a, b in EDGES.T)
    return path


def test_text_edges_with_and_without_a_header(tmp_path):
    pytest.importorskip("pyarrow")
    files = [
        write_text(tmp_path / "a.csv", ",", "source,target\n"),
        write_text(tmp_path / "b.csv", ","),
        write_text(tmp_path / "c.tsv", "\t", "from\tto\n"),
        write_text(
            tmp_path / "d.txt", "\t", comment="# Directed graph\n# Nodes: 500\n"
        ),
        write_text(tmp_path / "e.csv.gz", ";", "x;y\n"),
        write_text(tmp_path / "f.txt", " "),
    ]
    for k, path in enumerate(files):
        convert(path, tmp_path / str(k), num_nodes=N)
        check_graph(tmp_path / str(k))


def test_columns_by_name_and_shards(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "edges").mkdir()
    for k, part in enumerate(np.split(EDGES, [7000, 7001], axis=1)):
        table = arrow.table({"day": part[0] * 0, "b": part[1], "a": part[0]})
        parquet.write_table(table, tmp_path / "edges" / f"{k}.parquet")
    convert(tmp_path / "edges", tmp_path / "s", source="a", target="b")
    check_graph(tmp_path / "s")
    with pytest.raises(ValueError, match="`source` must be one of 'day', 'b', 'a'"):
        convert(tmp_path / "edges", tmp_path / "t", source="c")
    with pytest.raises(ValueError, match=r"both ends named, .* give target= as well"):
        convert(tmp_path / "edges", tmp_path / "t", source="a")


def test_names_are_kept_in_order_of_appearance(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "e.csv").write_text("from,to\nann,bob\nbob,é\nann,é\ndora,ann\n")
    convert(tmp_path / "e.csv", tmp_path / "s")
    d = open(tmp_path / "s")
    assert d.graph.node_names.tolist() == ["ann", "bob", "é", "dora"]
    assert d.graph.edge_index.tolist() == [[0, 1, 0, 3], [1, 2, 2, 0]]
    # The labels' id column comes first, and its order is that of the features.
    (tmp_path / "y.csv").write_text("id,label\ndora,1\nann,0\nbob,\né,1\n")
    arguments = {"features": X[:4], "labels": tmp_path / "y.csv"}
    convert(tmp_path / "e.csv", tmp_path / "t", **arguments)
    d = open(tmp_path / "t")
    assert d.graph.node_names.tolist() == ["dora", "ann", "bob", "é"]
    assert d.graph.edge_index.tolist() == [[1, 2, 1, 0], [2, 3, 3, 1]]
    assert d.y.tolist() == [1, 0, -1, 1]
    with pytest.raises(ValueError, match="`edges` must name at most 3 nodes"):
        convert(tmp_path / "e.csv", tmp_path / "u", features=X[:3])


def test_large_ids_can_be_names(tmp_path):
    ids = np.array([[10**12, 5, 10**12], [5, 5, 7]])
    convert(ids, tmp_path / "s", names=True)
    d = open(tmp_path / "s")
    assert d.graph.node_names.tolist() == [str(10**12), "5", "7"]
    assert d.graph.edge_index.tolist() == [[0, 1, 0], [1, 1, 2]]


def test_undirected_files_get_the_reverse_of_each_row(tmp_path):
    convert(EDGES, tmp_path / "s", undirected=True)
    both = np.empty((2, 2 * E), dtype=np.int64)
    both[:, ::2], both[:, 1::2] = EDGES, EDGES[::-1]
    check_graph(tmp_path / "s", both)
    assert manifest.read(tmp_path / "s").directed is False


def test_splits_labels_and_masks_of_arrays(tmp_path):
    np.save(tmp_path / "train.npy", np.arange(10))
    mask = np.zeros(N, dtype=bool)
    mask[20:30] = True
    convert(
        EDGES,
        tmp_path / "s",
        labels=Y.astype(np.int64),
        splits={"train": tmp_path / "train.npy", "valid": mask},
    )
    d = open(tmp_path / "s")
    assert d.train_mask.nonzero()[:, 0].tolist() == list(range(10))
    assert d.val_mask.nonzero()[:, 0].tolist() == list(range(20, 30))
    assert torch.equal(d.y, torch.from_numpy(Y))


def test_features_in_other_files(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    X.tofile(tmp_path / "x.bin")
    wide = {"id": np.arange(N)} | {f"f{k}": X[:, k] for k in range(13)}
    parquet.write_table(arrow.table(wide), tmp_path / "wide.parquet")
    parquet.write_table(arrow.table({"x": list(X)}), tmp_path / "list.parquet")
    half = tmp_path / "half.npy"
    np.save(half, X.astype(np.float16))
    for k, (path, more) in enumerate(
        [
            (tmp_path / "x.bin", {"num_features": 13}),
            (tmp_path / "wide.parquet", {}),
            (tmp_path / "list.parquet", {}),
        ]
    ):
        convert(EDGES, tmp_path / str(k), features=path, **more)
        x = open(tmp_path / str(k)).x
        assert torch.equal(x.gather(torch.arange(N)), torch.from_numpy(X))
    convert(EDGES, tmp_path / "half", features=half)
    assert open(tmp_path / "half").x.dtype == torch.float16
    convert(EDGES, tmp_path / "int8", features=X, dtype="int8")
    assert open(tmp_path / "int8").x.stored == torch.int8


# Small cuts make every path run: many batches, buckets split twice, a bucket of the hub alone.
@pytest.mark.parametrize(
    "cut",
    [
        Sizes(20_000, 10**9, 10**9, 9, 4, 4),
        Sizes(97, 1000, 64, 6, 4, 4),
        Sizes(97, 50, 3, 8, 4, 4),
        Sizes(20_000, 1, 1, 20, 4, 4),
    ],
    ids=["one bucket", "buckets", "split", "every target alone"],
)
def test_every_cut_gives_the_same_graph(tmp_path, cut, monkeypatch):
    monkeypatch.setattr(topology, "choose_sizes", lambda *_: cut)
    monkeypatch.setattr(topology, "MAX_BUCKETS", 7 if cut.bucket < 10**9 else 128)
    convert(EDGES, tmp_path / "s")
    check_graph(tmp_path / "s")


def test_sizes_fit_the_budget_at_any_scale():
    stream = namedtuple("stream", "edge_bytes fixed_bytes")(64, 2**20)
    for nodes, edges in ((10, 10), (10**6, 10**8), (10**9, 10**10), (4 * 10**9, 10**9)):
        for limit in (2**23, 2**26, 2**31):
            ledger = Ledger("convert", limit)
            cut = topology.choose_sizes(ledger, stream, nodes, edges)
            per_edge = stream.edge_bytes + topology.group_bytes(cut)
            assert stream.fixed_bytes + cut.batch * per_edge <= limit
            targets = min(cut.targets, nodes)
            assert cut.bucket * cut.sort_bytes + 24 * (targets + 1) <= limit
            assert -(-nodes >> cut.shift) <= topology.MAX_BUCKETS + 1
            assert ledger.held == 0


def test_a_graph_without_edges_and_isolated_nodes(tmp_path):
    convert(np.zeros((2, 0), dtype=np.int64), tmp_path / "s", num_nodes=3)
    assert open(tmp_path / "s").graph.csc().ptr.tolist() == [0, 0, 0, 0]
    with pytest.raises(
        ValueError, match="`edges` must hold an edge, got an empty graph"
    ):
        convert(np.zeros((2, 0), dtype=np.int64), tmp_path / "t")


CONVERT = """
import os, sys, time
from pathlib import Path
os.fsync = lambda _: None  # a kill loses no page cache; only a power cut does
from graphlab import progress
from graphlab.datasets import convert, topology, chunked
topology.CHECKPOINT_SECONDS = 0.0
topology.BATCH_EDGES = topology._LEAST_BATCH = 2000
slow, folder = float(sys.argv[1]), Path(sys.argv[2])
write = chunked.ChunkedWriter.write
def wait(*arguments):
    time.sleep(slow)
    return write(*arguments)
chunked.ChunkedWriter.write = wait
add = topology.Appender.add
def crawl(*arguments):
    time.sleep(slow)
    return add(*arguments)
topology.Appender.add = crawl
topology.choose_sizes = lambda *_: topology.Sizes(2000, 2000, 200, 7, 4, 4)
print("ready", flush=True)
convert(folder / "e.npy", folder / "s", features=folder / "x.npy", memory="64MiB")
"""


def test_a_killed_conversion_goes_on(tmp_path):
    np.save(tmp_path / "e.npy", EDGES)
    np.save(tmp_path / "x.npy", X)
    script = tmp_path / "convert.py"
    script.write_text(CONVERT)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    journal = tmp_path / "s" / ".journal"

    def run(slow: float) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(script), str(slow), str(tmp_path)]
        return subprocess.Popen(command, env=environment, stdout=-3, stderr=-3)

    def notes(stage: str) -> int:
        return journal.read_text().count(stage) if journal.exists() else 0

    # Killed (SIGKILL) twice while edges are spread, once while buckets are sorted.
    for stage in ('"stage": "bucket"', '"stage": "bucket"', '"stage": "build"'):
        before = notes(stage)
        child = run(0.05)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and child.poll() is None:
            if notes(stage) >= before + 2:
                break
            time.sleep(0.005)
        assert child.poll() is None, "the conversion ended before it could be killed"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert notes(stage) >= before + 2
        assert not (tmp_path / "s" / manifest.NAME).exists()
    assert '"file graph.idx.bin"' not in journal.read_text()
    assert run(0.0).wait() == 0
    check_graph(tmp_path / "s")
    x = open(tmp_path / "s").x
    assert torch.equal(x.gather(torch.arange(N)), torch.from_numpy(X))
    whole = convert(tmp_path / "e.npy", tmp_path / "w", features=tmp_path / "x.npy")
    assert manifest.read(tmp_path / "s").fingerprint == whole.fingerprint


def test_a_finished_conversion_returns_at_once_and_another_is_refused(tmp_path):
    np.save(tmp_path / "e.npy", EDGES)
    made = convert(tmp_path / "e.npy", tmp_path / "s")
    before = (tmp_path / "s" / manifest.NAME).stat().st_mtime_ns
    assert convert(tmp_path / "e.npy", tmp_path / "s") == made
    assert (tmp_path / "s" / manifest.NAME).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="must not hold a store"):
        convert(tmp_path / "e.npy", tmp_path / "s", features=X)
    convert(tmp_path / "e.npy", tmp_path / "s", features=X, overwrite=True)
    assert open(tmp_path / "s").x is not None


def test_an_unfinished_conversion_of_other_files_is_refused(tmp_path):
    (tmp_path / "s").mkdir()
    journal = Journal(tmp_path / "s", {"edges": 1, "dtype": "source"}, False)
    journal.note("bucket", {"edges": 7})
    with (tmp_path / "s" / ".journal").open("a") as file:
        file.write('{"stage": "torn')
    again = Journal(tmp_path / "s", {"edges": 1, "dtype": "source"}, False)
    assert again.resumed
    assert again.get("bucket") == {"edges": 7}
    again.note("bucket", {"edges": 8})
    with pytest.raises(
        ValueError, match=r"conversion of something else, .*\(`edges` diff"
    ):
        Journal(tmp_path / "s", {"edges": 2, "dtype": "source"}, False)
    fresh = Journal(tmp_path / "s", {"edges": 2, "dtype": "source"}, True)
    assert not fresh.resumed
    assert fresh.get("bucket") is None


def test_the_ledger_refuses_and_counts():
    ledger = Ledger("convert", 1000)
    with (
        ledger.hold("a", 600),
        pytest.raises(BudgetError, match=r"at least 1.1 KiB to hold b, got 1000 B"),
    ):
        ledger.take("b", 500)
    assert (ledger.held, ledger.peak, ledger.free) == (0, 600, 1000)


def test_budgets_too_small_say_what_would_do(tmp_path):
    with pytest.raises(
        BudgetError, match=r"`memory` must be at least .* smallest batches"
    ):
        convert(EDGES, tmp_path / "s", memory="1MiB")
    with pytest.raises(BudgetError, match="to hold a piece of features"):
        convert(EDGES, tmp_path / "s", features=X, memory="16MiB")
    names = np.arange(200_000).reshape(2, -1)
    with pytest.raises(BudgetError, match="or number the nodes 0, 1"):
        convert(names, tmp_path / "s", names=True, memory="12MiB")
    assert not (tmp_path / "s" / manifest.NAME).exists()


def test_a_full_disk_is_refused_with_words(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(chunked.shutil, "disk_usage", lambda _: usage(9, 9, 1000))
    with pytest.raises(
        OutOfDiskError, match=r"KiB free for convert.*found 1000 B free"
    ):
        convert(EDGES, tmp_path / "s")


def test_a_disk_that_fills_up_loses_nothing(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".node.x.bin.part").symlink_to("/dev/full")
    np.save(tmp_path / "e.npy", EDGES)
    np.save(tmp_path / "x.npy", X)
    arguments = (tmp_path / "e.npy", tmp_path / "s")
    with pytest.raises(OutOfDiskError, match="run the same command again"):
        convert(*arguments, features=tmp_path / "x.npy")
    (tmp_path / "s" / ".node.x.bin.part").unlink()
    done = (tmp_path / "s" / "graph.idx.bin").stat().st_mtime_ns
    convert(*arguments, features=tmp_path / "x.npy")
    assert (tmp_path / "s" / "graph.idx.bin").stat().st_mtime_ns == done
    check_graph(tmp_path / "s")


def nan_at(row: int) -> np.ndarray:
    x = X.copy()
    x[row, 3] = np.nan
    return x


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"edges": "none.npy"}, FileNotFoundError, "convert: no file none.npy"),
        ({"edges": "bad.npy"}, ValueError, "must be a .npy file, got bad.npy"),
        ({"edges": "bad.xyz"}, ValueError, r"be one of \.parquet, .*got bad\.xyz"),
        ({"edges": X[:3].T}, ValueError, r"`edges` must be \[2, E\], got \[13, 3\]"),
        ({"edges": "x.npy"}, ValueError, r"`edges` must be \[2, E\] or \[E, 2\], got"),
        ({"edges": X[:2]}, TypeError, "hold integers in column 'source', got float32"),
        (
            {"edges": EDGES - 1},
            IndexError,
            r"ids in \[0, 499\), got -1; give num_nodes",
        ),
        ({"num_nodes": 100}, IndexError, r"`edges` must have source ids in \[0, 100\)"),
        ({"features": X[:9]}, IndexError, r"source ids in \[0, 9\)"),
        (
            {"features": X, "num_nodes": 600},
            ValueError,
            r"row per node \(600\), got 500",
        ),
        ({"features": nan_at(7)}, ValueError, "hold no NaN, got NaN in row 7; fill"),
        ({"features": "none.npy"}, FileNotFoundError, "convert: no file none.npy"),
        (
            {"features": "raw.bin"},
            ValueError,
            "have a header, got raw.bin; give num_fea",
        ),
        ({"features": "raw.bin", "num_features": 3}, ValueError, "be whole rows of 12"),
        ({"labels": Y[:9]}, ValueError, r"one row per node \(500\), got 9; or an id"),
        ({"labels": "none.npy"}, FileNotFoundError, "convert: no file none.npy"),
        ({"splits": {"fold": Y}}, ValueError, "`splits` must be one of 'train', 'val'"),
        (
            {"splits": {"train": [500]}},
            IndexError,
            r"`train ids` must be in \[0, 500\)",
        ),
        (
            {"splits": {"train": Y[:9] > 0}},
            ValueError,
            "`train mask` must have one row",
        ),
        ({"weight": "w"}, ValueError, "`weight` must be one of 'source', 'target'"),
        ({"dtype": "float8"}, ValueError, "`dtype` must be one of 'source'"),
        ({"meta": {"a": {1}}}, ValueError, "`meta` must hold only what JSON can"),
    ],
)
def test_errors(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.npy").write_bytes(b"no numpy")
    Path("bad.xyz").write_bytes(b"?")
    Path("raw.bin").write_bytes(bytes(13))
    np.save("x.npy", X)
    with pytest.raises(error, match=message):
        convert(**{"edges": EDGES, **arguments}, out=tmp_path / "s")
    assert not (tmp_path / "s" / manifest.NAME).exists()


@pytest.mark.parametrize(
    ("edges", "labels", "error", "message"),
    [
        ("a,b\n0,1\n1,\n", "", ValueError, "no empty cell in column 'b', got row 1"),
        ("a\n0\n1\n", "", ValueError, r"have two columns, got the column\(s\) \['a'\]"),
        ("", "", ValueError, "must hold rows, got e.csv without any"),
        ("a,b\n0,1\n", "id,label\n7,1\n0,0\n", IndexError, r"ids in \[0, 2\), got 7"),
        (
            "a,b\n0,1\n",
            "id,u,w\n0,0,0\n",
            ValueError,
            r"have one label, .*label_column=",
        ),
        (
            "a,b\n0,1\n",
            "id,split\n0,odd\n",
            ValueError,
            "splits train, val and test, got",
        ),
        ("a,b\nx,y\n", "id,label\nx,0\n", ValueError, "name at most"),
    ],
)
def test_errors_in_text_files(tmp_path, edges, labels, error, message):
    pytest.importorskip("pyarrow")
    (tmp_path / "e.csv").write_text(edges)
    (tmp_path / "y.csv").write_text(labels)
    path = tmp_path / "y.csv" if labels else None
    nodes = 2 if "x" not in edges else 1
    with pytest.raises(error, match=message):
        convert(tmp_path / "e.csv", tmp_path / "s", labels=path, num_nodes=nodes)


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "e.csv").write_text("a,b\n0,1\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install .graphlab\[arrow\]"):
        convert(tmp_path / "e.csv", tmp_path / "s")
    convert(EDGES, tmp_path / "s", features=X, labels=Y)


def test_tables_read_from_any_row(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    values = np.arange(1000)
    table = arrow.table({"a": values, "b": values * 2})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=170)
    arrow.csv.write_csv(table, tmp_path / "t.csv")
    np.save(tmp_path / "t.npy", np.stack([values, values * 2]))
    for name, column in (("t.parquet", "b"), ("t.csv", "b"), ("t.npy", "1")):
        opened = tables.open_table("test", [tmp_path / name, tmp_path / name])
        for start in (0, 169, 170, 999, 1000, 1500, 2000):
            parts = [tables.numbers(c) for (c,) in opened.batches([column], start, 64)]
            found = np.concatenate([*parts, np.zeros(0, np.int64)])
            assert np.array_equal(found, np.tile(values * 2, 2)[start:])
