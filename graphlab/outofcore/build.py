"""Making a plan: choose the mode, then sample, compile and pack."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import (
    choice,
    layout,
    node_order,
    predict,
    schedule,
    together,
    trace,
)
from graphlab.outofcore import job as jobs
from graphlab.outofcore.batch import Fields
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.build_direct import build_direct
from graphlab.outofcore.build_rolling import build_rolling
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import counted_topology, size_direct
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, pack_name, piece_bytes
from graphlab.outofcore.publish import (
    SLACK_BYTES,
    DiskError,
    device_entry,
    disk_need,
    entries,
    footprint,
    forget,
    hot_entry,
    publish,
    require_disk,
    shared_entry,
    totals_of,
)
from graphlab.outofcore.reader import ALIGN
from graphlab.outofcore.residents import (
    hot_table,
    residents_of,
    tried_shares,
    without_device,
)
from graphlab.outofcore.sharing import Split, split_shared
from graphlab.outofcore.sizing import (
    Largest,
    Sizing,
    share_out,
    shared_sizes,
)
from graphlab.outofcore.together import Board
from graphlab.outofcore.uses import Order, room_for_slots, spill_uses
from graphlab.progress import say


def within_process(memory: int | str, process_memory: int | str) -> int:
    """The memory that keeps the whole process within ``process_memory``."""
    total = sizes.parse(process_memory, argument="process_memory")
    now = footprint()
    left = total - now - SLACK_BYTES
    if left <= 0:
        raise BudgetError(
            f"plan: `process_memory` must be more than {sizes.show(now + SLACK_BYTES)}, "
            f"which the process takes before any data, got {sizes.show(total)}"
        )
    return min(sizes.parse(memory), left)


def build(job: Job, board: Board | None = None) -> dict[str, Any]:
    """Make the plan and return its manifest; ``board``: other ranks do their share."""
    job.path.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(job.limit, "plan")
    calibration = choice.calibration_of(job, ledger)
    job.gap = calibration.gap
    if job.mode in ("auto", "memory"):
        try:
            sizing, largest = size_direct(job, everything=True)
        except BudgetError:
            if job.mode == "memory":
                raise
        else:
            if job.mode == "auto":
                say(
                    f"plan: everything fits in memory ({sizes.show(sizing.total)} of "
                    f"{sizes.show(job.limit)}): no disk needed"
                )
            totals = totals_of(job, ledger, largest)
            sizing = sizing._replace(hot=0)
            body = publish(job, "memory", sizing, totals, calibration, [], {})
            forget(job.path)
            return body
    if job.mode == "rolling" or job.resample_every is not None:
        return build_rolling(job, ledger, calibration)
    if job.mode == "direct":
        return build_direct(job, ledger, calibration)
    if job.mode == "hybrid":
        return _build_replay(job, ledger, calibration, board, hybrid=True)
    try:
        return _build_replay(job, ledger, calibration, board)
    except choice.OtherModeError as error:
        chosen, why = error.mode, str(error)
    except (DiskError, trace.SamplesTooLargeError) as error:
        if job.mode == "replay":
            raise
        small = (
            sum(r.file_bytes for r in jobs.place(job).rows(job)) < choice.LEAST_BYTES
        )
        chosen, why = "direct" if small else "rolling", str(error)
    say(f"{why}; using mode {chosen}")
    if chosen == "hybrid":
        again = Ledger(job.limit, "plan")
        return _build_replay(job, again, calibration, board, hybrid=True)
    _clear(job.path)
    if chosen == "rolling":
        try:
            return build_rolling(job, Ledger(job.limit, "plan"), calibration)
        except BudgetError as error:
            say(f"{error}; using mode direct")
            _clear(job.path)
    return build_direct(job, Ledger(job.limit, "plan"), calibration)


def _clear(folder: Path) -> None:
    """Give back what a mode that was not chosen has written."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix in (".bin", ".idx", ".npy"):
            path.unlink(missing_ok=True)


