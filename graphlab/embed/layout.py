"""Two-dimensional pictures of vectors, as LargeVis makes them."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check, progress
from graphlab.embed.nearest import knn
from graphlab.ops import alias_build, negative_sample, rng
from graphlab.ops.twins.rng import bits

Array = npt.NDArray[Any]

# Names of random streams; edges of a step, between which progress is shown.
_START, _EDGE, _NEGATIVE = 241, 242, 243
_STEP = 500_000


def layout(
    vectors: Tensor,
    *,
    neighbors: int = 30,
    perplexity: float = 10.0,
    samples_per_node: int = 3000,
    negatives: int = 5,
    negative_weight: float = 7.0,
    lr: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Place nodes in the plane so that near vectors lie near each other.

    Edges (i, j) of the graph of nearest neighbours are drawn by weight and pulled together,
    ``log 1 / (1 + |y_i - y_j|^2)``; nodes drawn by degree^0.75 are pushed away,
    ``w log(1 - 1 / (1 + |y_i - y_n|^2))``.

    Args:
        vectors: [N, d], N > 3; compared by cosine.
        neighbors: Edges of a node; fewer where there are fewer nodes.
        perplexity: Effective number of neighbours that the weights of a node have.
        samples_per_node: Edges drawn, for each node.
        negatives: Nodes pushed away at each edge.
        negative_weight: w.
        lr: First step size; it falls linearly to zero.
        seed: Names all draws; the same seed gives the same picture.

    Returns:
        [N, 2], float32, centred.

    Raises:
        TypeError, ValueError: wrong dtype or shape, a number out of range.

    Cost:
        N^2 d for exact neighbours, then N samples_per_node (1 + negatives) small steps in
        one thread.

    Source:
        Tang et al., "Visualizing Large-scale and High-dimensional Data", 2016.
    """
    name = "layout"
    check.tensor(name, "vectors", vectors, dtypes=check.FLOAT_DTYPES, ndim=2)
    n = len(vectors)
    if n < 4:
        check.fail(ValueError, name, "vectors", "hold at least 4 nodes", n)
    k = min(check.positive(name, "neighbors", neighbors), n - 1)
    if not 1 <= perplexity:
        check.fail(ValueError, name, "perplexity", "be at least 1", perplexity)
    found = knn(vectors.float(), vectors.float(), torch.arange(n), k)
    # Of unit vectors, |a - b|^2 = 2 - 2 cosine.
    distance = (2 - 2 * found.scores).clamp(min=0).double().numpy()
    weight = _calibrate(distance, min(perplexity, k))
    head = np.repeat(np.arange(n, dtype=np.int32), k)
    tail = found.ids.numpy().astype(np.int32).reshape(-1)
    flat = torch.from_numpy(weight.reshape(-1))
    edges = alias_build(torch.tensor([0, len(flat)]), flat)
    degree = torch.zeros(n, dtype=torch.float64)
    degree.index_add_(0, torch.from_numpy(head).long(), flat)
    degree.index_add_(0, torch.from_numpy(tail).long(), flat)
    nodes = alias_build(torch.tensor([0, n]), degree.pow(0.75))
    draws = rng.bits(rng.key(seed, _START), 2 * n).astype(np.float64) / 2**64
    place = ((draws.reshape(n, 2) - 0.5) * 1e-4).astype(np.float32)
    total = samples_per_node * n
    with progress.track("layout", total, "edges") as line:
        for first in range(0, total, _STEP):
            count = min(_STEP, total - first)
            chosen = negative_sample(
                *edges, count, key=rng.key(seed, _EDGE), first=first
            ).numpy()
            pushed = negative_sample(
                *nodes,
                count * negatives,
                key=rng.key(seed, _NEGATIVE),
                first=first * negatives,
            ).numpy()
            _move(
                place,
                head[chosen],
                tail[chosen],
                pushed.reshape(count, negatives),
                np.uint64(rng.key(seed, _EDGE, 1) & (2**64 - 1)),
                first,
                total,
                lr,
                negative_weight,
            )
            line.advance(count)
    return torch.from_numpy(place - place.mean(0))


def _calibrate(distance: Array, perplexity: float) -> Array:
    """Weights exp(-b d) of each row with the wanted perplexity, summing to 1."""
    low = np.zeros(len(distance))
    high = np.full(len(distance), np.inf)
    beta = np.ones(len(distance))
    shifted = distance - distance.min(1, keepdims=True)
    wanted = math.log(perplexity)
    for _ in range(60):
        w = np.exp(-beta[:, None] * shifted)
        total = w.sum(1)
        entropy = np.log(total) + beta * (w * shifted).sum(1) / total
        flat = entropy > wanted
        low, high = np.where(flat, beta, low), np.where(flat, high, beta)
        beta = np.where(np.isinf(high), beta * 2, (low + high) / 2)
    w = np.exp(-beta[:, None] * shifted)
    out: Array = w / w.sum(1, keepdims=True)
    return out


@numba.njit(cache=True)
def _move(place, head, tail, pushed, key, first, total, lr, weight):  # type: ignore[no-untyped-def]
    half = np.uint64(1) << np.uint64(63)
    for e in range(head.size):
        rate = lr * (1.0 - (first + e) / total)
        i, j = head[e], tail[e]
        # Either end may lead: the graph of neighbours stands for both directions.
        if bits(key, np.uint64(first + e)) < half:
            i, j = j, i
        for k in range(pushed.shape[1] + 1):
            other = j if k == 0 else pushed[e, k - 1]
            if other == i or (k > 0 and other == j):
                continue
            dx = place[i, 0] - place[other, 0]
            dy = place[i, 1] - place[other, 1]
            square = dx * dx + dy * dy
            if k == 0:
                pull = -2.0 / (1.0 + square)
            else:
                pull = 2.0 * weight / ((0.1 + square) * (1.0 + square))
            gx = min(5.0, max(-5.0, pull * dx))
            gy = min(5.0, max(-5.0, pull * dy))
            place[i, 0] += rate * gx
            place[i, 1] += rate * gy
            place[other, 0] -= rate * gx
            place[other, 1] -= rate * gy
