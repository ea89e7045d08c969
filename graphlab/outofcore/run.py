"""Opening a plan: memory is taken part by part, then the engine of its mode is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphlab.errors import StoreError
from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout
from graphlab.outofcore.batch import Assembler
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.direct import Direct
from graphlab.outofcore.loader import DiskLoader, Engine, parse_device, replay_order
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.publish import HOT_IDS
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.replay import Hot, Replay, Trace
from graphlab.outofcore.sizing import spare_sizes
from graphlab.outofcore.slots import LiveSlots

if TYPE_CHECKING:
    from graphlab.outofcore.plan import Plan
    from graphlab.sample.loader import Made


class _ReplayEpochs:
    """The engine of mode ``replay``: recorded batches, in an epoch's order."""

    def __init__(
        self, replay: Replay, epochs: int, per_epoch: int, seed: int, *, fixed: bool
    ) -> None:
        self._replay = replay
        self._shape = (epochs, per_epoch, seed)
        self._fixed = fixed

    @property
    def hits(self) -> int:
        return self._replay.hits

    @property
    def misses(self) -> int:
        return self._replay.misses

    @property
    def device_bytes(self) -> int:
        return self._replay.device_bytes

    def open(self, epoch: int, step: int) -> Callable[[int], Made]:
        order = replay_order(epoch, *self._shape, fixed=self._fixed)
        return self._replay.open(order, step)

    def close(self) -> None:
        self._replay.close()


def open_loader(
    plan: Plan,
    *,
    epoch: int,
    device: Any,
    prefetch: int | None,
    rank: int | None,
    world_size: int | None,
    verify: bool,
) -> DiskLoader:
    """See :meth:`graphlab.outofcore.Plan.loader`."""
    target = parse_device(device)
    sizing = plan.sizing
    ahead = sizing.prefetch if prefetch is None else min(prefetch, sizing.prefetch)
    ledger = Ledger(plan.memory, "loader")
    buffers = max(ahead, 1) + 1
    for part, size in sizing.parts.items():
        wanted = buffers * sizing.block if part == "output buffers" else size
        ledger.take(part, wanted)
    job = plan.job
    placement = jobs.place(job, everything=plan.mode == "memory")
    fields = jobs.fields(job, placement, loaded=True)
    assembler = Assembler(fields, Pool(buffers, sizing.block), target)
    columns = placement.rows(job)
    described = [rows.describe() for rows in columns if rows.kind == "dense"]
    held = [c for c in plan.body["columns"] if c["kind"] == "dense"]
    if described != held:
        raise StoreError(
            plan.path / layout.MANIFEST, None, str(described), str(held), layout.REMEDY
        )
    files = plan.body["files"]
    ring = Ring(sizing.depth, sizing.segment) if columns else None
    engine: Engine
    if plan.mode == "replay":
        engine = _replay(plan, assembler, columns, ring, verify)
    else:
        hot = np.zeros(0, dtype=np.int64)
        if HOT_IDS in files:
            data = layout.read_checked(plan.path / HOT_IDS, files[HOT_IDS])
            hot = data.view("<i8")
        engine = Direct(
            job,
            assembler,
            columns,
            ring,
            ledger,
            folder=plan.path,
            files=files,
            hot=hot,
            gap=plan.calibration.gap,
        )
    return DiskLoader(
        plan,
        engine,
        ledger,
        epoch=epoch,
        prefetch=ahead,
        rank=rank,
        world_size=world_size,
    )


def _replay(
    plan: Plan,
    assembler: Assembler,
    columns: list[Rows],
    ring: Ring | None,
    verify: bool,
) -> _ReplayEpochs:
    sizing, totals, files = plan.sizing, plan.totals, plan.body["files"]
    ring = ring or Ring(2, sizing.segment)
    still, capacity = totals["hot_rows"], totals.get("slots", 0)
    hot = {
        rows.name: Hot(plan.path, files, still, rows, ring, live=capacity)
        for rows in columns
    }
    live = None
    arguments = plan.body["arguments"]
    if capacity:
        _, segment = spare_sizes(0, max(rows.row_bytes for rows in columns))
        live = LiveSlots(
            columns,
            hot,
            first=still,
            capacity=capacity,
            per_epoch=plan.batches_per_epoch,
            world_size=arguments["world_size"],
            ring=Ring(sizing.spare // segment, segment),
            gap=plan.calibration.gap,
        )
    replay = Replay(
        Trace(plan.path, files, columns),
        assembler,
        ring,
        hot,
        live,
        record_bytes=sizing.record,
        sparse_bytes=sizing.sparse,
        max_rows=totals["largest"][0],
        verify=verify,
    )
    return _ReplayEpochs(
        replay,
        plan.epochs,
        plan.batches_per_epoch,
        arguments["seed"],
        fixed=live is not None,
    )