def _build_replay(
    job: Job,
    ledger: Ledger,
    calibration: Calibration,
    board: Board | None,
    *,
    hybrid: bool = False,
) -> dict[str, Any]:
    """Sample, compile, pack; ``hybrid`` leaves the most missed rows in a shared file."""
    identity = job.identity(job.arguments)
    num_nodes = job.dataset.num_nodes
    placement = jobs.place(job)
    columns = placement.rows(job)
    with (
        ledger.hold("topology", counted_topology(job)),
        ledger.hold("input nodes", 32 * len(job.request.input_nodes)),
    ):
        if board is not None:
            samples = together.sample(job, board, ledger)
        else:
            samples = trace.sample_epochs(
                job.path,
                job.sampler,
                job.request,
                ledger,
                disk=job.disk,
                identity=job.identity(job.sampling),
                graph=job.graph_files,
            )
    ledger.take("index tables", samples.nbytes * (2 + 2 * len(columns)))
    sample_seconds = jobs.sample_seconds(job, ledger)
    start = time.perf_counter()
    order = Order(job.request.epochs, len(job.request.batches(0)), job.world_size)
    with ledger.hold("counts of nodes", 4 * num_nodes):
        demand = schedule.measure(job.path, samples, num_nodes, columns, ledger)
        fields = jobs.fields(job, placement, loaded=False)
        sizing, largest = _size_replay(
            job, fields, columns, samples, demand, placement, hybrid=hybrid
        )
        uses = spill_uses(
            job.path,
            samples,
            order,
            columns,
            job.policy,
            num_nodes,
            job.disk,
            ledger,
        )
        residents, sizing = residents_of(
            job,
            demand.counts,
            columns,
            sizing,
            uses,
            ledger,
            nodes=largest.nodes,
            price=choice.price_of(
                samples, order, demand.accesses, columns, calibration
            ),
        )
    on_device = device_entry(job.path, residents.on_device)
    hot = residents.still
    ledger.take("hot ids", hot.nbytes)
    accesses = demand.accesses
    del demand
    compiled = (job.path, samples, residents, job.policy, uses, num_nodes, ledger)
    programmes = schedule.compile_programmes(*compiled)
    shared = None
    reordered = _reordered_bytes(job, samples)
    if hybrid or job.mode == "auto":
        split = _split(job, columns, hot, programmes, samples, reordered, ledger)
    if hybrid:
        if split is None:
            raise DiskError(_too_small(job, columns))
        shared = split.shared
        programmes = schedule.compile_programmes(*compiled, shared=shared)
    # Shares that were tried are no part of the work that windows repeat.
    seconds = (time.perf_counter() - start) / job.request.epochs
    seconds /= 1 + len(residents.tried) / 2
    if uses is not None:
        uses.delete()
    packs = [Packed(job.path, rows, programmes, hot, shared) for rows in columns]
    if job.mode == "auto" and not hybrid:
        epochs = job.request.epochs
        asked = predict.Demand(
            batches=order.per_epoch,
            misses=programmes.misses // epochs,
            sample_bytes=int(samples["length"].sum()) // epochs,
            programme_bytes=int(programmes.table["length"].sum()) // epochs,
            pack_bytes=sum(p.pack_bytes for p in packs) // epochs,
            scan_bytes=sum(rows.file_bytes for rows in columns),
            hot_bytes=sum(p.hot_bytes for p in packs),
            accesses=accesses // epochs,
            sample_seconds=sample_seconds,
            schedule_seconds=seconds,
            kept=programmes.kept // epochs,
            piece_bytes=piece_bytes(job.limit // 8, 1, order.per_epoch),
        )
        fits = disk_need(job, packs, reordered) is None
        choice.choose_mode(job, asked, columns, fits, split, calibration)
    records = samples
    if reordered:
        records = node_order.reorder(job.path, samples, programmes, ledger)
    require_disk(job, packs)
    ledger.take("packing tables", sum(p.nbytes for p in packs))
    if board is not None:
        work = together.work_of(programmes, hot, shared)
        together.pack(job, board, ledger, packs, work)
    for packed in packs if board is None else []:
        chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 4))
        with ledger.hold("pieces of the scan", 2 * chunk):
            packed.run(chunk, identity)
    stem = node_order.ORDERED if reordered else trace.SAMPLES
    layout.write_index(job.path / f"{stem}.idx", records)
    layout.write_index(job.path / f"{schedule.PROGRAMME}.idx", programmes.table)
    stems = [stem, schedule.PROGRAMME, *(pack_name(r.name) for r in columns)]
    files: dict[str, Any] = dict(on_device)
    for stem in stems:
        files |= entries(job.path, stem)
    for packed in packs:
        files |= hot_entry(job.path, packed)
        if hybrid:
            files |= shared_entry(job.path, packed)
    misses = programmes.misses + programmes.shared
    totals = totals_of(job, ledger, largest) | {
        "accesses": accesses,
        "sample_seconds": sample_seconds,
        "schedule_seconds": seconds,
        "hits": accesses - misses,
        "misses": misses,
        "shared_rows": 0 if shared is None else len(shared),
        "shared_reads": programmes.shared,
        "shared_bytes": sum(p.shared_bytes for p in packs),
        "hot_rows": len(hot),
        "device_rows": residents.device_rows,
        "device_hits": programmes.device_hits,
        "static_hits": programmes.static_hits,
        "slots": residents.capacity,
        "static_share": residents.share,
        "kept": programmes.kept,
        **tried_shares(residents),
        "sample_bytes": int(samples["length"].sum()),
        "programme_bytes": int(programmes.table["length"].sum()),
        "pack_bytes": sum(int(p.index["length"].sum()) for p in packs),
        "scan_bytes": sum(rows.file_bytes for rows in columns),
    }
    sizing = sizing._replace(
        hot=sum(p.hot_bytes for p in packs) + hot_table(packs, hot)
    )
    sizing = without_device(sizing, columns, residents)
    mode = "hybrid" if hybrid else "replay"
    body = publish(job, mode, sizing, totals, calibration, columns, files)
    if reordered:
        (job.path / f"{trace.SAMPLES}.bin").unlink()
    forget(job.path)
    return body


