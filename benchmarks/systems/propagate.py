"""Directed propagation with four times more feature bytes than the process may hold.

A generated R-MAT graph with 544 float32 features a node (2.2 GB for a million nodes) is
propagated once along and once against its edges, in a memory cgroup of 512 MiB that holds
everything: interpreter, graph, page cache. Afterwards, outside, 32 columns are propagated in
memory; every number of the store must be the same to the bit.

    python -m benchmarks.systems.propagate
    python -m benchmarks.systems.propagate --quick     small, nothing recorded
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import cgroup, harness
from graphlab import datasets
from graphlab.datasets.column import gather
from graphlab.graph import DirectedOperators
from graphlab.outofcore import Store

NAME = "nodes/propagate"
FOLDER = Path(os.environ.get("GRAPHLAB_BENCH", "/tmp/graphlab-bench"))
PATTERNS = ("A", "T")
MIB = 2**20

CHILD = """
import sys
import torch
from graphlab.outofcore import Store, propagate
torch.set_num_threads(int(sys.argv[4]))
propagate(Store.open(sys.argv[1]), sys.argv[2], hops=1, patterns=["A", "T"],
          memory=sys.argv[3])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    nodes, edges, width, limit = 1_000_000, 4_000_000, 544, 512 * MIB
    if chosen.quick:
        nodes, edges, width = 20_000, 80_000, 64
    FOLDER.mkdir(parents=True, exist_ok=True)
    source = FOLDER / f"rmat-{nodes}-{edges}-{width}"
    if not (source / "manifest.json").exists():
        datasets.generate("rmat", nodes, edges, width, path=source, overwrite=True)
    out = Path(tempfile.mkdtemp(prefix="propagated-", dir=FOLDER))
    try:
        record = measure(source, out / "store", limit, chosen.threads, chosen.quick)
    finally:
        shutil.rmtree(out)
    print(record)
    if not chosen.quick:
        harness.save(NAME, [record])


def measure(
    source: Path, out: Path, limit: int, threads: int, quick: bool
) -> dict[str, Any]:
    memory = "24MiB" if quick else "200MiB"
    command = [sys.executable, "-c", CHILD, str(source), str(out), memory, str(threads)]
    # Pages that this process has cached would not be charged to the group.
    cgroup.drop_caches(*(p for p in source.iterdir() if p.is_file()))
    # Else glibc keeps what is freed in pieces of up to 32 MiB, and the group counts it.
    given = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    done = cgroup.in_cgroup(limit, command, env=given)
    if done.returncode:
        raise RuntimeError(f"exit {done.returncode}: {done.stderr[-2000:]}")
    store, d = Store.open(out), datasets.open(source)
    columns = torch.arange(0, d.num_features, max(1, d.num_features // 32))
    slots = 1 + len(PATTERNS)
    rows = store.x
    x = torch.empty(d.num_nodes, len(columns))
    held = torch.empty(d.num_nodes, slots, len(columns))
    for ids in torch.arange(d.num_nodes).split(8192):
        x[ids] = gather(d.x, ids)[:, columns]
        held[ids] = rows.gather(ids).view(len(ids), slots, -1)[..., columns]
    expected = DirectedOperators(d.graph, PATTERNS).propagate(x, 1)
    features = 4 * d.num_nodes * d.num_features
    return {
        "case": f"{d.num_nodes:,} nodes, {d.num_features} features",
        "facts": {
            "graph": f"generated R-MAT, {d.num_nodes:,} nodes, {d.num_edges:,} edges",
            "patterns": list(PATTERNS),
            "hops": 1,
            "memory": memory,
            "cgroup_bytes": limit,
            "feature_bytes": features,
            "written_bytes": slots * features,
        },
        "features_over_cgroup": features / limit,
        "equal": bool(torch.equal(held, expected)),
        "compared": f"all rows of {len(columns)} columns",
        "seconds": done.seconds,
        "peak_bytes": done.peak_bytes,
        "peak_anonymous_bytes": done.peak_anonymous_bytes,
        "read_bytes": done.read_bytes,
        "write_bytes": done.write_bytes,
        "oom_kills": done.oom_kills,
        "threads": threads,
        "machine": harness.machine(),
    }


if __name__ == "__main__":
    main()
