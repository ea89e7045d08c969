"""Making a plan: choose the mode, then sample, compile and pack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphlab import _version, check, sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout, schedule, trace
from graphlab.outofcore.batch import Fields
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration, calibrate
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import counted_topology, fit_direct, size_direct
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, hot_name, pack_name
from graphlab.outofcore.sizing import Largest, Sizing, ring_sizes, share_out
from graphlab.progress import say

HOT_IDS = "hot-ids.bin"
INPUTS = "inputs.bin"
# Between what a process takes and what we count: allocator slack, thread stacks.
SLACK_BYTES = 4 * 2**20
DIRECT_HOT_SHARE = 0.9


def footprint() -> int:
    """Bytes of memory that this process takes now (resident set)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
            totals = _totals(job, ledger, largest)
            sizing = sizing._replace(hot=0)
            return _publish(job, "memory", sizing, totals, calibration, [], {})
    if job.mode in ("auto", "replay"):
        try:
            return _build_replay(job, ledger, calibration)
        except _DiskError as error:
            if job.mode == "replay":
                raise BudgetError(str(error)) from None
            say(f"{error}; using mode direct")
            _forget(job.path)
    return _build_direct(job, Ledger(job.limit, "plan"), calibration)


class _DiskError(Exception):
    """The declared disk cannot hold the packs."""


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
    with ledger.hold("counts of nodes", 4 * num_nodes):
        demand = schedule.measure(job.path, samples, num_nodes, columns, ledger)
        fields = jobs.fields(job, placement, loaded=False)
        sizing, largest = _size_replay(job, fields, columns, samples, demand, placement)
        hot = schedule.hottest(demand.counts, columns, sizing.hot, ledger)
    ledger.take("hot ids", hot.nbytes)
    accesses = demand.accesses
    del demand
    programmes = schedule.compile_programmes(job.path, samples, hot, num_nodes, ledger)
    packs = [Packed(job.path, rows, programmes.table, hot) for rows in columns]
    _require_disk(job, packs, calibration)
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
        files |= _entries(job.path, stem)
    for packed in packs:
        files |= _hot_entry(job.path, packed)
    totals = _totals(job, ledger, largest) | {
        "accesses": accesses,
        "hits": accesses - programmes.misses,
        "misses": programmes.misses,
        "hot_rows": len(hot),
        "sample_bytes": int(samples["length"].sum()),
        "programme_bytes": int(programmes.table["length"].sum()),
        "pack_bytes": sum(int(p.index["length"].sum()) for p in packs),
        "scan_bytes": sum(rows.file_bytes for rows in columns),
    }
    sizing = sizing._replace(hot=sum(p.hot_bytes + _hot_table(p) for p in packs))
    body = _publish(job, "replay", sizing, totals, calibration, columns, files)
    _forget(job.path)
    return body


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
    record = int((samples["length"].astype(np.int64) + 4 * samples["rows"]).max()) + 256
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


