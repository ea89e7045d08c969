"""The end of planning: figures, checksums, the manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from graphlab import _version, check, sizes
from graphlab.errors import BudgetError
from graphlab.outofcore import job as jobs
from graphlab.outofcore import layout
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.calibrate import Calibration
from graphlab.outofcore.columns import Rows
from graphlab.outofcore.job import Job
from graphlab.outofcore.pack import Packed, hot_name, shared_name
from graphlab.outofcore.sizing import Largest, Sizing
from graphlab.progress import say

HOT_IDS = "hot-ids.bin"
# A bit for each row that stays, in their order: whether it is on the device.
ON_DEVICE = "device-rows.bin"
INPUTS = "inputs.bin"
# Modes whose batches have packs, and so an order in which these are copied.
PACKING = ("replay", "hybrid", "rolling")
# Between what a process takes and what we count: allocator slack, thread stacks.
SLACK_BYTES = 4 * 2**20


def footprint() -> int:
    """Bytes of memory that this process takes now (resident set)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class DiskError(BudgetError):
    """The declared disk cannot hold the packs."""


def disk_need(job: Job, packs: list[Packed], more: int = 0) -> int | None:
    """Bytes that the plan takes, with ``more`` to come, where the disk has fewer; or None."""
    if job.disk is None:
        return None
    written = layout.held_bytes(job.path, ("pack-", "hot-", "shared-"))
    need = written + sum(p.pack_bytes + p.hot_bytes + p.shared_bytes for p in packs)
    need += more
    return need if need > job.disk else None


def require_disk(job: Job, packs: list[Packed]) -> None:
    """Refuse before packing when the declared disk cannot hold the plan."""
    need = disk_need(job, packs)
    if need is not None and job.disk is not None:
        raise DiskError(
            f"plan: `disk` must be at least {sizes.show(need)} ({need} bytes) for mode "
            f"replay in {sizes.show(job.limit)} of memory, got {sizes.show(job.disk)}"
        )


def totals_of(job: Job, ledger: Ledger, largest: Largest) -> dict[str, Any]:
    """Figures that every mode has."""
    return {
        "batch_size": job.request.batch_size,
        "batches_per_epoch": len(job.request.batches(0)),
        "largest": list(largest),
        "planner_peak_bytes": ledger.peak,
        "topology_bytes": job.topology_bytes,
        "hot_rows": 0,
        "footprint_bytes": footprint(),
    }


def entry(path: Path) -> dict[str, Any]:
    """A small file's entry in the file table."""
    data = np.fromfile(path, dtype=np.uint8)
    return {path.name: {"bytes": len(data), "crc32c": layout.crc(data)}}


def entries(folder: Path, stem: str) -> dict[str, Any]:
    """Entries of a file of regions, which its index checks, and of the index."""
    size = (folder / f"{stem}.bin").stat().st_size
    return {f"{stem}.bin": {"bytes": size}, **entry(folder / f"{stem}.idx")}


def hot_entry(folder: Path, packed: Packed) -> dict[str, Any]:
    """Entry of the rows of a column that stay in memory."""
    path = folder / hot_name(packed.rows.name)
    found = {
        "bytes": path.stat().st_size,
        "rows_bytes": packed.hot_bytes,
        "crc32c": packed.hot_crc,
    }
    return {path.name: found}


def device_entry(
    folder: Path, on_device: npt.NDArray[np.bool_] | None
) -> dict[str, Any]:
    """Write which rows that stay are on the device, where some are; the file's entry."""
    if on_device is None:
        return {}
    layout.write_bytes(folder / ON_DEVICE, np.packbits(on_device))
    return entry(folder / ON_DEVICE)


def read_on_device(
    folder: Path, files: dict[str, Any], count: int
) -> npt.NDArray[np.bool_] | None:
    """Which of ``count`` rows that stay are on the device; None: none is."""
    if ON_DEVICE not in files:
        return None
    bits = layout.read_checked(folder / ON_DEVICE, files[ON_DEVICE])
    return np.unpackbits(bits, count=count).view(np.bool_)


def shared_entry(folder: Path, packed: Packed) -> dict[str, Any]:
    """Entry of the rows of a column that batches share."""
    path = folder / shared_name(packed.rows.name)
    found = {
        "bytes": path.stat().st_size,
        "rows_bytes": packed.shared_bytes,
        "crc32c": packed.shared_crc,
    }
    return {path.name: found}


def publish(
    job: Job,
    mode: str,
    sizing: Sizing,
    totals: dict[str, Any],
    calibration: Calibration,
    columns: list[Rows],
    files: dict[str, Any],
) -> dict[str, Any]:
    """Write the manifest, which makes the folder a plan."""
    inputs = job.request.input_nodes.contiguous()
    if mode not in ("replay", "hybrid"):
        layout.write_bytes(job.path / INPUTS, inputs.view(torch.uint8).numpy())
        files |= entry(job.path / INPUTS)
    if job.node_order == "packed" and mode not in PACKING:
        say(f"plan: mode {mode} packs no rows: nodes are in order of discovery")
    body = {
        "generator": f"graphlab {_version.__version__}",
        "store": job.store.fingerprint,
        "store_path": str(job.store.path),
        "identity": job.identity(job.arguments),
        "arguments": job.arguments,
        "mode": mode,
        "node_type": None,
        "node_order": job.node_order if mode in PACKING else "discovery",
        "columns": [rows.describe() for rows in columns],
        "sizing": sizing._asdict(),
        "totals": totals,
        "calibration": calibration._asdict(),
        "files": files,
    }
    check.one_of("plan", "mode", mode, jobs.MODES[1:])
    layout.write_manifest(job.path, body)
    return body


def forget(folder: Path) -> None:
    """Remove journals and spilled lists, and what a killed run was about to publish."""
    for pattern in ("journal-*", ".*.tmp.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
