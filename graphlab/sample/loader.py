"""What all loaders share: epochs, ranks, exact resume, prefetching, accounting."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.sample.ahead import Ahead, default_threads

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Made(NamedTuple):
    """A batch and what went into it."""

    data: Data
    rows: int
    nbytes: int


class Loader(ABC):
    """An iterable of batches whose contents are a function of (seed, epoch, batch).

    **Epochs.** Each ``iter(loader)`` is the next epoch, from 0; :meth:`set_epoch` chooses
    one. :meth:`batch` reads any single batch.

    **Ranks.** An epoch is one global list of batches, the same for every rank. Of ``T``
    batches, rank ``r`` of ``world_size`` takes numbers ``r, r + world_size, ...``, so the
    first ``T mod world_size`` ranks have one batch more than the others: run those steps
    under ``torch.distributed.algorithms.Join``, or set ``drop_last=True``, which also drops
    the uneven end, so that every rank has ``T // world_size`` batches.

    **Resume.** :meth:`state_dict` names the next batch to hand over, not how far threads
    have run ahead; after the last batch of an epoch that is the first of the next one. A
    state may be loaded by a loader of another ``world_size``.

    Args:
        identity: What makes two loaders yield the same batches; kept in the state.
        rank: This process; None with ``world_size`` None: all batches.
        world_size: Number of processes.
        drop_last: Give every rank the same number of batches.
        prefetch: Batches made ahead for each thread; 0 makes them in the caller.
        num_threads: Background threads; None: one per two of torch's, at most 8. Never
            changes a batch.
    """

    def __init__(
        self,
        *,
        identity: dict[str, Any],
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        num_threads: int | None = None,
    ) -> None:
        name = type(self).__name__
        if (rank is None) != (world_size is None):
            missing = "rank" if rank is None else "world_size"
            check.fail(
                ValueError, name, missing, "be given with its pair", None, "give both"
            )
        self._world_size = check.positive(
            name, "world_size", 1 if world_size is None else world_size
        )
        self._rank = check.positive(name, "rank", 0 if rank is None else rank, least=0)
        if self._rank >= self._world_size:
            check.fail(
                ValueError,
                name,
                "rank",
                f"be below world_size = {self._world_size}",
                self._rank,
            )
        self._prefetch = check.positive(name, "prefetch", prefetch, least=0)
        if num_threads is None:
            num_threads = default_threads(torch.get_num_threads())
        self._num_threads = check.positive(name, "num_threads", num_threads)
        self._even = drop_last
        self._identity = identity
        self._epoch = 0  # of the next batch to hand over
        self._next = 0  # its number in the global list, a multiple of world_size
        self._partial = False  # whether an iterator has handed over a part of the epoch
        self._loaded = False  # whether load_state_dict has set the position since
        self._stats = _Stats()

    @abstractmethod
    def _open(self, epoch: int) -> Callable[[int], Made]:
        """Prepare an epoch; the result makes its batches and is called from threads."""

    @abstractmethod
    def _num_batches(self) -> int:
        """Batches of an epoch, over all ranks."""

    @abstractmethod
    def _resident_bytes(self) -> int:
        """Bytes of data held between batches."""

    def batch(self, epoch: int, number: int) -> Data:
        """Batch ``number`` of the global list of ``epoch``; the iteration is not moved.

        Raises:
            IndexError: no such batch.
        """
        if not 0 <= number < self._num_batches():
            check.fail(
                IndexError,
                f"{type(self).__name__}.batch",
                "number",
                f"be in [0, {self._num_batches()})",
                number,
            )
        return self._open(epoch)(number).data

    def __len__(self) -> int:
        """Batches of an epoch that this rank takes."""
        return len(self._numbers(0))

    def __iter__(self) -> Iterator[Data]:
        # An iteration that was left midway (break) is over: the next is the next epoch.
        if self._partial:
            self._move(self._epoch + 1, 0)
        self._loaded = False
        self._stats = _Stats()
        epoch, numbers = self._epoch, self._numbers(self._next)
        if not numbers:  # nothing (left) for this rank
            self._move(epoch + 1, 0)
        return _Epoch(self, epoch, numbers)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        Its batches start at the first; only a position that :meth:`load_state_dict` has
        just set inside the same epoch is kept, so that a training loop may call this at the
        start of every epoch and still resume.
        """
        check.positive(f"{type(self).__name__}.set_epoch", "epoch", epoch, least=0)
        if not (self._loaded and epoch == self._epoch):
            self._move(epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """The position: the epoch and number of the next batch to hand over.

        After the last batch of epoch ``e`` has been handed over this is epoch ``e + 1``,
        batch 0.
        """
        return {"epoch": self._epoch, "batch": self._next, **self._identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken; the next iteration starts there.

        Raises:
            ValueError: the state is of a loader with other batches; the message names the
                first difference.
        """
        name = f"{type(self).__name__}.load_state_dict"
        for key, value in self._identity.items():
            if state.get(key) != value:
                check.fail(
                    ValueError,
                    name,
                    "state",
                    f"come from a loader with {key} = {value!r}",
                    repr(state.get(key)),
                    "make the loader with the arguments of the run that saved it",
                )
        epoch = check.positive(name, "epoch", state.get("epoch"), least=0)
        self._move(epoch, check.positive(name, "batch", state.get("batch"), least=0))
        self._loaded = True

    def stats(self) -> dict[str, int | float]:
        """Account of the current or last epoch; data in memory never misses.

        Returns:
            device_bytes: read from disk, 0 here. useful_bytes: gathered column rows.
            hits, misses: rows found in memory, and not. stall_seconds: waited for batches.
            seconds: since the epoch began, to its end. limit_seconds: ``seconds`` less the
            stalls, which is what this epoch would take with batches that cost nothing.
            declared_memory_bytes: 0, no budget was declared. peak_memory_bytes: graph,
            columns and tables, and the batches alive at once.
        """
        s = self._stats
        alive = (self._prefetch * self._num_threads + 1) * s.largest_batch
        return {
            "device_bytes": 0,
            "useful_bytes": s.useful_bytes,
            "hits": s.rows,
            "misses": 0,
            "stall_seconds": s.stall_seconds,
            "seconds": s.seconds,
            "limit_seconds": s.seconds - s.stall_seconds,
            "declared_memory_bytes": 0,
            "peak_memory_bytes": self._resident_bytes() + alive,
        }

    def _numbers(self, start: int) -> range:
        total = self._num_batches()
        if self._even:
            total -= (total - start) % self._world_size
        return range(start + self._rank, total, self._world_size)

    def _move(self, epoch: int, number: int) -> None:
        self._epoch, self._next, self._partial = epoch, number, False

    def _handed(self, epoch: int, number: int) -> None:
        following = number - self._rank + self._world_size
        if self._numbers(following):
            self._epoch, self._next, self._partial = epoch, following, True
        else:
            self._move(epoch + 1, 0)


class _Stats:
    """Running account of one epoch."""

    def __init__(self) -> None:
        self.useful_bytes = self.rows = self.largest_batch = 0
        self.stall_seconds = self.seconds = 0.0


class _Epoch(Iterator["Data"]):
    """One iteration: hands batches over and moves the loader's position."""

    def __init__(self, loader: Loader, epoch: int, numbers: range) -> None:
        self._loader = loader
        self._epoch = epoch
        self._numbers = iter(numbers)
        self._stats = loader._stats
        self._start = time.perf_counter()
        self._ahead = Ahead(
            loader._open(epoch),
            numbers,
            prefetch=loader._prefetch,
            num_threads=loader._num_threads,
        )

    def __next__(self) -> Data:
        try:
            made = next(self._ahead)
        except StopIteration:
            self._tick()
            raise
        self._loader._handed(self._epoch, next(self._numbers))
        stats = self._stats
        stats.rows += made.rows
        stats.useful_bytes += made.nbytes
        stats.largest_batch = max(stats.largest_batch, size_of(made.data))
        self._tick()
        return made.data

    def _tick(self) -> None:
        self._stats.seconds = time.perf_counter() - self._start
        self._stats.stall_seconds = self._ahead.stall_seconds


def size_of(data: Data) -> int:
    """Bytes of the tensors of a batch."""
    return sum(v.nbytes for v in data.to_dict().values() if isinstance(v, Tensor))
