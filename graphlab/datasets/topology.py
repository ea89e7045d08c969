"""Edges of any number to a CSC on disk, in bounded memory: an external counting sort.

1. Edges stream by once and go to run files, one bucket for each range of targets.
2. Each bucket is sorted in memory (``csr_build``) and appended to the final files. A bucket
   that does not fit is split again by target; a bucket of one target is in order already.

Edge ids are positions in the stream and ascend inside a target, as in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from graphlab import ops
from graphlab.datasets.chunked import ChunkedWriter
from graphlab.datasets.encoding import name_of
from graphlab.datasets.journal import Journal
from graphlab.datasets.ledger import Ledger
from graphlab.datasets.manifest import Topology
from graphlab.datasets.runs import Appender, Runs, Sizes, group_bytes
from graphlab.datasets.writer import Writer
from graphlab.ops.twins.csr import index_dtype
from graphlab.progress import track

# Work that a kill may cost; between checkpoints nothing is flushed.
CHECKPOINT_SECONDS = 20.0
# Three files are open for each bucket, and 1024 is the usual limit of a process.
MAX_BUCKETS = 128
# Larger buckets gain nothing; smaller ones cost more requests.
BUCKET_EDGES = 2**23
BATCH_EDGES = 2**20
_LEAST_BATCH = 2**14
# Bytes for each target of a bucket: its offset, before and after, and the kernel's own.
_TARGET_BYTES = 24
_FILES = ("graph.ptr.bin", "graph.idx.bin", "graph.edge_id.bin")


class EdgeStream(Protocol):
    """Edges that can be read from any position on."""

    edge_bytes: int
    """Bytes that a batch holds for each of its edges, the result included."""
    fixed_bytes: int
    """Bytes held besides, whatever the size of a batch."""

    def batches(self, start: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Sources and targets, int32 or int64, from edge ``start``, at most ``count`` each."""


