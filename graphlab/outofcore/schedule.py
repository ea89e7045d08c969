"""Which rows stay in memory, and where each row of each batch is found.

The trace is known, so residency is compiled: every access becomes a slot or a pack row, and
the loader needs no table of nodes. A policy chooses the residents from the counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from graphlab import check
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.layout import INDEX, Index
from graphlab.outofcore.reader import ALIGN
from graphlab.outofcore.trace import read_samples

PROGRAMME = "programme-00000"
MISSES = "journal-misses.bin"
_SLICE = 2**14
POLICIES = ("static", "belady", "lru")


def check_policy(function: str, policy: str) -> str:
    """Require a policy of this version; the others are reserved."""
    check.one_of(function, "policy", policy, POLICIES)
    if policy != "static":
        check.fail(
            ValueError,
            function,
            "policy",
            "be 'static' in this version",
            repr(policy),
            "'belady' and 'lru' are reserved for a later one",
        )
    return policy


class Demand(NamedTuple):
    """How the batches use the rows.

    Attributes:
        counts: [N], u4: batches that use each node.
        accesses: Rows of all batches.
        sparse_bytes: For each sparse column, packed bytes of the largest batch if nothing
            were in memory.
    """

    counts: npt.NDArray[np.uint32]
    accesses: int
    sparse_bytes: dict[str, int]


def measure(
    folder: Path, index: Index, num_nodes: int, columns: list[Rows], ledger: Ledger
) -> Demand:
    """Count how many batches use each node. The caller has taken 4 bytes a node."""
    counts = np.zeros(num_nodes, dtype=np.uint32)
    sparse = {rows.name: 0 for rows in columns if rows.kind == "sparse"}
    accesses = 0
    for _, record in read_samples(folder, index, ledger):
        n_id = record.n_id
        accesses += len(n_id)
        with ledger.hold("node ids of a batch", 24 * len(n_id)):
            # Repeats (disjoint trees) count once: hotness is a number of batches.
            counts[n_id] += 1
            for rows in columns:
                if rows.name in sparse:
                    total = int(rows.lengths(n_id.astype(np.int64)).sum())
                    sparse[rows.name] = max(sparse[rows.name], total)
    return Demand(counts, accesses, sparse)


def hottest(
    counts: npt.NDArray[np.uint32], columns: list[Rows], room: int, ledger: Ledger
) -> npt.NDArray[np.int64]:
    """The most used nodes whose rows fit ``room`` bytes, ascending; ties by smaller id.

    Bytes are summed by count, so no ranking of all nodes is ever held.
    """
    levels = int(counts.max(initial=0)) + 1
    with ledger.hold("ranking of nodes", 16 * levels + 48 * min(_SLICE, len(counts))):
        at = np.zeros(levels, dtype=np.int64)
        for first in range(0, len(counts), _SLICE):
            part = counts[first : first + _SLICE]
            cost = _cost(columns, np.arange(first, first + len(part)))
            at += np.bincount(part, cost, levels).astype(np.int64)
        above = np.cumsum(at[::-1])[::-1]  # bytes of all rows used at least so often
        whole = int(np.searchsorted(-above[1:], -room)) + 1  # level 0 is never used
        left = room - (int(above[whole]) if whole < levels else 0)
        chosen = []
        for first in range(0, len(counts), _SLICE):
            part = counts[first : first + _SLICE]
            take = part >= whole
            ties = np.flatnonzero(part == whole - 1)
            if whole > 1 and left > 0 and len(ties):
                total = np.cumsum(_cost(columns, first + ties))
                fit = int(np.searchsorted(total, left, side="right"))
                left = left - int(total[-1]) if fit == len(ties) else 0
                take[ties[:fit]] = True
            chosen.append(first + np.flatnonzero(take))
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def _cost(columns: list[Rows], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bytes that keeping each row in memory takes."""
    size = np.zeros(len(ids), dtype=np.int64)
    for rows in columns:
        size += rows.lengths(ids) + (12 if rows.kind == "sparse" else 0)
    return size


class Programmes(NamedTuple):
    """What compiling wrote.

    Attributes:
        table: Entries of ``programme-00000.bin``; ``rows`` and ``items`` count rows and
            pack rows.
        misses: Pack rows of all batches.
    """

    table: Index
    misses: int


def compile_programmes(
    folder: Path,
    samples: Index,
    hot: npt.NDArray[np.int64],
    num_nodes: int,
    ledger: Ledger,
) -> Programmes:
    """Write each batch's programme, and beside it the ids of its pack rows, ascending.

    Deterministic, and quick beside packing: a killed run does it again.
    """
    index = np.zeros(len(samples), dtype=INDEX)
    wide = np.uint32 if num_nodes <= 2**32 else np.uint64
    place = total = 0
    with (
        ledger.hold("slot of each node", 4 * num_nodes),
        open(folder / f"{PROGRAMME}.bin", "wb") as programmes,
        open(folder / MISSES, "wb") as spill,
    ):
        slot = np.full(num_nodes, -1, dtype=np.int32)
        slot[hot] = np.arange(len(hot), dtype=np.int32)
        for number, record in read_samples(folder, samples, ledger):
            with ledger.hold("programme of a batch", 32 * len(record.n_id)):
                source = slot[record.n_id]
                where = np.flatnonzero(source < 0)
                ids = record.n_id[where]
                order = np.argsort(ids, kind="stable")
                source[where[order]] = -1 - np.arange(len(order), dtype=np.int32)
                data = layout.encode_programme(source, epoch=0, batch=number)
                pad = -place % ALIGN
                programmes.write(b"\0" * pad)
                programmes.write(data.data)
                place += pad
                index[number] = (
                    place,
                    len(data),
                    layout.crc(data),
                    0,
                    len(source),
                    len(order),
                )
                place += len(data)
                spill.write(ids[order].astype(wide).tobytes())
                total += len(order)
        programmes.write(b"\0" * (-place % ALIGN))
        for file in (programmes, spill):
            file.flush()
            os.fdatasync(file.fileno())
    return Programmes(index, total)
