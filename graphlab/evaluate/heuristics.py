r"""Scores of pairs that need no training; larger means more likely.

Each function takes an undirected :class:`~graphlab.Graph` and pairs [2, B], int64, and gives
[B]; others are refused with words. ``exclude`` are pairs that count as not joined, in both
directions; for :func:`shortest_path`, :func:`katz` and :func:`pagerank` the pair that is scored
is what matters, see there. Sums run in order of nodes, so results repeat bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.datasets import gather
from graphlab.datasets.column import SparseColumn
from graphlab.evaluate import walks
from graphlab.graph import Graph, neighbor_rows

Heuristic = Callable[[Graph, Tensor], Tensor]
# Pairs whose dense feature rows are held at a time.
_CHUNK = 16384


def common_neighbors(g: Graph, pairs: Tensor, exclude: Tensor | None = None) -> Tensor:
    """Count common neighbours: ``|N(i) ∩ N(j)|`` (Newman 2001)."""
    _require("common_neighbors", g, pairs)
    return ops.common_neighbors(*neighbor_rows(g), pairs, exclude=exclude).double()


def adamic_adar(g: Graph, pairs: Tensor, exclude: Tensor | None = None) -> Tensor:
    """Sum ``1 / log d(u)`` over common neighbours (Adamic and Adar 2003).

    A common neighbour of two nodes has degree 2 or more, so the logarithm is positive.
    """
    _require("adamic_adar", g, pairs)
    return _pooled(g, pairs, exclude, lambda d: 1 / d.clamp(min=2).log())


def resource_allocation(
    g: Graph, pairs: Tensor, exclude: Tensor | None = None
) -> Tensor:
    """Sum ``1 / d(u)`` over common neighbours (Zhou, Lu and Zhang 2009)."""
    _require("resource_allocation", g, pairs)
    return _pooled(g, pairs, exclude, lambda d: 1 / d.clamp(min=1))


def jaccard(g: Graph, pairs: Tensor, exclude: Tensor | None = None) -> Tensor:
    """Share of common neighbours among all neighbours of the two; 0 where none has any."""
    _require("jaccard", g, pairs)
    common = common_neighbors(g, pairs, exclude)
    degree = _degree(g)
    union = degree[pairs[0]] + degree[pairs[1]] - common
    return torch.where(union > 0, common / union.clamp(min=1), union.new_zeros(()))


def preferential_attachment(g: Graph, pairs: Tensor) -> Tensor:
    """Product of the degrees (Barabasi and Albert 1999)."""
    _require("preferential_attachment", g, pairs)
    degree = _degree(g)
    return degree[pairs[0]] * degree[pairs[1]]


def katz(
    g: Graph, pairs: Tensor, beta: float = 0.005, length: int | None = 3
) -> Tensor:
    r"""Sum :math:`\beta^l` over walks of length l between the nodes (Katz 1953).

    Args:
        g: The graph.
        pairs: [2, B].
        beta: Below one over the largest eigenvalue, for ``length=None``.
        length: Longest walks; None: all, by solving :math:`(I - \beta A)X = \beta A`.

    Raises:
        ValueError: a ``beta`` for which the sum over all walks diverges.

    Cost:
        Truncated: one sparse product a distinct source and step, in blocks; a pair's source is
        the node that is in more of the pairs. Exact: one sparse factorisation, for graphs of
        up to tens of thousands of nodes.
    """
    _require("katz", g, pairs)
    return walks.katz(*neighbor_rows(g), pairs, beta, length)


def pagerank(
    g: Graph, pairs: Tensor, alpha: float = 0.15, epsilon: float = 1e-6
) -> Tensor:
    r"""Personalised PageRank of each node seen from the other, added up.

    By forward push (Andersen, Chung and Lang 2006): each value is below the exact one by at
    most ``epsilon`` times the degree of the node.

    Args:
        g: The graph.
        pairs: [2, B].
        alpha: Probability to return to the source.
        epsilon: Residual for each edge at which a push stops.

    Cost:
        One push of at most ``1 / (alpha epsilon)`` steps a pair, from the node that is in more
        of the pairs, and one for all pairs of that node: walks of an undirected graph are
        reversible. Which node that is decides what the push leaves out, within the bound.
    """
    _require("pagerank", g, pairs)
    return walks.pagerank(*neighbor_rows(g), pairs, alpha, epsilon)


def shortest_path(g: Graph, pairs: Tensor, cutoff: int = 16) -> Tensor:
    """One over the length of the shortest path that does not use the pair's own edge.

    0 where there is none of at most ``cutoff`` edges; a pair of equal nodes has length 0 and
    scores 2.
    """
    _require("shortest_path", g, pairs)
    return walks.shortest_path(*neighbor_rows(g), pairs, cutoff)


def cosine(x: Any, pairs: Tensor) -> Tensor:
    """Cosine of the two nodes' features; 0 where one has none.

    Args:
        x: [N, F]: a tensor or any column.
        pairs: [2, B].
    """
    _require_pairs("cosine", pairs, x.shape[0])
    if isinstance(x, SparseColumn):
        return torch.from_numpy(_sparse_cosine(x, pairs))
    parts = []
    for part in pairs.split(_CHUNK, 1):
        a, b = (gather(x, ids).double().flatten(1) for ids in part)
        size = a.norm(dim=1) * b.norm(dim=1)
        dot = (a * b).sum(1)
        parts.append(torch.where(size > 0, dot / size, torch.zeros_like(dot)))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


HEURISTICS: dict[str, Heuristic] = {
    "common_neighbors": common_neighbors,
    "adamic_adar": adamic_adar,
    "resource_allocation": resource_allocation,
    "jaccard": jaccard,
    "preferential_attachment": preferential_attachment,
    "katz": katz,
    "pagerank": pagerank,
    "shortest_path": shortest_path,
}
"""Those of the graph alone, by name."""

# What costs no more than the overlaps: affordable on a graph of any size.
LOCAL = tuple(list(HEURISTICS)[:5])


def score(name: str, g: Graph, pairs: Tensor, x: Any = None) -> Tensor:
    """Score pairs by a heuristic's name; ``cosine`` needs features.

    Example:
        >>> g = Graph(torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])).to_undirected()
        >>> score("resource_allocation", g, torch.tensor([[0], [3]])).tolist()
        [1.0]
    """
    check.one_of("heuristics.score", "name", name, (*HEURISTICS, "cosine"))
    if name == "cosine":
        if x is None:
            check.fail(ValueError, "heuristics.score", "x", "be given for cosine", None)
        return cosine(x, pairs)
    return HEURISTICS[name](g, pairs)


def _require(name: str, g: Graph, pairs: Tensor) -> None:
    """Require pairs of nodes of an undirected graph."""
    _require_pairs(name, pairs, g.num_nodes)
    if not g.is_undirected():
        remedy = "use g.to_undirected()"
        check.fail(ValueError, name, "g", "be undirected", "a directed graph", remedy)


def _require_pairs(name: str, pairs: Tensor, size: int) -> None:
    check.tensor(name, "pairs", pairs, dtypes=(torch.int64,), ndim=2)
    if pairs.shape[0] != 2:
        need = "have shape [2, n]"
        check.fail(ValueError, name, "pairs", need, list(pairs.shape))
    check.ids_in_range(name, "pairs", pairs, size)


def _sparse_cosine(x: SparseColumn, pairs: Tensor) -> npt.NDArray[np.float64]:
    rows = x.to_scipy().astype(np.float64)
    rows.sort_indices()
    norm = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    left, right = pairs.numpy()
    dot = _dots(rows.indptr, rows.indices, rows.data, left, right)
    size = norm[left] * norm[right]
    return np.divide(dot, size, np.zeros_like(dot), where=size > 0)


@numba.njit(nogil=True)
def _dots(ptr, idx, value, left, right):  # type: ignore[no-untyped-def]
    """Products of pairs of rows, by a merge of their ascending columns."""
    out = np.zeros(len(left))
    for p in range(len(left)):
        a, b = ptr[left[p]], ptr[right[p]]
        end_a, end_b = ptr[left[p] + 1], ptr[right[p] + 1]
        while a < end_a and b < end_b:
            if idx[a] < idx[b]:
                a += 1
            elif idx[a] > idx[b]:
                b += 1
            else:
                out[p] += value[a] * value[b]
                a += 1
                b += 1
    return out


def _degree(g: Graph) -> Tensor:
    return neighbor_rows(g)[0].diff().double()


def _pooled(
    g: Graph,
    pairs: Tensor,
    exclude: Tensor | None,
    weigh: Callable[[Tensor], Tensor],
) -> Tensor:
    weight = weigh(_degree(g))[:, None]
    rows = neighbor_rows(g)
    return ops.common_neighbors_pool(*rows, pairs, weight, exclude=exclude)[:, 0]
