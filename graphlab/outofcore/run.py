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
from graphlab.outofcore.hot import Hot, read_whole
from graphlab.outofcore.loader import DiskLoader, Engine, parse_device, replay_order
from graphlab.outofcore.pack import shared_name
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.publish import HOT_IDS, read_on_device
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.replay import Replay, Trace
from graphlab.outofcore.rolling import Rolling
from graphlab.outofcore.scattered import Edges, RowFile, Shared
from graphlab.outofcore.schedule import Residents
from graphlab.outofcore.sizing import shared_sizes, spare_sizes
from graphlab.outofcore.slots import LiveSlots
from graphlab.outofcore.space import Space
from graphlab.outofcore.window import Maker

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
    edges = None
    if fields.edges_on_disk:
        longest = max(rows.row_bytes for rows in fields.edges_on_disk)
        rings = Ring(*shared_sizes(plan.memory, longest))
        edges = Edges(fields.edges_on_disk, rings, plan.calibration.gap)
    links = job.request.links
    pairs = None if links is None else (links, job.sampler)
    pool = Pool(buffers, sizing.block, pinned=target.type == "cuda")
    assembler = Assembler(fields, pool, target, edges, pairs)
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
    if plan.mode in ("replay", "hybrid"):
        engine = _replay(plan, assembler, columns, ring, verify)
    elif plan.mode == "rolling":
        engine = _rolling(
            plan, assembler, columns, ring, ledger, verify, rank or 0, world_size or 1
        )
    else:
        hot = np.zeros(0, dtype=np.int64)
        if HOT_IDS in files:
            data = layout.read_checked(plan.path / HOT_IDS, files[HOT_IDS])
            hot = data.view("<i8")
        on_device = read_on_device(plan.path, files, len(hot))
        engine = Direct(
            job,
            assembler,
            columns,
            ring,
            ledger,
            folder=plan.path,
            files=files,
            hot=hot,
            on_device=on_device,
            gap=plan.calibration.gap,
        )
    return DiskLoader(
        plan,
        engine,
        ledger,
        edges,
        epoch=epoch,
        prefetch=ahead,
        rank=rank,
        world_size=world_size,
    )


def _in_memory(
    plan: Plan, columns: list[Rows], ring: Ring, assembler: Assembler, world_size: int
) -> tuple[dict[str, Hot], LiveSlots | None]:
    """The rows in memory, and the slots whose rows change."""
    files = plan.body["files"]
    still, capacity = plan.totals["hot_rows"], plan.totals.get("slots", 0)
    on_device = read_on_device(plan.path, files, still)
    hot = {
        rows.name: Hot(
            plan.path,
            files,
            still,
            rows,
            ring,
            live=capacity,
            on_device=on_device,
            pool=assembler.pool,
            device=assembler.mover.device,
        )
        for rows in columns
    }
    if not capacity:
        return hot, None
    _, segment = spare_sizes(0, max(rows.row_bytes for rows in columns))
    live = LiveSlots(
        columns,
        hot,
        first=still - plan.totals.get("device_rows", 0),
        capacity=capacity,
        per_epoch=plan.batches_per_epoch,
        world_size=world_size,
        ring=Ring(plan.sizing.spare // segment, segment),
        gap=plan.calibration.gap,
    )
    return hot, live


def _replay(
    plan: Plan,
    assembler: Assembler,
    columns: list[Rows],
    ring: Ring | None,
    verify: bool,
) -> _ReplayEpochs:
    sizing, arguments = plan.sizing, plan.body["arguments"]
    ring = ring or Ring(2, sizing.segment)
    world_size = arguments.get("world_size", 1)
    hot, live = _in_memory(plan, columns, ring, assembler, world_size)
    replay = Replay(
        Trace(plan.path, plan.body["files"], columns),
        assembler,
        ring,
        hot,
        live,
        _shared(plan, columns, ring, verify) if plan.mode == "hybrid" else None,
        device_rows=plan.totals.get("device_rows", 0),
        record_bytes=sizing.record,
        sparse_bytes=sizing.sparse,
        max_rows=plan.totals["largest"][0],
        verify=verify,
    )
    return _ReplayEpochs(
        replay,
        plan.epochs,
        plan.batches_per_epoch,
        arguments["seed"],
        fixed=live is not None,
    )


def _shared(plan: Plan, columns: list[Rows], ring: Ring, verify: bool) -> Shared:
    """The rows that batches share; ``verify`` reads them once, as batches read parts."""
    files = {}
    for rows in columns:
        name = shared_name(rows.name)
        entry = plan.body["files"][name]
        layout.check_size(plan.path / name, entry)
        size = entry["rows_bytes"]
        if verify:
            for _ in read_whole(plan.path / name, entry, ring):
                pass
        files[rows.name] = RowFile(
            plan.path / name, rows.row_bytes, rows.decode, expected=size
        )
    _, segment = spare_sizes(0, max(rows.row_bytes for rows in columns))
    depth = plan.sizing.shared // segment
    return Shared(files, Ring(depth, segment), plan.calibration.gap)


def _rolling(
    plan: Plan,
    assembler: Assembler,
    columns: list[Rows],
    ring: Ring | None,
    ledger: Ledger,
    verify: bool,
    rank: int,
    world_size: int,
) -> Rolling:
    sizing, totals = plan.sizing, plan.totals
    ring = ring or Ring(2, sizing.segment)
    hot, live = _in_memory(plan, columns, ring, assembler, 1)
    files = plan.body["files"]
    ids = layout.read_checked(plan.path / HOT_IDS, files[HOT_IDS]).view("<i8")
    residents = Residents(
        ids,
        totals["slots"],
        totals["static_share"],
        {},
        read_on_device(plan.path, files, len(ids)),
    )
    making = Ledger(sizing.maker, "window")
    plan.job.map_graph = totals["map_graph"]
    maker = Maker(
        plan.job,
        columns,
        residents,
        making,
        totals["window_disk"] // world_size,
        totals["maker_topology"],
        totals["window_records"] // world_size,
        Space(totals["window_space"] // world_size) if totals["window_space"] else None,
    )
    return Rolling(
        maker,
        plan.path,
        assembler,
        columns,
        ring,
        hot,
        live,
        ledger,
        per_epoch=plan.batches_per_epoch,
        window=totals["window_batches"],
        device_rows=residents.device_rows,
        reuse=totals["reuse"],
        ahead=totals["ahead"],
        rank=rank,
        record_bytes=sizing.record,
        sparse_bytes=sizing.sparse,
        max_rows=totals["largest"][0],
        verify=verify,
        kept=sizing.prefetch + 1,
    )
