"""The files of a plan, format version 2: batch records, programmes, packs, manifest.

A plan is one folder; ``manifest.json`` is written last, so a folder without it is a plan that
is still being made. All numbers are little-endian; every batch's region starts at a multiple
of 4096 bytes, every section inside at a multiple of 64.

======================  =======================================================
``samples-00000.bin``   one record a batch: sampled nodes and edges; independent of any budget
``programme-00000.bin`` one record a batch: where each row of it is found
``pack-<c>-00000.bin``  rows of column c that are not in memory, batch by batch, ascending ids
``hot-<c>.bin``         rows of column c that stay in memory, ascending ids
``shared-<c>.bin``      rows of column c that batches read from here (mode hybrid)
``hot-ids.bin``         their node ids, int64
``<name>.idx``          one 32-byte entry a batch: offset, length, CRC32C, counts
======================  =======================================================

The number in a name counts parts, of which one is written; the header's ``kind`` has
room for node types.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import files, ops
from graphlab.errors import OutOfDiskError, StoreError
from graphlab.ops import NeighborSample
from graphlab.outofcore.reader import Bytes

FORMAT = "graphlab.plan"
VERSION = 2
MANIFEST = "manifest.json"
REMEDY = "delete the plan's folder and make it again with gl.outofcore.plan"

INDEX = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u8"),
        ("crc", "<u4"),
        ("part", "<u4"),
        ("rows", "<u4"),
        ("items", "<u4"),
    ]
)
Index = npt.NDArray[np.void]

_HEADER = np.dtype(
    [
        ("magic", "S4"),
        ("version", "<u2"),
        ("kind", "<u2"),  # node type; 0 in homogeneous graphs
        ("epoch", "<u4"),
        ("batch", "<u4"),
        ("nodes", "<u4"),
        ("edges", "<u4"),
        ("seeds", "<u4"),
        ("hops", "<u4"),
        ("id_bytes", "u1"),
        ("edge_id_bytes", "u1"),
        ("degree_bytes", "u1"),
        ("tree_bytes", "u1"),
        ("spare", "V28"),
    ]
)
assert _HEADER.itemsize == 64
_SECTION = 64


def crc(data: Bytes, before: int = 0) -> int:
    """CRC32C of bytes that follow what gave ``before``."""
    return int(ops.crc32c(torch.from_numpy(data), before)) if len(data) else before


class _Writer:
    def __init__(self, header: npt.NDArray[np.void]) -> None:
        self.pieces = [header.tobytes()]
        self.size = _SECTION

    def section(self, values: Any, dtype: str) -> None:
        data = np.ascontiguousarray(values, dtype=dtype).tobytes()
        pad = -len(data) % _SECTION
        self.pieces.append(data + b"\0" * pad)
        self.size += len(data) + pad

    def bytes(self) -> Bytes:
        return np.frombuffer(bytearray(b"".join(self.pieces)), dtype=np.uint8)


class _Reader:
    def __init__(self, record: Bytes) -> None:
        self.record = record
        self.place = _SECTION

    def section(self, count: int, dtype: str) -> npt.NDArray[Any]:
        size = count * np.dtype(dtype).itemsize
        values = self.record[self.place : self.place + size].view(dtype)
        self.place += size + -size % _SECTION
        return values


class Record(NamedTuple):
    """A batch record, as views into its bytes.

    Attributes:
        n_id: [nodes], u4 or u8.
        degree: [targets], edges of each target; targets are the nodes of all hops but the
            last, in order, and edges are grouped by target.
        row: [edges], u4, local source.
        e_id: [edges], u4 or u8.
        input_id: [seeds], u4 or u8, positions in ``input_nodes``.
        tree: [nodes], u4, or empty: the seed of each node, where trees are disjoint.
        nodes, edges: Counts by hop.
        epoch, batch: Which it is.
    """

    n_id: npt.NDArray[Any]
    degree: npt.NDArray[Any]
    row: npt.NDArray[Any]
    e_id: npt.NDArray[Any]
    input_id: npt.NDArray[Any]
    tree: npt.NDArray[Any]
    nodes: list[int]
    edges: list[int]
    epoch: int = 0
    batch: int = 0


def _width(limit: int) -> int:
    return 4 if limit <= 2**32 else 8


def encode_sample(
    sample: NeighborSample,
    input_id: Tensor,
    *,
    epoch: int,
    batch: int,
    num_nodes: int,
    num_edges: int,
) -> Bytes:
    """Write a sample as a batch record: about 4 bytes a node and 9 an edge."""
    nodes, edges = len(sample.n_id), len(sample.row)
    targets = nodes - sample.num_sampled_nodes[-1]
    degree = np.bincount(sample.col.numpy(), minlength=targets)
    top = int(degree.max(initial=0))
    header = np.zeros(1, dtype=_HEADER)
    header["magic"], header["version"] = b"GLSM", VERSION
    header["epoch"], header["batch"] = epoch, batch
    header["nodes"], header["edges"], header["seeds"] = nodes, edges, len(input_id)
    header["hops"] = len(sample.num_sampled_edges)
    header["id_bytes"], header["edge_id_bytes"] = _width(num_nodes), _width(num_edges)
    header["degree_bytes"] = 1 if top < 2**8 else 2 if top < 2**16 else 4
    header["tree_bytes"] = 0 if sample.batch is None else 4
    writer = _Writer(header)
    h = header[0]
    writer.section(sample.num_sampled_nodes, "<u4")
    writer.section(sample.num_sampled_edges, "<u4")
    writer.section(sample.n_id, f"<u{h['id_bytes']}")
    writer.section(degree, f"<u{h['degree_bytes']}")
    writer.section(sample.row, "<u4")
    writer.section(sample.e_id, f"<u{h['edge_id_bytes']}")
    writer.section(input_id, f"<u{h['id_bytes']}")
    if sample.batch is not None:
        writer.section(sample.batch, "<u4")
    return writer.bytes()


def decode_sample(record: Bytes) -> Record:
    """Views of a batch record's sections; the bytes were checked by their CRC."""
    h = record[:_SECTION].view(_HEADER)[0]
    count, edges, hops = int(h["nodes"]), int(h["edges"]), int(h["hops"])
    reader = _Reader(record)
    per_hop = reader.section(hops + 1, "<u4").tolist()
    edges_per_hop = reader.section(hops, "<u4").tolist()
    return Record(
        n_id=reader.section(count, f"<u{h['id_bytes']}"),
        degree=reader.section(count - per_hop[-1], f"<u{h['degree_bytes']}"),
        row=reader.section(edges, "<u4"),
        e_id=reader.section(edges, f"<u{h['edge_id_bytes']}"),
        input_id=reader.section(int(h["seeds"]), f"<u{h['id_bytes']}"),
        tree=reader.section(count if h["tree_bytes"] else 0, "<u4"),
        nodes=per_hop,
        edges=edges_per_hop,
        epoch=int(h["epoch"]),
        batch=int(h["batch"]),
    )