def _reordered_bytes(job: Job, samples: layout.Index) -> int:
    """Bytes of the records in another order than the samples'; 0 where it is theirs."""
    if job.node_order == "discovery":
        return 0
    return int(samples["length"].sum()) + ALIGN * len(samples)


def _split(
    job: Job,
    columns: list[Rows],
    hot: np.ndarray[Any, np.dtype[np.int64]],
    programmes: schedule.Programmes,
    samples: layout.Index,
    to_come: int,
    ledger: Ledger,
) -> Split | None:
    """Which missing rows to share, so that the plan fits the disk; None: not possible."""
    if not room_for_slots(columns):
        return None
    size = sum(rows.row_bytes for rows in columns)
    room = programmes.misses
    if job.disk is not None:
        # What ranks tell each other is small, and no part of what one process would write.
        without = ("pack-", "hot-", "shared-", "journal-uses", *together.TOLD)
        written = layout.held_bytes(job.path, without)
        # Programmes name a place for each shared row; regions begin at whole blocks.
        more = 4 * programmes.misses + 2 * ALIGN * len(samples) * (1 + len(columns))
        left = job.disk - written - to_come - more - len(hot) * size - 4 * ALIGN
        room = max(left, 0) // max(size, 1)
    return split_shared(
        job.path / schedule.MISSES,
        programmes.misses,
        job.dataset.num_nodes,
        room,
        ledger,
    )


def _too_small(job: Job, columns: list[Rows]) -> str:
    if not room_for_slots(columns):
        return "plan: `mode` must not be 'hybrid' where sparse columns are on disk"
    return (
        f"plan: `disk` must hold the samples and every missing row once for mode hybrid, "
        f"got {sizes.show(job.disk or 0)}; use mode='rolling' or mode='direct'"
    )


def _size_replay(
    job: Job,
    fields: Fields,
    columns: list[Rows],
    samples: layout.Index,
    demand: schedule.Demand,
    placement: jobs.Placement,
    *,
    hybrid: bool,
) -> tuple[Sizing, Largest]:
    seeds = min(job.request.batch_size, len(job.request.input_nodes))
    nodes, edges = int(samples["rows"].max()), int(samples["items"].max())
    largest = Largest(nodes, edges, seeds)
    # A record and its programme: a source for each row, and at most a slot for each.
    each = 12 if hybrid else 8
    record = int((samples["length"].astype(np.int64) + each * samples["rows"]).max())
    batches = len(samples)
    row_bytes = max((r.row_bytes for r in columns if r.kind == "dense"), default=0)
    shared = int(np.prod(shared_sizes(job.limit, row_bytes))) if hybrid else 0
    sizing = share_out(
        job.limit,
        fields,
        largest,
        owner="plan",
        prefetch=job.prefetch,
        row_bytes=row_bytes,
        record=record + 384,
        shared=shared,
        sparse=sum(size + 4 * nodes for size in demand.sparse_bytes.values()),
        # Offsets of resident sparse rows have one entry more than there are rows.
        tables=batches * (INDEX.itemsize * (2 + len(columns)) + 24) + 8 * len(columns),
        resident=placement.resident_bytes,
    )
    return sizing, largest
