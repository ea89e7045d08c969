"""Readable twin of ``skipgram_train``: numba, one thread, the kernel's order of steps."""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from torch import Tensor

from graphlab.ops.twins.rng import bits, fold
from graphlab.ops.twins.walk import negative

# Rows that see the same head; the first walk of every 16 counts for the loss.
GROUP = 8
LOSS_EVERY = 16
SHRINK = np.uint64(2**40)


def skipgram_train(
    head: Tensor,
    tail: Tensor,
    walks: Tensor,
    threshold: Tensor,
    alias: Tensor,
    window: int,
    forward: bool,
    shrink: bool,
    negatives: int,
    weight: float,
    pool: int,
    rate: float,
    rate_end: float,
    decay: float,
    reference: bool,
    threads: int,
    key: int,
    first: int,
) -> Tensor:
    """Train; see :func:`graphlab.ops.skipgram_train`."""
    if walks.numel() and int(walks.max()) >= min(len(head), len(tail)):
        heads = walks[:, :-1] if forward else walks
        tails = walks[:, 1:] if forward else walks
        for nodes, rows in ((heads, len(head)), (tails, len(tail))):
            if nodes.numel() and int(nodes.max()) >= rows:
                raise RuntimeError("`walks` must hold rows of the tables")
    total = np.zeros(3)
    _train(
        head.numpy(),
        tail.numpy(),
        walks.numpy(),
        threshold.numpy(),
        alias.numpy(),
        (window, forward, shrink, negatives, pool, reference),
        (np.float32(weight), np.float32(rate), np.float32(rate_end), np.float32(decay)),
        np.uint64(key & (2**64 - 1)),
        np.uint64(first),
        total,
    )
    return torch.from_numpy(total)


@numba.njit(cache=True)
def _train(head, tail, walks, threshold, alias, shape, rates, key, first, total):  # type: ignore[no-untyped-def]
    window, forward, shrink, negatives, pool, reference = shape
    weight, rate, rate_end, decay = rates
    count, row = walks.shape
    most = 2 * window * (1 + negatives)
    nodes = np.empty(most, np.int64)
    labels = np.empty(most, np.float32)
    weights = np.empty(most, np.float32)
    for i in range(count):
        stream = fold(key, first + np.uint64(i))
        step_rate = rate + (rate_end - rate) * (
            np.float32(i) / np.float32(max(count, 1))
        )
        length = 0
        while length < row and walks[i, length] >= 0:
            length += 1
        drawn = 0
        for j in range(length):
            reach = window
            if shrink:
                z = bits(stream, SHRINK + np.uint64(j)) >> np.uint64(32)
                reach = 1 + np.int64((z * np.uint64(window)) >> np.uint64(32))
            begin = j + 1 if forward else max(0, j - reach)
            terms = 0
            pairs = 0
            for c in range(begin, min(length, j + reach + 1)):
                if c == j:
                    continue
                for _ in range(negatives):
                    number = drawn % pool if pool else drawn
                    nodes[terms] = negative(threshold, alias, stream, np.uint64(number))
                    labels[terms], weights[terms] = 0.0, weight
                    drawn += 1
                    terms += 1
                nodes[terms] = walks[i, c]
                labels[terms], weights[terms] = 1.0, 1.0
                terms += 1
                pairs += 1
            loss = _steps(
                head[walks[i, j]],
                tail,
                nodes[:terms],
                labels[:terms],
                weights[:terms],
                step_rate,
                decay,
                reference,
            )
            total[2] += pairs
            if i % LOSS_EVERY == 0:
                total[0] += loss
                total[1] += pairs


@numba.njit(cache=True)
def _steps(row, tail, nodes, labels, weights, rate, decay, reference):  # type: ignore[no-untyped-def]
    """Move a head and the rows of its terms, group after group."""
    head = row.copy()
    loss = 0.0
    start = 0
    while start < nodes.size:
        group = 1
        if not reference:
            left = nodes.size - start
            group = (
                GROUP if left >= GROUP else 4 if left >= 4 else 2 if left >= 2 else 1
            )
        gradient = np.empty(group, np.float32)
        for r in range(group):
            x = np.float32(0)
            for k in range(head.size):
                x += head[k] * tail[nodes[start + r], k]
            label, weight = labels[start + r], weights[start + r]
            z = -x if label > 0 else x
            loss += weight * (z if z > 30 else math.log1p(math.exp(z)))
            sigmoid = np.float32(1.0 / (1.0 + math.exp(-np.float64(x))))
            gradient[r] = rate * weight * (label - sigmoid)
        change = np.zeros_like(head)
        kept = np.float32(1)
        for r in range(group):
            node = nodes[start + r]
            keep = np.float32(1) - rate * weights[start + r] * decay
            kept -= rate * weights[start + r] * decay
            for k in range(head.size):
                change[k] += gradient[r] * tail[node, k]
                tail[node, k] = tail[node, k] * keep + gradient[r] * head[k]
        for k in range(head.size):
            head[k] = head[k] * kept + change[k]
        start += group
    row[:] = head
    return loss
