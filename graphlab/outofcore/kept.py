"""Which missing rows are copied into slots: those that a later batch finds there.

The schedule goes forward and keeps what is needed soonest; a row may have to make room for
another before its turn. The trace is known, so a pass backward tells such copies, and no
batch makes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.layout import Index


def drop_unused(
    path: Path,
    table: Index,
    sequences: Iterable[range],
    first: int,
    capacity: int,
    ledger: Ledger,
) -> int:
    """Let programmes keep only rows that a batch reads from their slot; tell how many.

    Args:
        path: The programmes, which are changed in place.
        table: Their entries, whose checksums follow.
        sequences: Numbers of the batches, each sequence with slots of its own.
        first: Number of the first slot whose row changes.
        capacity: Such slots.
        ledger: Account of memory.

    Returns:
        Rows that are still kept, of all batches.
    """
    left = 0
    room = int(table["length"].max(initial=0))
    with (
        ledger.hold("slots that are waited for", capacity + 3 * room),
        open(path, "rb+", buffering=0) as file,
    ):
        wanted = np.zeros(capacity, dtype=bool)
        data = np.empty(room, dtype=np.uint8)
        for sequence in sequences:
            wanted[:] = False
            for number in reversed(sequence):
                entry = table[number]
                record = data[: int(entry["length"])]
                os.preadv(file.fileno(), [record.data], int(entry["offset"]))
                source, keep, _ = layout.decode_programme(record)
                # A batch reads slots, then fills them: backward, filling comes first.
                filled = np.flatnonzero(keep >= 0)
                slots = keep[filled] - first
                unused = filled[~wanted[slots]]
                wanted[slots] = False
                wanted[source[source >= first] - first] = True
                left += len(filled) - len(unused)
                if len(unused):
                    keep[unused] = -1
                    os.pwrite(file.fileno(), record.data, int(entry["offset"]))
                    table["crc"][number] = layout.crc(record)
    return left
