"""How close each estimator of the negatives comes to all nodes, on trained embeddings.

Embeddings and clusters are those that ``benchmarks.models.pamc`` left in its run folders (the
reference's, at the epoch chosen without classes). ``sum_error`` is relative, of the sum over
all pairs; ``gradient_error`` is the distance between gradients of the mean log over the exact
one's length; ``seconds`` is forward and backward of the negatives alone.

    python -m benchmarks.models.pamc_negatives [--runs runs/pamc]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from benchmarks.models.pamc import RUNS, SETS
from graphlab.models import PamCGC, PamCLoss
from graphlab.tasks import checkpoint

NAME = "pamc_negatives"
KINDS = ("anchor", "meta2", "taylor2", "sampled", "full")
NO_EDGES = torch.empty(2, 0, dtype=torch.int64)


def measure(z: Tensor, labels: Tensor, tau: float) -> dict[str, dict[str, Any]]:
    k = int(labels.max()) + 1
    z = z.double()
    exact_sum, exact_grad = 0.0, torch.zeros_like(z)
    found: dict[str, dict[str, Any]] = {}
    for kind in reversed(KINDS):
        loss = PamCLoss(tau, kind)
        seconds = []
        for _ in range(3):
            leaf = z.clone().requires_grad_()
            started = time.perf_counter()
            parts = loss(leaf, NO_EDGES, assign=labels, k=k, return_parts=True)
            (grad,) = torch.autograd.grad(parts.negative, leaf)
            seconds.append(time.perf_counter() - started)
        total = sum_over_pairs(z, labels, k, kind, tau)
        if kind == "full":
            exact_sum, exact_grad = total, grad
        gap = float((grad - exact_grad).norm() / exact_grad.norm())
        found[kind] = {
            "seconds": round(statistics.median(seconds), 5),
            "sum_error": total / exact_sum - 1,
            "gradient_error": gap,
        }
    return {kind: found[kind] for kind in KINDS}


def sum_over_pairs(z: Tensor, labels: Tensor, k: int, kind: str, tau: float) -> float:
    """The sum over anchors of what a kind says of each anchor's negatives."""
    from graphlab.models import pamc_negatives as negative

    u = F.normalize(z, dim=1)
    loss = PamCLoss(tau, kind)
    clusters = loss.tracker.clusters(u, labels, k, len(u), second=True)
    if kind == "meta2":
        sums = negative.meta2(clusters, tau) * clusters.share * len(u)
    elif kind == "anchor":
        sums = negative.anchor(u, clusters, tau)
    elif kind == "taylor2":
        sums = negative.taylor2(u, u, len(u), tau)
    elif kind == "sampled":
        ids = negative.draw(0, 0, loss.num_samples, len(u), u.device)
        sums = negative.sampled(u, u, len(u), tau, ids)
    else:
        sums = negative.full(u, u, tau)
    return float(sums.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    records = []
    for data, preset in SETS.items():
        paths = sorted(
            chosen.runs.glob(f"{data}-reference/seed-*/clusters.safetensors")
        )
        if not paths:
            continue
        tau = PamCGC.preset(preset).tau
        per_seed = []
        for path in paths:
            held = checkpoint.read(path)[0]
            per_seed.append(measure(held["embedding"], held["labels"], tau))
        records.append(record_of(data, tau, per_seed, chosen.threads))
        for kind, entry in records[-1]["contenders"].items():
            print(data, kind, entry["median"], entry["notes"])
    harness.save(NAME, records)


def record_of(
    data: str, tau: float, per_seed: list[dict[str, dict[str, Any]]], threads: int
) -> dict[str, Any]:
    contenders = {}
    for kind in KINDS:
        rows = [seed[kind] for seed in per_seed]
        seconds = statistics.median(r["seconds"] for r in rows)
        contenders[kind] = {
            **dict.fromkeys(("median", "q1", "q3", "best"), seconds),
            "repeats": 3 * len(rows),
            "versions": {},
            "notes": {
                "largest_sum_error": max((r["sum_error"] for r in rows), key=abs),
                "largest_gradient_error": max(r["gradient_error"] for r in rows),
            },
        }
    return {
        "case": f"{data}, tau {tau:g}",
        "seed": 0,
        "threads": threads,
        "facts": {"embeddings": f"{len(per_seed)} seeds of the reference"},
        "ours": "meta2",
        "agreement": "checked",
        "contenders": contenders,
        "ratio": None,
        "best_peer": None,
        "bound": None,
        "machine": harness.machine(),
    }


if __name__ == "__main__":
    main()
