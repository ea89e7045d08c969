"""Files of edges, features and labels to a store, streaming, in bounded memory, resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check, sizes
from graphlab.datasets import chunked, encoding, manifest, storage, tables, topology
from graphlab.datasets.edge_files import EdgeFiles, has_text_ids
from graphlab.datasets.feature_files import FeatureFile
from graphlab.datasets.journal import Journal
from graphlab.datasets.label_files import LabelFile, read_split, split_paths
from graphlab.datasets.ledger import Ledger
from graphlab.datasets.manifest import Manifest
from graphlab.datasets.node_names import NodeNames
from graphlab.datasets.tables import ArrayTable, Table
from graphlab.datasets.writer import Writer
from graphlab.progress import say, track

_MEASURE_ROWS = 2**18


def convert(
    edges: Any,
    out: str | Path,
    *,
    features: Any = None,
    labels: Any = None,
    splits: Mapping[str, Any] | None = None,
    num_nodes: int | None = None,
    source: str = "",
    target: str = "",
    weight: str | None = None,
    label_column: str = "",
    names: bool | None = None,
    undirected: bool = False,
    num_features: int | None = None,
    features_dtype: str = "float32",
    allow_nan: bool = False,
    dtype: str = "source",
    memory: int | str = "2GiB",
    meta: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Turn files into a store that :func:`graphlab.datasets.open` opens.

    A killed run goes on when the same call is made again: edges from the last checkpoint (at
    most 20 s of work are lost), features from the start of their file unless it was finished;
    labels, masks, weights and the numbering of names are done again. A finished conversion
    returns at once.

    Args:
        edges: Parquet, csv, tsv, ``.npy`` ([2, E] or [E, 2]) or an array; a list of files or
            a folder is read as one table. Edge i is row i, and that stays its id.
        out: Folder of the store.
        features: [N, F] as ``.npy``, parquet, a raw file (``.bin``; see ``num_features``) or
            an array, row i for node i.
        labels: One value a node, as ``.npy`` or array, or a table with a label column and
            perhaps an ``id`` column (nodes may then be missing: label -1) and a ``split``
            column. Text becomes class numbers; ``meta["class_names"]`` keeps it.
        splits: ``{"train": ids_or_mask, ...}``, arrays or ``.npy`` files.
        num_nodes: Number of nodes; otherwise that of features or labels, else the largest id
            plus one.
        source: Name of the source column; by default a usual one, else the first.
        target: Name of the target column; by default a usual one, else the second.
        weight: Name of a column of edge weights; by default ``weight`` where there is one.
        label_column: Name of the label column.
        names: Whether ids are names to be numbered (text always is): in the order of the
            labels' id column, then of appearance in the edges. The store keeps them.
        undirected: Give every row its reverse too: row i becomes edges 2i and 2i + 1. For
            files that hold each edge once.
        num_features: Width of a raw feature file.
        features_dtype: Dtype of a raw feature file.
        allow_nan: Whether features may hold NaN.
        dtype: How features are stored: ``source``, ``float32``, ``float16``, ``bfloat16``,
            ``int8``.
        memory: Bytes that all buffers together may take at any instant; see Cost.
        meta: Kept with the store.
        overwrite: Whether to replace a store, or an unfinished conversion of other files.

    Returns:
        The store's manifest; its ``provenance`` holds ``peak_memory_bytes`` by our account.

    Raises:
        BudgetError: ``memory`` cannot hold the work; the message says what would.
        OutOfDiskError: not enough room on the disk; nothing is lost.
        TypeError, ValueError, IndexError: files that do not fit each other.

    Cost:
        Edges are read once (twice where their number or the largest id is not known before),
        written to run files once, read and written again in order. Memory is cut to
        ``memory``: batches of edges, one bucket being sorted, 8 MiB pieces of features, one
        table of names, labels. Disk: the store and, meanwhile, run files of 12 bytes an edge.
    """
    limit = sizes.parse(memory)
    check.one_of("convert", "dtype", dtype, encoding.CHOICES)
    out = Path(out)
    asked = {
        "edges": _identity(edges),
        "features": _identity(features),
        "labels": _identity(labels),
        "splits": {k: _identity(v) for k, v in split_paths(splits).items()},
        "num_nodes": num_nodes,
        "columns": [source, target, weight, label_column],
        "names": names,
        "undirected": undirected,
        "raw": [num_features, features_dtype],
        "allow_nan": allow_nan,
        "dtype": dtype,
        "memory": limit,
        "meta": dict(meta or {}),
    }
    storage.check_meta("convert", asked["meta"])
    finished = _finished(out, asked)
    if finished is not None:
        return finished
    ledger = Ledger("convert", limit)
    table = _edge_table(edges)
    if names is None:
        probe = EdgeFiles(table, source, target)
        names = has_text_ids(table, probe.pair)
    label_file = None if labels is None else LabelFile(labels, label_column)
    feature_file = None
    if features is not None:
        feature_file = FeatureFile(
            features,
            num_features=num_features,
            dtype=features_dtype,
            allow_nan=allow_nan,
        )
    number = NodeNames(ledger) if names else None
    stream = EdgeFiles(table, source, target, names=number, both=undirected)
    work = _Work(
        out, table, stream, feature_file, label_file, number, ledger, asked, num_nodes
    )
    storage.prepare("convert", out, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    journal = Journal(out, asked, overwrite)
    try:
        return work.run(journal, split_paths(splits), weight, dtype)
    except (TypeError, ValueError, IndexError):
        # The same call would fail again: leave the folder free for a corrected one.
        journal.finish()
        raise


@dataclass
class _Work:
    """One conversion: what is read, and what is known of its size."""

    out: Path
    table: Table
    stream: EdgeFiles
    features: FeatureFile | None
    labels: LabelFile | None
    names: NodeNames | None
    ledger: Ledger
    asked: dict[str, Any]
    num_nodes: int | None

    def run(
        self, journal: Journal, splits: dict[str, Any], weight: str | None, dtype: str
    ) -> Manifest:
        num_nodes, num_edges = self._measure(journal)
        self._announce(journal, num_nodes, num_edges, dtype)
        writer = Writer(self.out)
        graph = topology.build(
            self.stream, num_nodes, num_edges, writer, journal, self.ledger
        )
        self._write_features(writer, journal, num_nodes, dtype)
        meta = {"name": self.out.name, **self.asked["meta"]}
        masks = self._write_labels(writer, num_nodes, meta)
        for name, value in splits.items():
            with self.ledger.hold("a mask", 10 * num_nodes):
                key, mask = read_split("convert", name, value, num_nodes)
                writer.dense(f"split/{key}", mask.shape, torch.bool, iter([mask]))
                masks.append(key)
        graph = self._write_weight(writer, graph, weight, num_edges)
        if self.stream.both:
            meta["directed"] = False
            meta["symmetrised"] = "row i of the edge file is edges 2i and 2i + 1"
        node_names = None if self.names is None else writer.names(self.names)
        made = writer.finish(
            graph,
            num_nodes,
            num_edges,
            splits={name: f"split/{name}" for name in masks},
            meta=meta,
            names=node_names,
            provenance={
                "request": self.asked,
                "peak_memory_bytes": self.ledger.peak,
                "declared_memory_bytes": self.ledger.limit,
            },
        )
        journal.finish()
        return made

    def _measure(self, journal: Journal) -> tuple[int, int]:
        """Number of nodes and edges; reads all edges only where it must."""
        noted = journal.get("measure")
        if self.names is not None and self.labels is not None:
            self.labels.read_names(self.names)
        known = self.num_nodes
        if known is None and self.features is not None:
            known = self.features.shape[0]
        rows = self.table.rows
        if noted is not None and self.names is None:
            return int(noted[0]), int(noted[1])
        if rows is None or known is None or self.names is not None:
            per_row = 2 * self.stream.edge_bytes + 16
            batch = _MEASURE_ROWS
            while batch > 2**12 and batch * per_row > self.ledger.free // 4:
                batch //= 2
            need = self.stream.fixed_bytes + batch * per_row
            with self.ledger.hold("a batch of edges", need):
                num_edges, largest = self.stream.measure(batch)
        else:
            num_edges, largest = rows * (2 if self.stream.both else 1), -1
        if known is None:
            if self.names is None and self.labels is not None:
                largest = max(largest, self.labels.largest_id())
            known = len(self.names) if self.names is not None else largest + 1
        if self.names is not None:
            self.names.frozen = True
            if len(self.names) > known:
                requirement = f"name at most {known:,} nodes (rows of features)"
                got = f"{len(self.names):,}"
                check.fail(ValueError, "convert", "edges", requirement, got)
        if known < 1:
            check.fail(ValueError, "convert", "edges", "hold an edge", "an empty graph")
        if self.features is not None and self.features.shape[0] != known:
            requirement = f"have one row per node ({known:,})"
            got = f"{self.features.shape[0]:,}"
            check.fail(ValueError, "convert", "features", requirement, got)
        journal.note("measure", [known, num_edges])
        return known, num_edges

    def _announce(
        self, journal: Journal, num_nodes: int, num_edges: int, dtype: str
    ) -> None:
        """Print the plan, and refuse now what could not finish."""
        cut = topology.choose_sizes(self.ledger, self.stream, num_nodes, num_edges)
        need = topology.disk_bytes(num_nodes, num_edges)
        if self.features is not None:
            with self.ledger.hold("a piece of features", self.features.piece_bytes):
                pass
            _, stored = encoding.choose(self.features.dtype, dtype)
            width = int(np.prod(self.features.shape[1:], dtype=np.int64))
            need += num_nodes * width * stored.itemsize + 4 * num_nodes
        if not journal.resumed:
            chunked.need_disk(self.out, need, f"convert({self.out})")
        say(
            f"convert: {num_nodes:,} nodes, {num_edges:,} edges -> {self.out}; "
            f"{sizes.show(need)} of disk at most, memory {sizes.show(self.ledger.limit)} "
            f"({cut.batch:,} edges a batch, {cut.bucket:,} sorted at once)"
            + ("; going on where an earlier run was" if journal.resumed else "")
        )

    def _write_features(
        self, writer: Writer, journal: Journal, num_nodes: int, dtype: str
    ) -> None:
        if self.features is None:
            return
        shape = (num_nodes, *self.features.shape[1:])
        if journal.get("features"):
            # Their files are published; only their entries are needed again.
            entry = dict(journal.get("features"))
            entry["shape"] = tuple(entry["shape"])
            writer.columns["node/x"] = manifest.ColumnEntry(**entry)
            for name in entry["files"].values():
                found = journal.file(name)
                assert found is not None
                writer.files[name] = found
            return
        with (
            self.ledger.hold("a piece of features", self.features.piece_bytes),
            track("writing features", num_nodes, "rows") as progress,
        ):

            def pieces() -> Iterator[Tensor]:
                assert self.features is not None
                for piece in self.features.pieces(names=self.names):
                    yield piece
                    progress.advance(len(piece))

            writer.dense("node/x", shape, self.features.dtype, pieces(), dtype)
        made = writer.columns["node/x"]
        for name in made.files.values():
            journal.note_file(name, writer.files[name])
        journal.note("features", made.__dict__)

    def _write_labels(
        self, writer: Writer, num_nodes: int, meta: dict[str, Any]
    ) -> list[str]:
        if self.labels is None:
            return []
        with self.ledger.hold("labels", self.labels.held_bytes(num_nodes)):
            y, masks, class_names = self.labels.read(num_nodes, self.names)
            if y is not None:
                writer.dense("node/y", tuple(y.shape), y.dtype, iter([y]))
            for name, mask in masks.items():
                shape = tuple(mask.shape)
                writer.dense(f"split/{name}", shape, torch.bool, iter([mask]))
        if class_names is not None:
            meta["class_names"] = class_names
        return list(masks)

    def _write_weight(
        self,
        writer: Writer,
        graph: manifest.Topology,
        weight: str | None,
        num_edges: int,
    ) -> manifest.Topology:
        if weight is None:
            weight = tables.find_column(self.table, ("weight", "edge_weight"))
            if weight is None or weight in self.stream.pair:
                return graph
        if weight not in self.table.columns:
            check.one_of("convert", "weight", weight, self.table.columns)
        name, per_row = "graph.edge_weight.bin", self.table.row_bytes([weight]) + 16
        batch = 2**14
        while batch < 2**20 and 2 * batch * per_row < self.ledger.free // 2:
            batch *= 2
        need = self.table.fixed_bytes + batch * per_row
        with self.ledger.hold("a batch of weights", need), writer.stream(name) as file:
            for (column,) in self.table.batches([weight], 0, batch):
                values = tables.numbers(column)
                if values is None or not np.isfinite(values).all():
                    requirement = f"have finite numbers in column {weight!r}"
                    check.fail(ValueError, "convert", "edges", requirement, "others")
                single = values.astype(np.float32)
                file.write(np.repeat(single, 2) if self.stream.both else single)
        return manifest.Topology(
            **{**graph.__dict__, "edge_weight": name, "edge_weight_dtype": "float32"}
        )


def _edge_table(edges: Any) -> Table:
    if isinstance(edges, (str, Path)):
        return tables.open_table("convert", edges)
    if isinstance(edges, Sequence) and all(isinstance(p, (str, Path)) for p in edges):
        return tables.open_table("convert", edges)
    array = edges.numpy() if isinstance(edges, Tensor) else np.asarray(edges)
    if array.ndim != 2 or array.shape[0] != 2:
        check.fail(ValueError, "convert", "edges", "be [2, E]", f"{list(array.shape)}")
    return ArrayTable({"source": array[0], "target": array[1]})


def _identity(source: Any) -> Any:
    """What makes a source the same source when a run is taken up again."""
    if source is None:
        return None
    if isinstance(source, (str, Path)):
        path = Path(source).resolve()
        if path.is_dir():
            return [_identity(p) for p in sorted(path.iterdir()) if p.is_file()]
        stat = path.stat() if path.exists() else None
        when = [stat.st_size, stat.st_mtime_ns] if stat else None
        return [str(path), when]
    if isinstance(source, Sequence) and all(isinstance(p, (str, Path)) for p in source):
        return [_identity(p) for p in source]
    array = source.numpy() if isinstance(source, Tensor) else np.asarray(source)
    return ["array", list(array.shape), str(array.dtype), chunked.checksum(array)]


def _finished(out: Path, asked: dict[str, Any]) -> Manifest | None:
    """The manifest, where this very conversion is done already."""
    if not (out / manifest.NAME).is_file():
        return None
    found = manifest.read(out)
    if found.provenance.get("request") == json.loads(json.dumps(asked)):
        say(f"convert: {out} is finished already")
        return found
    return None
