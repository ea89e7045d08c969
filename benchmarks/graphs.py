"""Graphs of the op benchmarks, made in memory."""

from __future__ import annotations

import torch
from torch import Tensor

import graphlab as gl
from graphlab import ops


def rmat(
    seed: int,
    *,
    quick: bool = False,
    shape: tuple[float, float, float] = (0.57, 0.19, 0.19),
) -> tuple[Tensor, Tensor, int]:
    """R-MAT with quadrants a, b, c of ``shape``, nodes relabelled at random.

    Without relabelling, hubs have neighbouring ids and caches see an easier graph.

    Returns:
        ``row`` and ``col``, int64 [edges], and the number of nodes: 1,000,000 and
        10,000,000 edges, or 10,000 and 100,000 where ``quick``.
    """
    num_nodes, num_edges = (10_000, 100_000) if quick else (1_000_000, 10_000_000)
    return _rmat(seed, num_nodes, num_edges, shape)


def _rmat(
    seed: int,
    num_nodes: int,
    num_edges: int,
    shape: tuple[float, float, float] = (0.57, 0.19, 0.19),
) -> tuple[Tensor, Tensor, int]:
    a, b, c = shape
    generator = torch.Generator().manual_seed(seed)
    row = torch.zeros(num_edges, dtype=torch.int64)
    col = torch.zeros(num_edges, dtype=torch.int64)
    for _ in range((num_nodes - 1).bit_length()):
        draw = torch.rand(num_edges, generator=generator)
        row.mul_(2).add_(draw >= a + b)
        col.mul_(2).add_(((draw >= a) & (draw < a + b)) | (draw >= a + b + c))
    order = torch.randperm(num_nodes, generator=generator)
    return order[row % num_nodes], order[col % num_nodes], num_nodes


def cora_size(seed: int) -> tuple[Tensor, Tensor, int]:
    """A uniform graph of Cora's size: 2,708 nodes, 10,556 edges."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(2_708, (2, 10_556), generator=generator)
    return pairs[0], pairs[1], 2_708


def youtube_size(seed: int, *, quick: bool = False) -> gl.Graph:
    """R-MAT with the nodes and edges of GraphVite's Youtube, both directions stored.

    1,138,499 nodes and 4,945,382 edges (10,000 and 40,000 where ``quick``); weights are
    uniform in (0, 1), the same both ways.
    """
    nodes, edges = (10_000, 40_000) if quick else (1_138_499, 4_945_382)
    row, col, nodes = _rmat(seed, nodes, edges)
    weight = torch.rand(edges, generator=torch.Generator().manual_seed(seed))
    both = torch.stack([torch.cat([row, col]), torch.cat([col, row])])
    return gl.Graph(both, nodes, weight.repeat(2))


def chung_lu(
    num_nodes: int, num_edges: int, decay: float, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """An undirected graph whose ends are drawn by weights ``(rank + 10) ** -decay``.

    Returns:
        ``ptr`` and ``idx`` of its rows, ascending, both directions, each neighbour once;
        nodes are numbered at random. Repeated draws and loops are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.arange(num_nodes, dtype=torch.float64) + 10) ** -decay
    ends = weight.cumsum(0) / weight.sum()
    order = torch.randperm(num_nodes, generator=generator)
    draw = torch.rand(2, num_edges, dtype=torch.float64, generator=generator)
    source, target = order[torch.searchsorted(ends, draw).clamp_(max=num_nodes - 1)]
    key = torch.minimum(source, target) * num_nodes + torch.maximum(source, target)
    key = key[source != target].unique()
    low, high = key // num_nodes, key % num_nodes
    by_col, row, _ = ops.csr_build(
        torch.cat([high, low]), torch.cat([low, high]), num_nodes, num_nodes
    )
    col = torch.repeat_interleave(
        torch.arange(num_nodes, dtype=row.dtype), by_col.diff()
    )
    ptr, idx, _ = ops.csr_build(row, col, num_nodes, num_nodes)
    return ptr, idx
