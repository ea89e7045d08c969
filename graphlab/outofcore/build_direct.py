"""Making a plan of mode ``direct``: rows of most out-edges stay, the rest is read in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphlab.outofcore import job as jobs
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.estimate import (
    fit_direct,
)
from graphlab.outofcore.job import Job
from graphlab.outofcore.publish import (
    device_entry,
    forget,
    publish,
    totals_of,
)
from graphlab.outofcore.residents import residents_of, without_device, write_hot

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
            found, _ = residents_of(
                job, counts, columns, sizing._replace(hot=room), None, ledger, nodes=0
            )
            hot = found.still
            del counts
        packs, files = write_hot(job, columns, hot, ledger)
        files |= device_entry(job.path, found.on_device)
        sizing = sizing._replace(hot=sum(p.hot_bytes for p in packs))
        sizing = without_device(sizing, columns, found)
        totals |= {"hot_rows": len(hot), "device_rows": found.device_rows}
        totals["scan_bytes"] = sum(rows.file_bytes for rows in columns)
        totals |= _expected(job, columns, hot, ledger)
    body = publish(job, "direct", sizing, totals, calibration, columns, files)
    forget(job.path)
    return body


def _expected(
    job: Job,
    columns: list[Rows],
    hot: np.ndarray[Any, np.dtype[np.int64]],
    ledger: Ledger,
) -> dict[str, Any]:
    """Accesses and misses of an epoch in mode ``direct``, by a few of its batches."""
    batches, seen = len(job.request.batches(0)), 0
    accesses = misses = 0
    for sample in jobs.some_samples(job, 4, ledger):
        seen += 1
        n_id = sample.n_id.numpy()
        accesses += len(n_id)
        misses += len(n_id)
        if len(hot):
            place = np.searchsorted(hot, n_id)
            misses -= int((hot[np.minimum(place, len(hot) - 1)] == n_id).sum())
    misses = misses * batches // seen
    return {
        "accesses": accesses * batches // seen,
        "misses": misses,
        "pack_bytes": misses * sum(rows.row_bytes for rows in columns),
        "sample_seconds": jobs.sample_seconds(job, ledger),
    }


def out_degree(job: Job, ledger: Ledger) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """How often each node is a source: its expected use, before anything is sampled."""
    counts = np.zeros(job.dataset.num_nodes, dtype=np.uint32)
    idx = job.dataset.graph.csc().idx.numpy()
    step = min(2**16, len(idx))
    with ledger.hold("a piece of the graph", 32 * step):
        for start in range(0, len(idx), max(step, 1)):
            nodes, times = np.unique(idx[start : start + step], return_counts=True)
            counts[nodes] += times.astype(np.uint32)
        links = job.request.links
        if links is None:
            counts[job.request.input_nodes.numpy()] += 1
        else:
            counts[links.edge_label_index.flatten().numpy()] += 1
    return counts
