"""The trace of a plan: which nodes each batch uses, and which batch uses them next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from graphlab.errors import BudgetError
from graphlab.ops.schedule import NEVER, next_use
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.layout import Index, held_bytes
from graphlab.outofcore.policy import Policy
from graphlab.outofcore.trace import read_samples

USES = "journal-uses.bin"
_STEP_BYTES = 48  # of a batch in a pass, per row


class Order(NamedTuple):
    """In which sequences batches are served: each rank's part of each epoch by itself.

    Attributes:
        epochs, per_epoch: Recorded batches.
        world_size: Ranks that share an epoch.
        window: Batches after which slots are emptied; 0: only at the end of an epoch.
    """

    epochs: int
    per_epoch: int
    world_size: int = 1
    window: int = 0

    def sequences(self) -> Iterator[range]:
        """Numbers of the recorded batches, sequence by sequence."""
        for epoch in range(self.epochs):
            first = epoch * self.per_epoch
            for rank in range(min(self.world_size, self.per_epoch)):
                whole = range(first + rank, first + self.per_epoch, self.world_size)
                step = self.window or len(whole)
                for start in range(0, len(whole), step):
                    yield whole[start : start + step]

    def step(self, number: int) -> int:
        """Place of a batch in its sequence."""
        place = number % self.per_epoch // self.world_size
        return place % self.window if self.window else place

    @property
    def longest(self) -> int:
        """Batches of the longest sequence."""
        whole = -(-self.per_epoch // self.world_size)
        return min(whole, self.window) if self.window else whole


class Uses:
    """Nodes of each batch and their next uses, spilled: 8 bytes a row.

    Args:
        folder: The plan.
        samples: Index of its samples.
        order: Sequences of batches.
        num_nodes: Nodes of the graph.
        ledger: Account of memory.
    """

    def __init__(
        self, folder: Path, samples: Index, order: Order, num_nodes: int, ledger: Ledger
    ) -> None:
        self.order, self._ledger = order, ledger
        self._path = folder / USES
        rows = samples["rows"].astype(np.int64)
        self._rows, self._place = rows, 8 * (np.cumsum(rows) - rows)
        with ledger.hold("next use of each node", 4 * num_nodes):
            last = torch.empty(num_nodes, dtype=torch.int32)
            self._spill(folder, samples, last)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables."""
        return self._rows.nbytes + self._place.nbytes

    def _spill(self, folder: Path, samples: Index, last: torch.Tensor) -> None:
        numbers = [n for s in self.order.sequences() for n in reversed(s)]
        fresh = {s[-1] for s in self.order.sequences()}
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.ftruncate(descriptor, int(8 * self._rows.sum()))
            for number, record in read_samples(folder, samples, self._ledger, numbers):
                if number in fresh:
                    last.fill_(NEVER)
                with self._ledger.hold(
                    "uses of a batch", _STEP_BYTES * len(record.n_id)
                ):
                    n_id = torch.from_numpy(record.n_id.astype(np.int64))
                    later = torch.empty(len(n_id), dtype=torch.int32)
                    next_use(n_id, self.order.step(number), last, later)
                    data = np.concatenate([n_id.int().numpy(), later.numpy()])
                    _write(descriptor, data.view(np.uint8), int(self._place[number]))
        finally:
            os.close(descriptor)

    def read(
        self, sequence: range
    ) -> Iterator[tuple[int, int, npt.NDArray[np.int64], npt.NDArray[np.int32]]]:
        """Number, place in the sequence, nodes and next uses of each batch."""
        with open(self._path, "rb") as file:
            for number in sequence:
                count = int(self._rows[number])
                with self._ledger.hold("uses of a batch", _STEP_BYTES * count):
                    file.seek(int(self._place[number]))
                    both = np.fromfile(file, np.int32, 2 * count)
                    n_id = both[:count].astype(np.int64)
                    yield number, self.order.step(number), n_id, both[count:]

    def delete(self) -> None:
        """Remove the spilled file."""
        self._path.unlink(missing_ok=True)


def room_for_slots(columns: list[Rows]) -> bool:
    """Whether rows have a fixed size: sparse ones stay for good or not at all."""
    return bool(columns) and all(rows.kind == "dense" for rows in columns)


def spill_uses(
    folder: Path,
    samples: Index,
    order: Order,
    columns: list[Rows],
    policy: Policy,
    num_nodes: int,
    disk: int | None,
    ledger: Ledger,
) -> Uses | None:
    """The trace for policies that need it; None where only static rows are possible."""
    rows = int(samples["rows"].astype(np.int64).sum())
    held = held_bytes(folder)
    fits = disk is None or held + 8 * rows <= disk
    if (
        policy.static_share == 1.0
        or not room_for_slots(columns)
        or num_nodes >= 2**31
        or not fits
    ):
        return None
    try:
        return Uses(folder, samples, order, num_nodes, ledger)
    except BudgetError:
        return None


def _write(descriptor: int, data: npt.NDArray[np.uint8], place: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:].data, place + done)
