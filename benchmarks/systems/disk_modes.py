"""Epochs of batches from disk in each mode, and what the planner predicted for them.

No model: a loader is read as fast as it gives, so that an epoch is bound by what the mode
reads and writes. Each contender reads two epochs after caches were dropped; the second one
is the timed one and does nothing with its batches, the first ("cold") sums them. All modes
give the batches of the in-memory loader, which is checked by sums. One contender only reads
the packs, through the same ring, and puts nothing together: the bandwidth of the device in
the same run.
Data and plans are kept in ``GRAPHLAB_BENCH``.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.systems.disk_epoch import FOLDER, Setting, make_store

MODES = ("replay", "hybrid", "rolling", "direct")
# Hybrid gets a disk on which this share of the packs would not fit.
HYBRID_SHORT = 0.15


def seeds_of(dataset: Any, setting: Setting) -> Any:
    return dataset.ids("train")[: setting.batches * setting.batch_size]


def make(store: Any, setting: Setting, mode: str, disk: int | None) -> Any:
    """A plan made from nothing, with the seconds that took."""
    from graphlab.outofcore import plan

    name = f"{setting}-{mode}-{disk}"
    path = FOLDER / f"modes-{zlib.crc32(name.encode()):08x}"
    cgroup.drop_caches()
    start = time.perf_counter()
    made = plan(
        store,
        list(setting.fanout),
        seeds_of(store.dataset(), setting),
        setting.batch_size,
        memory=setting.budget,
        disk=disk,
        mode=mode,
        path=path,
        overwrite=True,
    )
    return made, time.perf_counter() - start


def setup(setting: Setting, rolling_share: float, short: float) -> Trial:
    import torch

    import graphlab as gl
    from graphlab.outofcore import Store

    make_store(setting)
    store = Store.open(setting.store)
    features = setting.num_nodes * setting.num_features * 4
    plans: dict[str, tuple[Any, float]] = {}
    for mode in MODES:
        disk = int(rolling_share * features) if mode == "rolling" else None
        if mode == "hybrid":
            replay = plans["replay"][0]
            held = sum(p.stat().st_size for p in replay.path.iterdir())
            disk = int(held - short * replay.totals["pack_bytes"])
        plans[mode] = make(store, setting, mode, disk)

    def reference() -> list[float]:
        dataset = store.dataset()
        loader = gl.sample.NeighborLoader(
            dataset,
            list(setting.fanout),
            setting.batch_size,
            seeds_of(dataset, setting),
            columns=[],
        )
        x = dataset.columns["x"].gather(torch.arange(setting.num_nodes))
        return [float(x[batch.n_id].sum()) for batch in loader]

    def agree(mine: list[float] | None, theirs: list[float]) -> None:
        assert mine is None or mine == theirs, "batches differ"

    contenders = [contender(mode, *plans[mode]) for mode in MODES]
    contenders.append(stream(plans["replay"][0]))
    return Trial(contenders, agree, reference=reference)


def contender(mode: str, made: Any, prepared: float) -> Contender:
    cost = {c.mode: c for c in made.explain().modes}[mode]

    def run() -> dict[str, Any]:
        loader = made.loader()
        found: list[dict[str, Any]] = []
        for summed in (True, False):
            sums = [float(batch.x.sum()) if summed else 0.0 for batch in loader]
            found.append({"sums": sums, **loader.stats()})
        peak = getattr(loader._engine, "peak_disk_bytes", None)
        loader.close()
        cold, steady = found
        steady["cold_seconds"], steady["cold_sums"] = cold["seconds"], cold["sums"]
        return {**steady, "peak_window_bytes": peak}

    def notes(found: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in found.items() if "sums" not in key}
        return {
            **kept,
            "read_bandwidth": found["device_bytes"] / found["seconds"],
            "predicted_seconds": cost.seconds,
            "of_predicted": found["seconds"] / max(cost.seconds, 1e-9),
            "predicted_read_bytes": cost.read_bytes,
            "prepare_seconds": prepared,
            "predicted_prepare_seconds": cost.prepare_seconds,
            "disk_bytes": sum(
                p.stat().st_size for p in made.path.rglob("*") if p.is_file()
            ),
            "declared_disk_bytes": made.body["arguments"]["disk"],
            "calibration": made.calibration._asdict(),
        }

    return Contender(
        mode,
        run,
        ["torch", "numpy"],
        prepare=cgroup.drop_caches,
        value=lambda found: found["cold_sums"],
        seconds=lambda found: found["seconds"],
        notes=notes,
    )


def stream(made: Any) -> Contender:
    """Read the packs front to back, and do nothing else."""
    from graphlab.outofcore.reader import DirectFile, Ring, cut

    path = Path(made.path) / "pack-x-00000.bin"

    def run() -> dict[str, Any]:
        file = DirectFile(path)
        ring = Ring(made.sizing.depth, made.sizing.segment)
        start = time.perf_counter()
        for _ in ring.stream(cut(file, 0, file.size, ring.segment)):
            pass
        seconds = time.perf_counter() - start
        ring.close()
        file.close()
        return {"seconds": seconds, "read_bytes": file.device_bytes}

    return Contender(
        "only read the packs",
        run,
        prepare=cgroup.drop_caches,
        value=lambda found: None,
        seconds=lambda found: found["seconds"],
        notes=lambda found: {
            **found,
            "read_bandwidth": found["read_bytes"] / found["seconds"],
        },
    )


def cases(quick: bool) -> Iterable[Case]:
    # The second one differs in graph, width, fanout and batch size.
    skewed = Setting(
        1_000_000,
        10_000_000,
        256,
        0.1,
        (10, 5, 5),
        256,
        budget_share=0.08,
        batches=196,
        graph="rmat",
    )
    # Workload, disk of rolling in features, and what hybrid's disk lacks of the packs.
    settings = [(Setting(batches=49), 1.0, HYBRID_SHORT), (skewed, 0.4, 0.1)]
    if quick:
        small = Setting(20_000, 100_000, 128, 0.1, (5, 5), 64, 16, 0.5, batches=31)
        settings = [(small, 4.0, 0.02)]
    for setting, share, short in settings:
        facts = {**setting.facts, "model": None, "rolling_disk_share": share}
        graph = "" if setting.graph == "sbm" else f"{setting.graph} "
        yield Case(
            f"loader only, {graph}{setting.num_nodes:,} x {setting.num_features}, "
            f"{setting.batches} batches, memory {100 * setting.budget_share:.0f} %, "
            f"rolling in {share:g}x the features",
            lambda seed, s=setting, r=share, h=short: setup(s, r, h),
            facts,
            repeats=2,
            warmups=0,
        )


if __name__ == "__main__":
    harness.main("disk_modes", cases, repeats=2)
