"""Pairs for LAGNN's generator, and the score that selects it, against the release's way.

Pairs: the unit is everything from a graph in memory to 200 batches of 64 pairs of feature
rows. The release stacks all pairs first (a Python loop over nodes), then draws rows of the
stack; its loop is repeated here on the first 2,000 nodes of the same graph and scaled to all
of them, as the whole stack takes minutes and gigabytes; drawing is measured on that part.

Score: one generator's score by 100 dropout passes of the helper GCN, Cora's size. The release
runs the whole graph with autograd on. Its value and ours agree within their sampling error.

    python -m benchmarks.models.lagnn_pairs
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import Graph
from graphlab.models import GCN
from graphlab.models.lagnn_pairs import PairSampler
from graphlab.models.lagnn_selection import Receptive, bald

BATCHES, BATCH = 200, 64


def arxiv_size(quick: bool, seed: int) -> tuple[Graph, torch.Tensor]:
    nodes, edges = (3_000, 40_000) if quick else (169_343, 2_315_598)
    draws = np.random.default_rng(seed)
    # Uneven degrees, both directions of every edge.
    ends = (draws.random((2, edges // 2)) ** 2 * nodes).astype(np.int64)
    edge_index = np.concatenate([ends, ends[::-1]], 1)
    x = torch.randn(nodes, 128, generator=torch.Generator().manual_seed(seed))
    return Graph(edge_index, num_nodes=nodes), x


def pairs(quick: bool, seed: int) -> Trial:
    graph, x = arxiv_size(quick, seed)
    graph.csc()
    features = x.numpy()
    ptr, idx, _ = graph.csc()
    some = min(2_000, graph.num_nodes)

    def ours() -> dict[str, Any]:
        start = time.perf_counter()
        sampler = PairSampler(graph, seed=seed)
        rows = [sampler.rows(x, step, BATCH) for step in range(BATCHES)]
        return {
            "seconds": time.perf_counter() - start,
            "bytes": sampler.nbytes,
            "rows": len(rows),
        }

    def theirs() -> dict[str, Any]:
        start = time.perf_counter()
        targets, conditions = [], []
        for v in range(some):
            neighbours = idx[ptr[v] : ptr[v + 1]].numpy()
            if len(neighbours) == 0:
                continue
            targets.append(features[neighbours])
            conditions.append(np.tile(features[v], (len(neighbours), 1)))
        stack, condition = np.vstack(targets), np.vstack(conditions)
        built = time.perf_counter() - start
        share = len(stack) / graph.num_edges
        start = time.perf_counter()
        for _ in range(BATCHES):
            chosen = random.sample(range(len(stack)), BATCH)
            torch.from_numpy(stack[chosen]), torch.from_numpy(condition[chosen])
        drawn = time.perf_counter() - start
        return {
            "seconds": built / share + drawn,
            "bytes": int((stack.nbytes + condition.nbytes) / share),
            "share": share,
            "drawing": drawn,
        }

    def notes(result: dict[str, Any]) -> dict[str, Any]:
        pairs_per_second = BATCHES * BATCH / result["seconds"]
        return {**result, "pairs_per_second": pairs_per_second}

    def seconds(result: dict[str, Any]) -> float:
        return result["seconds"]

    return Trial(
        [
            Contender("graphlab", ours, seconds=seconds, notes=notes),
            Contender("release's way", theirs, ["numpy"], seconds=seconds, notes=notes),
        ],
        None,
    )


def score(quick: bool, seed: int) -> Trial:
    nodes, width = (400, 100) if quick else (2_708, 1_433)
    draws = np.random.default_rng(seed)
    ends = draws.integers(0, nodes, (2, 2 * nodes))
    graph = Graph(ends, num_nodes=nodes).to_undirected()
    x = torch.rand(nodes, width, generator=torch.Generator().manual_seed(seed))
    x = (x > 0.95).float() * 0.5 + 0.02 * x
    torch.manual_seed(seed)
    helper = GCN(width, 7, 32, normalise_rows=True)
    labelled = torch.arange(0, nodes, nodes // 140)[:140]
    reach = Receptive(graph, labelled)

    def ours() -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return bald(reach.probabilities(helper, x, 100, generator))

    def theirs() -> torch.Tensor:
        helper.train()
        rows = [helper(x, graph)[labelled].softmax(1) for _ in range(100)]
        return bald(torch.stack(rows)).detach()

    def agree(mine: torch.Tensor, expected: torch.Tensor) -> None:
        torch.testing.assert_close(mine, expected, rtol=0.1, atol=0.0)

    return Trial(
        [Contender("graphlab", ours), Contender("whole passes", theirs, ["torch"])],
        agree,
    )


def cases(quick: bool) -> Iterable[Case]:
    yield Case(
        "pairs, arxiv size",
        lambda seed: pairs(quick, seed),
        {
            "graph": "generated: 169,343 nodes, 2,315,598 edges, 128 float32 features",
            "work": f"{BATCHES} batches of {BATCH} pairs, from the graph in memory",
            "note": "the release's loop over nodes is scaled from its share of the pairs",
        },
        repeats=5,
    )
    yield Case(
        "score, Cora's size",
        lambda seed: score(quick, seed),
        {
            "graph": "generated: 2,708 nodes, 1,433 features, 140 labelled nodes",
            "work": "100 dropout passes of a GCN of 32 hidden units; BALD",
        },
        repeats=5,
    )


if __name__ == "__main__":
    harness.main("lagnn_pairs", cases)
