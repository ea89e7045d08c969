from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from graphlab import Dataset, Graph
from graphlab.datasets import chunked, encoding, manifest, storage
from graphlab.datasets.column import SparseColumn
from graphlab.datasets.stored import StoredColumn
from graphlab.errors import OutOfDiskError, StoreError

GOLDEN = Path(__file__).parent / "golden" / "store-1"


def make(n: int = 300, width: int = 47, dtype=torch.float32, edges: int = 2000):
    g = torch.Generator().manual_seed(n)
    edge_index = torch.randint(0, n, (2, edges), generator=g)
    x = torch.randn(n, width, generator=g)
    x = x.to(dtype) if dtype.is_floating_point else (x * 20).to(dtype)
    order = torch.randperm(n, generator=g)
    return Dataset(
        Graph(edge_index, n, edge_weight=torch.rand(edges, generator=g)),
        x=x,
        y=torch.randint(-1, 4, (n,), generator=g),
        splits={
            "train": order[: n // 2],
            "val": order[n // 2 : -9],
            "test": order[-9:],
        },
        edge_attr=torch.rand(edges, 3, generator=g),
        meta={"name": "made", "directed": True, "nested": {"list": [1, 2.5, None]}},
        columns={"emb/1 ü": torch.rand(n, 2, 3, generator=g)},
        edge_splits={
            "val": {"edge": edge_index[:, :50], "edge_neg": edge_index[:, 50:70]}
        },
    )


def assert_same(opened: Dataset, d: Dataset) -> None:
    everything = torch.arange(d.num_nodes)
    assert torch.equal(opened.graph.edge_index, d.graph.edge_index)
    assert torch.equal(opened.graph.csc().idx, d.graph.csc().idx)
    if d.graph.edge_weight is not None:
        assert torch.equal(opened.graph.edge_weight, d.graph.edge_weight)
    assert list(opened.columns) == list(d.columns)
    for name, column in d.columns.items():
        assert opened[name].dtype == column.dtype
        assert opened[name].shape == tuple(column.shape)
        assert torch.equal(opened[name].gather(everything), column)
    for name, column in d.edge_columns.items():
        ids = torch.arange(d.num_edges)
        assert torch.equal(opened.edge_columns[name].gather(ids), column)
    assert torch.equal(opened.y, d.y)
    assert list(opened.splits) == list(d.splits)
    assert all(torch.equal(opened.splits[k], d.splits[k]) for k in d.splits)
    for split, parts in d.edge_splits.items():
        assert all(torch.equal(opened.edge_splits[split][k], parts[k]) for k in parts)
    assert opened.meta == d.meta


# 4111 x 47: nothing divides anything; then the row sizes of the issue, in bytes.
@pytest.mark.parametrize(
    ("rows", "width", "dtype"),
    [
        (4111, 47, torch.float32),
        (50, 100, torch.float32),
        (50, 768, torch.float16),
        (50, 1433, torch.float32),
        (7, 8415, torch.float32),
        (1, 1, torch.float64),
        (40, 3, torch.bfloat16),
        (40, 3, torch.int8),
        (40, 3, torch.uint8),
        (40, 3, torch.int64),
        (40, 3, torch.bool),
        (40, 0, torch.float32),
    ],
)
def test_round_trip(tmp_path, rows, width, dtype):
    d = make(rows, width, dtype) if rows > 20 else make_small(rows, width, dtype)
    storage.save(d, tmp_path / "s")
    opened = storage.open(tmp_path / "s")
    assert_same(opened, d)
    x = opened.x
    assert isinstance(x, StoredColumn)
    assert x.row_bytes == width * dtype.itemsize
    assert x.path.stat().st_size == rows * x.row_bytes
    assert torch.equal(x.memmap(), d.x)
    assert storage.verify(tmp_path / "s") > 0


def make_small(rows: int, width: int, dtype: torch.dtype) -> Dataset:
    x = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Dataset(
        Graph(torch.zeros(2, 1).long(), rows), x=x, y=torch.zeros(rows).long()
    )


def test_a_store_opens_as_a_plain_memmap(tmp_path):
    d = make(100, 47)
    storage.save(d, tmp_path / "s")
    array = np.memmap(tmp_path / "s" / "node.x.bin", dtype="<f4", shape=(100, 47))
    assert np.array_equal(array, d.x.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float32"])
def test_smaller_features_read_as_float32_within_their_error(tmp_path, dtype):
    d = make(200, 33)
    storage.save(d, tmp_path / "s", dtype=dtype)
    x = storage.open(tmp_path / "s").x
    size = {"float16": 2, "bfloat16": 2, "int8": 1, "float32": 4}[dtype]
    assert (x.dtype, x.row_bytes) == (torch.float32, 33 * size)
    read = x.gather(torch.arange(200))
    if dtype == "int8":
        bound = d.x.abs().amax(1, keepdim=True) / 127 / 2 * 1.001
        assert ((read - d.x).abs() <= bound).all()
    else:
        assert torch.equal(read, d.x.to(encoding.TORCH_DTYPES[dtype]).float())
    # Other columns and labels stay as they are.
    assert torch.equal(storage.open(tmp_path / "s").y, d.y)


def test_int8_of_zero_rows_and_of_extremes():
    rows = torch.tensor([[0.0, 0.0], [1e-38, -1e-38], [3e38, -1.0]])
    values, scale = encoding.encode(rows, torch.int8)
    assert values.tolist()[0] == [0, 0]
    assert values.tolist()[2] == [127, 0]
    assert scale[0] == 0
    assert torch.isfinite(values * scale[:, None]).all()


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (
            7e4,
            "float16",
            "within 65,504 of 0 to be stored as float16, got 70000; use bf",
        ),
        (float("nan"), "int8", "be finite to be stored as int8, got NaN or infinity"),
        (float("inf"), "int8", "be finite to be stored as int8"),
    ],
)
def test_values_that_a_dtype_cannot_hold_are_refused(tmp_path, value, dtype, message):
    d = make(50, 3)
    d.x[7, 1] = value
    with pytest.raises(ValueError, match=message):
        storage.save(d, tmp_path / "s", dtype=dtype)
    storage.save(d, tmp_path / "s", dtype="bfloat16")


def test_saving_an_opened_store_keeps_its_bytes(tmp_path):
    d = make(100, 20)
    for dtype in ("float16", "int8", "source"):
        first = storage.save(d, tmp_path / dtype, dtype=dtype)
        opened = storage.open(tmp_path / dtype)
        again = storage.save(opened, tmp_path / f"{dtype}-2")
        if dtype != "int8":  # its scales are computed anew, an ulp apart
            assert again.fingerprint == first.fingerprint
        everything = torch.arange(100)
        copied = storage.open(tmp_path / f"{dtype}-2").x.gather(everything)
        torch.testing.assert_close(copied, opened.x.gather(everything))


def test_sparse_columns_stay_sparse_unless_asked(tmp_path):
    column = SparseColumn(
        [0, 2, 2, 3], np.array([0, 4, 1], dtype=np.uint16), [1.0], (3, 5)
    )
    d = Dataset(Graph(torch.tensor([[0, 1], [1, 2]])), x=column)
    storage.save(d, tmp_path / "sparse")
    x = storage.open(tmp_path / "sparse").x
    assert isinstance(x, SparseColumn)
    assert x.idx.dtype == np.uint16
    assert torch.equal(x.to_dense(), column.to_dense())
    storage.save(d, tmp_path / "dense", layout="dense")
    x = storage.open(tmp_path / "dense").x
    assert isinstance(x, StoredColumn)
    assert torch.equal(x.gather(torch.arange(3)), column.to_dense())


def test_names_runs_and_a_graph_alone(tmp_path):
    graph = Graph(torch.tensor([[0, 1], [1, 2]]))
    graph.node_names = np.array(["a", "", "ü"], dtype=object)
    d = Dataset(graph, splits={"train": torch.tensor([[True, False]] * 3)})
    storage.save(d, tmp_path / "s")
    opened = storage.open(tmp_path / "s")
    assert opened.graph.node_names.tolist() == ["a", "", "ü"]
    assert torch.equal(opened.train_mask, d.train_mask)
    assert opened.x is None
    assert opened.y is None
    # Both edges are in target order already: their ids need no file.
    assert manifest.read(tmp_path / "s").topology.edge_id is None


def test_gather_in_any_order_with_repeats_and_out(tmp_path, monkeypatch):
    from graphlab.datasets import stored

    n = 9000
    x = torch.arange(n * 5).reshape(n, 5).float()
    storage.save(Dataset(Graph(torch.zeros(2, 1).long(), n), x=x), tmp_path / "s")
    column = storage.open(tmp_path / "s").x
    g = torch.Generator().manual_seed(1)
    patterns = {
        "random": torch.randint(0, n, (4000,), generator=g),
        "all": torch.arange(n).flip(0),
        "one often": torch.full((3000,), n - 1),
        "far apart": torch.tensor([n - 1, 0, 4000, 0]),
        "none": torch.zeros(0).long(),
        "int32": torch.randint(0, n, (100,), generator=g).int(),
    }
    # Small limits make every branch of span and round cutting run.
    for gap, span, stage in ((16384, 2**20, 2**22), (40, 200, 1000), (0, 20, 20)):
        monkeypatch.setattr(stored, "GAP_BYTES", gap)
        monkeypatch.setattr(stored, "SPAN_BYTES", span)
        monkeypatch.setattr(stored, "STAGE_BYTES", stage)
        for ids in patterns.values():
            assert torch.equal(column.gather(ids), x[ids.long()])
    out = torch.empty(4, 5)
    assert column.gather(patterns["far apart"], out) is out
    assert torch.equal(out, x[patterns["far apart"]])


def test_gather_errors(tmp_path):
    storage.save(make(100, 5), tmp_path / "s")
    x = storage.open(tmp_path / "s").x
    with pytest.raises(
        IndexError, match=r"`ids` must be in \[0, 100\), got 100 at pos"
    ):
        x.gather(torch.tensor([3, 100]))
    with pytest.raises(TypeError, match="`ids` must be int32 or int64, got bool"):
        x.gather(torch.ones(100).bool())
    with pytest.raises(ValueError, match=r"`out` must be \[1, 5\]"):
        x.gather(torch.tensor([3]), torch.empty(2, 5))
    with pytest.raises(TypeError, match="`out` must be float32"):
        x.gather(torch.tensor([3]), torch.empty(1, 5).double())
    assert repr(x) == "StoredColumn(node.x.bin: 100x5 float32)"


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 10**7])
def test_scan_reads_all_rows_once(tmp_path, chunk_bytes):
    d = make(3000, 100)
    storage.save(d, tmp_path / "s", dtype="int8")
    x = storage.open(tmp_path / "s").x
    parts = [
        x.decode(raw, slice(first, first + len(raw)))
        for first, raw in x.scan(chunk_bytes)
    ]
    assert torch.equal(torch.cat(parts), x.gather(torch.arange(3000)))
    some = [raw.clone() for _, raw in x.scan(chunk_bytes, start=17, stop=40)]
    assert torch.equal(torch.cat(some).view(torch.int8), x.memmap()[17:40])


