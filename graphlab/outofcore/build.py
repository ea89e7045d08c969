"""Making a plan: choose the mode, then sample, compile and pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout, schedule, trace
from graphlab.outofcore.batch import Fields
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration, calibrate
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import counted_topology, size_direct
from graphlab.outofcore.fresh import build_direct
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, pack_name
from graphlab.outofcore.publish import (
    SLACK_BYTES,
    DiskError,
    entries,
    footprint,
    forget,
    hot_entry,
    publish,
    require_disk,
    totals_of,
)
from graphlab.outofcore.sizing import (
    Largest,
    Sizing,
    ring_sizes,
    share_out,
    spare_sizes,
)
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


def build(job: Job) -> dict[str, Any]:
    """Make the plan and return its manifest."""
    job.path.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(job.limit, "plan")
    calibration = _calibrate(job, ledger)
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
            return publish(job, "memory", sizing, totals, calibration, [], {})
    if job.mode in ("auto", "replay"):
        try:
            return _build_replay(job, ledger, calibration)
        except DiskError as error:
            if job.mode == "replay":
                raise
            say(f"{error}; using mode direct")
            forget(job.path)
    return build_direct(job, Ledger(job.limit, "plan"), calibration)


def _calibrate(job: Job, ledger: Ledger) -> Calibration:
    files = [c.path for c in job.store.columns.values() if hasattr(c, "path")]
    path = max(files or [job.store.path / "graph.idx.bin"], key=_size)
    depth, segment = ring_sizes(job.limit, 0)
    with ledger.hold("calibration", depth * segment):
        return calibrate(path, depth, segment)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _build_replay(job: Job, ledger: Ledger, calibration: Calibration) -> dict[str, Any]:
    identity = job.identity(job.arguments)
    sampling = job.identity(job.sampling)
    num_nodes = job.dataset.num_nodes
    placement = jobs.place(job)
    columns = placement.rows(job)
    with (
        ledger.hold("topology", counted_topology(job)),
        ledger.hold("input nodes", 32 * len(job.request.input_nodes)),
    ):
        samples = trace.sample_epochs(
            job.path,
            job.sampler,
            job.request,
            ledger,
            disk=job.disk,
            identity=sampling,
        )
    ledger.take("index tables", samples.nbytes * (2 + 2 * len(columns)))
    order = schedule.Order(
        job.request.epochs, len(job.request.batches(0)), job.world_size
    )
    with ledger.hold("counts of nodes", 4 * num_nodes):
        demand = schedule.measure(job.path, samples, num_nodes, columns, ledger)
        fields = jobs.fields(job, placement, loaded=False)
        sizing, largest = _size_replay(job, fields, columns, samples, demand, placement)
        uses = schedule.spill_uses(
            job.path,
            samples,
            order,
            columns,
            job.policy,
            num_nodes,
            job.disk,
            ledger,
        )
        residents, sizing = _residents(
            job, demand.counts, columns, sizing, uses, ledger
        )
    hot = residents.still
    ledger.take("hot ids", hot.nbytes)
    accesses = demand.accesses
    del demand
    programmes = schedule.compile_programmes(
        job.path, samples, residents, job.policy, uses, num_nodes, ledger
    )
    if uses is not None:
        uses.delete()
    packs = [Packed(job.path, rows, programmes, hot) for rows in columns]
    require_disk(job, packs)
    ledger.take("packing tables", sum(p.nbytes for p in packs))
    for packed in packs:
        chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 4))
        with ledger.hold("pieces of the scan", 2 * chunk):
            packed.run(chunk, identity)
    layout.write_index(job.path / f"{trace.SAMPLES}.idx", samples)
    layout.write_index(job.path / f"{schedule.PROGRAMME}.idx", programmes.table)
    stems = [trace.SAMPLES, schedule.PROGRAMME, *(pack_name(r.name) for r in columns)]
    files: dict[str, Any] = {}
    for stem in stems:
        files |= entries(job.path, stem)
    for packed in packs:
        files |= hot_entry(job.path, packed)
    totals = totals_of(job, ledger, largest) | {
        "accesses": accesses,
        "hits": accesses - programmes.misses,
        "misses": programmes.misses,
        "hot_rows": len(hot),
        "static_hits": programmes.static_hits,
        "slots": residents.capacity,
        "static_share": residents.share,
        "misses_by_share": {str(k): v for k, v in residents.tried.items()},
        "sample_bytes": int(samples["length"].sum()),
        "programme_bytes": int(programmes.table["length"].sum()),
        "pack_bytes": sum(int(p.index["length"].sum()) for p in packs),
        "scan_bytes": sum(rows.file_bytes for rows in columns),
    }
    sizing = sizing._replace(hot=sum(p.hot_bytes + _hot_table(p) for p in packs))
    body = publish(job, "replay", sizing, totals, calibration, columns, files)
    forget(job.path)
    return body


def _residents(
    job: Job,
    counts: np.ndarray[Any, np.dtype[np.uint32]],
    columns: list[Rows],
    sizing: Sizing,
    uses: schedule.Uses | None,
    ledger: Ledger,
) -> tuple[schedule.Residents, Sizing]:
    """What is in memory, and the budget with its slots."""
    row_bytes = max((r.row_bytes for r in columns), default=0)
    depth, segment = spare_sizes(sizing.hot, row_bytes)
    spare, room, policy = depth * segment, sizing.hot, job.policy
    try:
        found = schedule.choose(counts, columns, room, spare, policy, uses, ledger)
    except BudgetError:
        # The tables of slots do not fit beside the rest: rows that stay need none.
        found = schedule.choose(counts, columns, room, spare, policy, None, ledger)
    if found.capacity == 0:
        return found, sizing
    each = sum(rows.row_bytes for rows in columns) + schedule.NODE_BYTES
    return found, sizing._replace(slots=found.capacity * each, spare=spare)


def _hot_table(packed: Packed) -> int:
    """Bytes of the offsets of resident rows, where lengths differ; the last is a table's."""
    return 8 * len(packed.hot) if packed.rows.kind == "sparse" else 0


def _size_replay(
    job: Job,
    fields: Fields,
    columns: list[Rows],
    samples: layout.Index,
    demand: schedule.Demand,
    placement: jobs.Placement,
) -> tuple[Sizing, Largest]:
    seeds = min(job.request.batch_size, len(job.request.input_nodes))
    nodes, edges = int(samples["rows"].max()), int(samples["items"].max())
    largest = Largest(nodes, edges, seeds)
    # A record and its programme: a source for each row, and at most a slot for each.
    record = int((samples["length"].astype(np.int64) + 8 * samples["rows"]).max()) + 320
    batches = len(samples)
    sizing = share_out(
        job.limit,
        fields,
        largest,
        owner="plan",
        prefetch=job.prefetch,
        row_bytes=max((r.row_bytes for r in columns if r.kind == "dense"), default=0),
        record=record,
        sparse=sum(size + 4 * nodes for size in demand.sparse_bytes.values()),
        # Offsets of resident sparse rows have one entry more than there are rows.
        tables=batches * (INDEX.itemsize * (2 + len(columns)) + 24) + 8 * len(columns),
        resident=placement.resident_bytes,
    )
    return sizing, largest