def encode_programme(
    source: npt.NDArray[np.int32],
    keep: npt.NDArray[np.int32] | None = None,
    shared: npt.NDArray[np.integer[Any]] | None = None,
    *,
    epoch: int,
    batch: int,
) -> Bytes:
    """Write a gather programme.

    Args:
        source: [rows], a slot, or ``-1 - r`` for missing row r: those of the pack first,
            then those of the shared file.
        keep: [missing rows], the slot that takes each after the batch, or -1; None: no row
            is kept. Version 1 had no such section.
        shared: Places in the shared file, ascending, of the last missing rows.
        epoch, batch: For people who look into the file.
    """
    header = np.zeros(1, dtype=_HEADER)
    header["magic"], header["version"] = b"GLPR", VERSION
    header["epoch"], header["batch"] = epoch, batch
    header["nodes"], header["seeds"] = len(source), int((source < 0).sum())
    header["edges"] = 0 if keep is None else len(keep)
    header["hops"] = 0 if shared is None else len(shared)
    writer = _Writer(header)
    writer.section(source, "<i4")
    if keep is not None:
        writer.section(keep, "<i4")
    if shared is not None:
        writer.section(shared, "<u4")
    return writer.bytes()


class Programme(NamedTuple):
    """A gather programme, as views; see :func:`encode_programme`."""

    source: npt.NDArray[np.int32]
    keep: npt.NDArray[np.int32]
    shared: npt.NDArray[np.uint32]


