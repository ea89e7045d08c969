"""Sampling a graph that is larger than memory: by its map, and in its files' order.

Each contender samples the first batches of an epoch in a process of its own, in a cgroup of
what the bare process takes and ``MEMORY``, of which the graph's arrays are several times as
large; caches are dropped before. The sums over all samples are compared with those of a
process without a limit, whose graph is in memory.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial

MIB = 2**20
FOLDER = Path(tempfile.gettempdir()) / "graphlab-topology"


class Setting(NamedTuple):
    """What is sampled.

    Attributes:
        num_nodes, num_edges: Of an R-MAT graph.
        seeds: Seeds of the epoch.
        batch_size, fanout: Of the batches.
        batches: How many are sampled by whoever reads in order.
        mapped: How many are sampled from the map, which takes long for each.
        memory: Bytes beside the bare process.
    """

    num_nodes: int
    num_edges: int
    seeds: int
    batch_size: int
    fanout: tuple[int, ...]
    batches: int
    mapped: int
    memory: int

    @property
    def store(self) -> Path:
        return FOLDER / f"rmat-{self.num_nodes}-{self.num_edges}"


def child(how: str, batches: int, setting: Setting) -> dict[str, Any]:
    """Sample, and tell the seconds and sums over the samples."""
    import torch

    from graphlab.outofcore import Store
    from graphlab.outofcore.budget import Ledger
    from graphlab.outofcore.topology import GraphFiles, expect_random_reads
    from graphlab.outofcore.trace import Request, Samples
    from graphlab.sample.sampler import NeighborSampler

    torch.set_num_threads(1)
    store = Store.open(setting.store)
    graph = store.graph
    sampler = NeighborSampler(graph, list(setting.fanout), seed=0)
    ids = torch.randperm(setting.num_nodes, generator=torch.Generator().manual_seed(0))
    request = Request(
        ids[: setting.seeds].clone(), setting.batch_size, 1, 0, True, False
    )
    del ids
    if how == "nothing":
        return {}
    ledger = Ledger(setting.memory if how == "in order" else 2**40, "benchmark")
    files = GraphFiles.of(store, setting.memory, 2**14) if how == "in order" else None
    if how == "mapped, random":
        expect_random_reads(graph)
    start = time.perf_counter()
    samples = Samples(sampler, request, range(batches), ledger, files, threads=1)
    sums = [
        [int(s.n_id.sum()), int(s.e_id.sum()), int((s.row * s.col).sum())]
        for _, s, _ in samples
    ]
    seconds = time.perf_counter() - start
    found = {
        "sums": sums,
        "seconds": seconds,
        "groups": samples.groups,
        "counted_bytes": samples.device_bytes,
        "ledger_peak_bytes": ledger.peak,
    }
    samples.close()
    return found


def run(how: str, batches: int, setting: Setting, limit: int) -> dict[str, Any]:
    """A child in a cgroup, from cold caches."""
    cgroup.drop_caches()
    arguments = json.dumps([how, batches, setting])
    module = "benchmarks.systems.topology"
    command = [sys.executable, "-m", module, "--child", arguments]
    done = cgroup.in_cgroup(limit, command, cwd=harness.ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{how}: {done.oom_kills} kills, {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["read_bytes"] = done.read_bytes
    found["cgroup_peak_bytes"] = done.peak_bytes
    found["resident_peak_bytes"] = done.peak_resident_bytes
    return found


def setup(setting: Setting) -> Trial:
    import graphlab as gl
    from graphlab.outofcore import Store

    if not (setting.store / "manifest.json").exists():
        shutil.rmtree(setting.store, ignore_errors=True)
        gl.datasets.generate(
            "rmat",
            num_nodes=setting.num_nodes,
            num_edges=setting.num_edges,
            num_features=1,
            seed=0,
            path=setting.store,
        )
    arrays = [t for t in Store.open(setting.store).graph.csc() if t is not None]
    topology = sum(t.nbytes for t in arrays)
    bare = run("nothing", 0, setting, 2**40)
    limit = bare["resident_peak_bytes"] + setting.memory
    # What a process reads before it samples: libraries.
    start_bytes = bare["read_bytes"]

    def notes(found: dict[str, Any]) -> dict[str, Any]:
        count = len(found["sums"])
        found = {name: value for name, value in found.items() if name != "sums"}
        read = found["read_bytes"] - start_bytes
        return {
            **found,
            "batches": count,
            "seconds_a_batch": found["seconds"] / count,
            "read_bytes_a_batch": read // count,
            "read_of_topology": read / topology,
            "topology_bytes": topology,
            "cgroup_bytes": limit,
        }

    def contender(name: str, how: str, batches: int, limit: int) -> Contender:
        return Contender(
            name,
            lambda: run(how, batches, setting, limit),
            ["torch", "numpy"],
            value=lambda found: found["sums"],
            seconds=lambda found: float(found["seconds"]) / batches,
            notes=notes,
        )

    def agree(found: list[Any], expected: list[Any]) -> None:
        assert found == expected[: len(found)], (found[:2], expected[:2])

    return Trial(
        [
            contender("in order", "in order", setting.batches, limit),
            contender("mapped", "mapped", setting.mapped, limit),
            contender("mapped, MADV_RANDOM", "mapped, random", setting.mapped, limit),
            contender("mapped, no limit", "mapped", setting.batches, 2**40),
        ],
        agree,
        reference=lambda: run("mapped", setting.batches, setting, 2**40)["sums"],
    )


def cases(quick: bool) -> Iterable[Case]:
    setting = Setting(4_000_000, 100_000_000, 100_000, 1024, (15, 10), 98, 2, 64 * MIB)
    if quick:
        setting = Setting(200_000, 4_000_000, 2_000, 256, (5, 5), 8, 2, 8 * MIB)
    yield Case(
        f"R-MAT, {setting.num_nodes:,} nodes, {setting.num_edges:,} edges, fanout "
        f"{list(setting.fanout)}, {setting.seeds:,} seeds; seconds a batch",
        lambda seed: setup(setting),
        {
            "nodes": setting.num_nodes,
            "edges": setting.num_edges,
            "fanout": list(setting.fanout),
            "seeds": setting.seeds,
            "batch_size": setting.batch_size,
            "memory": setting.memory,
        },
        repeats=1,
        warmups=0,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        how, batches, setting = json.loads(sys.argv[2])
        fields = [tuple(v) if isinstance(v, list) else v for v in setting]
        print(json.dumps(child(how, batches, Setting(*fields))))
    else:
        harness.main("topology", cases, repeats=1)
