"""One epoch of batches from disk in each mode, and what the planner predicted for it.

No model: a loader is read as fast as it gives, so that an epoch is bound by what the mode
reads and writes. All modes give the same batches, which is checked by their checksums. Caches
are dropped before each run. Data and plans are kept in ``GRAPHLAB_BENCH``.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial

FOLDER = Path(os.environ.get("GRAPHLAB_BENCH", "/tmp/graphlab-bench"))
NODES, EDGES, WIDTH = 500_000, 5_000_000, 128
FANOUT, BATCH = [15, 10], 1024


def store_of(quick: bool) -> Any:
    import graphlab as gl

    nodes, edges = (20_000, 100_000) if quick else (NODES, EDGES)
    path = FOLDER / f"sbm-{nodes}-{edges}-{WIDTH}"
    if not (path / "manifest.json").exists():
        gl.datasets.generate(
            "sbm", nodes, edges, WIDTH, path=path, train=0.1, overwrite=True
        )
    return gl.outofcore.Store.open(path)


def setup(memory: float, disk: float, quick: bool, facts: dict[str, Any]) -> Trial:
    from graphlab.outofcore import plan

    store = store_of(quick)
    features = store.num_nodes * WIDTH * 4
    batch = 64 if quick else BATCH
    fanout = [5, 5] if quick else FANOUT
    given = {
        "replay": None,
        "hybrid": None,
        "rolling": int(disk * features),
        "direct": None,
    }
    contenders: list[Contender] = []
    base: Any = None
    for mode, limit in given.items():
        if mode == "hybrid":  # in half of what replay takes
            limit = sum(p.stat().st_size for p in base.path.iterdir()) // 2
        name = f"{mode}-{quick}-{memory}-{limit}"
        start = time.perf_counter()
        made = plan(
            store,
            fanout,
            "train",
            batch,
            memory=int(memory * features),
            disk=limit,
            mode=mode,
            path=FOLDER / f"modes-{zlib.crc32(name.encode()):08x}",
        )
        prepared = time.perf_counter() - start
        base = made if mode == "replay" else base
        contenders.append(contender(mode, made, base, prepared))
    direct = contenders[-1]
    return Trial(contenders, _equal, reference=lambda: direct.value(direct.run()))


def _equal(mine: list[float], theirs: list[float]) -> None:
    assert mine == theirs, "batches differ"


def contender(mode: str, made: Any, base: Any, prepared: float) -> Contender:
    told = {
        cost.mode: cost for cost in (made if mode != "direct" else base).explain().modes
    }

    def run() -> dict[str, Any]:
        loader = made.loader()
        sums = [float(batch.x.sum()) for batch in loader]
        stats = loader.stats()
        peak = getattr(loader._engine, "peak_disk_bytes", 0)
        loader.close()
        return {"sums": sums, "peak_disk_bytes": peak, **stats}

    def notes(found: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in found.items() if key != "sums"}
        cost = told[mode]
        return {
            **kept,
            "predicted_seconds": cost.read_seconds,
            "of_predicted": found["seconds"] / max(cost.read_seconds, 1e-9),
            "predicted_read_bytes": cost.read_bytes,
            "prepare_seconds": prepared,
            "disk_bytes": cost.disk_bytes,
            "calibration": made.calibration._asdict(),
        }

    return Contender(
        mode,
        run,
        ["torch", "numpy"],
        prepare=cgroup.drop_caches,
        value=lambda found: found["sums"],
        seconds=lambda found: found["seconds"],
        notes=notes,
    )


def cases(quick: bool) -> Iterable[Case]:
    memory, disk = (0.8, 4.0) if quick else (0.25, 1.0)
    facts = {
        "graph": "sbm",
        "num_nodes": NODES,
        "num_edges": EDGES,
        "num_features": WIDTH,
        "dtype": "float32",
        "fanout": FANOUT,
        "batch_size": BATCH,
        "seed_share": 0.1,
        "memory_share": memory,
        "rolling_disk_share": disk,
    }
    yield Case(
        f"loader only, {NODES:,} x {WIDTH}, memory {100 * memory:.0f} %, "
        f"rolling in {disk:.0f}x the features",
        lambda seed: setup(memory, disk, quick, facts),
        facts,
        repeats=1 if quick else 3,
        warmups=0,
    )


if __name__ == "__main__":
    harness.main("disk_modes", cases, repeats=3)