def flip(path: Path, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def test_a_flipped_bit_is_found_and_named(tmp_path):
    manifest_ = storage.save(make(3000, 200), tmp_path / "s")
    for name, entry in manifest_.files.items():
        if entry.bytes == 0:
            continue
        path = tmp_path / "s" / name
        offset = entry.bytes - 1
        flip(path, offset)
        with pytest.raises(StoreError, match="expected a chunk with CRC32C") as caught:
            storage.verify(tmp_path / "s")
        assert caught.value.path == path
        assert caught.value.offset == offset // chunked.CHUNK * chunked.CHUNK
        flip(path, offset)
    storage.verify(tmp_path / "s")


def test_a_scan_finds_a_flipped_bit(tmp_path):
    storage.save(make(3000, 200), tmp_path / "s")
    x = storage.open(tmp_path / "s").x
    flip(x.path, 1_500_000)
    with pytest.raises(StoreError, match="at byte 1048576"):
        list(x.scan(10_000))
    with pytest.raises(StoreError, match="at byte 1048576"):
        list(x.scan(10_000, start=1000))
    rows = [len(raw) for _, raw in x.scan(10_000, start=2700)]  # behind the damage
    assert sum(rows) == 300
    assert max(rows) * x.row_bytes <= 5000
    assert list(x.scan(10_000, verify=False))


def test_a_flipped_bit_in_the_checksums_is_found(tmp_path):
    storage.save(make(), tmp_path / "s")
    flip(tmp_path / "s" / "node.x.bin.crc", 1)
    with pytest.raises(StoreError, match=r"node\.x\.bin\.crc: expected 1 checksums"):
        storage.verify(tmp_path / "s")


def test_truncated_and_missing_files(tmp_path):
    storage.save(make(100, 47), tmp_path / "s")
    path = tmp_path / "s" / "node.x.bin"
    x = storage.open(tmp_path / "s").x
    os.truncate(path, 1000)
    with pytest.raises(StoreError, match=r"node\.x\.bin at byte 1000: .* found 1000 b"):
        storage.open(tmp_path / "s")
    with pytest.raises(StoreError, match="at byte 1000"):
        x.gather(torch.tensor([99]))
    path.unlink()
    with pytest.raises(StoreError, match=r"node\.x\.bin: .* found no file; restore it"):
        storage.open(tmp_path / "s")
    with pytest.raises(StoreError, match="found no file"):
        x.gather(torch.tensor([99]))


def test_folders_that_are_no_store(tmp_path):
    with pytest.raises(StoreError, match="found nothing; make one with `graphlab data"):
        storage.open(tmp_path)
    (tmp_path / "node.x.bin").write_bytes(b"abc")
    with pytest.raises(StoreError, match="found an unfinished store; rerun"):
        storage.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": 2},
            r"format version 1 or older, found version 2 .*upgrade graphlab",
        ),
        ({"version": "x"}, "expected a format version, found 'x'"),
        ({"format": "other"}, '"format": "graphlab.store", found \'other\''),
        (
            {"topology": {"ptr": 1}},
            "the fields of version 1, found an unreadable entry",
        ),
        ({"surprise": 1}, "the fields of version 1"),
    ],
)
def test_manifests_of_other_versions_or_damaged(tmp_path, change, message):
    storage.save(make(), tmp_path / "s")
    path = tmp_path / "s" / manifest.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(StoreError, match=message):
        storage.open(tmp_path / "s")


