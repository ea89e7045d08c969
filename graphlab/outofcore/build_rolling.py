"""Making a plan of mode ``rolling``: a part of an epoch tells how large windows can be."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import numpy as np

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.memory import available
from graphlab.ops.schedule import Slots
from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout, node_order, schedule, trace
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import (
    PROBE_MARGIN,
    counted_topology,
)
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, piece_bytes
from graphlab.outofcore.publish import (
    DiskError,
    device_entry,
    forget,
    publish,
    totals_of,
)
from graphlab.outofcore.residents import (
    hot_table,
    residents_of,
    tried_shares,
    without_device,
    write_hot,
)
from graphlab.outofcore.sizing import Largest, Sizing, share_out
from graphlab.outofcore.space import can_punch
from graphlab.outofcore.topology import READING_SHARE
from graphlab.outofcore.trace import scratch_bytes
from graphlab.outofcore.uses import Order, room_for_slots, spill_uses

# Batches of epoch 0 that a rolling plan looks at, spread over the epoch; with fewer than the
# least a margin stands for their spread.
TRACED_BATCHES = 512
LEAST_TRACED = 16
# Making a window holds two samples, one being written as a record, ids and lists twice while
# they grow; then a batch's ids, uses and programme.
SAMPLE_NODE_BYTES, SAMPLE_EDGE_BYTES = 24, 48
SCHEDULE_BYTES = 96
# A window whose batches are larger than those that were seen is made shorter.
_RECORDS_MARGIN, _PACKS_MARGIN = 1.1, 1.05


def build_rolling(job: Job, ledger: Ledger, calibration: Calibration) -> dict[str, Any]:
    """Plan to make windows while training, from a trace of some of epoch 0's batches."""
    placement = jobs.place(job)
    columns = placement.rows(job)
    # Windows are sampled again and again: from the map where the system can keep its pages.
    job.map_graph = available() > 2 * (job.limit + job.topology_bytes)
    num_nodes, per_epoch = job.dataset.num_nodes, len(job.request.batches(0))
    disk = _free_disk(job) if job.disk is None else job.disk
    nodes, edges = jobs.probe(job)
    each = 16 * nodes + 12 * edges
    traced = max(1, min(per_epoch, TRACED_BATCHES, disk // 4 // max(each, 1)))
    numbers = range(0, per_epoch, -(-per_epoch // traced))
    request = job.request._replace(only=(0, numbers))
    with (
        ledger.hold("topology", counted_topology(job)),
        ledger.hold("input nodes", 32 * len(job.request.input_nodes)),
    ):
        samples = trace.sample_epochs(
            job.path,
            job.sampler,
            request,
            ledger,
            disk=disk,
            identity=job.identity({**job.sampling, "traced": len(numbers)}),
            graph=job.graph_files,
        )
    ledger.take("index tables", 4 * samples.nbytes)
    every = job.resample_every or 1
    rows_bytes = sum(rows.row_bytes for rows in columns)
    with ledger.hold("counts of nodes", 4 * num_nodes):
        demand = schedule.measure(job.path, samples, num_nodes, columns, ledger)
        sizing, largest = _size_rolling(job, placement, columns, samples, demand)
        share = every == 1 and can_punch(job.path)
        # Slots are emptied between windows: what they are worth depends on their length,
        # which depends on the misses: first as if all slots held the hottest rows.
        held = sizing.hot + job.device_rows(columns) * rows_bytes
        still = min(held // max(rows_bytes, 1), num_nodes)
        top = np.sort(demand.counts)[num_nodes - still :]
        misses = demand.accesses - int(top.sum(dtype=np.int64))
        room, length = disk - min(held, still * rows_bytes), 0
        while True:
            window = _window(job, samples, misses, rows_bytes, room, share=share)
            if job.mode == "replay":
                window = window._replace(batches=per_epoch)
            if window.batches <= length:
                break
            length = window.batches
            start = time.perf_counter()
            uses = spill_uses(
                job.path,
                samples,
                Order(1, len(samples), window=min(length, len(samples))),
                columns,
                job.policy,
                num_nodes,
                disk,
                ledger,
            )
            seconds = time.perf_counter() - start
            found, sized = residents_of(
                job, demand.counts, columns, sizing, uses, ledger, nodes=largest.nodes
            )
            if Slots.bytes(num_nodes, found.capacity, length) > sizing.maker:
                found = found._replace(capacity=0)
                sized = sized._replace(slots=0, spare=0)
            start = time.perf_counter()
            misses, kept = schedule.expected(
                found, job.policy, uses, demand, num_nodes, ledger
            )
            # Programmes are written, too, which takes about as long again.
            seconds += 2 * (time.perf_counter() - start)
            if uses is not None:
                uses.delete()
        sizing = sized
    hot = found.still
    packs, files = write_hot(job, columns, hot, ledger)
    files |= device_entry(job.path, found.on_device)
    for path in job.path.glob(f"{trace.SAMPLES}.*"):
        path.unlink()
    pack = misses * rows_bytes // len(samples)
    sample = int(samples["length"].mean())
    programme = 8 * int(samples["rows"].mean()) + 64
    room = disk - sum(p.hot_bytes for p in packs)
    window = _window(job, samples, misses, rows_bytes, room, share=share)
    fits = length if job.mode == "replay" else min(length, window.batches)
    window = window._replace(batches=fits)
    copies = 2 if job.node_order == "packed" else 1
    whole = (
        copies * sample + programme + pack + 4 * misses // len(samples)
    ) * per_epoch
    ahead = share or length < per_epoch or 2.1 * whole < room
    if job.mode == "replay" and whole > room:
        need = whole + disk - room
        raise DiskError(
            f"plan: `disk` must be at least about {sizes.show(need)} to pack an epoch at a "
            f"time, got {sizes.show(disk)}; allow more, or use mode='rolling'"
        )
    totals = totals_of(job, ledger, largest) | {
        "accesses": demand.accesses * per_epoch // len(samples),
        "misses": misses * per_epoch // len(samples),
        "sample_seconds": jobs.sample_seconds(job, ledger),
        "schedule_seconds": seconds * per_epoch / len(samples),
        "hot_rows": len(hot),
        "device_rows": found.device_rows,
        "slots": found.capacity,
        "static_share": found.share,
        "kept": kept * per_epoch // len(samples),
        **tried_shares(found, per_epoch / len(samples)),
        "sample_bytes": sample * per_epoch,
        "programme_bytes": programme * per_epoch,
        "pack_bytes": pack * per_epoch,
        "scan_bytes": sum(rows.file_bytes for rows in columns),
        "window_batches": window.batches,
        "window_disk": window.disk if ahead else room,
        "window_records": window.records if share else window.disk if ahead else room,
        "window_space": window.disk - window.records if share else 0,
        "ahead": ahead,
        "reuse": every,
        "maker_topology": sizing.topology,
        "piece_bytes": piece_bytes(
            sizing.maker + sizing.topology, rows_bytes, window.batches
        ),
        "map_graph": job.map_graph,
    }
    sizing = sizing._replace(
        hot=sum(p.hot_bytes for p in packs) + hot_table(packs, hot)
    )
    sizing = without_device(sizing, columns, found)
    # Of the window's share: it is held while sampling.
    sizing = sizing._replace(topology=0, maker=sizing.maker + totals["maker_topology"])
    body = publish(job, "rolling", sizing, totals, calibration, columns, files)
    forget(job.path)
    return body


def _free_disk(job: Job) -> int:
    free = os.statvfs(job.path)
    return free.f_bavail * free.f_frsize


def _size_rolling(
    job: Job,
    placement: jobs.Placement,
    columns: list[Rows],
    samples: layout.Index,
    demand: schedule.Demand,
) -> tuple[Sizing, Largest]:
    """The budget of a loader that makes windows beside reading them."""
    fields = jobs.fields(job, placement, loaded=False)
    num_nodes = job.dataset.num_nodes
    seeds = min(job.request.batch_size, len(job.request.input_nodes))
    nodes, edges = at_most(samples["rows"]), at_most(samples["items"])
    if not job.sampler.disjoint:
        nodes = min(nodes, num_nodes)
    largest = Largest(nodes, edges, seeds)
    record = at_most(samples["length"]) + 8 * nodes + 1024
    row_bytes = max((r.row_bytes for r in columns if r.kind == "dense"), default=0)
    batches = len(job.request.batches(0))
    # No more slots than fit beside two batches.
    block = fields.block_bytes(*largest)
    left = max(job.limit - placement.resident_bytes - 2 * block, 0)
    slots = min(num_nodes, left // max(row_bytes, 1))
    slots = slots if room_for_slots(columns) else 0
    files = job.graph_files
    reading = 0 if files is None else READING_SHARE * files.least_bytes
    packed = job.node_order == "packed"
    # Sampling, then next uses and slots, then packing: the largest of these.
    steps = (
        scratch_bytes(num_nodes, 1)
        + 2 * SAMPLE_NODE_BYTES * nodes
        + 2 * SAMPLE_EDGE_BYTES * edges
        + reading,
        Slots.bytes(num_nodes, slots, batches) + SCHEDULE_BYTES * nodes + record,
        2 * record + node_order.scratch_bytes(nodes, edges) if packed else 0,
        max(2 * 2**17, min(2 * CHUNK_BYTES, job.limit // 8)) + 64 * batches,
    )
    making = 32 * len(job.request.input_nodes) + max(steps) + 64 * batches

    def share(topology: int) -> Sizing:
        return share_out(
            job.limit,
            fields,
            largest,
            owner="plan",
            prefetch=job.prefetch,
            row_bytes=row_bytes,
            record=record,
            sparse=sum(
                int(PROBE_MARGIN * size) + 4 * nodes
                for size in demand.sparse_bytes.values()
            ),
            tables=batches * (INDEX.itemsize * (2 + len(columns)) + 24)
            + 8 * len(columns),
            resident=placement.resident_bytes,
            topology=topology,
            maker=making,
        )

    try:
        return share(counted_topology(job)), largest
    except BudgetError:
        return share(0), largest  # its pages are left to the system


def at_most(found: np.ndarray[Any, Any]) -> int:
    """What later batches will hardly exceed, by those that were seen.

    The largest and four standard deviations: a batch's size is a sum over its seeds. A batch
    that does exceed it takes what is left of the budget.
    """
    top, rows = int(found.max()), found.astype(np.float64)
    margin = int(PROBE_MARGIN * top) + 1
    if len(rows) < LEAST_TRACED:
        return margin
    return min(margin, int(top + 4 * rows.std(ddof=1)) + 1)


class _Window(NamedTuple):
    """The longest window that the disk can hold.

    Attributes:
        batches: Of it.
        disk: Bytes that it may take.
        records: Bytes of them for all but packs.
    """

    batches: int
    disk: int
    records: int


def _window(
    job: Job,
    samples: layout.Index,
    misses: int,
    rows_bytes: int,
    room: int,
    *,
    share: bool,
) -> _Window:
    """Windows in ``room`` bytes of disk, of batches like the samples with their ``misses``.

    Two windows halve the disk; where they ``share`` it, packs may take all that the records
    of both leave, as one is given back while the other grows.
    """
    per_epoch, rows = len(job.request.batches(0)), float(samples["rows"].mean())
    copies = 2 if job.node_order == "packed" else 1
    missed = misses / len(samples)
    # Records, programme, uses while it is compiled, and ids of missing rows.
    record = (
        copies * float(samples["length"].mean()) + 16 * rows + 4 * missed + 2 * 4096
    )
    record = _RECORDS_MARGIN * record
    pack = _PACKS_MARGIN * (missed * rows_bytes + 4096)
    each = 2 * record + pack if share else 2 * (record + pack)
    room = max(room - 2**17, 1)
    most = max(1, min(per_epoch, int(room / each)))
    length = -(-per_epoch // -(-per_epoch // most))  # windows of about the same length
    records = int(record * length) + 2**16
    disk = room - records if share else room // 2
    return _Window(length, max(disk, records + 1), records)
