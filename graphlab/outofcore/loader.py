"""DiskLoader: the batches of a plan, with the interface of the in-memory loaders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from graphlab import check
from graphlab.ops import rng
from graphlab.outofcore.budget import Ledger
from graphlab.sample.loader import Loader, Made

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch_geometric.data import Data

    from graphlab.outofcore.plan import Plan
    from graphlab.outofcore.scattered import Edges

# Names the stream of the order in which a sampled epoch is replayed.
REPLAY = -2


class Engine(Protocol):
    """What makes the batches of one mode."""

    @property
    def hits(self) -> int:
        """Rows found in memory so far."""

    @property
    def misses(self) -> int:
        """Rows not found in memory so far."""

    @property
    def device_bytes(self) -> int:
        """Bytes read from disk so far."""

    def open(self, epoch: int, step: int) -> Callable[[int], Made]:
        """Make batches of an epoch by number, best asked for ``step`` after ``step``."""

    def close(self) -> None:
        """Stop reading and close files."""


class DiskLoader(Loader):
    """Yield the batches of a plan; made by :meth:`graphlab.outofcore.Plan.loader`.

    The batches of the sampled epochs are those of :class:`graphlab.sample.NeighborLoader`
    with the same arguments, bit for bit; but for the order of nodes inside a hop where the
    plan's ``node_order`` is ``packed``. **Epochs.** In mode ``replay`` the sampled epochs
    come first, in their own order; epoch e beyond them replays epoch ``e % epochs``: in the
    same order where rows come and go (policy ``belady``), whose schedule knows no other,
    else in a new random one (a function of seed and e). Modes ``direct`` and ``memory``
    sample every epoch afresh. Any batch may be asked for at any time (resuming, other
    ranks): rows that the schedule expected to be there are then read from the store.

    A batch's tensors lie in a buffer that is used again once nobody refers to any of them;
    a batch that you keep is yours, and a new buffer takes its place.

    Iteration, ``set_epoch``, ``state_dict``, ranks: see :class:`graphlab.sample.Loader`.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Engine,
        ledger: Ledger,
        edges: Edges | None = None,
        *,
        epoch: int,
        prefetch: int,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        super().__init__(
            # What decides the batches: not the budget, so a state may move to a plan with
            # another one.
            identity={**plan.job.sampling, "store": plan.job.store.fingerprint},
            rank=rank,
            world_size=world_size,
            prefetch=prefetch,
            num_threads=1,
        )
        self.plan = plan
        self._engine, self._ledger, self._edges = engine, ledger, edges
        self._closed = False
        self._base = (0, 0, 0)
        self.set_epoch(epoch)

    def __iter__(self) -> Iterator[Data]:
        if self._closed:
            check.fail(
                ValueError,
                "DiskLoader",
                "self",
                "be open",
                "a closed loader",
                "make one with plan.loader()",
            )
        engine = self._engine
        self._base = (self._device_bytes, engine.hits, engine.misses)
        return super().__iter__()

    def stats(self) -> dict[str, int | float]:
        """Account of the current or last epoch, batches made ahead included.

        Returns:
            device_bytes: read from disk, alignment included. useful_bytes: rows of columns
            in the batches handed over. hits, misses: rows found in memory, and not.
            stall_seconds: waited for batches. seconds: since the epoch began, to its end.
            limit_seconds: the largest of ``seconds - stall_seconds`` (what the caller took),
            ``device_bytes`` over the sequential bandwidth and ``useful_bytes`` over the rate
            of copying rows in memory, both as the plan measured them. Neither what rolling
            windows write nor sampling is in it.
            declared_memory_bytes, peak_memory_bytes: the budget, and the most that was
            held of it.
        """
        bytes_before, hits, misses = self._base
        device = self._device_bytes - bytes_before
        s, rates = self._stats, self.plan.calibration
        copies = s.useful_bytes / rates.gather if rates.gather else 0.0
        return {
            "device_bytes": device,
            "useful_bytes": s.useful_bytes,
            "hits": self._engine.hits - hits,
            "misses": self._engine.misses - misses,
            "stall_seconds": s.stall_seconds,
            "seconds": s.seconds,
            "limit_seconds": max(
                s.seconds - s.stall_seconds, device / rates.sequential, copies
            ),
            "declared_memory_bytes": self._ledger.limit,
            "peak_memory_bytes": self._ledger.peak,
        }

    def close(self) -> None:
        """Give memory and files back; the loader cannot be used any more."""
        if not self._closed:
            self._closed = True
            self._engine.close()
            if self._edges is not None:
                self._edges.close()

    def __del__(self) -> None:
        # When the interpreter ends, what closing needs may be gone; the system cleans up.
        if not getattr(self, "_closed", True) and not sys.is_finalizing():
            self.close()

    @property
    def _device_bytes(self) -> int:
        edges = 0 if self._edges is None else self._edges.device_bytes
        return self._engine.device_bytes + edges

    def _open(self, epoch: int) -> Callable[[int], Made]:
        return self._engine.open(epoch, self._world_size)

    def _num_batches(self) -> int:
        return self.plan.batches_per_epoch

    def _resident_bytes(self) -> int:
        return self._ledger.held


def replay_order(
    epoch: int, epochs: int, per_epoch: int, seed: int, *, fixed: bool = False
) -> npt.NDArray[np.int64]:
    """Which recorded batch is number 0, 1, ... of an epoch; ``fixed`` never reorders.

    Example:
        >>> replay_order(1, 2, 3, seed=0).tolist()
        [3, 4, 5]
    """
    first = epoch % epochs * per_epoch
    if epoch < epochs or fixed:
        return np.arange(first, first + per_epoch)
    return first + rng.permutation(rng.key(seed, epoch, REPLAY), per_epoch)


def parse_device(device: Any) -> torch.device:
    """Require a device that torch knows."""
    try:
        return torch.device(device)
    except (RuntimeError, TypeError):
        check.fail(ValueError, "loader", "device", "name a torch device", repr(device))
