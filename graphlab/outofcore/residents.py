"""Rows that memory and the device hold: chosen, written, accounted for."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphlab.errors import BudgetError
from graphlab.outofcore import layout, schedule
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, pack_name
from graphlab.outofcore.publish import (
    HOT_IDS,
    entry,
    hot_entry,
    require_disk,
)
from graphlab.outofcore.sizing import Sizing, spare_sizes
from graphlab.outofcore.uses import Uses

# Temporaries of refilling slots, per row of a batch.
_REFILL_BYTES = 48


def residents_of(
    job: Job,
    counts: np.ndarray[Any, np.dtype[np.uint32]],
    columns: list[Rows],
    sizing: Sizing,
    uses: Uses | None,
    ledger: Ledger,
    *,
    nodes: int,
    price: schedule.Price | None = None,
) -> tuple[schedule.Residents, Sizing]:
    """What is in memory, and the budget with its slots; ``nodes`` of the largest batch."""
    row_bytes = max((r.row_bytes for r in columns), default=0)
    depth, segment = spare_sizes(sizing.hot, row_bytes)
    work = _REFILL_BYTES * nodes
    spare, policy = depth * segment + work, job.policy
    on_device = job.device_rows(columns)
    room = sizing.hot
    if on_device:
        most = min(on_device + room // max(row_bytes, 1), len(counts))
        room = max(room - _device_table(most), 0)

    def choose(uses: Uses | None) -> schedule.Residents:
        return schedule.choose(
            counts,
            columns,
            room,
            spare,
            policy,
            uses,
            ledger,
            price=price,
            device_rows=on_device,
        )

    try:
        found = choose(uses)
    except BudgetError:
        # The tables of slots do not fit beside the rest: rows that stay need none.
        found = choose(None)
    if found.capacity == 0:
        return found, sizing
    each = sum(rows.row_bytes for rows in columns) + schedule.NODE_BYTES
    slots = found.capacity * each + work
    return found, sizing._replace(slots=slots, spare=depth * segment)


def tried_shares(found: schedule.Residents, scale: float = 1) -> dict[str, Any]:
    """What was expected of each static share, for an epoch, as the plan's figures hold it."""
    tried = {str(share): each for share, each in found.tried.items()}
    return {
        "misses_by_share": {k: int(scale * v.misses) for k, v in tried.items()},
        "kept_by_share": {k: int(scale * v.kept) for k, v in tried.items()},
        "seconds_by_share": {k: v.seconds for k, v in tried.items()},
    }


def without_device(
    sizing: Sizing, columns: list[Rows], found: schedule.Residents
) -> Sizing:
    """The budget without the rows that stay on the device, but with their table."""
    if found.on_device is None:
        return sizing
    size = found.device_rows * sum(rows.row_bytes for rows in columns)
    tables = sizing.tables + _device_table(len(found.still))
    return sizing._replace(hot=sizing.hot - size, tables=tables)


def _device_table(rows: int) -> int:
    """Bytes that tell which of the rows that stay are on the device, bits and unpacked."""
    return rows + rows // 8 + 1


def hot_table(packs: list[Packed], hot: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """Bytes of the offsets of rows that stay, where lengths differ."""
    return sum(8 * len(hot) for packed in packs if packed.rows.kind == "sparse")


def write_hot(
    job: Job,
    columns: list[Rows],
    hot: np.ndarray[Any, np.dtype[np.int64]],
    ledger: Ledger,
) -> tuple[list[Packed], dict[str, Any]]:
    """Write the rows that stay in memory, by one scan of each column; and their ids."""
    ledger.take("hot ids", hot.nbytes)
    with open(job.path / schedule.MISSES, "wb"):
        pass
    none = schedule.Programmes(
        np.zeros(0, dtype=INDEX), np.zeros(0, dtype=np.int64), 0, 0
    )
    packs = [Packed(job.path, rows, none, hot) for rows in columns]
    require_disk(job, packs)
    files: dict[str, Any] = {}
    for packed in packs:
        chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 4))
        with ledger.hold("pieces of the scan", 2 * chunk):
            packed.run(chunk, job.identity(job.arguments))
        files |= hot_entry(job.path, packed)
        for suffix in (".bin", ".idx"):
            (job.path / f"{pack_name(packed.rows.name)}{suffix}").unlink()
    layout.write_bytes(job.path / HOT_IDS, hot.view(np.uint8))
    return packs, files | entry(job.path / HOT_IDS)
