"""Modes ``direct`` and ``memory``: sample while training; read missing rows where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops import io
from graphlab.outofcore.batch import Assembler
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import DenseRows, Rows, SparseRows
from graphlab.outofcore.device import Split
from graphlab.outofcore.hot import Hot, fast_of
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import Record
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.scattered import RowFile, Target
from graphlab.outofcore.schedule import slots_of
from graphlab.sample.loader import Made

_REMEDY = "choose a smaller batch_size or fewer neighbours"


class _File:
    """A dense column's own file, and its resident rows."""

    def __init__(self, rows: DenseRows, hot: Hot) -> None:
        self.rows, self.hot = rows, hot
        self.file = RowFile.of_column(rows)


class Direct:
    """Makes batches by sampling, and reads what is not in memory from the store.

    Args:
        job: What to sample.
        assembler: Knows the fields of a batch and owns the output buffers.
        columns: Columns that are read from disk.
        ring: Buffers for reads; None where nothing is read.
        ledger: Account of memory.
        folder, files: The plan, and its file table.
        hot: Ascending ids of resident rows.
        on_device: [hot], which of them are on the device; None: none is.
        gap: Bytes to read through rather than to skip.
    """

    def __init__(
        self,
        job: Job,
        assembler: Assembler,
        columns: list[Rows],
        ring: Ring | None,
        ledger: Ledger,
        *,
        folder: Path,
        files: dict[str, Any],
        hot: npt.NDArray[np.int64],
        on_device: npt.NDArray[np.bool_] | None,
        gap: int,
    ) -> None:
        self._job, self._assembler, self._ledger = job, assembler, ledger
        self._ring, self._gap = ring, gap
        self._mapped = [r for r in columns if isinstance(r, SparseRows)]
        self._files: list[_File] = []
        self._lock = threading.Lock()
        self.hits = self.misses = 0
        self._slot = np.full(job.dataset.num_nodes if columns else 0, -1, np.int32)
        self._slot[hot] = slots_of(len(hot), on_device)
        self._device_rows = 0 if on_device is None else int(on_device.sum())
        for rows in columns:
            if isinstance(rows, DenseRows):
                assert ring is not None
                held = Hot(
                    folder,
                    files,
                    len(hot),
                    rows,
                    ring,
                    on_device=on_device,
                    pool=assembler.pool,
                    device=assembler.mover.device,
                )
                self._files.append(_File(rows, held))

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(f.file.device_bytes for f in self._files)

    def open(self, epoch: int, step: int) -> Callable[[int], Made]:
        """Make batches of an epoch by number."""
        batches = self._job.request.batches(epoch)

        def make(number: int) -> Made:
            positions = batches[number]
            with self._lock:
                request = self._job.request
                sample = request.sample(self._job.sampler, epoch, number, positions)
                return self._make(sample, positions, epoch, number)

        return make

    def close(self) -> None:
        """Stop reading and close the files."""
        with self._lock:
            if self._ring is not None:
                self._ring.close()
            for entry in self._files:
                entry.file.close()

    def _make(self, sample: Any, positions: Tensor, epoch: int, number: int) -> Made:
        nodes, edges = len(sample.n_id), len(sample.row)
        self._make_room(nodes, edges, len(positions))
        targets = nodes - sample.num_sampled_nodes[-1]
        none = np.zeros(0, dtype=np.int64)
        record = Record(
            n_id=sample.n_id.numpy(),
            degree=np.bincount(sample.col.numpy(), minlength=targets),
            row=sample.row.numpy(),
            e_id=sample.e_id.numpy(),
            input_id=positions.numpy(),
            tree=none if sample.batch is None else sample.batch.numpy(),
            nodes=sample.num_sampled_nodes,
            edges=sample.num_sampled_edges,
            epoch=epoch,
            batch=number,
        )
        filling = self._assembler.begin(record)
        for mapped in self._mapped:
            mapped.gather(sample.n_id, filling.column(mapped))
        missed = 0
        if self._files:
            where, wanted = self._look_up(record.n_id)
            missed = len(wanted)
            if self._device_rows:
                split = Split.of(where, self._device_rows)
                fast = fast_of({e.rows.name: e.hot for e in self._files})
                filling.split(fast, split)
                where = split.source
            source = torch.from_numpy(where)
            for entry in self._files:
                self._fill(entry, source, wanted, filling.column(entry.rows))
        self.misses += missed
        self.hits += nodes - missed
        return filling.finish()

    def _make_room(self, nodes: int, edges: int, seeds: int) -> None:
        """Grow the output buffers for a batch that is larger than the probe told."""
        pool, fields = self._assembler.pool, self._assembler.fields
        size = fields.block_bytes(nodes, edges, seeds)
        if size > pool.size:
            count = pool.nbytes // max(pool.size, 1)
            remedy = f"{_REMEDY}: a batch has {nodes:,} nodes and {edges:,} edges"
            self._ledger.take("output buffers", count * (size - pool.size), remedy)
            self._assembler.pool = Pool(count, size, pinned=pool.pinned)

    def _look_up(
        self, n_id: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The programme of a batch, and the ids that it reads, ascending."""
        source = self._slot[n_id]
        where = np.flatnonzero(source < 0)
        ids = n_id[where]
        order = np.argsort(ids, kind="stable")
        source[where[order]] = -1 - np.arange(len(order), dtype=np.int32)
        return source, ids[order]

    def _fill(
        self, entry: _File, source: Tensor, wanted: npt.NDArray[np.int64], out: Tensor
    ) -> None:
        rows = entry.rows
        dst = torch.empty(len(wanted), dtype=torch.int32)
        io.assemble_hits(entry.hot.slots, source, out, dst, decode=rows.decode)
        assert self._ring is not None
        entry.file.read(wanted, self._ring, self._gap, Target(out, dst))
