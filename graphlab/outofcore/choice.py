"""Choosing between modes and static shares by predicted time on the measured disk."""

from __future__ import annotations

import json
from pathlib import Path

from graphlab.files import publish_json
from graphlab.outofcore import layout, predict, schedule
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration, calibrate
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.job import Job
from graphlab.outofcore.sharing import Split
from graphlab.outofcore.sizing import ring_sizes
from graphlab.outofcore.uses import Order
from graphlab.progress import duration

# Below this the modes do not differ by anything that could be predicted.
LEAST_BYTES = 64 * 2**20
# What the disk was measured to do decides what is packed: a killed run goes on with it.
CALIBRATION = "journal-calibration.json"
# More than the caches of common processors, and soon filled.
CALIBRATION_BYTES = 64 * 2**20


class OtherModeError(Exception):
    """Mode ``auto`` is better off with another mode than ``replay``."""

    def __init__(self, mode: str, why: str) -> None:
        super().__init__(why)
        self.mode = mode


def choose_mode(
    job: Job,
    demand: predict.Demand,
    columns: list[Rows],
    fits: bool,
    split: Split | None,
    calibration: Calibration,
) -> None:
    """Compare the modes; raise where ``replay`` is not the one."""
    if demand.scan_bytes < LEAST_BYTES:
        return  # all modes take a moment
    windows = predict.windows_of(demand, job.disk)
    costs = {
        "direct": predict.direct(demand, columns, calibration),
        "rolling": predict.rolling(demand, windows, 1, calibration),
    }
    if not fits and split is not None:
        epochs = job.request.epochs
        costs["hybrid"] = predict.hybrid(
            demand,
            columns,
            len(split.shared),
            split.reads // epochs,
            epochs,
            calibration,
        )
    if fits:
        costs["replay"] = predict.replay(demand, job.request.epochs, calibration)
    best = min(costs, key=lambda mode: costs[mode].per_epoch)
    if best != "replay":
        told = ", ".join(
            f"{mode} {duration(cost.seconds)} an epoch" for mode, cost in costs.items()
        )
        raise OtherModeError(best, f"plan: by prediction of reading: {told}")


def calibration_of(job: Job, ledger: Ledger) -> Calibration:
    """Measure the disk; a plan that a killed run began goes on with what that one found."""
    journal, name = job.path / CALIBRATION, job.identity(job.arguments)
    if journal.exists():
        begun = json.loads(journal.read_text())
        if begun["identity"] == name:
            return Calibration(**begun["calibration"])
    columns = [c for c in job.store.columns.values() if hasattr(c, "path")]
    column = max(columns, key=lambda c: _size(c.path), default=None)
    path = job.store.path / "graph.idx.bin" if column is None else column.path
    row_bytes = getattr(column, "row_bytes", 0) or 512
    depth, segment = ring_sizes(job.limit, 0)
    memory = min(job.limit // 4, CALIBRATION_BYTES)
    with ledger.hold("calibration", depth * segment + memory):
        held = layout.held_bytes(job.path)
        left = 2**28 if job.disk is None else max(job.disk - held, 0)
        room = min(2**28, left // 4)
        found = calibrate(
            path,
            depth,
            segment,
            folder=job.path,
            room=room,
            memory=memory,
            row_bytes=min(row_bytes, memory // 4 or 512),
        )
    publish_json(journal, {"identity": name, "calibration": found._asdict()})
    return found


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def price_of(
    samples: layout.Index,
    order: Order,
    accesses: int,
    columns: list[Rows],
    calibration: Calibration,
) -> schedule.Price:
    """Predicts an epoch of mode ``replay`` from what memory serves."""
    row_bytes = sum(rows.row_bytes for rows in columns)

    def seconds(misses: int, kept: int, still: int) -> float:
        rows = accesses // order.epochs
        demand = predict.Demand(
            batches=order.per_epoch,
            misses=misses,
            sample_bytes=int(samples["length"].sum()) // order.epochs,
            programme_bytes=4 * rows + (4 * misses if kept else 0),
            pack_bytes=misses * row_bytes,
            scan_bytes=sum(rows.file_bytes for rows in columns),
            hot_bytes=still * row_bytes,
            accesses=rows,
            kept=kept,
        )
        load = demand.hot_bytes / calibration.sequential
        cost = predict.replay(demand, order.epochs, calibration)
        return cost.seconds + load / predict.HORIZON_EPOCHS

    return seconds
