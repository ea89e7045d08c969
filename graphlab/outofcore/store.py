"""Store: a graph and its columns on disk, made from whatever the user has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from graphlab import check, sizes
from graphlab.datasets import Dataset, as_dataset, convert, load, manifest, storage
from graphlab.datasets.column import SparseColumn
from graphlab.datasets.manifest import Manifest
from graphlab.datasets.stored import StoredColumn
from graphlab.graph import Graph
from graphlab.interop import graphbolt
from graphlab.progress import say

# Arguments of `datasets.convert` that `Store.convert` has itself.
_OWN = ("out", "dtype", "memory", "overwrite")


class Store:
    """An open store; make one with :meth:`convert`, open one with :meth:`open`.

    Attributes:
        path: The folder.
        manifest: What the folder says about itself.
        columns: Node columns by name: :class:`StoredColumn` for dense, a memory-mapped
            :class:`SparseColumn` for sparse ones. Labels are ``y``.
        edge_columns: The same for columns by edge id.

    Example:
        >>> import tempfile, torch, graphlab as gl
        >>> d = gl.Dataset(gl.Graph(torch.tensor([[0, 1], [1, 2]])), x=torch.eye(3))
        >>> store = Store.convert(d, tempfile.mkdtemp() + "/store")
        >>> store.columns["x"].gather(torch.tensor([2]))
        tensor([[0., 0., 1.]])
    """

    def __init__(self, path: Path, found: Manifest) -> None:
        self.path = path
        self.manifest = found
        self.columns: dict[str, StoredColumn | SparseColumn] = {}
        self.edge_columns: dict[str, StoredColumn | SparseColumn] = {}
        for key in found.columns:
            domain, _, name = key.partition("/")
            if domain == "node":
                self.columns[name] = storage.read_column(path, found, key)
            elif domain == "edge":
                self.edge_columns[name] = storage.read_column(path, found, key)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store.

        Raises:
            StoreError: no store, a newer format version, missing or truncated files.
        """
        path = Path(path)
        return cls(path, manifest.read(path))

    @classmethod
    def convert(
        cls,
        source: Any,
        path: str | Path,
        *,
        dtype: str = "source",
        memory: int | str = "2GiB",
        layout: str = "source",
        overwrite: bool = False,
    ) -> Self:
        """Make a store.

        Args:
            source: A Dataset, a Graph, a PyG ``Data``, a DGLGraph, or a mapping of the
                arguments of :func:`graphlab.datasets.convert`, such as
                ``{"edges": "e.parquet", "features": "x.npy", "labels": "y.parquet"}``; or a
                path: a GraphBolt folder with ``metadata.yaml``, MAG240M's folder, an OGB
                folder with ``raw/``, a graph ``.npz`` or a saved dataset.
            path: Folder to make.
            dtype: How floating-point features are stored: ``source``, ``float32``,
                ``float16``, ``bfloat16`` or ``int8`` with one scale a row.
            memory: What converting files may hold; a dataset in memory is written in
                pieces of 8 MiB.
            layout: ``source`` keeps sparse features sparse; ``dense`` writes their zeros.
            overwrite: Whether to replace a store that is there.

        Raises:
            TypeError: a source of another kind.
            BudgetError: ``memory`` cannot hold the work; the message says what would.
            OutOfDiskError: the disk cannot hold the store; nothing was written.
        """
        limit = sizes.parse(memory)
        if isinstance(source, (str, Path)):
            source = _open_path(source)
        if isinstance(source, Mapping):
            given = dict(source)
            known = [n for n in inspect.signature(convert).parameters if n not in _OWN]
            for name in given:
                check.one_of("Store.convert", "source", name, known)
            if "edges" not in given:
                got = f"only {list(given)}"
                check.fail(ValueError, "Store.convert", "source", "name edges", got)
            convert(**source, out=path, dtype=dtype, memory=limit, overwrite=overwrite)
            return cls.open(path)
        storage.save(
            as_dataset(source), path, dtype=dtype, layout=layout, overwrite=overwrite
        )
        return cls.open(path)

    @property
    def num_nodes(self) -> int:
        """Number of nodes."""
        return self.manifest.num_nodes

    @property
    def num_edges(self) -> int:
        """Number of directed edges."""
        return self.manifest.num_edges

    @property
    def fingerprint(self) -> str:
        """SHA-256 over sizes and checksums of all files: equal content, equal text."""
        return self.manifest.fingerprint

    @property
    def nbytes(self) -> int:
        """Bytes of all files, checksums aside."""
        return sum(entry.bytes for entry in self.manifest.files.values())

    @cached_property
    def graph(self) -> Graph:
        """The graph, memory-mapped."""
        return storage.read_graph(self.path, self.manifest)

    @property
    def x(self) -> StoredColumn | SparseColumn | None:
        """The column ``x``, or None."""
        return self.columns.get("x")

    @cached_property
    def y(self) -> Tensor | None:
        """Labels, memory-mapped, or None."""
        return self.dataset().y

    def dataset(self) -> Dataset:
        """The store as a Dataset; graph and columns stay on disk."""
        return storage.open(self.path)

    def to_pyg_stores(self) -> tuple[Any, Any]:
        """The store as PyG's ``FeatureStore`` and ``GraphStore``, node type ``node``.

        They go to PyG's loaders as ``data=(features, graph)``, whose batches then read their
        rows one by one; a plan reads the same batches in sequence.
        """
        from graphlab.outofcore.pyg_stores import StoreFeatures, StoreGraph

        return StoreFeatures(self), StoreGraph(self)

    def verify(self) -> int:
        """Compare every checksum of every file; return the bytes read.

        Raises:
            StoreError: names the first damaged file and the offset of the damaged 1 MiB.
        """
        return storage.verify(self.path)

    def info(self) -> dict[str, Any]:
        """What the store holds, as plain values for tables and ``--json``."""
        found = self.manifest
        return {
            "path": str(self.path),
            "format_version": found.version,
            "generator": found.generator,
            "num_nodes": found.num_nodes,
            "num_edges": found.num_edges,
            "directed": found.directed,
            "bytes": self.nbytes,
            "columns": {
                name: {
                    "kind": entry.kind,
                    "shape": list(entry.shape),
                    "dtype": entry.dtype,
                    "stored": entry.stored,
                    "bytes": sum(found.files[f].bytes for f in entry.files.values()),
                }
                for name, entry in found.columns.items()
            },
            "splits": list(found.splits),
            "meta": found.meta,
            "fingerprint": self.fingerprint,
        }

    def __repr__(self) -> str:
        return (
            f"Store({self.path}: {self.num_nodes:,} nodes, {self.num_edges:,} edges, "
            f"{sizes.show(self.nbytes)})"
        )


def _open_path(path: str | Path) -> Any:
    """What a path holds: arguments of ``convert``, or a dataset."""
    if graphbolt.is_folder(path):
        given, left_out = graphbolt.read(path)
        if left_out:
            say(f"Store.convert: not converted: {', '.join(left_out)}")
        return given
    return graphbolt.mag240m(path) or load(Path(path))
