"""Making plans of the modes that sample while training: ``direct`` and ``rolling``."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout, schedule
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import fit_direct
from graphlab.outofcore.job import Job
from graphlab.outofcore.layout import INDEX
from graphlab.outofcore.pack import CHUNK_BYTES, Packed, pack_name
from graphlab.outofcore.publish import (
    HOT_IDS,
    entry,
    forget,
    hot_entry,
    publish,
    require_disk,
    totals_of,
)

DIRECT_HOT_SHARE = 0.9


def build_direct(job: Job, ledger: Ledger, calibration: Calibration) -> dict[str, Any]:
    """Plan to read missing rows where they are; the rows of most out-edges stay."""
    sizing, largest = fit_direct(job)
    placement = jobs.place(job)
    columns = [r for r in placement.rows(job) if r.kind == "dense"]
    files: dict[str, Any] = {}
    totals = totals_of(job, ledger, largest)
    if columns:
        num_nodes = job.dataset.num_nodes
        with ledger.hold("counts of nodes", 4 * num_nodes):
            counts = out_degree(job, ledger)
            # What is left over lets output buffers grow past the probe's estimate.
            room = int(DIRECT_HOT_SHARE * sizing.hot)
            hot = schedule.hottest(counts, columns, room, ledger)
            del counts
        packs, files = write_hot(job, columns, hot, ledger)
        sizing = sizing._replace(hot=sum(p.hot_bytes for p in packs))
        totals["hot_rows"] = len(hot)
        totals["scan_bytes"] = sum(rows.file_bytes for rows in columns)
    body = publish(job, "direct", sizing, totals, calibration, columns, files)
    forget(job.path)
    return body


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


def out_degree(job: Job, ledger: Ledger) -> np.ndarray[Any, np.dtype[np.uint32]]:
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
