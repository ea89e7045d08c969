"""Sampling from a graph that stays on disk: many batches at a time, in the file's order.

A draw is a function of names (seed, epoch, batch, hop, place, slot) and of a degree, so the
places that a hop reads are known before any of them is read. Those of a group of batches are
sorted, each file is read once front to back where something is wanted, and what was read goes
back in the order of the draws: the samples are those of the graph in memory, bit for bit.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.errors import BudgetError
from graphlab.ops import NeighborSample
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.scattered import RowFile, Target
from graphlab.outofcore.sizing import ring_sizes
from graphlab.progress import say
from graphlab.sample.ahead import Ahead
from graphlab.sample.sampler import NeighborSampler

if TYPE_CHECKING:
    from graphlab.graph import Graph
    from graphlab.outofcore.budget import Ledger
    from graphlab.outofcore.store import Store

Places = npt.NDArray[np.int64]
T = TypeVar("T")
# Makes the sample of a batch with what stands for the sampler.
Draw = Callable[[Any, int], NeighborSample]

# Temporaries of reading, per place; 1/32 of the memory is for them.
_PLACE_BYTES = 128
_MOST_PLACES = 2**16
# Of a target while its row is looked up, and of a draw while it is read: place and key.
_TARGET_BYTES = 48
_DRAW_BYTES = 24
# A first group is as large as this share of the free memory allows by bounds.
_SHARE = 0.75
# Memory to have, in units of what reading takes without any batch.
READING_SHARE = 2


@dataclass(frozen=True)
class GraphFiles:
    """The files of a store's graph, and how to read them.

    Attributes:
        ptr, idx, edge_id: Paths; ``edge_id`` None: an edge's id is its place.
        idx_dtype, edge_id_dtype: Of their entries.
        num_nodes, num_edges: Of the graph.
        depth, segment: Of the ring of reads.
        gap: Bytes to read through rather than to skip.
        step: Places that are read at a time.
    """

    ptr: Path
    idx: Path
    edge_id: Path | None
    idx_dtype: torch.dtype
    edge_id_dtype: torch.dtype
    num_nodes: int
    num_edges: int
    depth: int
    segment: int
    gap: int
    step: int

    @classmethod
    def of(cls, store: Store, limit: int, gap: int) -> GraphFiles:
        """Those of a store, to be read within ``limit`` bytes."""
        depth, segment = ring_sizes(limit, 0)
        step = min(max(limit // 32 // _PLACE_BYTES, 1), _MOST_PLACES)
        part, found = store.manifest.topology, store.manifest
        return cls(
            ptr=store.path / part.ptr,
            idx=store.path / part.idx,
            edge_id=None if part.edge_id is None else store.path / part.edge_id,
            idx_dtype=getattr(torch, part.idx_dtype),
            edge_id_dtype=getattr(torch, part.edge_id_dtype or "int64"),
            num_nodes=found.num_nodes,
            num_edges=found.num_edges,
            depth=depth,
            segment=segment,
            gap=gap,
            step=step,
        )

    @property
    def least_bytes(self) -> int:
        """What reading holds beside the batches of a group."""
        return self.depth * self.segment + _PLACE_BYTES * self.step

    @property
    def edge_bytes(self) -> int:
        """Of what is kept of a drawn edge: its source, and its id where that is read."""
        ids = 0 if self.edge_id is None else self.edge_id_dtype.itemsize
        return self.idx_dtype.itemsize + ids


class _Array:
    """An array in a file."""

    def __init__(
        self, path: Path, dtype: torch.dtype, length: int, ring: Ring, gap: int
    ) -> None:
        self.dtype = dtype
        self.file = RowFile(
            path, dtype.itemsize, "copy", expected=length * dtype.itemsize
        )
        self._ring, self._gap = ring, gap

    def read(self, wanted: Places, dst: Tensor, out: Tensor) -> None:
        """Put the entries at ascending places to ``out[dst]``."""
        self.file.read(wanted, self._ring, self._gap, Target(out, dst))


def _gather(
    arrays: Sequence[_Array], places: Places, length: int, step: int
) -> list[Tensor]:
    """Entries of arrays of a length, at places in any order, ``step`` at a time."""
    found = [torch.empty((len(places), 1), dtype=a.dtype) for a in arrays]
    # A key is a place and the number of who asks for it, which sorting leaves together.
    most = 1 << (62 - max(length, 1).bit_length())
    for start in range(0, len(places), most):
        part = places[start : start + most]
        bits = len(part).bit_length()
        keys = (part << bits) | np.arange(len(part))
        keys.sort()
        for low in range(0, len(keys), step):
            piece = keys[low : low + step]
            to = start + (piece & ((1 << bits) - 1))
            for array, out in zip(arrays, found, strict=True):
                array.read(piece >> bits, torch.from_numpy(to.astype(np.int32)), out)
    return [out[:, 0] for out in found]


class _Read:
    """What has been read of the graph for one batch; stands for its sampler."""

    def __init__(self, sampler: NeighborSampler, files: GraphFiles) -> None:
        self.disjoint = sampler.disjoint
        self.hops = 0
        self.rows = torch.empty((0, 2), dtype=torch.int64)
        self.sources = torch.empty(0, dtype=files.idx_dtype)
        self.edge_id: Tensor | None = None
        if files.edge_id is not None:
            self.edge_id = torch.empty(0, dtype=files.edge_id_dtype)
        self._sampler = sampler

    def sample(self, seeds: Tensor, *, epoch: int, batch: int) -> NeighborSample:
        """As :meth:`NeighborSampler.sample`, the first ``hops`` hops."""
        read = (self.rows, self.sources)
        found = self._sampler.sample(
            seeds, epoch=epoch, batch=batch, hops=self.hops, read=read
        )
        if self.edge_id is not None and len(self.edge_id) == len(found.e_id):
            found = found._replace(e_id=self.edge_id.long())
        return found


class DiskSampler:
    """Samples batches from a graph on disk.

    Args:
        files: The graph.
        sampler: Draws uniformly, see :func:`readable`; its graph is not touched.
        ledger: Account of memory.
        threads: Threads that draw.

    Attributes:
        device_bytes: Read so far.
        groups: Groups of batches so far.
    """

    def __init__(
        self, files: GraphFiles, sampler: NeighborSampler, ledger: Ledger, threads: int
    ) -> None:
        self._files, self._sampler, self._ledger = files, sampler, ledger
        self._threads = threads
        self.groups = 0
        ledger.take("reading the graph", files.least_bytes)
        ledger.take("graph as read", 0)
        self._ring = Ring(files.depth, files.segment)
        n, e, gap = files.num_nodes, files.num_edges, files.gap
        self._ptr = _Array(files.ptr, torch.int64, n + 1, self._ring, gap)
        self._edges = [_Array(files.idx, files.idx_dtype, e, self._ring, gap)]
        if files.edge_id is not None:
            self._edges.append(
                _Array(files.edge_id, files.edge_id_dtype, e, self._ring, gap)
            )
        self._told = False

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(array.file.device_bytes for array in (self._ptr, *self._edges))

    def close(self) -> None:
        """Close the files and give memory back."""
        self._ring.close()
        for array in (self._ptr, *self._edges):
            array.file.close()
        self._ledger.give("reading the graph", self._files.least_bytes)

    def run(
        self, draw: Draw, numbers: Sequence[int], most_seeds: int, longest: int
    ) -> Iterator[NeighborSample]:
        """Sample batches, in order.

        Args:
            draw: Makes the sample of a batch by number, with what stands for the sampler.
            numbers: Which.
            most_seeds: Seeds of a batch, at most.
            longest: Batches of a group, at most.
        """
        each = self._bound(most_seeds)
        done = 0
        while done < len(numbers):
            # Without a bound the first batch tells how large they are.
            room = int(_SHARE * self._ledger.free)
            length = 1 if each is None else max(1, min(room // max(each, 1), longest))
            while True:
                group = numbers[done : done + length]
                held = [0]
                try:
                    reads = self._read(draw, group, held)
                except BudgetError:
                    self._ledger.give("graph as read", held[0])
                    length = len(group) // 2
                    if length:
                        continue
                    reads, held = None, [0]
                break
            try:
                yield from self._finish(draw, group, reads)
            finally:
                self._ledger.give("graph as read", held[0])
            if reads is not None:
                self.groups += 1
                each = int(1.2 * max(map(self._cost, reads)))
            done += len(group)

    def _finish(
        self, draw: Draw, group: Sequence[int], reads: list[_Read] | None
    ) -> Iterator[NeighborSample]:
        """The samples of a group; those of a batch too large to be read, from the map."""
        if reads is None:
            if not self._told:
                self._told = True
                say(
                    "plan: `memory` is too small to read the graph in order: its pages "
                    "come in as they are touched"
                )
            yield draw(self._sampler, group[0])
            return
        yield from self._ahead(lambda i: draw(reads[i], group[i]), len(group))

    def _ahead(self, make: Callable[[int], T], count: int) -> Ahead[T]:
        return Ahead(make, range(count), prefetch=1, num_threads=self._threads)

    def _bound(self, seeds: int) -> int | None:
        """Bytes that a batch takes while its group is read, at most; None: unknown."""
        counts = self._sampler.num_neighbors
        if min(counts) < 0:
            return None
        targets = draws = 0
        width = seeds
        for count in counts:
            targets += width
            last = width
            width *= count
            draws += width
        kept = 16 * targets + self._files.edge_bytes * draws
        moment = _TARGET_BYTES * last, (_DRAW_BYTES + self._files.edge_bytes) * width
        return kept + max(moment)

    def _cost(self, read: _Read) -> int:
        """Bytes that a batch took, as :meth:`_bound` counts them."""
        draws = len(read.sources)
        kept = 16 * len(read.rows) + self._files.edge_bytes * draws
        return kept + (_DRAW_BYTES + self._files.edge_bytes) * draws

    def _read(self, draw: Draw, group: Sequence[int], held: list[int]) -> list[_Read]:
        """Read what the batches of a group draw, hop after hop."""
        files = self._files
        reads = [_Read(self._sampler, files) for _ in group]

        def take(size: int) -> None:
            self._ledger.take("graph as read", size)
            held[0] += size

        def each(pick: Callable[[NeighborSample], Tensor], size: int) -> list[Places]:
            """A part of each batch's sample; ``size`` bytes an entry are taken for it."""

            def make(i: int) -> tuple[Places, int]:
                sample = draw(reads[i], group[i])
                # A copy, so that the rest can go.
                return pick(sample).clone().numpy(), sample_bytes(sample)

            found = []
            for part, nbytes in self._ahead(make, len(group)):
                with self._ledger.hold("sampled batches", (self._threads + 1) * nbytes):
                    take(size * len(part))
                found.append(part)
            return found

        for hop in range(len(self._sampler.num_neighbors)):
            nodes = each(_frontier, 16 + _TARGET_BYTES)
            both = np.concatenate([*nodes, *(part + 1 for part in nodes)])
            ends = _gather([self._ptr], both, files.num_nodes + 1, files.step)[0]
            begin, end = ends.view(2, -1)
            rows = torch.stack([begin, end - begin], dim=1)
            counts = [len(part) for part in nodes]
            for read, part in zip(reads, rows.split(counts), strict=True):
                read.rows = torch.cat([read.rows, part])
                read.hops = hop + 1
            self._give(held, _TARGET_BYTES * sum(counts))
            places = each(_drawn, _DRAW_BYTES + files.edge_bytes)
            counts = [len(part) for part in places]
            found = _gather(
                self._edges, np.concatenate(places), files.num_edges, files.step
            )
            for name, values in zip(("sources", "edge_id"), found, strict=False):
                for read, part in zip(reads, values.split(counts), strict=True):
                    setattr(read, name, torch.cat([getattr(read, name), part]))
            self._give(held, _DRAW_BYTES * sum(counts))
        return reads

    def _give(self, held: list[int], size: int) -> None:
        self._ledger.give("graph as read", size)
        held[0] -= size


def expect_random_reads(graph: Graph) -> None:
    """Tell the system that pages of a mapped graph are touched here and there.

    Else each brings its neighbours in, which memory smaller than the graph cannot keep.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    for array in graph.csc():
        if array is None or not array.numel():
            continue
        start = array.data_ptr() // page * page
        size = array.data_ptr() + array.nbytes - start
        # Advice: where it is refused, reading is slower.
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_RANDOM)


def readable(sampler: NeighborSampler) -> bool:
    """Whether the places that a hop reads depend on degrees alone: uniform draws."""
    return sampler.method == "uniform" and not sampler.weighted


def sample_bytes(sample: NeighborSample) -> int:
    """Bytes of a sample."""
    return sum(t.nbytes for t in sample if isinstance(t, Tensor))


def _frontier(sample: NeighborSample) -> Tensor:
    """Nodes of the last hop."""
    return sample.n_id[len(sample.n_id) - sample.num_sampled_nodes[-1] :]


def _drawn(sample: NeighborSample) -> Tensor:
    """Places of the edges of the last hop."""
    return sample.e_id[len(sample.e_id) - sample.num_sampled_edges[-1] :]
