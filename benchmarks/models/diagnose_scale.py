"""The diagnosis of direction on a generated digraph of 100 million edges: time and memory.

The data are generated: an edge from a node of class c goes to a node of class c + 1 (of ten)
with probability 0.5 and to any node otherwise, so that direction matters; 16 features of the
class's mean and noise; labels of one node in a hundred. The graph stands in memory as a CSC of
int32 sources, as a loader maps it from disk. "Index memory" is what one more int32 adjacency
and its offsets take, twice (by source, by target, without parallel edges); the columns of the
diagnosis have the budget ``memory=``.

    python -m benchmarks.models.diagnose_scale
    python -m benchmarks.models.diagnose_scale --edges 1000000 --no-record
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from graphlab import Graph, diagnose_direction, sizes
from graphlab.datasets import Dataset

NAME = "diagnose_scale"
CLASSES, FEATURES, DEGREE, AHEAD, LABELLED = 10, 16, 10, 0.5, 0.01
MEMORY = "1GiB"


def generate(edges: int, seed: int) -> Dataset:
    """The digraph, target after target."""
    nodes = edges // DEGREE
    draws = np.random.default_rng(seed)
    y = draws.integers(0, CLASSES, nodes)
    members = np.argsort(y, kind="stable").astype(np.int32)
    first = np.searchsorted(y[members], np.arange(CLASSES + 1))
    idx = draws.integers(0, nodes, edges, dtype=np.int32)
    step = DEGREE * 1_000_000
    for start in range(0, edges, step):
        part = slice(start, min(start + step, edges))
        before = (y[np.arange(part.start, part.stop) // DEGREE] - 1) % CLASSES
        place = draws.random(len(before)) * (first[before + 1] - first[before])
        chosen = members[first[before] + place.astype(np.int64)]
        ahead = draws.random(len(before)) < AHEAD
        idx[part] = np.where(ahead, chosen, idx[part])
    ptr = torch.arange(0, edges + 1, DEGREE)
    graph = Graph.from_csc(ptr, torch.from_numpy(idx))
    torch.manual_seed(seed)
    means = torch.randn(CLASSES, FEATURES)
    x = 0.7 * means[torch.from_numpy(y)] + torch.randn(nodes, FEATURES)
    order = torch.randperm(nodes)
    masks = {name: torch.zeros(nodes, dtype=torch.bool) for name in ("train", "test")}
    masks["train"][order[: int(LABELLED * nodes)]] = True
    masks["test"][order[int(LABELLED * nodes) :]] = True
    return Dataset(graph, x=x, y=torch.from_numpy(y), splits=masks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=100_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-record", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    d = generate(chosen.edges, chosen.seed)
    before = harness.process_bytes("VmRSS")
    # The peak so far is the generator's.
    Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    report = diagnose_direction(d, memory=MEMORY, seed=chosen.seed)
    seconds = time.perf_counter() - started
    extra = harness.process_bytes("VmHWM") - before
    index = 2 * (4 * chosen.edges + 8 * (d.num_nodes + 1))
    print(report)
    notes: dict[str, Any] = {
        "extra_bytes": extra,
        "index_bytes": index,
        "memory_bytes": sizes.parse(MEMORY),
        "verdict": report.verdict,
        "reasons": list(report.reasons),
    }
    print(f"{seconds:.1f} s", notes)
    times = dict.fromkeys(("median", "q1", "q3", "best"), round(seconds, 2))
    ours = {**times, "repeats": 1, "versions": {}, "notes": notes}
    record = {
        "case": f"digraph, {chosen.edges:,} edges",
        "seed": chosen.seed,
        "threads": chosen.threads,
        "facts": {
            "graph": f"generated: {d.num_nodes:,} nodes, {FEATURES} features, "
            f"{CLASSES} classes, {LABELLED:.0%} labelled",
            "resident_before": before,
        },
        "ours": "graphlab",
        "agreement": "not comparable",
        "contenders": {"graphlab": ours},
        "ratio": None,
        "best_peer": None,
        "bound": None,
        "machine": harness.machine(),
    }
    if not chosen.no_record:
        harness.keep(NAME, record)


if __name__ == "__main__":
    main()
