"""10M nodes, 100M edges, 5 GB of features, all in 2 GiB: prepare, then train one epoch.

Each stage is a process of its own in a cgroup of 2 GiB, page cache included; ``plan`` is
told ``process_memory``. A stage's limit is the time of its least work at the rates that the
plan measured: one scan and one write of what is packed, sampling and scheduling by one
thread; then the larger of reading and computing. Generating the graph is a record of its own
(``generate``). Data and plans are kept in ``GRAPHLAB_BENCH``.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterable
from typing import Any

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.systems.disk_epoch import FOLDER, Setting, make_store, read_bytes

LIMIT = 2 * 2**30
SEEDS = 100_000
# Beside the data: the model, its optimiser and the activations of a batch.
ACTIVATIONS = 400 * 2**20


def child(stage: str, setting: Setting) -> dict[str, Any]:
    import torch

    import graphlab as gl
    from graphlab.outofcore import Store, plan

    torch.manual_seed(0)
    model = gl.models.SAGE(
        setting.num_features, 10, hidden_channels=setting.hidden, num_layers=2
    )
    optimiser = torch.optim.Adam(model.parameters(), 0.003)
    import torch_geometric.data

    torch_geometric.data.Data(x=torch.zeros(1, 1))  # part of what the process takes

    store = Store.open(setting.store)
    path = FOLDER / f"large-{setting.num_nodes}"
    start, before = time.perf_counter(), read_bytes()
    made = plan(
        store,
        list(setting.fanout),
        store.dataset().ids("train")[:SEEDS],
        setting.batch_size,
        # The first stage decides; the second one opens what it made.
        memory=_memory(path, stage),
        mode="replay",
        path=path,
    )
    cost = {c.mode: c for c in made.explain().modes}["replay"]
    found = {
        "seconds": time.perf_counter() - start,
        "read_bytes": read_bytes() - before,
        "declared_memory_bytes": made.memory,
        "batches": made.batches_per_epoch,
        "calibration": made.calibration._asdict(),
    }
    if stage == "prepare":
        return {
            **found,
            "limit_seconds": cost.prepare_seconds,
            "of_limit": found["seconds"] / cost.prepare_seconds,
            "planner_peak_bytes": made.totals["planner_peak_bytes"],
            "disk_bytes": sum(p.stat().st_size for p in path.iterdir()),
            "totals": made.totals,
            "predicted_epoch_seconds": cost.seconds,
        }
    loader = made.loader()
    losses, start, before = [], time.perf_counter(), read_bytes()
    for batch in loader:
        out = model(
            batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
        )
        size = batch.batch_size
        loss = torch.nn.functional.cross_entropy(out[:size], batch.y[:size])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    stats = loader.stats()
    seconds = time.perf_counter() - start
    return {
        **found,
        "seconds": seconds,
        "read_bytes": read_bytes() - before,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "of_limit": seconds / stats["limit_seconds"],
        **{key: value for key, value in stats.items() if key != "seconds"},
    }


def _memory(path: Any, stage: str) -> int:
    from graphlab.outofcore import build

    held = path / "memory.json"
    if stage == "prepare":
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        held.write_text(json.dumps(build.within_process(LIMIT, LIMIT - ACTIVATIONS)))
    return int(json.loads(held.read_text()))


def run(stage: str, setting: Setting) -> dict[str, Any]:
    arguments = json.dumps([stage, setting])
    module = "benchmarks.systems.disk_large"
    command = [sys.executable, "-m", module, "--child", arguments]
    done = cgroup.in_cgroup(LIMIT, command, cwd=harness.ROOT)
    if done.oom_kills:
        raise MemoryError(f"{stage}: out of memory in {LIMIT} bytes")
    if done.returncode != 0:
        raise RuntimeError(f"{stage}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        **found,
        "cgroup_bytes": LIMIT,
        "cgroup_peak_bytes": done.peak_bytes,
        "resident_peak_bytes": done.peak_resident_bytes,
        "device_write_bytes": done.write_bytes,
    }


def setup(setting: Setting) -> Trial:
    make_store(setting)

    def contender(name: str, stage: str) -> Contender:
        return Contender(
            name,
            lambda: run(stage, setting),
            ["torch", "torch-geometric", "numpy"],
            prepare=cgroup.drop_caches,
            seconds=lambda found: found["seconds"],
            notes=lambda found: found,
        )

    stages = [contender("prepare", "prepare"), contender("train one epoch", "train")]
    return Trial(stages, None)


def cases(quick: bool) -> Iterable[Case]:
    setting = Setting(10_000_000, 100_000_000, 128, 0.02, hidden=64)
    if quick:
        setting = Setting(20_000, 100_000, 128, 0.1, (5, 5), 64, 16)
    yield Case(
        f"{setting.num_nodes:,} nodes, {setting.num_edges:,} edges, "
        f"{setting.num_features} wide, {SEEDS:,} seeds, 2 GiB",
        lambda seed: setup(setting),
        {**setting.facts, "budget_share": None, "seeds": SEEDS},
        repeats=1,
        warmups=0,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        stage, setting = json.loads(sys.argv[2])
        fields = [tuple(v) if isinstance(v, list) else v for v in setting]
        print(json.dumps(child(stage, Setting(*fields))))
    else:
        harness.main("disk_large", cases, repeats=1)
