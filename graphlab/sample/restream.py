"""Loops of :mod:`graphlab.sample.partition` (numba, without Python's lock)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]


@numba.njit(cache=True, nogil=True)
def breadth_first(
    in_ptr: Ints, in_idx: Ints, out_ptr: Ints, out_idx: Ints, starts: Ints
) -> Ints:
    """Nodes in breadth-first order over edges of both directions.

    Components begin at their first node in ``starts``.
    """
    order = np.empty(len(starts), dtype=np.int64)
    seen = np.zeros(len(starts), dtype=np.bool_)
    head = tail = 0
    for start in starts:
        if seen[start]:
            continue
        seen[start] = True
        order[tail] = start
        tail += 1
        while head < tail:
            node = order[head]
            head += 1
            for ptr, idx in ((in_ptr, in_idx), (out_ptr, out_idx)):
                for e in range(ptr[node], ptr[node + 1]):
                    other = idx[e]
                    if not seen[other]:
                        seen[other] = True
                        order[tail] = other
                        tail += 1
    return order


@numba.njit(cache=True, nogil=True)
def refine(
    in_ptr: Ints,
    in_idx: Ints,
    out_ptr: Ints,
    out_idx: Ints,
    order: Ints,
    part: Ints,
    num_parts: int,
    capacity: int,
    passes: int,
) -> None:
    """Move each node of ``order`` to the cluster that suits it best, in place."""
    size = np.zeros(num_parts, dtype=np.int64)
    for p in part:
        size[p] += 1
    count = np.zeros(num_parts, dtype=np.int64)
    touched = np.empty(num_parts, dtype=np.int64)
    for _ in range(passes):
        moved = 0
        for node in order:
            found = 0
            for ptr, idx in ((in_ptr, in_idx), (out_ptr, out_idx)):
                for e in range(ptr[node], ptr[node + 1]):
                    p = part[idx[e]]
                    if count[p] == 0:
                        touched[found] = p
                        found += 1
                    count[p] += 1
            own = part[node]
            # Without the node itself, as if it had not been placed yet.
            size[own] -= 1
            best, best_score = own, count[own] * (1.0 - size[own] / capacity)
            for i in range(found):
                p = touched[i]
                score = count[p] * (1.0 - size[p] / capacity)
                if size[p] < capacity and score > best_score:
                    best, best_score = p, score
            for i in range(found):
                count[touched[i]] = 0
            size[best] += 1
            if best != own:
                part[node] = best
                moved += 1
        if moved == 0:
            break
