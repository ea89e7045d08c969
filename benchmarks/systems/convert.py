"""`data convert` of three files into a store, inside a memory cgroup of what it declares.

No peer does this in bounded memory (GraphBolt's preprocessing and OGB's need the topology in
RAM several times over), so the record holds time, our own peak and the group's peak.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import cgroup, harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import sizes
from graphlab.datasets import arrow_tables, manifest, storage
from graphlab.datasets.synthetic import Recipe

RUN = """
import sys
from graphlab import progress
from graphlab.datasets import convert
edges, features, labels, out, memory = sys.argv[1:]
convert(edges, out, features=features, labels=labels, memory=memory)
"""
BATCH = 2**22


def write_inputs(folder: Path, recipe: Recipe, kind: str) -> dict[str, Path]:
    """An edge table, a feature matrix and labels, as users have them."""
    n, e = recipe.num_nodes, recipe.num_edges
    arrow = arrow_tables.load()
    paths = {name: folder / name for name in ("x.npy", "y.parquet")}
    paths["edges"] = folder / f"edges.{kind}"
    if kind == "npy":
        edges = np.lib.format.open_memmap(paths["edges"], "w+", np.int64, (2, e))
        for start in range(0, e, BATCH):
            source, target = recipe.edges(start, min(e, start + BATCH))
            edges[0, start : start + BATCH] = source
            edges[1, start : start + BATCH] = target
        edges.flush()
    else:
        schema = arrow.schema([("source", arrow.int64()), ("target", arrow.int64())])
        with arrow.parquet.ParquetWriter(paths["edges"], schema) as writer:
            for start in range(0, e, BATCH):
                pair = recipe.edges(start, min(e, start + BATCH))
                columns = [arrow.array(ids.numpy()) for ids in pair]
                writer.write_table(arrow.table(columns, schema=schema))
    x = np.lib.format.open_memmap(
        paths["x.npy"], "w+", np.float32, (n, recipe.num_features)
    )
    for start in range(0, n, 2**18):
        x[start : start + 2**18] = recipe.features(start, min(n, start + 2**18))
    x.flush()
    labels = {"id": np.arange(n), "label": recipe.labels(0, n)}
    arrow.parquet.write_table(arrow.table(labels), paths["y.parquet"])
    return paths


def setup(recipe: Recipe, kind: str, memory: str) -> Trial:
    folder = Path(tempfile.mkdtemp(prefix="graphlab-convert-"))
    paths = write_inputs(folder, recipe, kind)
    out = folder / "store"
    arguments = [paths["edges"], paths["x.npy"], paths["y.parquet"], out, memory]
    command = [sys.executable, "-c", RUN, *(str(a) for a in arguments)]
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT)}

    def prepare() -> None:
        shutil.rmtree(out, ignore_errors=True)
        cgroup.drop_caches(*paths.values())

    def run() -> cgroup.Outcome:
        limit = sizes.parse(memory)
        done = cgroup.in_cgroup(limit, command, env=environment, cwd=harness.ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    def degrees(_: cgroup.Outcome) -> torch.Tensor:
        storage.verify(out)
        return storage.open(out).graph.in_degree()

    def reference() -> torch.Tensor:
        total = torch.zeros(recipe.num_nodes, dtype=torch.int64)
        for start in range(0, recipe.num_edges, BATCH):
            _, target = recipe.edges(start, min(recipe.num_edges, start + BATCH))
            total += torch.bincount(target, minlength=recipe.num_nodes)
        return total

    def agree(mine: torch.Tensor, expected: torch.Tensor) -> None:
        assert torch.equal(mine, expected)
        # 100,000 edges, wherever they lie: the id leads back to the edge that was drawn.
        graph = storage.open(out).graph
        ptr, idx, edge_id = graph.csc()
        assert edge_id is not None
        at = torch.arange(0, len(idx), max(1, len(idx) // 100_000))
        target = torch.searchsorted(ptr, at, right=True) - 1
        for k in range(0, len(at), 5000):
            e = int(edge_id[at[k]])
            source, drawn = recipe.edges(e, e + 1)
            assert (int(source), int(drawn)) == (int(idx[at[k]]), int(target[k]))

    def notes(done: cgroup.Outcome) -> dict[str, Any]:
        found = manifest.read(out)
        return {
            "declared_bytes": sizes.parse(memory),
            "own_peak_bytes": found.provenance["peak_memory_bytes"],
            "peak_anonymous_bytes": done.peak_anonymous_bytes,
            "peak_group_bytes": done.peak_bytes,
            "read_bytes": done.read_bytes,
            "write_bytes": done.write_bytes,
            "input_bytes": sum(p.stat().st_size for p in paths.values()),
            "store_bytes": sum(entry.bytes for entry in found.files.values()),
        }

    return Trial(
        [Contender("graphlab", run, ["pyarrow"], prepare=prepare, value=degrees,
                   seconds=lambda done: done.seconds, notes=notes)],
        agree,
        reference,
        close=lambda: shutil.rmtree(folder),
    )  # fmt: skip


def cases(quick: bool) -> Iterable[Case]:
    nodes, edges = (20_000, 500_000) if quick else (10_000_000, 200_000_000)
    width, memory = 16, "512MiB" if quick else "2GiB"
    for kind in ("parquet", "npy"):
        recipe = Recipe(
            "rmat", nodes, edges, width, 10, 0.0, 1.5, (0.57, 0.19, 0.19, 0.05),
            0.6, 0.2, seed=0,
        )  # fmt: skip
        yield Case(
            f"{edges:,} edges in {kind}, {nodes:,} x {width} features, {memory}",
            lambda _, r=recipe, k=kind: setup(r, k, memory),
            {
                "graph": "R-MAT .57 .19 .19 .05, relabelled at random",
                "num_nodes": nodes,
                "num_edges": edges,
                "edges": f"int64 pairs in {kind}",
                "features": f"{width} float32 in npy",
                "labels": "id and label in parquet",
                "cgroup_bytes": sizes.parse(memory),
            },
            repeats=1,
            warmups=0,
        )


if __name__ == "__main__":
    harness.main("convert", cases)
