"""Common neighbours of pairs of nodes of a Graph."""

from __future__ import annotations

import weakref
from typing import Any, Literal

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph.adjacency import owners, sort_pairs
from graphlab.graph.graph import Graph

_CACHE: weakref.WeakKeyDictionary[Graph, tuple[Tensor, Tensor]]
_CACHE = weakref.WeakKeyDictionary()


def neighbor_rows(g: Graph) -> tuple[Tensor, Tensor]:
    """Return the neighbours of every node, ascending, each once; made once a graph.

    Returns:
        ``ptr`` [N + 1], int64, and ``idx``: sources of the edges into each node. The graph's
        own CSC where that ascends and holds no parallel edges.
    """
    if g not in _CACHE:
        ptr, idx, _ = g.csc()
        if len(idx) > 1:
            # The first entry of a row says nothing about the row before.
            starts = ptr[1:-1]
            inner = torch.ones(len(idx) - 1, dtype=torch.bool)
            inner[starts[(starts > 0) & (starts < len(idx))] - 1] = False
            if bool(((idx[1:] < idx[:-1]) & inner).any()):
                # A CSC keeps the order of the edge list, which need not ascend.
                ptr, idx, _ = sort_pairs(owners(ptr, idx.dtype), idx, g.num_nodes)
            repeats = (idx[1:] == idx[:-1]) & inner
            if bool(repeats.any()):
                keep = torch.cat([repeats.new_ones(1), ~repeats])
                degree = torch.bincount(owners(ptr)[keep], minlength=g.num_nodes)
                ptr = torch.cat([ptr.new_zeros(1), degree.cumsum(0)])
                idx = idx[keep]
        _CACHE[g] = ptr, idx
    return _CACHE[g]


def common_neighbors(
    g: Graph,
    pairs: Any,
    exclude: Tensor | None = None,
    *,
    output: Literal["count", "ids", "sets"] = "count",
    x: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor] | ops.NeighborSets:
    r"""Find what the neighbourhoods of the two nodes of each pair share.

    ``N(i) ∩ N(j) \ {i, j}``, with ``N(v)`` the sources of edges into ``v``: all neighbours,
    in an undirected graph (``g.to_undirected()`` makes one). Parallel edges count once.

    Args:
        g: The graph.
        pairs: [2, B], int64.
        exclude: [2, M], int64: pairs of nodes that count as not joined, in both directions,
            such as the training batch itself. The graph is not rebuilt.
        output: ``count``; ``ids``: which nodes; ``sets``: also the neighbours of one node
            alone.
        x: [N, F]: sum its rows over the common neighbours instead, differentiably.

    Returns:
        [B] int64; for ``ids`` offsets [B + 1] and nodes; for ``sets`` a
        :class:`~graphlab.ops.NeighborSets`; with ``x`` [B, F].

    Raises:
        TypeError, ValueError, IndexError: as :func:`graphlab.ops.common_neighbors`.

    Cost:
        See :func:`graphlab.ops.common_neighbors_pool`; no memory of pairs x nodes.

    Example:
        >>> g = Graph(torch.tensor([[0, 0, 1, 2], [1, 2, 3, 3]])).to_undirected()
        >>> common_neighbors(g, torch.tensor([[0, 1], [3, 2]])).tolist()
        [2, 2]
        >>> common_neighbors(g, torch.tensor([[0], [3]]), torch.tensor([[0], [1]])).tolist()
        [1]
    """
    check.one_of("common_neighbors", "output", output, ("count", "ids", "sets"))
    if not isinstance(pairs, Tensor):
        pairs = torch.as_tensor(pairs)
    rows = neighbor_rows(g)
    if x is not None:
        return ops.common_neighbors_pool(*rows, pairs, x, exclude=exclude)
    if output == "ids":
        return ops.common_neighbors_ids(*rows, pairs, exclude=exclude)
    if output == "sets":
        return ops.common_neighbors_sets(*rows, pairs, exclude=exclude)
    return ops.common_neighbors(*rows, pairs, exclude=exclude)
