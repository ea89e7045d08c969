"""Products taken together: in-out against in-in products on amazon_computers.

A tenth of the co-purchase edges is hidden (components stay whole). Of the hidden partners of
a product, the share among the 20 best products that are not its known partners, mean over
products with hidden ones.

    python -m benchmarks.models.complements
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

import graphlab as gl
from benchmarks import harness
from graphlab.evaluate import Scores, Stamp

NAME = "embedding_complements"
KINDS = ("similar", "complementary")
K = 20


def recall(emb: Any, rest: gl.Graph, hidden: torch.Tensor, kind: str) -> float:
    both = torch.cat([hidden, hidden.flip(0)], 1)
    ids, place = both[0].unique(return_inverse=True)
    found = emb.knn(ids, K, kind=kind, exclude=rest).ids
    hit = (found[place] == both[1][:, None]).any(1).double()
    count = torch.bincount(place)
    share = torch.zeros(len(ids), dtype=torch.float64).index_add_(0, place, hit) / count
    return float(share.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=float, default=1e8)
    chosen = parser.parse_args()
    harness.pin(1)
    d = gl.datasets.load("amazon_computers")
    graph = d.graph.without_self_loops().to_undirected()
    values: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in range(chosen.seeds):
        rest, hidden, _ = gl.evaluate.split_edges(graph, 0.1, seed)
        emb = gl.embed.NodeEmbedding(
            window=2, samples=int(chosen.samples), seed=seed, workers=1
        ).fit(rest)
        for kind in KINDS:
            values[kind].append(recall(emb, rest, hidden, kind))
    records = []
    for kind in KINDS:
        split = f"10% of edges hidden, {chosen.seeds} seeds"
        stamp = Stamp("amazon_computers", split, f"knn kind={kind}", f"recall@{K}")
        score = Scores(tuple(values[kind]), tuple(range(chosen.seeds)), stamp)
        records.append(
            {
                "case": f"amazon_computers: {kind}",
                "goal": 0.0,
                "metric": f"recall@{K}",
                "test": score.to_json(),
                "valid": None,
                "seeds": list(range(chosen.seeds)),
                "stamp": stamp.to_json(),
                "baselines": {},
                "machine": harness.machine(),
            }
        )
        print(kind, score)
    harness.save(NAME, records)


if __name__ == "__main__":
    main()