def decode_programme(record: Bytes) -> Programme:
    """The programme of a batch, as views; sections that it has not are empty."""
    h = record[:_SECTION].view(_HEADER)[0]
    reader = _Reader(record)
    source = reader.section(int(h["nodes"]), "<i4")
    keep = reader.section(int(h["edges"]), "<i4")
    return Programme(source, keep, reader.section(int(h["hops"]), "<u4"))


def write_index(path: Path, index: Index, *, durable: bool = True) -> None:
    """Publish an index; in a window, which a crash ends anyway, just write it."""
    if durable:
        write_bytes(path, index.view(np.uint8))
    else:
        index.tofile(path)


def write_bytes(path: Path, data: Bytes) -> None:
    """Publish a small file."""
    with files.publish(path) as file:
        file.write(data.tobytes())


def read_index(path: Path, entry: dict[str, int]) -> Index:
    """Read an index and compare its checksum.

    Raises:
        StoreError: it is missing or damaged.
    """
    data = read_checked(path, entry)
    return data.view(INDEX)


def read_checked(path: Path, entry: dict[str, int]) -> Bytes:
    """Read a whole small file and compare size and checksum with the manifest's."""
    check_size(path, entry)
    data = np.fromfile(path, dtype=np.uint8)
    found = crc(data)
    if found != entry["crc32c"]:
        raise StoreError(
            path, None, f"CRC32C {entry['crc32c']:08x}", f"{found:08x}", REMEDY
        )
    return data


def held_bytes(folder: Path, without: tuple[str, ...] = ()) -> int:
    """Bytes of a folder's files but those whose names begin so.

    Other ranks may be at work in the folder: files that vanish meanwhile count nothing.
    """
    total = 0
    for path in folder.iterdir():
        try:
            if path.is_file() and not path.name.startswith(without or ("\0",)):
                total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def check_size(path: Path, entry: dict[str, int]) -> None:
    """Require a file of the manifest's size."""
    size = path.stat().st_size if path.exists() else None
    if size != entry["bytes"]:
        found = "no file" if size is None else f"{size} bytes"
        raise StoreError(path, None, f"{entry['bytes']} bytes", found, REMEDY)


def _seal(body: dict[str, Any]) -> int:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return crc(np.frombuffer(text.encode(), dtype=np.uint8).copy())


def write_manifest(folder: Path, body: dict[str, Any]) -> None:
    """Publish a plan's manifest, sealed with a checksum of its contents."""
    body = {"format": FORMAT, "version": VERSION, **body}
    files.publish_json(folder / MANIFEST, {**body, "crc32c": _seal(body)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check a plan's manifest.

    Raises:
        StoreError: no plan, an unfinished one, a newer version, a damaged manifest.
    """
    path = folder / MANIFEST
    if not path.is_file():
        unfinished = folder.is_dir() and any(folder.iterdir())
        found = "an unfinished plan" if unfinished else "nothing"
        raise StoreError(path, None, "a plan", found, "make it with gl.outofcore.plan")
    try:
        body = json.loads(path.read_text())
        version, seal = int(body["version"]), int(body.pop("crc32c"))
        form = body["format"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            path, None, "a manifest", f"damage ({error})", REMEDY
        ) from error
    if form != FORMAT:
        raise StoreError(path, None, f"format {FORMAT}", repr(form), REMEDY)
    if version > VERSION:
        raise StoreError(
            path,
            None,
            f"plan format version {VERSION} or less",
            f"version {version}",
            "read it with a newer graphlab, or make it again",
        )
    if seal != _seal(body):
        raise StoreError(
            path, None, f"CRC32C {seal:08x}", f"{_seal(body):08x}: damage", REMEDY
        )
    return body


def preallocate(path: Path, size: int) -> int:
    """Open a file for writing with all its blocks allocated; returns the descriptor.

    Raises:
        OutOfDiskError: the disk cannot hold it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    before = os.fstat(descriptor).st_size
    try:
        if size:
            os.posix_fallocate(descriptor, 0, size)
        os.ftruncate(descriptor, size)
    except OSError as error:
        os.ftruncate(descriptor, before)
        os.close(descriptor)
        free = os.statvfs(path.parent)
        raise OutOfDiskError(
            path,
            None,
            f"room for {size} bytes",
            f"{free.f_bavail * free.f_frsize} bytes free ({error.strerror})",
            "free some, choose another path, or allow more memory",
        ) from error
    return descriptor
