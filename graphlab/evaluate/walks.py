"""Heuristics that follow walks: Katz, personalised PageRank, shortest paths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from graphlab import check

Array = npt.NDArray[Any]
# Values of a block of sources, dense: 64 MiB.
_BLOCK_VALUES = 1 << 23


def katz(
    ptr: Tensor, idx: Tensor, pairs: Tensor, beta: float, length: int | None
) -> Tensor:
    """See :func:`graphlab.evaluate.heuristics.katz`."""
    name = "katz"
    if not 0 < beta < 1:
        check.fail(ValueError, name, "beta", "be in (0, 1)", beta)
    n = len(ptr) - 1
    a = sp.csr_matrix((np.ones(len(idx)), idx.numpy(), ptr.numpy()), (n, n))
    solve = None
    if length is None:
        from scipy.sparse.linalg import eigsh, splu

        largest = float(eigsh(a, 1, return_eigenvectors=False)[0]) if n > 2 else 1.0
        if beta * largest >= 1:
            need = f"be below {1 / largest:.3g}, one over the largest eigenvalue"
            check.fail(ValueError, name, "beta", need, beta)
        solve = splu(sp.identity(n, format="csc") - beta * a.tocsc())
    else:
        check.positive(name, "length", length)
    out = np.zeros(pairs.shape[1])
    # A is symmetric, so either node may be the source.
    source, target = _shared_first(pairs, n)
    for sources, inside, place in _by_source(source, n):
        start = a[sources].toarray().T * beta
        if solve is not None:
            total = solve.solve(start)
        else:
            total, step = start, start
            for _ in range((length or 1) - 1):
                step = beta * (a @ step)
                total = total + step
        out[inside] = total[target[inside], place]
    return torch.from_numpy(out)


def pagerank(
    ptr: Tensor, idx: Tensor, pairs: Tensor, alpha: float, epsilon: float
) -> Tensor:
    """See :func:`graphlab.evaluate.heuristics.pagerank`."""
    name = "pagerank"
    for argument, value in (("alpha", alpha), ("epsilon", epsilon)):
        if not 0 < value < 1:
            check.fail(ValueError, name, argument, "be in (0, 1)", value)
    out = np.zeros(pairs.shape[1])
    source, target = _shared_first(pairs, len(ptr) - 1)
    order = np.argsort(source, kind="stable")
    _push_pairs(
        ptr.numpy(),
        idx.numpy(),
        source[order],
        target[order],
        order,
        alpha,
        epsilon,
        out,
    )
    # Walks are reversible: d(a) p_a(b) = d(b) p_b(a), and the bound of the error with them.
    degree = ptr.diff().double().clamp(min=1).numpy()
    return torch.from_numpy(out * (1 + degree[source] / degree[target]))


def push(ptr: Array, idx: Array, source: int, alpha: float, epsilon: float) -> Array:
    """Personalised PageRank of all nodes from one source, by forward push. [N]."""
    n = len(ptr) - 1
    value, rest = np.zeros(n), np.zeros(n)
    queue, waiting = np.empty(n, np.int64), np.zeros(n, np.bool_)
    touched = np.empty(n + 1, np.int64)
    _push(ptr, idx, source, alpha, epsilon, value, rest, queue, waiting, touched)
    return value


def shortest_path(ptr: Tensor, idx: Tensor, pairs: Tensor, cutoff: int) -> Tensor:
    """See :func:`graphlab.evaluate.heuristics.shortest_path`."""
    check.positive("shortest_path", "cutoff", cutoff)
    out = np.zeros(pairs.shape[1])
    _shortest(ptr.numpy(), idx.numpy(), *pairs.numpy(), cutoff, out)
    return torch.from_numpy(out)


def _shared_first(pairs: Tensor, n: int) -> tuple[Array, Array]:
    """The nodes of each pair, first the one that is in more pairs; of equals the lower one.

    Work is done once a distinct source: negatives of one positive share a node.
    """
    a, b = pairs.numpy()
    count = np.bincount(pairs.flatten().numpy(), minlength=n)
    swapped = (count[a] < count[b]) | ((count[a] == count[b]) & (a > b))
    return np.where(swapped, b, a), np.where(swapped, a, b)


def _by_source(source: Array, n: int) -> Iterator[tuple[Array, Array, Array]]:
    """Blocks of distinct sources, the pairs they have, and each pair's source there."""
    distinct, place = np.unique(source, return_inverse=True)
    order = np.argsort(place, kind="stable")
    sorted_place = place[order]
    width = max(1, _BLOCK_VALUES // max(n, 1))
    for first in range(0, len(distinct), width):
        low, high = np.searchsorted(sorted_place, (first, first + width))
        inside = order[low:high]
        yield distinct[first : first + width], inside, place[inside] - first


@numba.njit(nogil=True)
def _push(ptr, idx, source, alpha, epsilon, value, rest, queue, waiting, touched):  # type: ignore[no-untyped-def]
    """Push until no node holds ``epsilon`` for each of its edges; returns nodes touched."""
    n = len(ptr) - 1
    rest[source] = 1.0
    queue[0] = source
    waiting[source] = True
    touched[0] = source
    head, held, count = 0, 1, 1
    while held > 0:
        u = queue[head]
        head = (head + 1) % n
        held -= 1
        waiting[u] = False
        mass = rest[u]
        rest[u] = 0.0
        degree = ptr[u + 1] - ptr[u]
        if degree == 0:
            value[u] += mass
            continue
        value[u] += alpha * mass
        share = (1 - alpha) * mass / degree
        for e in range(ptr[u], ptr[u + 1]):
            v = idx[e]
            if rest[v] == 0.0 and value[v] == 0.0 and v != source:
                touched[count] = v
                count += 1
            rest[v] += share
            if not waiting[v] and rest[v] > epsilon * max(ptr[v + 1] - ptr[v], 1):
                queue[(head + held) % n] = v
                held += 1
                waiting[v] = True
    return count


@numba.njit(nogil=True)
def _push_pairs(ptr, idx, source, target, place, alpha, epsilon, out):  # type: ignore[no-untyped-def]
    """Pairs grouped by source: one push a distinct one."""
    n = len(ptr) - 1
    value, rest = np.zeros(n), np.zeros(n)
    queue = np.empty(n, np.int64)
    waiting = np.zeros(n, np.bool_)
    # A node is listed again if its value and rest return to 0, which they never do.
    touched = np.empty(n + 1, np.int64)
    count = 0
    for p in range(len(source)):
        if p == 0 or source[p] != source[p - 1]:
            for t in range(count):
                value[touched[t]] = 0.0
                rest[touched[t]] = 0.0
            count = _push(
                ptr,
                idx,
                source[p],
                alpha,
                epsilon,
                value,
                rest,
                queue,
                waiting,
                touched,
            )
        out[place[p]] = value[target[p]]


@numba.njit(nogil=True)
def _shortest(ptr, idx, left, right, cutoff, out):  # type: ignore[no-untyped-def]
    """Breadth first from both ends in turn, never over the pair's own edge."""
    n = len(ptr) - 1
    seen = np.zeros((2, n), np.int32)
    queue = np.empty((2, n), np.int64)
    for p in range(len(left)):
        a, b = left[p], right[p]
        if a == b:
            out[p] = 2.0
            continue
        head = np.zeros(2, np.int64)
        tail = np.ones(2, np.int64)
        depth = np.zeros(2, np.int64)
        queue[0, 0], queue[1, 0] = a, b
        seen[0, a], seen[1, b] = 1, 1
        found = 0
        while found == 0 and depth[0] + depth[1] < cutoff:
            # The smaller frontier grows.
            side = 0 if tail[0] - head[0] <= tail[1] - head[1] else 1
            if tail[side] == head[side]:
                break
            end = tail[side]
            depth[side] += 1
            while head[side] < end and found == 0:
                u = queue[side, head[side]]
                head[side] += 1
                for e in range(ptr[u], ptr[u + 1]):
                    v = idx[e]
                    if (u == a and v == b) or (u == b and v == a):
                        continue
                    if seen[side, v]:
                        continue
                    if seen[1 - side, v]:
                        found = depth[0] + depth[1]
                        break
                    seen[side, v] = 1
                    queue[side, tail[side]] = v
                    tail[side] += 1
        if found:
            out[p] = 1.0 / found
        for side in range(2):
            for t in range(tail[side]):
                seen[side, queue[side, t]] = 0
