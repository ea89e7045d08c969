"""random_walk against a plain loop over one walk at a time (the numba twin, compiled).

R-MAT graphs, relabelled at random, stored both ways. The bound counts two cache lines of
64 bytes a step: the offsets of a node and one neighbour.

    python -m benchmarks.ops.random_walk --threads 1
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

import graphlab as gl
from benchmarks import harness
from benchmarks.graphs import youtube_size
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops
from graphlab.ops.twins import walk as twin
from graphlab.ops.walk import second_order

LENGTH = 40
# name: follows weights, p, q, walks
KINDS = {
    "uniform": (False, 1.0, 1.0, 300_000),
    "weighted": (True, 1.0, 1.0, 300_000),
    "node2vec p=4 q=2": (False, 4.0, 2.0, 300_000),
    "weighted node2vec p=4 q=2": (True, 4.0, 2.0, 300_000),
}


def setup(kind: str, quick: bool, seed: int) -> Trial:
    weighted, p, q, count = KINDS[kind]
    g = youtube_size(seed, quick=quick)
    ready = gl.graph.walk_graph(g, weighted=weighted)
    alive = (ready.strength > 0).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    count = count // 100 if quick else count
    starts = alive[torch.randint(len(alive), (count,), generator=generator)]
    bias = second_order(p, q)

    def ours() -> torch.Tensor:
        return ops.random_walk(
            ready.ptr, ready.idx, starts, LENGTH, slots=ready.slots, p=p, q=q, key=seed
        )

    def plain() -> torch.Tensor:
        return twin.random_walk(
            ready.ptr, ready.idx, ready.slots, starts, LENGTH, bias, seed, 0
        )

    def same(found: torch.Tensor, expected: torch.Tensor) -> None:
        assert torch.equal(found, expected)

    steps = {"steps": count * LENGTH}
    return Trial(
        [
            Contender("graphlab", ours, notes=lambda _: steps),
            Contender("one walk at a time", plain, ["numba"]),
        ],
        same,
        bytes=128 * count * LENGTH,
        ops=count * LENGTH,
    )


def cases(quick: bool) -> Iterable[Case]:
    for kind in KINDS:
        yield Case(
            kind,
            lambda seed, kind=kind: setup(kind, quick, seed),
            {
                "graph": "R-MAT, relabelled, both directions stored",
                "nodes": 10_000 if quick else 1_138_499,
                "edges": 40_000 if quick else 4_945_382,
                "length": LENGTH,
                "unit": "all steps of all walks, output written",
            },
        )


if __name__ == "__main__":
    harness.main("random_walk", cases, repeats=3)
