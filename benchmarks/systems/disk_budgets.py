"""A sweep of budgets: what is declared holds, by our own account and by the kernel's.

For each budget a process plans and reads two epochs in a cgroup of the budget, what the bare
process takes, and 4 MiB. Its ledgers' peaks must be within ``memory``, its files within
``disk``, and the kernel must not end it. A budget that cannot hold is refused in words,
which counts as kept. Batches are compared with those of the in-memory loader.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.systems.disk_epoch import FOLDER, MIB, Setting, make_store

# Memory and disk in multiples of the features, and the mode; disk 0: whatever is free.
BUDGETS = [
    (memory, disk, mode)
    for mode, disks in (
        ("replay", (0, 2, 1)),
        ("rolling", (1, 0.5, 0.25)),
        ("hybrid", (1.5,)),
        ("direct", (0,)),
        ("auto", (0, 1, 0.25)),
    )
    for disk in disks
    # Rolling needs more than others: it samples and packs beside reading.
    for memory in ((0.08, 0.15, 0.25, 0.4) if mode == "rolling" else (0.08, 0.15, 0.4))
]


def child(memory: int, disk: int, mode: str, setting: Setting) -> dict[str, Any]:
    import torch
    import torch_geometric.data

    from graphlab.errors import BudgetError, OutOfDiskError
    from graphlab.outofcore import Store, plan

    store = Store.open(setting.store)
    seeds = store.dataset().ids("train")
    if mode == "nothing":
        torch_geometric.data.Data(x=torch.zeros(1, 1)).to_dict()
        return {}
    if mode == "in memory":
        return {"sums": [float(x) for x in _in_memory(store, setting, seeds)]}
    path = FOLDER / f"budget-{memory}-{disk}-{mode}"
    shutil.rmtree(path, ignore_errors=True)
    start = time.perf_counter()
    try:
        made = plan(
            store,
            list(setting.fanout),
            seeds,
            setting.batch_size,
            memory=memory,
            disk=disk or None,
            mode=mode,
            path=path,
        )
        loader = made.loader()
    except (BudgetError, OutOfDiskError) as error:
        return {"refused": str(error).splitlines()[0], "most_disk": _size(path)}
    sums, most = [], _size(path)
    for epoch in range(2):
        for batch in loader:
            if not epoch:
                sums.append(float(batch.x.sum()))
            most = max(most, _size(path))
    stats = loader.stats()
    loader.close()
    return {
        "sums": sums,
        "mode": made.mode,
        "seconds": time.perf_counter() - start,
        "planner_peak_bytes": made.totals["planner_peak_bytes"],
        "peak_memory_bytes": stats["peak_memory_bytes"],
        "most_disk": most,
    }


def _in_memory(store: Any, setting: Setting, seeds: Any) -> Any:
    """Sums of the batches, whose columns are read by the store's own gather."""
    import graphlab as gl

    loader = gl.sample.NeighborLoader(
        store.dataset(), list(setting.fanout), setting.batch_size, seeds, prefetch=0
    )
    return (batch.x.sum() for batch in loader)


def _size(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        try:
            total += file.stat().st_blocks * 512 if file.is_file() else 0
        except FileNotFoundError:  # a window that was just deleted
            continue
    return total


def run(memory: int, disk: int, mode: str, setting: Setting, limit: int) -> Any:
    arguments = json.dumps([memory, disk, mode, setting])
    module = "benchmarks.systems.disk_budgets"
    command = [sys.executable, "-m", module, "--child", arguments]
    done = cgroup.in_cgroup(limit, command, cwd=harness.ROOT)
    found: dict[str, Any] = {"oom_kills": done.oom_kills}
    if done.returncode == 0:
        found |= json.loads(done.stdout.splitlines()[-1])
    elif not done.oom_kills:
        raise RuntimeError(f"{mode} in {memory}, {disk}: {done.stderr[-2000:]}")
    found["cgroup_peak_bytes"] = done.peak_bytes
    found["resident_peak_bytes"] = done.peak_resident_bytes
    return found


def setup(setting: Setting) -> Trial:
    make_store(setting)
    features = setting.num_nodes * setting.num_features * 4
    bare = run(0, 0, "nothing", setting, 2**40)
    expected = run(0, 0, "in memory", setting, 2**40)["sums"]

    def sweep() -> list[dict[str, Any]]:
        rows = []
        for share, disk_share, mode in BUDGETS:
            memory, disk = int(share * features), int(disk_share * features)
            limit = bare["resident_peak_bytes"] + memory + 4 * MIB
            found = run(memory, disk, mode, setting, limit)
            sums = found.pop("sums", None)
            within = [
                found.get("planner_peak_bytes", 0) <= memory,
                found.get("peak_memory_bytes", 0) <= memory,
                not disk or found.get("most_disk", 0) <= disk,
                not found["oom_kills"],
            ]
            asked = {"memory": memory, "disk": disk, "asked": mode, "cgroup": limit}
            same = None if sums is None else sums == expected
            rows.append({**asked, **found, "kept": all(within), "same_batches": same})
        return rows

    def notes(rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "budgets": len(rows),
            "kept": sum(row["kept"] for row in rows),
            "refused": sum("refused" in row for row in rows),
            "ended_by_the_kernel": sum(row["oom_kills"] for row in rows),
            "rows": rows,
        }

    def agree(rows: Any, _: Any) -> None:
        assert all(row["same_batches"] in (None, True) for row in rows), rows

    ours = Contender("sweep", sweep, ["torch", "numpy"], notes=notes)
    return Trial([ours], agree, reference=lambda: None)


def cases(quick: bool) -> Iterable[Case]:
    setting = Setting(200_000, 2_000_000, 128, 0.02, (10, 5), 256)
    if quick:
        setting = Setting(20_000, 100_000, 128, 0.02, (5, 5), 64, 16)
    yield Case(
        f"{len(BUDGETS)} budgets, {setting.num_nodes:,} x {setting.num_features}",
        lambda seed: setup(setting),
        {**setting.facts, "budget_share": None},
        repeats=1,
        warmups=0,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        memory, disk, mode, setting = json.loads(sys.argv[2])
        fields = [tuple(v) if isinstance(v, list) else v for v in setting]
        print(json.dumps(child(memory, disk, mode, Setting(*fields))))
    else:
        harness.main("disk_budgets", cases, repeats=1)
