"""The order of a batch's nodes inside a hop: as they were discovered, or as rows are copied.

In order ``packed`` the rows of a hop that are in memory come first, by slot, then those of the
pack, by their place in it: assembly then walks through slots, pack and output front to back.
Hops, the seeds, and the order of a target's edges stay, so ``trim_to_layer`` and sums over
neighbours do not notice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphlab import check
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.layout import INDEX, Index, Record
from graphlab.outofcore.reader import ALIGN, Bytes, DirectFile, allocate, span
from graphlab.outofcore.schedule import PROGRAMME, Programmes
from graphlab.outofcore.trace import SAMPLES, check_record

ORDERS = ("discovery", "packed")
# Records whose nodes are in order "packed"; they take the place of the samples.
ORDERED = "ordered-00000"


def require_order(order: str, mode: str) -> str:
    """Require an order of nodes that the mode knows."""
    check.one_of("plan", "node_order", order, ORDERS)
    if order == "packed" and mode in ("memory", "direct"):
        need = f"be 'discovery' in mode {mode!r}, which packs no rows"
        remedy = "choose mode replay, hybrid, rolling or auto"
        check.fail(ValueError, "plan", "node_order", need, order, remedy)
    return order


def records_stem(files: dict[str, Any]) -> str:
    """Stem of the file of a plan's batch records."""
    return ORDERED if f"{ORDERED}.bin" in files else SAMPLES


def scratch_bytes(nodes: int, edges: int) -> int:
    """Bytes that reordering a batch takes beside its record."""
    return 56 * nodes + 48 * edges


def packed_order(
    record: Record, source: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Which node of a record comes first, second, ... in order ``packed``.

    Args:
        record: A batch.
        source: [nodes], its programme: a slot, or ``-1 - r`` for row r of the pack.

    Returns:
        [nodes], places in the record.
    """
    key = source.astype(np.int64)
    missing = key < 0
    key[missing] = 2**31 - 1 - key[missing]  # behind every slot
    key += np.repeat(np.arange(len(record.nodes)) << 32, record.nodes)
    key[: record.nodes[0]] = np.arange(record.nodes[0])
    # Trees may share a slot: equal keys stay in order, on every machine.
    return np.argsort(key, kind="stable")


def permute(record: Record, order: npt.NDArray[np.int64], to: Record) -> None:
    """Write ``record`` with its nodes in another order.

    Args:
        record: A batch.
        order: [nodes], places in it; those of a hop stay in their hop.
        to: Where it goes: a record of the same shape.
    """
    to.n_id[:] = record.n_id[order]
    if len(record.tree):
        to.tree[:] = record.tree[order]
    place = np.empty(len(order), dtype=to.row.dtype)
    place[order] = np.arange(len(order), dtype=to.row.dtype)
    degree = record.degree.astype(np.int64)
    begin = np.cumsum(degree) - degree
    targets = order[: len(degree)]
    to.degree[:] = record.degree[targets]
    count = degree[targets]
    edges = np.arange(len(record.row))
    edges += np.repeat(begin[targets] - (np.cumsum(count) - count), count)
    to.row[:] = place[record.row[edges]]
    to.e_id[:] = record.e_id[edges]


def reorder(
    folder: Path,
    samples: Index,
    programmes: Programmes,
    ledger: Ledger,
    *,
    durable: bool = True,
) -> Index:
    """Write all records again in order ``packed``, and their programmes to match.

    The samples stay until the plan is whole, so that a killed run need not draw them again.

    Args:
        folder: The plan.
        samples: Index of its samples.
        programmes: Its programmes, whose checksums become those of what is written.
        ledger: Account of memory.
        durable: Whether what was written is flushed.

    Returns:
        The index of ``ordered-00000.bin``.

    Cost:
        One pass over samples and programmes; the same bytes of disk again for the samples.
    """
    table = programmes.table
    index = np.zeros(len(samples), dtype=INDEX)
    room = [max(map(_span, t), default=0) for t in (samples, table)]
    nodes, edges = (int(samples[k].max(initial=0)) for k in ("rows", "items"))
    file = DirectFile(folder / f"{SAMPLES}.bin")
    place = 0
    work = 2 * room[0] + 2 * room[1] + scratch_bytes(nodes, edges)
    try:
        with (
            ledger.hold("order of a batch's nodes", work),
            open(folder / f"{ORDERED}.bin", "wb") as out,
            open(folder / f"{PROGRAMME}.bin", "r+b") as programme_file,
        ):
            buffer, other = allocate(room[0]), allocate(room[0])
            for number, entry in enumerate(samples):
                offset, length = int(entry["offset"]), int(entry["length"])
                data = file.read(offset, length, buffer)
                check_record(file.path, number, entry, layout.crc(data))
                record = layout.decode_sample(data)
                order = _rewrite(programme_file.fileno(), table, number, record)
                to = other[:length]
                to[:] = data
                permute(record, order, layout.decode_sample(to))
                pad = -place % ALIGN
                out.write(b"\0" * pad)
                out.write(to.data)
                index[number] = entry
                index["offset"][number] = place + pad
                index["crc"][number] = layout.crc(to)
                place += pad + length
            out.write(b"\0" * (-place % ALIGN))
            for written in (out, programme_file):
                written.flush()
                if durable:
                    os.fdatasync(written.fileno())
    finally:
        file.close()
    return index


def _rewrite(
    descriptor: int, table: Index, number: int, record: Record
) -> npt.NDArray[np.int64]:
    """Put a batch's programme into the order that it asks for; return that order."""
    offset, length = int(table["offset"][number]), int(table["length"][number])
    data: Bytes = np.frombuffer(
        bytearray(os.pread(descriptor, length, offset)), np.uint8
    )
    source = layout.decode_programme(data).source
    order = packed_order(record, source)
    source[:] = source[order]
    os.pwrite(descriptor, data.data, offset)
    table["crc"][number] = layout.crc(data)
    return order


def _span(entry: np.void) -> int:
    return span(int(entry["offset"]), int(entry["length"]))
