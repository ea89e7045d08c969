"""Hard negatives: for each positive, pairs that heuristics rank high but that are no edges."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets.column import SparseColumn
from graphlab.evaluate.walks import push
from graphlab.graph import Graph, neighbor_rows
from graphlab.ops import rng

Array = npt.NDArray[Any]
_STREAM, _RANDOM = 106, 107
# Endpoints that one task ranks.
_TASK = 64


def hard_negatives(
    g: Graph,
    positives: Tensor,
    x: Any = None,
    *,
    number: int = 500,
    known: Tensor | None = None,
    seed: int = 42,
    alpha: float = 0.15,
    epsilon: float = 1e-5,
    num_threads: int | None = None,
) -> Tensor:
    """Choose each positive's own negatives: half share its first node, half its second.

    For a fixed node ``a`` all nodes are ranked by resource allocation, by personalised
    PageRank from ``a`` and, with ``x``, by the cosine of features; a node's rank is its best
    of these, equal scores share the lowest place, and the best ``number / 2`` are taken. Left
    out are both nodes of the positive and the neighbours of ``a``, in ``g`` and in ``known``.
    Of equal ranks, and where fewer nodes score at all, a stream of (seed, a) decides.

    Args:
        g: Undirected; the edges that a model may know.
        positives: [2, P].
        x: [N, F], a tensor or sparse column, or None.
        number: Negatives of each positive; even.
        known: [2, M]: more pairs that are no negatives, such as validation edges for test.
        seed: Names the draws.
        alpha: Of PageRank; see :func:`graphlab.evaluate.heuristics.pagerank`.
        epsilon: The same.
        num_threads: Threads; the result does not depend on it.

    Returns:
        [P, number, 2], int64: the first half ``(a, v)``, the second half ``(v, b)``.

    Raises:
        ValueError: an odd number, or nodes with fewer non-neighbours than that.

    Cost:
        One ranking a distinct node of the positives: its two hops, one push, one row of
        ``X X^T``, and a sort of the nodes that score; memory of a few arrays of N a thread.

    Source:
        The recipe of HeaRT (Li et al., NeurIPS 2023) for Planetoid, without the fault of its
        generator, which ranks features in place and so reverses them at second sight. Its
        published lists therefore differ: results on these negatives carry another name.

    Example:
        >>> ring = torch.arange(40)
        >>> g = Graph(torch.stack([ring, ring.roll(-1)])).to_undirected()
        >>> hard_negatives(g, torch.tensor([[0], [1]]), number=4)[0].tolist()[0]
        [0, 38]
    """
    name = "hard_negatives"
    check.positive(name, "number", number, least=2)
    if number % 2:
        check.fail(ValueError, name, "number", "be even", number)
    _require(name, g, positives)
    if x is not None and x.shape[0] != g.num_nodes:
        need = f"have a row for each of {g.num_nodes} nodes"
        check.fail(ValueError, name, "x", need, list(x.shape))
    ranker = _Ranker(g, x, known, number // 2, seed, alpha, epsilon)
    nodes, place = np.unique(positives.numpy().ravel(), return_inverse=True)
    place = place.reshape(2, -1)
    # A positive leaves its other node out: so many more are ranked for each node.
    extra = np.bincount(place.ravel(), minlength=len(nodes))
    tasks = range(0, len(nodes), _TASK)
    threads = num_threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        ranked = [
            row
            for part in pool.map(
                lambda first: [
                    ranker.rank(int(nodes[t]), int(extra[t]))
                    for t in range(first, min(first + _TASK, len(nodes)))
                ],
                tasks,
            )
            for row in part
        ]
    half = number // 2
    out = np.empty((positives.shape[1], number, 2), np.int64)
    for p, (a, b) in enumerate(positives.t().tolist()):
        for side, (fixed, other) in enumerate(((a, b), (b, a))):
            row = ranked[place[side, p]]
            row = row[row != other][:half]
            part = out[p, side * half : (side + 1) * half]
            part[:, side], part[:, 1 - side] = fixed, row
    return torch.from_numpy(out)


def random_negatives(
    g: Graph,
    positives: Tensor,
    *,
    number: int = 500,
    known: Tensor | None = None,
    seed: int = 42,
) -> Tensor:
    """Draw each positive's own negatives uniformly, in the layout of :func:`hard_negatives`.

    Half share the first node, half the second; left out are both nodes and the neighbours of
    the shared one. Draws are independent, so a negative may come twice.

    Args:
        g, positives, number, known, seed: As for :func:`hard_negatives`.

    Returns:
        [P, number, 2], int64.

    Raises:
        ValueError: an odd number, or a node that is everybody's neighbour.

    Example:
        >>> ring = torch.arange(40)
        >>> g = Graph(torch.stack([ring, ring.roll(-1)])).to_undirected()
        >>> random_negatives(g, torch.tensor([[0], [1]]), number=4)[0, :2, 0].tolist()
        [0, 0]
    """
    name = "random_negatives"
    check.positive(name, "number", number, least=2)
    if number % 2:
        check.fail(ValueError, name, "number", "be even", number)
    _require(name, g, positives)
    n, half = g.num_nodes, number // 2
    barred = g.edge_index
    if known is not None:
        barred = torch.cat([barred, known, known.flip(0)], 1)
    taken = (barred[0] * n + barred[1]).unique()
    degree = torch.bincount(taken // n, minlength=n)
    if bool((degree[positives.flatten()] >= n - 2).any()):
        need = "leave each node of a positive a node to be paired with"
        check.fail(ValueError, name, "positives", need, "a node joined to all others")
    sides = []
    for side in (0, 1):
        fixed = positives[side].repeat_interleave(half)
        other = positives[1 - side].repeat_interleave(half)
        node = torch.full_like(fixed, -1)
        missing = torch.arange(len(fixed))
        attempt = 0
        while len(missing):
            # As many bits as pairs, so that a draw depends on its place alone.
            bits = rng.bits(rng.key(seed, _RANDOM, side, attempt), len(fixed))
            node[missing] = torch.from_numpy((bits % np.uint64(n)).astype(np.int64))[
                missing
            ]
            key = fixed[missing] * n + node[missing]
            at = torch.searchsorted(taken, key).clamp(max=max(len(taken) - 1, 0))
            wrong = (node[missing] == fixed[missing]) | (
                node[missing] == other[missing]
            )
            if len(taken):
                wrong |= taken[at] == key
            # The incomplete last repetition of the range, for draws without bias.
            last = np.uint64(2**64 - 1) - np.uint64(2**64 % n)
            wrong |= torch.from_numpy(bits > last)[missing]
            missing = missing[wrong]
            attempt += 1
        both = (fixed, node) if side == 0 else (node, fixed)
        sides.append(torch.stack(both, 1).view(-1, half, 2))
    return torch.cat(sides, 1)


def _require(name: str, g: Graph, positives: Tensor) -> None:
    check.tensor(name, "positives", positives, dtypes=(torch.int64,), ndim=2)
    check.ids_in_range(name, "positives", positives, g.num_nodes)
    if not g.is_undirected():
        remedy = "use g.to_undirected()"
        check.fail(ValueError, name, "g", "be undirected", "a directed graph", remedy)


class _Ranker:
    """Ranks all nodes for one fixed node."""

    def __init__(
        self,
        g: Graph,
        x: Any,
        known: Tensor | None,
        half: int,
        seed: int,
        alpha: float,
        epsilon: float,
    ) -> None:
        ptr, idx = neighbor_rows(g)
        self._ptr, self._idx = ptr.numpy(), idx.numpy()
        self._n, self._half, self._seed = g.num_nodes, half, seed
        self._alpha, self._epsilon = alpha, epsilon
        barred = g.edge_index
        if known is not None:
            barred = torch.cat([barred, known, known.flip(0)], 1)
        ones = np.ones(barred.shape[1], np.int8)
        shape = (self._n, self._n)
        self._barred = sp.csr_matrix((ones, barred.numpy()), shape)
        self._x = None if x is None else _unit_rows(x)

    def rank(self, node: int, extra: int) -> Array:
        """The best ``half + extra`` nodes, without the node and its neighbours."""
        barred = self._barred
        out = barred.indices[barred.indptr[node] : barred.indptr[node + 1]]
        allowed = np.ones(self._n, np.bool_)
        allowed[out] = False
        allowed[node] = False
        wanted = self._half + extra
        free = int(allowed.sum())
        if free < self._half + 1:
            need = f"be at most twice the {free - 1} nodes that are no neighbours"
            got = f"{2 * self._half} at node {node}"
            check.fail(ValueError, "hard_negatives", "number", need, got)
        # A node's tie-break: the same for all scores, another for each fixed node.
        tie = rng.bits(rng.key(self._seed, _STREAM, node), self._n)
        best = np.full(self._n, np.iinfo(np.int64).max)
        for score in self._scores(node):
            usable = np.flatnonzero(allowed & (score > 0))
            value = -score[usable]
            order = np.argsort(value, kind="stable")
            ordered = value[order]
            place = np.searchsorted(ordered, ordered, side="left") + 1
            best[usable[order]] = np.minimum(best[usable[order]], place)
        candidates = np.flatnonzero(allowed)
        order = np.lexsort((tie[candidates], best[candidates]))
        return candidates[order[: min(wanted, free)]]

    def _scores(self, node: int) -> list[Array]:
        found = [
            _resource_allocation(self._ptr, self._idx, node),
            push(self._ptr, self._idx, node, self._alpha, self._epsilon),
        ]
        if self._x is not None:
            # By a dense vector: a product of two sparse matrices takes several times as long.
            found.append(self._x @ self._x[node].toarray().ravel())
        return found


def _unit_rows(x: Any) -> sp.csr_matrix:
    """Rows of length one, sparse."""
    if isinstance(x, SparseColumn):
        rows = x.to_scipy().astype(np.float64)
    else:
        dense = x if isinstance(x, Tensor) else x.gather(torch.arange(x.shape[0]))
        rows = sp.csr_matrix(dense.double().numpy())
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    norm[norm == 0] = 1.0
    return sp.csr_matrix(sp.diags(1 / norm) @ rows)


@numba.njit(nogil=True)
def _resource_allocation(ptr, idx, node):  # type: ignore[no-untyped-def]
    score = np.zeros(len(ptr) - 1)
    for e in range(ptr[node], ptr[node + 1]):
        u = idx[e]
        degree = ptr[u + 1] - ptr[u]
        for f in range(ptr[u], ptr[u + 1]):
            score[idx[f]] += 1.0 / degree
    return score
