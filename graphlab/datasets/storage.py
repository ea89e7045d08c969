"""Save a Dataset as a store and open it again, with columns that stay on disk."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check, files
from graphlab.datasets import chunked, encoding, manifest
from graphlab.datasets.column import Column, SparseColumn, gather
from graphlab.datasets.dataset import Dataset
from graphlab.datasets.encoding import map_array, map_file, name_of
from graphlab.datasets.manifest import ColumnEntry, Manifest, Topology
from graphlab.datasets.stored import StoredColumn
from graphlab.datasets.writer import Writer
from graphlab.graph import Graph
from graphlab.progress import track

# Rows are copied in pieces of this size, whatever the size of a column.
PIECE_BYTES = 8 * 2**20


def save(
    dataset: Dataset,
    folder: str | Path,
    *,
    dtype: str = "source",
    layout: str = "source",
    overwrite: bool = False,
) -> Manifest:
    """Write a dataset as a store: one folder, see :mod:`graphlab.datasets.manifest`.

    Args:
        dataset: Any dataset; columns are copied in pieces of 8 MiB.
        folder: Where to; made if absent.
        dtype: How floating-point node columns are stored: ``source`` as they are,
            ``float32``, ``float16``, ``bfloat16``, or ``int8`` with one scale a row. Labels
            and edge columns always stay as they are.
        layout: ``source`` keeps sparse columns sparse; ``dense`` writes all their zeros.
        overwrite: Whether to replace a store that is there.

    Returns:
        The manifest.

    Raises:
        ValueError: unknown ``dtype`` or ``layout``; ``folder`` holds a store already; meta
            that JSON cannot hold.
        OutOfDiskError: not enough room; nothing was written.
    """
    name = "save"
    check.one_of(name, "dtype", dtype, encoding.CHOICES)
    check.one_of(name, "layout", layout, ("source", "dense"))
    folder = prepare(name, folder, overwrite)
    check_meta(name, dataset.meta)
    plans = _columns_of(dataset)
    choices = {key: _choice(key, column, dtype) for key, column in plans.items()}
    size = {key: _size(c, choices[key], layout) for key, c in plans.items()}
    need = sum(size.values())
    chunked.need_disk(folder, need + 12 * dataset.graph.num_edges, f"{name}({folder})")
    writer = Writer(folder)
    topology = _write_graph(writer, dataset.graph)
    with track(f"{name} {folder.name}", need >> 20, "MiB") as progress:
        for key, column in plans.items():
            if isinstance(column, SparseColumn) and layout == "source":
                writer.sparse(key, column)
            else:
                kind = encoding.storable(name, key.split("/", 1)[1], column.dtype)
                shape = tuple(column.shape)
                writer.dense(key, shape, kind, _pieces(column), choices[key])
            progress.advance(size[key] >> 20)
    node_names = dataset.graph.node_names
    return writer.finish(
        topology,
        dataset.graph.num_nodes,
        dataset.graph.num_edges,
        splits={split: f"split/{split}" for split in dataset.splits},
        edge_splits={
            split: {part: f"pairs/{split}/{part}" for part in parts}
            for split, parts in dataset.edge_splits.items()
        },
        meta=dataset.meta,
        names=None if node_names is None else writer.names(node_names),
    )


def open(folder: str | Path) -> Dataset:
    """Open a store as a Dataset whose graph and columns stay on disk.

    Dense node and edge columns are :class:`StoredColumn`; sparse columns, labels, masks and
    the graph are memory-mapped, so that pages come in when they are touched.

    Raises:
        StoreError: no store, a newer format version, missing or truncated files.
    """
    folder = Path(folder)
    found = manifest.read(folder)
    columns: dict[str, Tensor | Column] = {}
    edge_attr: dict[str, Tensor | Column] = {}
    for key in found.columns:
        domain, _, name = key.partition("/")
        if domain == "node" and name != "y":
            columns[name] = read_column(folder, found, key)
        elif domain == "edge":
            edge_attr[name] = read_column(folder, found, key)
    y = found.columns.get("node/y")
    return Dataset(
        read_graph(folder, found),
        y=None if y is None else _map(folder, y),
        splits={k: _map(folder, found.columns[v]) for k, v in found.splits.items()},
        edge_attr=edge_attr or None,
        meta=found.meta,
        columns=columns,
        edge_splits={
            split: {k: _map(folder, found.columns[v]) for k, v in parts.items()}
            for split, parts in found.edge_splits.items()
        },
    )


def read_graph(folder: Path, found: Manifest) -> Graph:
    """The graph of a store, memory-mapped."""
    part, edges = found.topology, (found.num_edges,)
    edge_id = weight = None
    if part.edge_id is not None and part.edge_id_dtype is not None:
        edge_id = map_file(folder / part.edge_id, part.edge_id_dtype, edges)
    if part.edge_weight is not None and part.edge_weight_dtype is not None:
        weight = map_file(folder / part.edge_weight, part.edge_weight_dtype, edges)
    graph = Graph.from_csc(
        map_file(folder / part.ptr, "int64", (found.num_nodes + 1,)),
        map_file(folder / part.idx, part.idx_dtype, edges),
        edge_id,
        weight,
    )
    if found.names is not None:
        graph.node_names = read_names(folder, found)
    return graph


def read_names(folder: Path, found: Manifest) -> encoding.Array:
    """Names of nodes by id."""
    assert found.names is not None
    ptr = np.fromfile(folder / found.names["ptr"], dtype="<i8")
    text = (folder / found.names["data"]).read_bytes()
    names = [text[a:b].decode() for a, b in itertools.pairwise(ptr)]
    return np.array(names, dtype=object)


def read_column(folder: Path, found: Manifest, key: str) -> StoredColumn | SparseColumn:
    """One column of a store."""
    entry = found.columns[key]
    if entry.kind == "dense":
        return StoredColumn(folder, entry, found.files)
    rows, width = entry.shape
    assert entry.idx_dtype is not None
    sizes = {role: found.files[name].bytes for role, name in entry.files.items()}
    count = {
        "ptr": rows + 1,
        "idx": sizes["idx"] // np.dtype(entry.idx_dtype).itemsize,
        "data": sizes["data"] // np.dtype(entry.stored).itemsize,
    }
    dtypes = {"ptr": "int64", "idx": entry.idx_dtype, "data": entry.stored}
    parts = {
        role: map_array(folder / entry.files[role], dtypes[role], (count[role],))
        for role in count
    }
    return SparseColumn(parts["ptr"], parts["idx"], parts["data"], (rows, width))


def verify(folder: str | Path) -> int:
    """Read every file of a store and compare every checksum; return the bytes read.

    Raises:
        StoreError: names the first damaged file and the offset of the damaged 1 MiB.
    """
    folder = Path(folder)
    found = manifest.read(folder)
    total = sum(entry.bytes for entry in found.files.values())
    with track(f"verify {folder.name}", total >> 20, "MiB") as progress:
        for name, entry in found.files.items():
            progress.advance(chunked.verify_file(folder / name, entry) >> 20)
    return total


def prepare(function: str, folder: str | Path, overwrite: bool) -> Path:
    """Make a folder ready to become a store."""
    folder = Path(folder)
    if (folder / manifest.NAME).exists():
        if not overwrite:
            remedy = "choose another folder, or pass overwrite=True"
            got = str(folder)
            check.fail(ValueError, function, "folder", "not hold a store", got, remedy)
        (folder / manifest.NAME).unlink()
        files.sync_folder(folder)
    elif folder.exists() and not folder.is_dir():
        check.fail(ValueError, function, "folder", "be a folder", f"a file: {folder}")
    return folder


def check_meta(function: str, meta: Mapping[str, Any]) -> None:
    """Require meta that JSON can hold, before anything is written."""
    try:
        json.dumps(dict(meta))
    except (TypeError, ValueError) as error:
        requirement = "hold only what JSON can"
        raise ValueError(
            f"{function}: `meta` must {requirement}, got {error}"
        ) from error


def _write_graph(writer: Writer, graph: Graph) -> Topology:
    ptr, idx, edge_id = graph.csc()
    weight = graph.edge_weight
    if edge_id is not None and _is_identity(edge_id):
        edge_id = None
    return Topology(
        ptr=writer.file("graph.ptr.bin", ptr),
        idx=writer.file("graph.idx.bin", idx),
        idx_dtype=name_of(idx.dtype),
        edge_id=None if edge_id is None else writer.file("graph.edge_id.bin", edge_id),
        edge_id_dtype=None if edge_id is None else name_of(edge_id.dtype),
        edge_weight=None
        if weight is None
        else writer.file("graph.edge_weight.bin", weight),
        edge_weight_dtype=None if weight is None else name_of(weight.dtype),
    )


def _is_identity(edge_id: Tensor) -> bool:
    step = PIECE_BYTES // 8
    return all(
        torch.equal(
            part := edge_id[start : start + step],
            torch.arange(start, start + len(part), dtype=edge_id.dtype),
        )
        for start in range(0, len(edge_id), step)
    )


def _columns_of(dataset: Dataset) -> dict[str, Tensor | Column]:
    """All that is stored as a column, by key."""
    found: dict[str, Tensor | Column] = {}
    found |= {f"node/{name}": c for name, c in dataset.columns.items()}
    if dataset.y is not None:
        found["node/y"] = dataset.y
    found |= {f"edge/{name}": c for name, c in dataset.edge_columns.items()}
    found |= {f"split/{name}": mask for name, mask in dataset.splits.items()}
    for split, parts in dataset.edge_splits.items():
        found |= {f"pairs/{split}/{name}": pairs for name, pairs in parts.items()}
    return found


def _choice(key: str, column: Tensor | Column, dtype: str) -> str:
    """How a column is stored: only features are converted, and a stored one stays."""
    if not key.startswith("node/") or key == "node/y":
        return "source"
    if dtype == "source" and isinstance(column, StoredColumn):
        return name_of(column.stored) if column.stored != column.dtype else dtype
    return dtype


def _size(column: Tensor | Column, choice: str, layout: str) -> int:
    if isinstance(column, SparseColumn) and layout == "source":
        return column.nbytes
    _, stored = encoding.choose(column.dtype, choice)
    values = int(np.prod(column.shape, dtype=np.int64))
    return values * stored.itemsize + (4 * column.shape[0] if choice == "int8" else 0)


def _pieces(column: Tensor | Column) -> Iterator[Tensor]:
    rows = column.shape[0]
    width = int(np.prod(column.shape[1:], dtype=np.int64)) * column.dtype.itemsize
    step = max(1, PIECE_BYTES // max(1, width))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        if isinstance(column, Tensor):
            yield column[start:stop]
        else:
            yield gather(column, torch.arange(start, stop))


def _map(folder: Path, entry: ColumnEntry) -> Tensor:
    return map_file(folder / entry.files["data"], entry.stored, entry.shape)