def choose_sizes(
    ledger: Ledger, stream: EdgeStream, num_nodes: int, num_edges: int
) -> Sizes:
    """Cut the work so that it fits in what the ledger has left.

    Raises:
        BudgetError: not even small batches fit; says what would.
    """
    id_bytes = index_dtype(num_nodes).itemsize
    edge_bytes = index_dtype(num_edges).itemsize
    draft = Sizes(1, 1, 1, 0, id_bytes, edge_bytes)
    per_edge = stream.edge_bytes + group_bytes(draft)
    least = stream.fixed_bytes + _LEAST_BATCH * per_edge
    with ledger.hold("the smallest batches of edges", least):
        free = ledger.free + least - stream.fixed_bytes
    batch = max(_LEAST_BATCH, min(BATCH_EDGES, free // 2 // per_edge))
    # Offsets of a bucket's targets take at most half of what is left.
    bucket = max(1, min(2 * BUCKET_EDGES, free // 2 // draft.sort_bytes))
    targets = max(1, free // 2 // _TARGET_BYTES)
    # Twice the buckets that would do, so that uneven ones still fit.
    buckets = max(-(-2 * num_edges // bucket), -(-num_nodes // targets), 1)
    width = -(-num_nodes // min(MAX_BUCKETS, buckets))
    shift = (width - 1).bit_length()
    return Sizes(batch, bucket, targets, shift, id_bytes, edge_bytes)


def disk_bytes(num_nodes: int, num_edges: int) -> int:
    """Most bytes on disk while the topology is built: run files and the result."""
    ids, edges = index_dtype(num_nodes).itemsize, index_dtype(num_edges).itemsize
    return 8 * (num_nodes + 1) + num_edges * (3 * ids + 2 * edges)


def build(
    stream: EdgeStream,
    num_nodes: int,
    num_edges: int,
    writer: Writer,
    journal: Journal,
    ledger: Ledger,
) -> Topology:
    """Write the CSC of a stream of edges.

    Raises:
        BudgetError: the ledger's limit cannot hold the work.
        IndexError: an id out of range.
    """
    id_dtype, edge_dtype = index_dtype(num_nodes), index_dtype(num_edges)
    if journal.file(_FILES[-1]) is None:
        # A resumed run cuts as the killed one did.
        noted = journal.get("sizes")
        cut = Sizes(*noted) if noted else None
        if cut is None:
            cut = choose_sizes(ledger, stream, num_nodes, num_edges)
            journal.note("sizes", dataclasses.astuple(cut))
        runs = Runs(journal.runs / "0", num_nodes, cut)
        _distribute(stream, num_nodes, num_edges, runs, journal, ledger)
        _Builder(writer, num_nodes, cut, journal, ledger).run(runs)
        for path in runs.paths():
            path.unlink(missing_ok=True)
    for name in _FILES:
        entry = journal.file(name)
        assert entry is not None
        writer.files[name] = entry
    return Topology(
        ptr=_FILES[0],
        idx=_FILES[1],
        idx_dtype=name_of(id_dtype),
        edge_id=_FILES[2],
        edge_id_dtype=name_of(edge_dtype),
    )


def _distribute(
    stream: EdgeStream,
    num_nodes: int,
    num_edges: int,
    runs: Runs,
    journal: Journal,
    ledger: Ledger,
) -> None:
    """Stage 1: spread the stream over run files, from the last checkpoint on."""
    state = journal.get("bucket") or {"edges": 0, "sizes": None}
    done = int(state["edges"])
    if done == num_edges and state["sizes"] is not None:
        return
    cut = runs.cut
    per_edge = stream.edge_bytes + group_bytes(cut)
    need = stream.fixed_bytes + cut.batch * per_edge
    with (
        ledger.hold("a batch of edges", need),
        contextlib.closing(Appender(runs, num_nodes, state["sizes"])) as appender,
        track("sorting edges into runs", num_edges, "edges", done=done) as progress,
    ):
        last = time.monotonic()
        for source, target in stream.batches(done, cut.batch):
            check_ids(source, target, num_nodes)
            appender.add(target, source, done)
            done += len(source)
            progress.advance(len(source))
            if time.monotonic() - last >= CHECKPOINT_SECONDS:
                journal.note("bucket", {"edges": done, "sizes": appender.sync()})
                last = time.monotonic()
        if done != num_edges:
            raise ValueError(
                f"convert: `edges` must hold {num_edges:,} edges as before, got {done:,}; "
                "a file has changed while it was read"
            )
        journal.note("bucket", {"edges": done, "sizes": appender.sync()})


def check_ids(source: Tensor, target: Tensor, num_nodes: int) -> None:
    """Require node ids in range, with words."""
    for what, ids in (("source", source), ("target", target)):
        if len(ids) == 0:
            continue
        low, high = (int(v) for v in torch.aminmax(ids))
        if low < 0 or high >= num_nodes:
            raise IndexError(
                f"convert: `edges` must have {what} ids in [0, {num_nodes:,}), got "
                f"{low if low < 0 else high:,}; give num_nodes=, or names=True where ids "
                "are names rather than row numbers"
            )


class _Builder:
    """Stage 2: sort bucket after bucket and append it to the final files."""

    def __init__(
        self,
        writer: Writer,
        num_nodes: int,
        cut: Sizes,
        journal: Journal,
        ledger: Ledger,
    ) -> None:
        self._folder, self._cut = writer.folder, cut
        self._num_nodes, self._journal, self._ledger = num_nodes, journal, ledger
        self._edges = 0

    def run(self, runs: Runs) -> None:
        state = self._journal.get("build") or {"bucket": 0, "sizes": [0, 0, 0]}
        total = sum(runs.edges(b) for b in range(state["bucket"], runs.buckets))
        self._edges = state["sizes"][1] // self._cut.id_bytes
        with contextlib.ExitStack() as stack:
            self._writers = [
                stack.enter_context(
                    ChunkedWriter(self._folder / name, resume_at=state["sizes"][k])
                )
                for k, name in enumerate(_FILES)
            ]
            progress = stack.enter_context(
                track(
                    "building the graph",
                    total + self._edges,
                    "edges",
                    done=self._edges,
                )
            )
            last = time.monotonic()
            for bucket in range(state["bucket"], runs.buckets):
                edges = runs.edges(bucket)
                self._bucket(runs, bucket)
                progress.advance(edges)
                if time.monotonic() - last >= CHECKPOINT_SECONDS:
                    sizes = [writer.sync() for writer in self._writers]
                    self._journal.note("build", {"bucket": bucket + 1, "sizes": sizes})
                    last = time.monotonic()
            self._writers[0].write(np.array([self._edges], dtype="<i8"))
            for name, writer in zip(_FILES, self._writers, strict=True):
                self._journal.note_file(name, writer.close())

    def _bucket(self, runs: Runs, bucket: int) -> None:
        edges, width = runs.edges(bucket), runs.width(bucket)
        if edges <= self._cut.bucket and width <= self._cut.targets:
            self._sort(runs, bucket, edges, width)
        elif width == 1:
            self._copy(runs, bucket, edges)
        else:
            self._split(runs, bucket, edges, width)

    def _sort(self, runs: Runs, bucket: int, edges: int, width: int) -> None:
        need = edges * self._cut.sort_bytes + _TARGET_BYTES * (width + 1)
        with self._ledger.hold("one bucket of edges", need):
            target = runs.read(bucket, "target")
            target -= runs.first(bucket)
            source = runs.read(bucket, "source")
            ptr, idx, order = ops.csr_build(target, source, width, self._num_nodes)
            del target, source
            edge_id = ops.gather_rows(runs.read(bucket, "edge"), order)
            self._append(ptr, idx, edge_id)

    def _copy(self, runs: Runs, bucket: int, edges: int) -> None:
        """A bucket of one target: the stream's order is the order of edge ids."""
        self._writers[0].write(np.array([self._edges], dtype="<i8"))
        step = self._cut.batch
        with self._ledger.hold("a batch of edges", step * self._cut.run_bytes):
            for start in range(0, edges, step):
                for k, part in ((1, "source"), (2, "edge")):
                    self._writers[k].write(runs.read(bucket, part, start, step))
        self._edges += edges

    def _split(self, runs: Runs, bucket: int, edges: int, width: int) -> None:
        """Spread a bucket that is too large over run files of its own."""
        pieces = max(
            2, -(-2 * edges // self._cut.bucket), -(-width // self._cut.targets)
        )
        span = -(-width // min(MAX_BUCKETS, pieces))
        cut = dataclasses.replace(self._cut, shift=(span - 1).bit_length())
        stem = runs.stem.with_name(f"{runs.stem.name}.{bucket}-")
        inner = Runs(stem, width, cut, base=runs.first(bucket))
        need = cut.batch * (cut.run_bytes + group_bytes(cut))
        with (
            self._ledger.hold("a batch of edges", need),
            contextlib.closing(Appender(inner, self._num_nodes)) as appender,
        ):
            for start in range(0, edges, cut.batch):
                parts = [runs.read(bucket, p, start, cut.batch) for p in runs.parts]
                appender.add(parts[0], parts[1], parts[2])
        for piece in range(inner.buckets):
            self._bucket(inner, piece)
        for path in inner.paths():
            path.unlink()

    def _append(self, ptr: Tensor, idx: Tensor, edge_id: Tensor) -> None:
        self._writers[0].write(ptr[:-1].add_(self._edges))
        self._writers[1].write(idx)
        self._writers[2].write(edge_id)
        self._edges += len(idx)
