"""`datasets.generate` of 10^8 edges streamed to disk, inside a cgroup of what it declares.

No peer generates a store in bounded memory, so the record holds time and peaks. The result
is checked against draws made anew: in-degrees, a sample of edges and rows of features.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import sizes
from graphlab.datasets import manifest, storage
from graphlab.datasets.synthetic import Recipe

FOLDER = Path(os.environ.get("GRAPHLAB_BENCH", "/tmp/graphlab-bench"))
RUN = """
import sys
from graphlab.datasets import generate
kind, nodes, edges, width, out, memory = sys.argv[1:]
generate(kind, int(nodes), int(edges), int(width), path=out, memory=memory)
"""
BATCH = 2**22


def setup(recipe: Recipe, memory: str) -> Trial:
    out = FOLDER / f"generate-{recipe.kind}-{recipe.num_edges}"
    arguments = [recipe.kind, recipe.num_nodes, recipe.num_edges, recipe.num_features]
    command = [sys.executable, "-c", RUN, *map(str, [*arguments, out, memory])]
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
    limit = sizes.parse(memory)

    def run() -> cgroup.Outcome:
        done = cgroup.in_cgroup(limit, command, env=environment, cwd=harness.ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    def degrees(_: cgroup.Outcome) -> torch.Tensor:
        storage.verify(out)
        dataset = storage.open(out)
        rows = torch.arange(0, recipe.num_nodes, max(1, recipe.num_nodes // 50))
        x = dataset.columns["x"].gather(rows)
        for row, values in zip(rows.tolist(), x, strict=True):
            assert torch.equal(values, recipe.features(row, row + 1)[0])
        return dataset.graph.in_degree()

    def reference() -> torch.Tensor:
        total = torch.zeros(recipe.num_nodes, dtype=torch.int64)
        for start in range(0, recipe.num_edges, BATCH):
            _, target = recipe.edges(start, min(recipe.num_edges, start + BATCH))
            total += torch.bincount(target, minlength=recipe.num_nodes)
        return total

    def agree(mine: torch.Tensor, expected: torch.Tensor) -> None:
        assert torch.equal(mine, expected)

    def notes(done: cgroup.Outcome) -> dict[str, Any]:
        found = manifest.read(out)
        return {
            "declared_bytes": limit,
            "own_peak_bytes": found.provenance["peak_memory_bytes"],
            "peak_anonymous_bytes": done.peak_anonymous_bytes,
            "peak_group_bytes": done.peak_bytes,
            "write_bytes": done.write_bytes,
            "store_bytes": sum(entry.bytes for entry in found.files.values()),
        }

    return Trial(
        [Contender("graphlab", run, prepare=lambda: shutil.rmtree(out, ignore_errors=True),
                   value=degrees, seconds=lambda done: done.seconds, notes=notes)],
        agree,
        reference,
        close=lambda: shutil.rmtree(out),
    )  # fmt: skip


def cases(quick: bool) -> Iterable[Case]:
    nodes, edges = (20_000, 200_000) if quick else (10_000_000, 100_000_000)
    memory = "512MiB" if quick else "2GiB"
    for kind in ("rmat", "sbm"):
        recipe = Recipe(
            kind, nodes, edges, 128, 10, 0.8, 1.5, (0.57, 0.19, 0.19, 0.05),
            0.6, 0.2, seed=0,
        )  # fmt: skip
        yield Case(
            f"{kind}, {nodes:,} nodes, {edges:,} edges, 128 features, {memory}",
            lambda _, r=recipe: setup(r, memory),
            {
                "graph": kind,
                "num_nodes": nodes,
                "num_edges": edges,
                "num_features": 128,
                "dtype": "float32",
                "cgroup_bytes": sizes.parse(memory),
            },
            repeats=1,
            warmups=0,
        )


if __name__ == "__main__":
    harness.main("generate", cases)
