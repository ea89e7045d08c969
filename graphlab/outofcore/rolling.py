"""Mode ``rolling``: windows of batches packed ahead and deleted behind, fresh every epoch."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphlab.outofcore.batch import Assembler
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.hot import Hot
from graphlab.outofcore.leftover import Leftovers, save
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.reader import Ring, align_up
from graphlab.outofcore.replay import Replay, Trace
from graphlab.outofcore.slots import LiveSlots
from graphlab.outofcore.space import punch
from graphlab.outofcore.trace import Stop
from graphlab.outofcore.window import Maker, Window
from graphlab.sample.loader import Made

_REMEDY = "choose a smaller batch_size or fewer neighbours"


_SERIAL = itertools.count()


class Span(NamedTuple):
    """Where a window begins: epoch of its samples, first batch, and the step to the next."""

    epoch: int
    first: int
    step: int


class Rolling:
    """Reads windows, one being made while another is read.

    The batches are those of the in-memory loader, every epoch. A process that was killed
    leaves windows, which the next one reads on. Window after window is made by
    a background thread, within its share of the disk and of the memory; a window that was
    read is deleted.

    Where the file system can give blocks in the middle of a file back, a batch's packs go as
    soon as it is read, and the next window grows into what they leave.

    Args:
        maker: Makes windows.
        folder: The plan; windows are folders in it.
        assembler: Knows the fields of a batch and owns the output buffers.
        columns: Columns that are read from disk.
        ring: Buffers for reads.
        hot: Rows in memory, by column.
        live: Slots whose rows change, or None.
        ledger: Account of memory of the loader.
        per_epoch: Batches of an epoch.
        window: Batches of a window, at most.
        device_rows: Rows on the device, the first of the programmes' slots.
        reuse: Epochs that use the same samples.
        ahead: Whether a window is made while another is read.
        rank: Named in the folders, for people; loaders of one plan share no windows.
        record_bytes, sparse_bytes, max_rows: Room that was planned for a batch.
        verify: Whether checksums are compared when a batch is read first.
        kept: Batches whose packs stay for a while after they were read, because a process
            that ends now has not handed them over.
    """

    def __init__(
        self,
        maker: Maker,
        folder: Path,
        assembler: Assembler,
        columns: list[Rows],
        ring: Ring,
        hot: dict[str, Hot],
        live: LiveSlots | None,
        ledger: Ledger,
        *,
        per_epoch: int,
        window: int,
        device_rows: int = 0,
        reuse: int,
        ahead: bool,
        rank: int,
        record_bytes: int,
        sparse_bytes: int,
        max_rows: int,
        verify: bool,
        kept: int,
    ) -> None:
        self._maker, self._folder = maker, folder
        self._assembler, self._columns, self._ring = assembler, columns, ring
        self._hot, self._live, self._ledger = hot, live, ledger
        self._per_epoch, self._length = per_epoch, window
        self._device_rows = device_rows
        self._reuse, self._ahead = reuse, ahead
        self._room = [record_bytes, sparse_bytes, max_rows]
        self._verify = verify
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="graphlab-window")
        self._stop = Stop()
        self._kept, self._done = kept, deque[int]()
        self._window: Window | None = None
        self._replay: Replay | None = None
        self._next: tuple[Span, Future[Window]] | None = None
        self._make: Callable[[int], Made] | None = None
        # Of windows that are gone: hits, misses, bytes read; and bytes of making them.
        self._past = [0, 0, 0]
        self._made_bytes = 0
        self.peak_disk_bytes = 0
        self._name = f"window-{rank}-{os.getpid()}-{next(_SERIAL)}"
        self._identity = maker.identity
        self._left = Leftovers(folder, self._name, self._identity)

    @property
    def hits(self) -> int:
        """Rows found in memory so far."""
        return self._past[0] + (0 if self._replay is None else self._replay.hits)

    @property
    def misses(self) -> int:
        """Rows not found in memory so far."""
        return self._past[1] + (0 if self._replay is None else self._replay.misses)

    @property
    def device_bytes(self) -> int:
        """Bytes read from disk so far, by making windows too."""
        now = 0 if self._replay is None else self._replay.trace.device_bytes
        refilled = 0 if self._live is None else self._live.device_bytes
        return self._past[2] + now + refilled + self._made_bytes

    def open(self, epoch: int, step: int) -> Callable[[int], Made]:
        """Make batches of an epoch by number, best asked for ``step`` after ``step``."""
        source = epoch // self._reuse * self._reuse

        def make(number: int) -> Made:
            with self._lock:
                window = self._window
                if (
                    window is None
                    or window.epoch != source
                    or number not in window.numbers
                    or number in window.gone
                ):
                    window = self._advance(Span(source, number, step))
                if self._next is None and self._ahead:
                    self._prepare(self._following(window, epoch, step))
                assert self._make is not None
                made = self._make(window.numbers.index(number))
                self._give_back(window, number)
                return made

        return make

    def _give_back(self, window: Window, number: int) -> None:
        """Give the blocks of packs that were read back, oldest first."""
        if window.held is None:
            return
        assert self._replay is not None
        self._done.append(number)
        if len(self._done) <= self._kept:
            return
        number = self._done.popleft()
        window.gone.add(number)
        save(window, self._identity)  # whoever finds the window must not read it again
        for part in self._replay.trace.parts[2:]:
            entry = part.table[window.numbers.index(number)]
            size = align_up(int(entry["length"]))
            if size:
                with open(part.file.path, "rb+", buffering=0) as file:
                    punch(file.fileno(), int(entry["offset"]), size)
            window.held.give(size)

    def close(self) -> None:
        """End the background thread, delete windows, close files."""
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            if self._next is not None:
                future = self._next[1]
                if future.done() and not future.cancelled() and not future.exception():
                    future.result().delete()
            self._leave()
            self._left.clear()
            self._ring.close()
            if self._live is not None:
                self._live.close()
        for path in self._folder.glob(f"{self._name}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _following(self, window: Window, epoch: int, step: int) -> Span | None:
        """Where the window after this one begins; None: this one goes on being used."""
        after = window.numbers[-1] + step
        if after < self._per_epoch:
            return Span(window.epoch, after, step)
        source = (epoch + 1) // self._reuse * self._reuse
        first = window.numbers[-1] % step
        if source == window.epoch and window.numbers[0] == first:
            return None
        return Span(source, first, step)

    def _prepare(self, span: Span | None) -> None:
        if span is not None:
            self._next = (span, self._submit(span))

    def _submit(self, span: Span) -> Future[Window]:
        """Begin a window in the folder that is not being read."""
        folders = [self._folder / f"{self._name}-{side}" for side in range(2)]
        taken = None if self._window is None else self._window.folder
        folder = folders[0] if taken != folders[0] else folders[1]
        return self._thread.submit(self._build, folder, span, self._stop)

    def _build(self, folder: Path, span: Span, stop: Stop) -> Window:
        numbers = range(span.first, self._per_epoch, span.step)[: self._length]
        left = self._left.take(span.epoch, span.first, span.step)
        if left is not None:
            return left.take_over(self._maker.space, stop)
        shutil.rmtree(folder, ignore_errors=True)
        window = self._maker.make(folder, span.epoch, numbers, stop)
        save(window, self._identity)
        return window

    def _advance(self, span: Span) -> Window:
        """Take the window that begins at a span: the one made ahead, or a new one."""
        ahead, self._next = self._next, None
        if self._maker.space is not None:
            self._leave()  # so that what is being made can grow
        if ahead is not None and ahead[0] != span:
            self._stop.set()
            if ahead[1].exception() is None:
                ahead[1].result().delete()
            self._stop = Stop()
            ahead = None
        if not self._ahead:
            self._leave()  # the disk holds one window only
        if ahead is None:
            ahead = (span, self._submit(span))
        window = ahead[1].result()
        held = window.disk_bytes
        if self._maker.space is not None:
            held = 2 * self._maker.records + self._maker.space.peak
        elif self._window is not None:
            held += self._window.disk_bytes
        self.peak_disk_bytes = max(self.peak_disk_bytes, held)
        self._leave()
        self._made_bytes += window.read_bytes
        self._enter(window)
        return window

    def _leave(self) -> None:
        if self._replay is not None:
            replay, self._replay, self._make = self._replay, None, None
            self._past[0] += replay.hits
            self._past[1] += replay.misses
            self._past[2] += replay.trace.device_bytes
            replay.leave()
        if self._window is not None:
            self._window.delete()
            self._window = None
            self._done.clear()

    def _enter(self, window: Window) -> None:
        self._grow(window)
        record, sparse, rows = self._room
        self._replay = Replay(
            Trace(window.folder, window.files, self._columns),
            self._assembler,
            self._ring,
            self._hot,
            self._live,
            device_rows=self._device_rows,
            record_bytes=record,
            sparse_bytes=sparse,
            max_rows=rows,
            verify=self._verify,
        )
        self._make = self._replay.open(np.arange(len(window.numbers)), 1)
        self._window = window

    def _grow(self, window: Window) -> None:
        """Take more memory where a batch is larger than those that were planned with."""
        need = [window.record_bytes, window.sparse_bytes, window.nodes]
        for i, part in enumerate(("batch records", "batch records", "scratch")):
            if need[i] > self._room[i]:
                more = align_up(need[i]) - self._room[i]
                self._ledger.take(part, 4 * more if i == 2 else more, _REMEDY)
                self._room[i] += more
        seeds = self._maker.job.request.batch_size
        size = self._assembler.fields.block_bytes(window.nodes, window.edges, seeds)
        pool = self._assembler.pool
        if size > pool.size:
            count = pool.nbytes // max(pool.size, 1)
            self._ledger.take("output buffers", count * (size - pool.size), _REMEDY)
            self._assembler.pool = Pool(count, size, pinned=pool.pinned)
