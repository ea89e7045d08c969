"""What a plan costs, for people: modes with bytes and seconds, memory by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphlab import sizes
from graphlab.outofcore import job as jobs
from graphlab.outofcore import predict
from graphlab.outofcore.pack import piece_bytes
from graphlab.outofcore.publish import SLACK_BYTES
from graphlab.progress import duration

if TYPE_CHECKING:
    from graphlab.outofcore.columns import Rows
    from graphlab.outofcore.plan import Plan


@dataclass(frozen=True)
class ModeCost:
    """What one mode costs.

    Attributes:
        mode: Its name.
        memory_bytes: Memory that it needs or takes.
        disk_bytes: What the plan takes on disk beside the store.
        read_bytes: Read in an epoch.
        seconds: Time of an epoch of batches for a caller that takes none, by prediction.
        prepare_seconds: Time of planning.
        note: Why it was, or cannot be, chosen.
    """

    mode: str
    memory_bytes: int
    disk_bytes: int
    read_bytes: int
    seconds: float
    prepare_seconds: float
    note: str


@dataclass(frozen=True)
class Level:
    """Where rows are, and what they serve.

    Attributes:
        name: Of the level.
        rows: Rows that it holds (static, slots, shared), or of all its packs.
        bytes: Bytes that they take.
        accesses: Rows of batches that it serves in an epoch.
    """

    name: str
    rows: int
    bytes: int
    accesses: int


@dataclass(frozen=True)
class StaticShare:
    """What a share of the memory for rows costs an epoch, given to rows that stay.

    Attributes:
        share: Of the memory.
        misses: Rows that are read.
        kept: Rows that are copied into slots.
        seconds: By prediction; 0 where only misses were compared.
        chosen: Whether the plan has it.
    """

    share: float
    misses: int
    kept: int
    seconds: float
    chosen: bool


@dataclass(frozen=True)
class Explanation:
    """Costs of the modes, and memory by part; ``print`` it for tables.

    Attributes:
        chosen: The plan's mode.
        modes: Costs of the modes that the trace allows to tell.
        levels: Where rows are, from fastest to slowest, where that is compiled.
        memory: Bytes by part.
        declared_bytes: The budget.
        process_bytes: What the process took when the plan was made, the parts, and slack:
            without model, optimiser and activations.
        page_cache_bytes: Memory-mapped files that sampling touches and that are not
            counted: the system keeps their pages as long as it likes.
        batches_per_epoch, prefetch, node_order: Shape of the loader.
        shares: Static shares that were compared; none where the policy names one.
    """

    chosen: str
    modes: list[ModeCost]
    levels: list[Level]
    memory: dict[str, int]
    declared_bytes: int
    process_bytes: int
    page_cache_bytes: int
    batches_per_epoch: int
    prefetch: int
    node_order: str = "discovery"
    shares: tuple[StaticShare, ...] = ()

    def __str__(self) -> str:
        head = ("mode", "memory", "disk", "read/epoch", "epoch", "preparing", "")
        rows: list[tuple[str, ...]] = [head]
        for cost in self.modes:
            mark = "> " if cost.mode == self.chosen else "  "
            rows.append(
                (
                    mark + cost.mode,
                    sizes.show(cost.memory_bytes),
                    sizes.show(cost.disk_bytes),
                    sizes.show(cost.read_bytes),
                    duration(cost.seconds),
                    duration(cost.prepare_seconds),
                    cost.note,
                )
            )
        lines = _table(rows)
        if self.levels:
            served = max(sum(level.accesses for level in self.levels), 1)
            table: list[tuple[str, ...]] = [("level", "rows", "bytes", "of accesses")]
            table += [
                (
                    level.name,
                    f"{level.rows:,}",
                    sizes.show(level.bytes),
                    f"{100 * level.accesses / served:.1f} %",
                )
                for level in self.levels
            ]
            lines += ["", *_table(table, align=True)]
        if self.shares:
            table = [("rows that stay, of memory", "misses", "to slots", "epoch")]
            table += [
                (
                    f"{'> ' if each.chosen else '  '}{100 * each.share:.0f} %",
                    f"{each.misses:,}",
                    f"{each.kept:,}",
                    duration(each.seconds) if each.seconds else "-",
                )
                for each in self.shares
            ]
            lines += ["", *_table(table, align=True)]
        lines += ["", f"memory, of {sizes.show(self.declared_bytes)} declared"]
        parts = [(f"  {name}", sizes.show(size)) for name, size in self.memory.items()]
        total = sum(self.memory.values())
        lines += _table([*parts, ("  total", sizes.show(total))])
        lines += [
            "",
            f"process: about {sizes.show(self.process_bytes)} without model, optimiser and "
            "activations",
        ]
        if self.page_cache_bytes:
            lines.append(
                f"page cache: up to {sizes.show(self.page_cache_bytes)} of the memory-mapped "
                "graph, not counted: the system takes it back under pressure"
            )
        order = ", nodes in order of copying" if self.node_order == "packed" else ""
        lines.append(
            f"{self.batches_per_epoch:,} batches an epoch, {self.prefetch} made ahead{order}"
        )
        return "\n".join(lines)


def explain(plan: Plan) -> Explanation:
    """Tell what the plan costs; see :meth:`graphlab.outofcore.Plan.explain`."""
    totals, sizing, job = plan.totals, plan.sizing, plan.job
    # Windows are sampled while training, in their own share of the memory.
    made = plan.mode == "rolling" and totals["maker_topology"] > 0
    counted = plan.mode in ("replay", "hybrid") or sizing.topology > 0 or made
    # Files that are read in their order go past the page cache.
    counted |= plan.mode == "rolling" and job.graph_files is not None
    return Explanation(
        chosen=plan.mode,
        modes=_modes(plan),
        levels=_levels(plan),
        memory=sizing.parts,
        declared_bytes=plan.memory,
        process_bytes=totals["footprint_bytes"] + sizing.total + SLACK_BYTES,
        page_cache_bytes=0 if counted else job.topology_bytes,
        batches_per_epoch=plan.batches_per_epoch,
        prefetch=sizing.prefetch,
        node_order=plan.node_order,
        shares=_shares(totals),
    )


def _shares(totals: dict[str, Any]) -> tuple[StaticShare, ...]:
    """The shares that were compared; plans of earlier versions tell their misses only."""
    found = totals.get("misses_by_share", {})
    kept, seconds = totals.get("kept_by_share", {}), totals.get("seconds_by_share", {})
    return tuple(
        StaticShare(
            float(share),
            misses,
            kept.get(share, 0),
            seconds.get(share, 0.0),
            float(share) == totals["static_share"],
        )
        for share, misses in found.items()
    )


def _levels(plan: Plan) -> list[Level]:
    totals, sizing = plan.totals, plan.sizing
    if "misses" not in totals:
        return []
    there = totals.get("device_rows", 0)
    on_device = there * sum(
        rows.out_bytes for rows in jobs.place(plan.job).rows(plan.job)
    )
    if "static_hits" not in totals:  # expected, of one epoch
        held = totals["hot_rows"] + totals.get("slots", 0)
        hits = totals["accesses"] - totals["misses"]
        rest = "packed on disk, window by window"
        if plan.mode == "direct":
            rest = "on disk, read where they are"
        name, size = "rows in memory", sizing.hot + sizing.slots
        if there:
            name, size = "rows on the device and in memory", size + on_device
        return [
            Level(name, held, size, hits),
            Level(rest, totals["misses"], totals["pack_bytes"], totals["misses"]),
        ]
    static = totals["static_hits"] // plan.epochs
    misses = totals["misses"] // plan.epochs
    accesses = totals["accesses"] // plan.epochs
    slots = totals["slots"]
    fast, still = (
        totals.get("device_hits", 0) // plan.epochs,
        totals["hot_rows"] - there,
    )
    levels = [Level("rows on the device", there, on_device, fast)] if there else []
    levels += [
        Level("rows that stay in memory", still, sizing.hot, static - fast),
        Level("slots in memory", slots, sizing.slots, accesses - static - misses),
    ]
    reads = totals.get("shared_reads", 0) // plan.epochs
    if reads:
        rows, size = totals["shared_rows"], totals["shared_bytes"]
        levels.append(Level("shared on disk", rows, size, reads))
    packed = misses - reads
    size = totals["pack_bytes"] // plan.epochs
    return [*levels, Level("packed on disk", packed, size, packed)]


def _modes(plan: Plan) -> list[ModeCost]:
    totals, sizing, job, disk = plan.totals, plan.sizing, plan.job, plan.calibration
    everything = jobs.place(job, everything=True)
    whole = everything.resident_bytes + job.topology_bytes
    whole += (sizing.prefetch + 1) * sizing.block + sizing.scratch
    load = sum(rows.file_bytes for rows in jobs.place(job).rows(job))
    fits = whole <= plan.memory
    costs = [
        ModeCost(
            "memory",
            whole,
            0,
            0,
            0.0,
            load / disk.sequential,
            "fits: no disk needed" if fits else "does not fit",
        )
    ]
    if "misses" not in totals:
        return costs
    columns = jobs.place(job).rows(job)
    demand = _demand(plan, load, columns)
    if plan.mode == "direct":
        note = "fresh samples; rows are read where they are, by a few sampled batches"
        found = predict.direct(demand, columns, disk)
        return [*costs, _cost("direct", sizing.total, found, note)]
    if plan.mode == "hybrid":  # as if every row were packed
        shared = totals["shared_reads"] // plan.epochs
        size = shared * sum(rows.row_bytes for rows in columns)
        demand = demand._replace(pack_bytes=demand.pack_bytes + size)
    found = predict.direct(demand, columns, disk)
    note = "fresh samples; estimated with the rows that this plan keeps"
    memory = sizing.total + job.topology_bytes
    costs.append(_cost("direct", memory, found, note))
    served = 100 * (1 - totals["misses"] / max(totals["accesses"], 1))
    held = totals["hot_rows"] + totals.get("slots", 0)
    found = predict.replay(demand, plan.epochs, disk)
    note = f"{held:,} rows in memory serve {served:.0f} % of accesses"
    costs.append(_cost("replay", sizing.total, found, note))
    if plan.mode == "hybrid":
        held, reads = totals["shared_rows"], totals["shared_reads"] // plan.epochs
        found = predict.hybrid(demand, columns, held, reads, plan.epochs, disk)
        note = f"{held:,} rows are shared by the batches, not packed"
        costs.append(_cost("hybrid", sizing.total, found, note))
    windows, reuse = predict.windows_of(demand, job.disk), totals.get("reuse", 1)
    room = None
    if plan.mode == "rolling":
        windows = -(-plan.batches_per_epoch // totals["window_batches"])
        shared = totals["window_space"] > 0
        room = totals["window_disk"] + totals["window_records"] if shared else None
    found = predict.rolling(demand, windows, reuse, disk, room)
    note = f"fresh samples; {windows} scans of the columns an epoch"
    note += f", every {reuse} epochs" if reuse > 1 else ""
    costs.append(_cost("rolling", sizing.total, found, note))
    return costs


def _demand(plan: Plan, load: int, columns: list[Rows]) -> predict.Demand:
    """An epoch of the plan's trace."""
    # Totals of the modes that sample while training are those of one epoch.
    traced = plan.mode in ("replay", "hybrid")
    epochs, totals = plan.epochs if traced else 1, plan.totals
    device = totals.get("device_rows", 0)
    return predict.Demand(
        plan.batches_per_epoch,
        totals["misses"] // epochs,
        totals.get("sample_bytes", 0) // epochs,
        totals.get("programme_bytes", 0) // epochs,
        totals["pack_bytes"] // epochs,
        load,
        plan.sizing.hot + device * sum(rows.row_bytes for rows in columns),
        totals["accesses"] // epochs,
        totals.get("sample_seconds", 0.0),
        totals.get("schedule_seconds", 0.0),
        # Plans of earlier versions do not tell.
        totals.get("kept", totals["misses"] // 2 if totals.get("slots") else 0)
        // epochs,
        totals.get("piece_bytes")
        or piece_bytes(plan.memory // 8, 1, plan.batches_per_epoch),
    )


def _cost(mode: str, memory: int, found: predict.Cost, note: str) -> ModeCost:
    return ModeCost(
        mode,
        memory,
        found.disk_bytes,
        found.read_bytes,
        found.seconds,
        found.prepare_seconds,
        note,
    )


def _table(rows: list[tuple[str, ...]], *, align: bool = False) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first = row[0].ljust(widths[0])
        middle = [cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)]
        if len(row) > 2 and not align:
            middle[-1] = row[-1]
        lines.append("  ".join([first, *middle]).rstrip())
    return lines
