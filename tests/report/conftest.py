"""Run folders, written by hand in the layout that ``tasks`` writes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

SCORES = {"test": [0.90, 0.92, 0.91], "valid": [0.91, 0.93, 0.92]}


def write_run(
    folder: Path,
    *,
    seeds=(0, 1, 2),
    epochs=6,
    disk=False,
    finished=True,
    dataset="amazon_computers",
    scores=None,
    peak=30 * 2**20,
    config=None,
    result=None,
):
    """Write a run folder; ``config`` and ``result`` replace top-level keys."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = scores or SCORES
    stamp = {
        "dataset": dataset,
        "split": "random 60/20/20 seed 0",
        "protocol": "node accuracy",
        "commit": "0123abc",
        "version": "0.1.0",
    }
    written = {
        "schema": 1,
        "command": f"graphlab train node --data {dataset} --model sage",
        "data": {"name": dataset},
        "model": {"target": "graphlab.models:SAGE", "hidden_channels": 64},
        "loader": {"num_neighbors": [10, 5], "batch_size": 512},
        "fit": {"epochs": epochs, "lr": 0.01},
        "stamp": stamp,
        "dataset": {"num_nodes": 13752, "num_edges": 491722, "num_features": 767},
        "environment": {"torch": "2.13.0", "cpu": "a processor", "python": "3.11.2"},
    }
    (folder / "config.json").write_text(json.dumps(written | (config or {})))
    lines = []
    for position, seed in enumerate(seeds):
        for epoch in range(epochs):
            line = {
                "schema": 1,
                "event": "epoch",
                "seed": seed,
                "epoch": epoch,
                "loss": 2.0 / (epoch + 1) + 0.1 * position,
                "valid": 0.5 + 0.4 * epoch / epochs,
                "seconds": 0.5 if epoch else 2.0,
            }
            if disk:
                line["loader"] = {
                    "device_bytes": 40 * 2**20,
                    "useful_bytes": 36 * 2**20,
                    "hits": 900,
                    "misses": 100,
                    "stall_seconds": 0.05,
                    "seconds": 0.5,
                    "limit_seconds": 0.4,
                    "declared_memory_bytes": 32 * 2**20,
                    "peak_memory_bytes": peak,
                }
            lines.append(line)
        lines.append(
            {
                "schema": 1,
                "event": "run",
                "seed": seed,
                "test": scores["test"][position],
                "valid": scores["valid"][position],
                "best_epoch": epochs - 2,
            }
        )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if finished:
        parts = {
            part: {
                "mean": statistics.fmean(values[: len(seeds)]),
                "std": statistics.stdev(values[: len(seeds)])
                if len(seeds) > 1
                else None,
                "values": list(values[: len(seeds)]),
            }
            for part, values in scores.items()
        }
        written = {
            "metric": "accuracy",
            **parts,
            "seeds": list(seeds),
            "seconds": 12.5,
            "stamp": stamp,
            "parameters": {"model": 123_456},
            "baselines": {"MLP": {"mean": 0.85, "std": 0.01, "values": [0.84, 0.86]}},
            "run_dir": str(folder),
        }
        (folder / "result.json").write_text(json.dumps(written | (result or {})))
    return folder


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes a run folder under a name."""
    return lambda name="run", **kw: write_run(tmp_path / name, **kw)
