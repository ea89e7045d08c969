"""What the cost model of common_neighbors chooses against each strategy forced, counts only.

The graphs and pairs of `benchmarks.ops.common_neighbors`. A ratio below 1 says what the wrong
choice costs.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.ops.common_neighbors import REPEATS, SIZES, draw, facts_of
from graphlab import ops
from graphlab.ops.common_neighbors import DENSE_NODES


def setup(name: str, kind: str, quick: bool, seed: int) -> Trial:
    ptr, idx, pairs = draw(name, kind, quick, seed)
    forced = ["merge", "gallop", "bitmap"]
    if len(ptr) - 1 <= DENSE_NODES:
        forced.append("dense")
    call = functools.partial(ops.common_neighbors, ptr, idx, pairs)
    return Trial(
        [
            Contender(how, functools.partial(call, strategy=how))
            for how in ("auto", *forced)
        ],
        torch.testing.assert_close,
    )


def cases(quick: bool) -> Iterable[Case]:
    for name in ("collab-like",) if quick else SIZES:
        for kind in ("edge", "random"):
            yield Case(
                f"{name}, {kind} pairs",
                lambda seed, n=name, k=kind: setup(n, k, quick, seed),
                facts_of(name, quick),
                repeats=REPEATS[name],
            )


if __name__ == "__main__":
    harness.main("common_neighbors_strategies", cases)
