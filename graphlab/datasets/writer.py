"""Writer: the parts of a store, one by one, and its manifest at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from graphlab.datasets import chunked, encoding
from graphlab.datasets.chunked import ChunkedWriter
from graphlab.datasets.column import SparseColumn
from graphlab.datasets.encoding import name_of
from graphlab.datasets.manifest import ColumnEntry, FileEntry, Manifest, Topology

_OWN_FILES = [
    f"{part}.*.bin{side}"
    for part in ("graph", "node", "edge", "split", "pairs", "names")
    for side in ("", ".crc")
]


class Writer:
    """Writes the parts of a store, in any order; :meth:`finish` publishes the manifest."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files: dict[str, FileEntry] = {}
        self.columns: dict[str, ColumnEntry] = {}

    def file(self, name: str, data: Any) -> str:
        """Write an array as a file."""
        self.files[name] = chunked.write_file(self.folder / name, data)
        return name

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[ChunkedWriter]:
        """Write a file piece by piece; it is published when the block ends well."""
        with ChunkedWriter(self.folder / name) as writer:
            yield writer
            self.files[name] = writer.close()

    def dense(
        self,
        key: str,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        pieces: Iterator[Tensor],
        choice: str = "source",
    ) -> None:
        """Write a dense column from consecutive pieces of its rows.

        Args:
            key: Key of the column, such as ``node/x``.
            shape: Shape of the whole column.
            dtype: Dtype of the pieces.
            pieces: Rows, in order.
            choice: One of :data:`encoding.CHOICES`.
        """
        reads_as, stored = encoding.choose(dtype, choice)
        stem = _stem(key)
        names = {"data": f"{stem}.bin"}
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(self.stream(names["data"]))
            scales: ChunkedWriter | None = None
            if stored == torch.int8 and dtype.is_floating_point:
                names["scale"] = f"{stem}.scale.bin"
                scales = stack.enter_context(self.stream(names["scale"]))
            for piece in pieces:
                values, scale = encoding.encode(piece, stored)
                data.write(values)
                if scales is not None and scale is not None:
                    scales.write(scale)
        width = int(np.prod(shape[1:], dtype=np.int64))
        self.columns[key] = ColumnEntry(
            domain=key.split("/")[0],
            kind="dense",
            shape=tuple(shape),
            dtype=name_of(reads_as),
            stored=name_of(stored),
            row_bytes=width * stored.itemsize,
            files=names,
        )

    def sparse(self, key: str, column: SparseColumn) -> None:
        """Write a sparse column as it is."""
        stem = _stem(key)
        idx, data = column.idx, column.data
        if idx.dtype.name not in ("uint16", "int32", "int64"):
            idx = idx.astype(np.int64)
        if data.dtype.name not in encoding.NUMPY_DTYPES:
            data = data.astype(np.float32)
        self.columns[key] = ColumnEntry(
            domain=key.split("/")[0],
            kind="sparse",
            shape=tuple(column.shape),
            dtype=name_of(column.dtype),
            stored=data.dtype.name,
            row_bytes=0,
            files={
                "ptr": self.file(f"{stem}.ptr.bin", column.ptr.astype(np.int64)),
                "idx": self.file(f"{stem}.idx.bin", idx),
                "data": self.file(f"{stem}.data.bin", data),
            },
            idx_dtype=idx.dtype.name,
        )

    def names(self, names: Any) -> dict[str, str]:
        """Write node names, in the order of ids."""
        pieces = [str(name).encode() for name in names]
        ptr = np.zeros(len(pieces) + 1, dtype=np.int64)
        np.cumsum([len(p) for p in pieces], out=ptr[1:])
        text = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        return {
            "ptr": self.file("names.ptr.bin", ptr),
            "data": self.file("names.data.bin", text),
        }

    def finish(
        self,
        topology: Topology,
        num_nodes: int,
        num_edges: int,
        *,
        splits: Mapping[str, str],
        meta: Mapping[str, Any],
        edge_splits: Mapping[str, dict[str, str]] | None = None,
        names: dict[str, str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Publish the manifest: from now on the folder is a store."""
        directed = meta.get("directed")
        made = Manifest(
            num_nodes=num_nodes,
            num_edges=num_edges,
            directed=directed if isinstance(directed, bool) else None,
            topology=topology,
            columns=self.columns,
            splits=dict(splits),
            edge_splits=dict(edge_splits or {}),
            meta=dict(meta),
            files=self.files,
            names=names,
            provenance=dict(provenance or {}),
        )
        # What an overwritten store had and this one has not.
        for pattern in _OWN_FILES:
            for path in self.folder.glob(pattern):
                if path.name.removesuffix(".crc") not in self.files:
                    path.unlink()
        made.write(self.folder)
        return made


def _stem(key: str) -> str:
    """File name stem of a column: its key with every odd character escaped."""
    return ".".join(quote(part, safe="") for part in key.split("/"))
