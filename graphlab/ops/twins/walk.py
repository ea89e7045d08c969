"""Readable twins of ``random_walk`` and ``negative_sample``: numba, bit for bit."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from graphlab.ops.twins.rng import bits, bounded, fold


def random_walk(
    ptr: Tensor,
    idx: Tensor,
    slots: Tensor | None,
    starts: Tensor,
    length: int,
    bias: list[int],
    key: int,
    first: int,
) -> Tensor:
    """Walk; see :func:`graphlab.ops.random_walk`."""
    out = np.full((len(starts), length + 1), -1, dtype=idx.numpy().dtype)
    nodes = len(ptr) - 1
    if len(starts) and not (int(starts.min()) >= 0 and int(starts.max()) < nodes):
        raise RuntimeError("`starts` must hold node ids")
    slot = np.empty((0, 4), np.int32) if slots is None else slots.numpy()
    chances = np.array(bias, dtype=np.uint64)
    stream = np.uint64(key & (2**64 - 1))
    good = _walk(
        ptr.numpy(), idx.numpy(), slot, starts.numpy(), chances, stream, first, out
    )
    if not good:
        raise RuntimeError("`idx` must hold node ids")
    return torch.from_numpy(out)


def negative_sample(
    threshold: Tensor, alias: Tensor, count: int, key: int, first: int
) -> Tensor:
    """Draw; see :func:`graphlab.ops.negative_sample`."""
    out = np.empty(count, dtype=np.int32)
    stream = np.uint64(key & (2**64 - 1))
    _negatives(threshold.numpy(), alias.numpy(), stream, np.uint64(first), out)
    return torch.from_numpy(out)


@numba.njit(cache=True)
def negative(threshold, alias, key, number):  # type: ignore[no-untyped-def]
    """Draw one node: the slot from the high half of 64 bits, the coin from the low."""
    slot = bounded(key, number, np.uint64(threshold.size))
    coin = bits(key, number) & np.uint64(0x7FFFFFFF)
    return slot if coin < np.uint64(threshold[slot]) else np.uint64(alias[slot])


@numba.njit(cache=True)
def _negatives(threshold, alias, key, first, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = negative(threshold, alias, key, first + np.uint64(i))


@numba.njit(cache=True)
def _neighbour(idx, slot, at, coin):  # type: ignore[no-untyped-def]
    """The neighbour of an edge drawn, or -1 in a row without positive weight."""
    if slot.shape[0] == 0:
        return np.int64(idx[at])
    if slot[at, 1] < 0:
        return np.int64(-1)
    return np.int64(slot[at, 0] if coin < np.uint64(slot[at, 1]) else slot[at, 2])


@numba.njit(cache=True)
def _walk(ptr, idx, slot, starts, chances, key, first, out):  # type: ignore[no-untyped-def]
    low31 = np.uint64(0x7FFFFFFF)
    nodes = ptr.size - 1
    for i in range(starts.size):
        stream = fold(key, np.uint64(first + i))
        node, before = starts[i], np.int64(-1)
        out[i, 0] = node
        for step in range(out.shape[1] - 1):
            begin, degree = ptr[node], ptr[node + 1] - ptr[node]
            if degree == 0:
                break
            found = np.int64(-1)
            if chances.size == 0:
                z = bits(stream, np.uint64(step))
                at = begin + np.int64(
                    bounded(stream, np.uint64(step), np.uint64(degree))
                )
                found = _neighbour(idx, slot, at, z & low31)
            else:
                of_step = bits(stream, np.uint64(step))
                attempt = np.uint64(0)
                while True:
                    number = np.uint64(2) * attempt
                    z = bits(of_step, number)
                    at = begin + np.int64(bounded(of_step, number, np.uint64(degree)))
                    coin = bits(of_step, number + np.uint64(1)) >> np.uint64(32)
                    found = _neighbour(idx, slot, at, z & low31)
                    if found < 0 or before < 0 or degree == 1:
                        break
                    if found == before:
                        chance = chances[0]
                    else:
                        row = idx[ptr[before] : ptr[before + 1]]
                        place = np.searchsorted(row, found)
                        near = place < row.size and row[place] == found
                        chance = chances[1] if near else chances[2]
                    if coin < chance:
                        break
                    attempt += np.uint64(1)
            if found < 0:
                break
            if found >= nodes:
                return False
            before, node = node, found
            out[i, step + 1] = found
    return True
