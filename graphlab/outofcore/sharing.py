"""Rows that batches share on disk instead of packing each its own copy."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from graphlab.outofcore.budget import Ledger

_SLICE = 2**14


def ascending(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The order of ids, equal ones as they stand: ``np.argsort(ids, kind="stable")``.

    Id and place are sorted as one number, which vector code does.

    Example:
        >>> ascending(np.array([7, 3, 7, 0])).tolist()
        [3, 1, 0, 2]
    """
    if len(ids) == 0 or int(ids.max()) >= 2**31 or int(ids.min()) < 0:
        return np.argsort(ids, kind="stable")
    both = (ids << 32) | np.arange(len(ids))
    both.sort()
    return both & (2**32 - 1)


class SharedTable:
    """Where missing rows are read from: the batch's pack, or the shared file."""

    def __init__(self, shared: npt.NDArray[np.int64] | None, num_nodes: int) -> None:
        self._place: npt.NDArray[np.int32] | None = None
        if shared is not None:
            self._place = np.full(num_nodes, -1, dtype=np.int32)
            self._place[shared] = np.arange(len(shared), dtype=np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return 0 if self._place is None else self._place.nbytes

    def order(
        self, ids: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Pack rows by id, then shared rows by id; and the places of the latter."""
        order = ascending(ids)
        if self._place is None:
            return order, np.zeros(0, dtype=np.int32)
        place = self._place[ids[order]]
        mine, theirs = place < 0, place >= 0
        return np.concatenate([order[mine], order[theirs]]), place[theirs]


class Split(NamedTuple):
    """Which missing rows are packed, and which are left in one file.

    Attributes:
        shared: Ascending ids of rows that are shared.
        packed: Rows of all packs.
        reads: Accesses to shared rows.
    """

    shared: npt.NDArray[np.int64]
    packed: int
    reads: int


def split_shared(
    path: Path, misses: int, num_nodes: int, room: int, ledger: Ledger
) -> Split | None:
    """The fewest rows to share so that packs and shared rows are at most ``room`` rows.

    A row that c batches miss costs c reads when it is shared, and saves c - 1 copies: the
    rows that most batches miss go first. None: even one copy of each is too much.

    Args:
        path: The list of the ``misses`` missing ids of all batches.
        misses: See there.
        num_nodes: Nodes of the graph.
        room: Rows that the disk can hold.
        ledger: Account of memory.
    """
    with ledger.hold("misses of each node", 4 * num_nodes):
        counts = np.zeros(num_nodes, dtype=np.uint32)
        wide = np.dtype(np.uint32 if num_nodes <= 2**32 else np.uint64)
        with open(path, "rb") as file:
            for start in range(0, misses, _SLICE):
                ids = np.fromfile(file, wide, min(_SLICE, misses - start))
                np.add.at(counts, ids, np.uint32(1))
        levels = np.bincount(counts)
        times = np.arange(len(levels), dtype=np.int64)
        total = int((levels * times).sum())
        excess = total - room
        if excess <= 0:
            return Split(np.zeros(0, dtype=np.int64), total, 0)
        # Copies that are saved by sharing all rows of at least so many misses.
        saved = np.cumsum((levels * np.maximum(times - 1, 0))[::-1])[::-1]
        if int(saved[0]) < excess:
            return None
        level = int(np.flatnonzero(saved >= excess)[-1])
        above = int(saved[level + 1]) if level + 1 < len(saved) else 0
        ties = -(-(excess - above) // max(level - 1, 1))
        chosen = counts > level
        chosen[np.flatnonzero(counts == level)[:ties]] = True
        shared = np.flatnonzero(chosen)
        reads = int(counts[shared].sum(dtype=np.int64))
    return Split(shared, total - reads, reads)