def _build_direct(job: Job, ledger: Ledger, calibration: Calibration) -> dict[str, Any]:
    sizing, largest = fit_direct(job)
    placement = jobs.place(job)
    columns = [r for r in placement.rows(job) if r.kind == "dense"]
    files: dict[str, Any] = {}
    totals = _totals(job, ledger, largest)
    if columns:
        num_nodes = job.dataset.num_nodes
        with ledger.hold("counts of nodes", 4 * num_nodes):
            counts = _out_degree(job, ledger)
            # What is left over lets output buffers grow past the probe's estimate.
            room = int(DIRECT_HOT_SHARE * sizing.hot)
            hot = schedule.hottest(counts, columns, room, ledger)
            del counts
        ledger.take("hot ids", hot.nbytes)
        with open(job.path / schedule.MISSES, "wb"):
            pass
        none = np.zeros(0, dtype=INDEX)
        packs = [Packed(job.path, rows, none, hot) for rows in columns]
        _require_disk(job, packs, calibration)
        for packed in packs:
            chunk = min(CHUNK_BYTES, max(2**16, ledger.free // 4))
            with ledger.hold("pieces of the scan", 2 * chunk):
                packed.run(chunk, job.identity(job.arguments))
            files |= _hot_entry(job.path, packed)
            for suffix in (".bin", ".idx"):
                (job.path / f"{pack_name(packed.rows.name)}{suffix}").unlink()
        layout.write_bytes(job.path / HOT_IDS, hot.view(np.uint8))
        files |= _entry(job.path / HOT_IDS)
        sizing = sizing._replace(hot=sum(p.hot_bytes for p in packs))
        totals["hot_rows"] = len(hot)
        totals["scan_bytes"] = sum(rows.file_bytes for rows in columns)
    body = _publish(job, "direct", sizing, totals, calibration, columns, files)
    _forget(job.path)
    return body


def _out_degree(job: Job, ledger: Ledger) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """How often each node is a source: its expected use, before anything is sampled."""
    counts = np.zeros(job.dataset.num_nodes, dtype=np.uint32)
    idx = job.dataset.graph.csc().idx.numpy()
    step = min(2**16, len(idx))
    with ledger.hold("a piece of the graph", 32 * step):
        for start in range(0, len(idx), max(step, 1)):
            nodes, times = np.unique(idx[start : start + step], return_counts=True)
            counts[nodes] += times.astype(np.uint32)
        counts[job.request.input_nodes.numpy()] += 1
    return counts


def _require_disk(job: Job, packs: list[Packed], calibration: Calibration) -> None:
    """Refuse before packing when the declared disk cannot hold the plan."""
    if job.disk is None:
        return
    written = sum(
        p.stat().st_size
        for p in job.path.iterdir()
        if not p.name.startswith(("pack-", "hot-"))
    )
    need = written + sum(p.pack_bytes + p.hot_bytes for p in packs)
    if need > job.disk:
        raise _DiskError(
            f"plan: `disk` must be at least {sizes.show(need)} ({need} bytes) for mode "
            f"replay in {sizes.show(job.limit)} of memory, got {sizes.show(job.disk)}"
        )


def _totals(job: Job, ledger: Ledger, largest: Largest) -> dict[str, Any]:
    return {
        "batch_size": job.request.batch_size,
        "batches_per_epoch": len(job.request.batches(0)),
        "largest": list(largest),
        "planner_peak_bytes": ledger.peak,
        "topology_bytes": job.topology_bytes,
        "hot_rows": 0,
        "footprint_bytes": footprint(),
    }


def _entry(path: Path) -> dict[str, Any]:
    data = np.fromfile(path, dtype=np.uint8)
    return {path.name: {"bytes": len(data), "crc32c": layout.crc(data)}}


def _entries(folder: Path, stem: str) -> dict[str, Any]:
    size = (folder / f"{stem}.bin").stat().st_size
    return {f"{stem}.bin": {"bytes": size}, **_entry(folder / f"{stem}.idx")}


def _hot_entry(folder: Path, packed: Packed) -> dict[str, Any]:
    path = folder / hot_name(packed.rows.name)
    entry = {
        "bytes": path.stat().st_size,
        "rows_bytes": packed.hot_bytes,
        "crc32c": packed.hot_crc,
    }
    return {path.name: entry}


def _publish(
    job: Job,
    mode: str,
    sizing: Sizing,
    totals: dict[str, Any],
    calibration: Calibration,
    columns: list[Rows],
    files: dict[str, Any],
) -> dict[str, Any]:
    inputs = job.request.input_nodes.contiguous()
    if mode != "replay":
        layout.write_bytes(job.path / INPUTS, inputs.view(torch.uint8).numpy())
        files |= _entry(job.path / INPUTS)
    body = {
        "generator": f"graphlab {_version.__version__}",
        "store": job.store.fingerprint,
        "store_path": str(job.store.path),
        "identity": job.identity(job.arguments),
        "arguments": job.arguments,
        "mode": mode,
        "node_type": None,
        "columns": [rows.describe() for rows in columns],
        "sizing": sizing._asdict(),
        "totals": totals,
        "calibration": calibration._asdict(),
        "files": files,
    }
    check.one_of("plan", "mode", mode, ("memory", "direct", "replay"))
    layout.write_manifest(job.path, body)
    return body


def _forget(folder: Path) -> None:
    """Remove journals and spilled lists: the plan does not need them any more."""
    for path in folder.glob("journal-*"):
        path.unlink()
