"""Slots at run time: what they hold, and how to refill them out of order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from graphlab.outofcore.columns import DenseRows, Rows
from graphlab.outofcore.hot import Hot
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.scattered import RowFile, Target

UNKNOWN = -1


class LiveSlots:
    """Slots whose rows change, beside the node that each holds.

    A programme says in which slot a row is, provided that the batches before it have been
    executed. In their order that is so: nothing is looked up, nor written down. In any other
    order (a resumed run, another number of ranks, a single batch) what the slots hold is
    forgotten, and from then on each is compared with the node that the batch expects there,
    and refilled from the store where it differs: a schedule can cost reads, but never give a
    wrong row.

    Args:
        columns: Columns with slots; all dense.
        hot: Their rows in memory.
        first: Number of the first slot.
        capacity: Slots.
        per_epoch, world_size: Of the schedule.
        ring: Buffers for refilling.
        gap: Bytes to read through rather than to skip.
    """

    def __init__(
        self,
        columns: list[Rows],
        hot: dict[str, Hot],
        *,
        first: int,
        capacity: int,
        per_epoch: int,
        world_size: int,
        ring: Ring,
        gap: int,
    ) -> None:
        self._first = first
        self._per_epoch, self._world_size = per_epoch, world_size
        self._ring, self._gap = ring, gap
        self._node = np.full(capacity, UNKNOWN, dtype=np.int32)
        # The last batch, and whether all before it in its sequence were executed.
        self._last, self._unbroken = UNKNOWN, False
        self._noted = True  # whether `_node` tells what the slots hold
        self._slots = {rows.name: hot[rows.name].slots for rows in columns}
        self._files = {
            rows.name: RowFile.of_column(rows)
            for rows in columns
            if isinstance(rows, DenseRows)
        }
        # Refilled rows go nowhere but to their slots.
        self._nowhere = {
            rows.name: torch.empty((1, rows.width), dtype=rows.dtype)
            for rows in columns
        }

    @property
    def device_bytes(self) -> int:
        """Bytes read so far."""
        return sum(file.device_bytes for file in self._files.values())

    def begin(
        self,
        batch: int,
        source: npt.NDArray[np.int32],
        n_id: npt.NDArray[np.integer],
    ) -> int:
        """Make the slots hold what a batch expects; return the rows that were refilled."""
        opens = batch % self._per_epoch < self._world_size
        follows = self._last >= 0 and self._last == batch - self._world_size
        self._unbroken = opens or (self._unbroken and follows)
        if self._unbroken:
            return 0
        if not self._noted:
            self._node[:] = UNKNOWN
            self._noted = True
        where = np.flatnonzero(source >= self._first)
        places = source[where] - self._first
        wanted = n_id[where].astype(np.int64)
        wrong = self._node[places] != wanted
        ids, at = np.unique(wanted[wrong], return_index=True)
        if not len(ids):
            return 0
        places = places[wrong][at]
        self._node[places] = UNKNOWN
        target = torch.from_numpy(places + np.int32(self._first))
        none = torch.full((len(ids),), -1, dtype=torch.int32)
        for name, file in self._files.items():
            to = Target(self._nowhere[name], none, self._slots[name], target)
            file.read(ids, self._ring, self._gap, to)
        self._node[places] = ids
        return len(ids)

    def expect(self, keep: npt.NDArray[np.int32]) -> None:
        """Rows are about to be written to slots; until :meth:`end` nobody knows them."""
        self._last = UNKNOWN
        if self._unbroken:
            self._noted = False
        else:
            self._node[keep[keep >= 0] - self._first] = UNKNOWN

    def end(
        self,
        batch: int,
        keep: npt.NDArray[np.int32],
        packed: npt.NDArray[np.integer],
    ) -> None:
        """The batch's pack rows, of nodes ``packed``, are in their slots."""
        if len(keep) and self._noted:
            kept = keep >= 0
            self._node[keep[kept] - self._first] = packed[kept]
        self._last = batch

    def close(self) -> None:
        """Close the files."""
        self._ring.close()
        for file in self._files.values():
            file.close()
