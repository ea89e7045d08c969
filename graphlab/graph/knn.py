"""Graphs of nearest neighbours: edges for data that come without any."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.graph.graph import Graph

# Similarities held at a time.
_CHUNK_VALUES = 2**25


def knn_graph(x: Tensor, k: int, *, metric: str = "euclidean") -> Graph:
    """Join each row to its ``k`` nearest others, in both directions.

    Args:
        x: [N, F], floating point, dense.
        k: Neighbours of a row; a row gets more edges where it is others' neighbour.
        metric: ``euclidean``; ``cosine``; or ``overlap``: common words over the product of
            both numbers of words, where a positive value is a word.

    Returns:
        An undirected Graph of N nodes without self loops or weights.

    Raises:
        TypeError, ValueError: wrong type, rank or metric; values that are not finite;
            ``k`` not below N.

    Cost:
        N^2 F multiply-adds, exact; 128 MiB of similarities at a time.

    Source: the kNN graphs of bdy9527/SDCN: ``heat`` ranks as ``euclidean``, ``ncos`` is
        ``overlap``.

    Example:
        >>> knn_graph(torch.tensor([[0.0], [1.0], [5.0]]), 1).edge_index
        tensor([[0, 1, 1, 2],
                [1, 0, 2, 1]])
    """
    name = "knn_graph"
    check.tensor(name, "x", x, dtypes=check.FLOAT_DTYPES, ndim=2)
    check.positive(name, "k", k)
    check.one_of(name, "metric", metric, ("euclidean", "cosine", "overlap"))
    num_nodes = x.shape[0]
    if k >= num_nodes:
        check.fail(ValueError, name, "k", f"be below the {num_nodes} rows of `x`", k)
    if not bool(x.isfinite().all()):
        check.fail(ValueError, name, "x", "be finite", "NaN or infinity")
    if metric == "cosine":
        x = torch.nn.functional.normalize(x, dim=1)
    elif metric == "overlap":
        x = (x > 0).to(x.dtype)
        x = x / x.sum(1, keepdim=True).clamp(min=1)
    # |a - b|^2 = |a|^2 - 2 (a b - |b|^2 / 2), and |a| does not change a's ranking.
    penalty: Any = x.square().sum(1) / 2 if metric == "euclidean" else 0.0
    step = max(1, _CHUNK_VALUES // num_nodes)
    nearest = []
    for start in range(0, num_nodes, step):
        near = x[start : start + step] @ x.t() - penalty
        own = torch.arange(start, start + len(near))
        near[torch.arange(len(near)), own] = -torch.inf
        nearest.append(near.topk(k, 1).indices)
    source = torch.cat(nearest).flatten()
    target = torch.repeat_interleave(torch.arange(num_nodes), k)
    return Graph(torch.stack([source, target]), num_nodes).to_undirected()