def test_a_manifest_that_is_not_json(tmp_path):
    storage.save(make(), tmp_path / "s")
    os.truncate(tmp_path / "s" / manifest.NAME, 100)
    with pytest.raises(StoreError, match="expected JSON, found damage"):
        storage.open(tmp_path / "s")


def test_save_refuses_what_it_cannot_do(tmp_path):
    d = make()
    with pytest.raises(ValueError, match="`dtype` must be one of 'source', 'float32'"):
        storage.save(d, tmp_path / "s", dtype="float8")
    with pytest.raises(ValueError, match="`layout` must be one of 'source', 'dense'"):
        storage.save(d, tmp_path / "s", layout="csr")
    d["c"] = torch.zeros(d.num_nodes, dtype=torch.complex64)
    with pytest.raises(TypeError, match="`c` must have one of the dtypes"):
        storage.save(d, tmp_path / "s")
    del d["c"]
    d.meta["odd"] = {1, 2}
    with pytest.raises(ValueError, match="`meta` must hold only what JSON can"):
        storage.save(d, tmp_path / "s")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="`folder` must be a folder, got a file"):
        storage.save(make(), tmp_path / "file")


def test_overwriting_is_asked_for_and_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "s"
    storage.save(make(100, 5), folder)
    with pytest.raises(ValueError, match="`folder` must not hold a store"):
        storage.save(make(50, 3), folder)
    assert storage.open(folder).num_nodes == 100
    bare = Dataset(Graph(torch.tensor([[0], [1]])), y=torch.tensor([0, 1]))
    (folder / "notes.txt").write_text("mine")
    storage.save(bare, folder, overwrite=True)
    assert_same(storage.open(folder), bare)
    expected = {"graph.ptr.bin", "graph.idx.bin", "node.y.bin"}
    expected |= {f"{name}.crc" for name in expected} | {manifest.NAME, "notes.txt"}
    assert {path.name for path in folder.iterdir()} == expected


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2000, 1000, 1000))
    with pytest.raises(OutOfDiskError, match=r"KiB free for .*, found 1000 B free"):
        storage.save(make(), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_disk_that_fills_up_is_named(tmp_path):
    # /dev/full gives ENOSPC at the first write, as a full disk does.
    (tmp_path / ".x.bin.part").symlink_to("/dev/full")
    with (
        pytest.raises(
            OutOfDiskError, match=r"x\.bin: expected room to write, found a full"
        ),
        chunked.ChunkedWriter(tmp_path / "x.bin") as writer,
    ):
        writer.write(np.zeros(10))
    assert not (tmp_path / "x.bin").exists()


def test_a_writer_goes_on_where_it_was_killed(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, 3_000_000).astype(np.uint8)
    whole = chunked.write_file(tmp_path / "whole", data)
    writer = chunked.ChunkedWriter(tmp_path / "cut")
    writer.write(data[:1_700_000])
    at = writer.sync()
    writer.write(data[1_700_000:2_000_000])  # not synced: it is written again
    writer.__exit__(None, None, None)
    with chunked.ChunkedWriter(tmp_path / "cut", resume_at=at) as writer:
        writer.write(data[at:])
        assert writer.close() == whole
    assert (tmp_path / "cut").read_bytes() == data.tobytes()
    assert chunked.entry_of(tmp_path / "cut") == whole
    with pytest.raises(
        StoreError, match="expected a part of at least 10 bytes, found 0"
    ):
        chunked.ChunkedWriter(tmp_path / "none", resume_at=10)


def test_golden_store_of_version_1():
    """A store written on 2026-11-21 opens, verifies and reads the same for ever."""
    d = storage.open(GOLDEN)
    assert storage.verify(GOLDEN) > 0
    assert (d.num_nodes, d.num_edges) == (5, 6)
    assert d.graph.edge_index.tolist() == [[0, 1, 2, 3, 3, 0], [1, 2, 0, 4, 1, 1]]
    assert d.graph.edge_weight.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert d.graph.node_names.tolist() == ["a", "b", "c", "d", "é"]
    x = d.x.gather(torch.arange(5))
    assert x.tolist() == [[0.5 * i, -1.0, 2.0 * i] for i in range(5)]
    assert (d.x.dtype, d.x.stored) == (torch.float32, torch.float16)
    assert d["words"].to_dense().tolist() == [
        [1.0, 0, 0, 0],
        [0, 2, 0, 3],
        *[[0] * 4] * 3,
    ]
    small = d["small"].gather(torch.tensor([4, 0]))
    torch.testing.assert_close(
        small, torch.tensor([[64 * 10, -1270], [64 * 2, -254]]) / 127
    )
    assert d.y.tolist() == [0, 1, -1, 1, 0]
    assert d.train_mask.tolist() == [True, True, False, False, False]
    assert d.edge_attr.gather(torch.arange(6)).tolist() == [[i] for i in range(6)]
    assert d.edge_splits["val"]["edge"].tolist() == [[0], [4]]
    assert d.meta == {"name": "golden", "directed": True}
    fingerprint = "868b12a8ae079f6ef5ef073c7bc1c8c98011eb7cbbc1cfff105a86fadb15c3bf"
    assert manifest.read(GOLDEN).fingerprint == fingerprint
