"""Which rows stay in memory, and where each row of each batch is found.

The trace is known, so residency is compiled: every access becomes a slot or a pack row, and
the loader needs no table of nodes. A policy chooses; see :mod:`graphlab.outofcore.policy`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from graphlab.ops.schedule import Slots
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.kept import drop_unused
from graphlab.outofcore.layout import INDEX, Index
from graphlab.outofcore.policy import Policy
from graphlab.outofcore.reader import ALIGN
from graphlab.outofcore.sharing import SharedTable
from graphlab.outofcore.trace import read_samples
from graphlab.outofcore.uses import Uses

PROGRAMME = "programme-00000"
MISSES = "journal-misses.bin"
# Bytes that a slot takes beside its row: whose row it is.
NODE_BYTES = 4
# What is tried where the policy leaves the static share open.
SHARES = (0.0, 0.25, 0.5, 0.75)
# A static row is read once for as many epochs as this; a miss in every one.
HORIZON_EPOCHS = 10
# More misses are worth it only where they are clearly faster: predictions miss by some per
# cent, and a plan that is made twice should be the same.
CLEARLY = 0.95
_SLICE = 2**14


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


class Tried(NamedTuple):
    """What a static share costs an epoch.

    Attributes:
        misses: Rows that are read.
        kept: Rows that are copied into slots.
        seconds: By prediction; 0 where nothing predicted.
    """

    misses: int
    kept: int
    seconds: float = 0.0


# Seconds of an epoch with so many misses, copies into slots, and rows that stay.
Price = Callable[[int, int, int], float]


class Residents(NamedTuple):
    """What memory for rows holds.

    Attributes:
        still: Ascending ids of rows that stay for good.
        capacity: Slots behind them whose rows change.
        share: The static share.
        tried: What was expected of each static share, where shares were compared.
        on_device: [still], whether each of those that stay is on the device; None: none is.
    """

    still: npt.NDArray[np.int64]
    capacity: int
    share: float
    tried: dict[float, Tried]
    on_device: npt.NDArray[np.bool_] | None = None

    @property
    def device_rows(self) -> int:
        """Rows on the device."""
        return 0 if self.on_device is None else int(self.on_device.sum())

    @property
    def slots(self) -> npt.NDArray[np.int32]:
        """[still], the slot of each row that stays."""
        return slots_of(len(self.still), self.on_device)


def slots_of(
    count: int, on_device: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.int32]:
    """Slots of ``count`` rows that stay: in their order, those on the device first.

    Example:
        >>> slots_of(3, np.array([False, True, False])).tolist()
        [1, 0, 2]
    """
    slots = np.arange(count, dtype=np.int32)
    if on_device is not None:
        first = int(on_device.sum())
        slots[on_device] = np.arange(first, dtype=np.int32)
        slots[~on_device] = np.arange(first, count, dtype=np.int32)
    return slots


def choose(
    counts: npt.NDArray[np.uint32],
    columns: list[Rows],
    room: int,
    spare: int,
    policy: Policy,
    uses: Uses | None,
    ledger: Ledger,
    *,
    price: Price | None = None,
    device_rows: int = 0,
) -> Residents:
    """Cut memory for rows into rows that stay and slots that change.

    A share that the policy leaves open is measured: the trace is played with each of
    :data:`SHARES`, and with everything still. The fewest misses win, where a static row is
    read once and a miss in every epoch; but on a disk that is fast beside the memory copies
    into slots may cost more than they spare, so another share wins that is predicted to be
    faster by more than :data:`CLEARLY`.

    Args:
        counts: [N], batches that use each node.
        columns: Columns on disk.
        room: Bytes.
        spare: Bytes of them that slots need for other things.
        policy: Chooses what stays in the slots.
        uses: The trace; None: nothing but static rows.
        ledger: Account of memory.
        price: Predicts an epoch's seconds; None: only misses count.
        device_rows: Rows that the device holds beside, the most used ones; dense columns.
    """
    share = policy.static_share
    width = sum(rows.row_bytes for rows in columns)
    size, beside = width + NODE_BYTES, 0
    if device_rows:
        beside = min(device_rows, int(np.count_nonzero(counts))) * width

    def residents(share: float) -> Residents:
        left = room if share == 1.0 else max(room - spare, 0)
        still = hottest(counts, columns, int(share * left) + beside, ledger)
        on_device = None
        if beside:
            on_device = np.zeros(len(still), dtype=np.bool_)
            top = hottest(counts, columns, beside, ledger)
            on_device[np.searchsorted(still, top)] = True
        if share == 1.0:
            return Residents(still, 0, share, {}, on_device)
        used = int(_cost(columns, still).sum()) - beside
        # No more slots than there are other rows that are used.
        others = int(np.count_nonzero(counts)) - len(still)
        capacity = min((left - used) // size, max(others, 0))
        return Residents(still, capacity, share, {}, on_device)

    if uses is None or share == 1.0 or room <= spare:
        return residents(1.0)
    if share is not None:
        return residents(share)
    found: dict[float, Residents] = {}
    tried: dict[float, Tried] = {}
    costs: dict[float, float] = {}
    for each in (*SHARES, 1.0):
        some = residents(each)
        if each == 1.0:
            total = counts.sum(dtype=np.int64) - counts[some.still].sum(dtype=np.int64)
            misses, kept = int(total), 0
        elif some.capacity == 0:
            continue
        else:
            misses, kept = simulate(some, policy, uses, len(counts), ledger)
        epochs, still = uses.order.epochs, len(some.still) - some.device_rows
        misses, kept = -(-misses // epochs), -(-kept // epochs)
        seconds = 0.0 if price is None else price(misses, kept, still)
        found[each], tried[each] = some, Tried(misses, kept, seconds)
        costs[each] = misses + still / HORIZON_EPOCHS
    # At equal cost, rows that stay are the simpler ones.
    fewest = min(costs, key=lambda each: (costs[each], -each))
    fastest = min(tried, key=lambda each: (tried[each].seconds, costs[each]))
    clear = tried[fastest].seconds < CLEARLY * tried[fewest].seconds
    best = found[fastest if clear else fewest]
    return best._replace(tried=tried)


def expected(
    residents: Residents,
    policy: Policy,
    uses: Uses | None,
    demand: Demand,
    num_nodes: int,
    ledger: Ledger,
) -> tuple[int, int]:
    """Misses of the whole trace, and rows kept in slots."""
    if uses is not None and residents.capacity:
        return simulate(residents, policy, uses, num_nodes, ledger)
    held = int(demand.counts[residents.still].astype(np.int64).sum())
    return demand.accesses - held, 0


def simulate(
    residents: Residents, policy: Policy, uses: Uses, num_nodes: int, ledger: Ledger
) -> tuple[int, int]:
    """Misses of all batches, without the rows that stay for good; and rows kept in slots."""
    total = kept = 0
    for _, _, misses, _, keep in _play(residents, policy, uses, num_nodes, ledger):
        total += misses
        kept += int((keep >= 0).sum())
    return total, kept


def _play(
    residents: Residents, policy: Policy, uses: Uses, num_nodes: int, ledger: Ledger
) -> Iterator[tuple[int, npt.NDArray[np.int64], int, torch.Tensor, torch.Tensor]]:
    """Play the trace: number, nodes, misses, ``source`` and ``keep`` of each batch.

    Slots begin every sequence empty: a row that is loaded ahead saves one miss, and costs
    as much.
    """
    still, capacity = residents.still, residents.capacity
    longest = uses.order.longest
    with ledger.hold("slots of nodes", Slots.bytes(num_nodes, capacity, longest)):
        slots = Slots(num_nodes, capacity, longest, first=len(still))
        slots.slot[torch.from_numpy(still)] = torch.from_numpy(residents.slots)
        for sequence in uses.order.sequences():
            slots.clear()
            for number, step, n_id, later in uses.read(sequence):
                keys = policy.keys(step, len(sequence), n_id, later)
                key = torch.from_numpy(np.ascontiguousarray(keys, dtype=np.int32))
                source, keep = slots.step(torch.from_numpy(n_id), key)
                yield number, n_id, slots.misses, source, keep


class Programmes(NamedTuple):
    """What compiling wrote.

    Attributes:
        table: Entries of ``programme-00000.bin``; ``rows`` and ``items`` count rows and
            pack rows.
        first: Where each batch's ids begin in the list of misses.
        misses: Pack rows of all batches.
        static_hits: Accesses that rows that stay for good serve, on the device too.
        shared: Rows of all batches that are read from the shared file.
        kept: Rows of all batches that are copied into slots.
        device_hits: Accesses that rows on the device serve.
    """

    table: Index
    first: npt.NDArray[np.int64]
    misses: int
    static_hits: int
    shared: int = 0
    kept: int = 0
    device_hits: int = 0


def compile_programmes(
    folder: Path,
    samples: Index,
    residents: Residents,
    policy: Policy,
    uses: Uses | None,
    num_nodes: int,
    ledger: Ledger,
    shared: npt.NDArray[np.int64] | None = None,
    *,
    durable: bool = True,
) -> Programmes:
    """Write each batch's programme, and beside it the ids of its pack rows, ascending.

    Deterministic, and quick beside packing: a killed run does it again. Missing rows of the
    ascending ids ``shared`` are not packed: batches read them from one file.
    """
    index = np.zeros(len(samples), dtype=INDEX)
    first = np.zeros(len(samples), dtype=np.int64)
    wide = np.uint32 if num_nodes <= 2**32 else np.uint64
    place = total = static_hits = from_shared = device_hits = 0
    on_device = residents.device_rows
    table = SharedTable(shared, num_nodes)
    if uses is None or residents.capacity == 0:
        played = _look_up(folder, samples, residents, num_nodes, ledger)
    else:
        played = (
            (number, n_id, source.numpy(), keep.numpy())
            for number, n_id, _, source, keep in _play(
                residents, policy, uses, num_nodes, ledger
            )
        )
    with (
        ledger.hold("table of shared rows", table.nbytes),
        open(folder / f"{PROGRAMME}.bin", "wb") as programmes,
        open(folder / f"{MISSES}.new", "wb") as spill,
    ):
        for number, n_id, source, keep in played:
            with ledger.hold("programme of a batch", 40 * len(n_id)):
                where = np.flatnonzero(source < 0)
                static_hits += int((source < len(residents.still)).sum()) - len(where)
                if on_device:
                    device_hits += int((source < on_device).sum()) - len(where)
                ids = n_id[where]
                order, places = table.order(ids)
                packed = len(order) - len(places)
                source[where[order]] = -1 - np.arange(len(order), dtype=np.int32)
                kept = None if keep is None else keep[where[order]]
                data = layout.encode_programme(
                    source,
                    kept,
                    None if shared is None else places,
                    epoch=0,
                    batch=number,
                )
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
                    packed,
                )
                place += len(data)
                spill.write(ids[order[:packed]].astype(wide).tobytes())
                first[number] = total
                total += packed
                from_shared += len(places)
        programmes.write(b"\0" * (-place % ALIGN))
        spill.flush()
        programmes.flush()
        copied = 0
        if uses is not None and residents.capacity:
            copied = drop_unused(
                folder / f"{PROGRAMME}.bin",
                index,
                uses.order.sequences(),
                len(residents.still),
                residents.capacity,
                ledger,
            )
        for file in (programmes, spill) if durable else ():
            os.fdatasync(file.fileno())
    # Another process may have the list of an earlier run open, which reads the same.
    os.replace(folder / f"{MISSES}.new", folder / MISSES)
    return Programmes(
        index, first, total, static_hits, from_shared, copied, device_hits
    )


def _look_up(
    folder: Path,
    samples: Index,
    residents: Residents,
    num_nodes: int,
    ledger: Ledger,
) -> Iterator[
    tuple[
        int, npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int32] | None
    ]
]:
    """Programmes where rows stay or are missing, in order of the batches."""
    with ledger.hold("slot of each node", 4 * num_nodes):
        slot = np.full(num_nodes, -1, dtype=np.int32)
        slot[residents.still] = residents.slots
        for number, record in read_samples(folder, samples, ledger):
            with ledger.hold("programme of a batch", 12 * len(record.n_id)):
                n_id = record.n_id.astype(np.int64)
                yield number, n_id, slot[n_id], None
