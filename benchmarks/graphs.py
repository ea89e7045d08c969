"""Graphs of the op benchmarks, made in memory."""

from __future__ import annotations

import torch
from torch import Tensor


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
