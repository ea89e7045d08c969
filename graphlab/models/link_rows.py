"""Rows of nodes for pairs, with gradients that are sums over sorted lists."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import ops


class _Products(torch.autograd.Function):
    """``h_i * h_j``; torch's gradient of ``h[index]`` adds row by row, in one thread."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, pairs: Tensor) -> Tensor:
        left, right = h.index_select(0, pairs[0]), h.index_select(0, pairs[1])
        ctx.save_for_backward(h, pairs)
        return left.mul_(right)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        h, pairs = ctx.saved_tensors
        count, nodes = pairs.shape[1], h.shape[0]
        # A node gets, from each of its pairs, the gradient times the other node's row.
        place = torch.arange(count, device=h.device).repeat(2)
        node, other = pairs.flatten(), pairs.flip(0).flatten()
        parts = h.index_select(0, other) * grad.repeat(2, 1)
        ptr, _, entry = ops.csr_build(node, place, nodes, max(count, 1))
        return ops.spmm(ptr, entry, parts), None


def products(h: Tensor, pairs: Tensor) -> Tensor:
    """``h_i * h_j`` of each pair. [B, width]."""
    if torch.is_grad_enabled() and h.requires_grad and h.device.type == "cpu":
        out: Tensor = _Products.apply(h, pairs)  # type: ignore[no-untyped-call]
        return out
    return h.index_select(0, pairs[0]) * h.index_select(0, pairs[1])


class _Take(torch.autograd.Function):
    """Rows that are each taken once: the gradient is a copy."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, rows: Tensor) -> Tensor:
        ctx.num_rows = h.shape[0]
        ctx.save_for_backward(rows)
        return h.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        (rows,) = ctx.saved_tensors
        full = grad.new_zeros(ctx.num_rows, grad.shape[1])
        return full.index_copy_(0, rows, grad), None


def take_distinct(h: Tensor, rows: Tensor) -> Tensor:
    """``h[rows]`` of distinct rows."""
    out: Tensor = _Take.apply(h, rows)  # type: ignore[no-untyped-call]
    return out


def distinct(idx: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """The nodes that a list names, ascending, and for each entry its place among them.

    Example:
        >>> [part.tolist() for part in distinct(torch.tensor([4, 2, 4]), 5)]
        [[2, 4], [1, 0, 1]]
    """
    named = torch.zeros(num_nodes, dtype=torch.bool, device=idx.device)
    named[idx.long()] = True
    rows = named.nonzero()[:, 0]
    place = torch.empty(num_nodes, dtype=idx.dtype, device=idx.device)
    place[rows] = torch.arange(len(rows), dtype=idx.dtype, device=idx.device)
    return rows, place.index_select(0, idx)


def distinct_pairs(pairs: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Pairs without repetition, ascending, and for each pair its place among them.

    Cost: two counting sorts, where a sort of keys compares.

    Example:
        >>> pairs = torch.tensor([[1, 0, 1], [2, 3, 2]])
        >>> [part.tolist() for part in distinct_pairs(pairs, 4)]
        [[[0, 1], [3, 2]], [1, 0, 1]]
    """
    count = pairs.shape[1]
    if count == 0:
        return pairs, pairs.new_empty(0)
    # By the second node, then, keeping that order, by the first.
    numbers = torch.arange(count, device=pairs.device)
    _, _, by_second = ops.csr_build(pairs[1], numbers, num_nodes, count)
    by_second = by_second.long()
    first = pairs[0].index_select(0, by_second)
    _, order, _ = ops.csr_build(first, by_second, num_nodes, count)
    order = order.long()
    ordered = pairs.index_select(1, order)
    fresh = torch.ones(count, dtype=torch.bool, device=pairs.device)
    fresh[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(0)
    place = torch.empty(count, dtype=torch.int64, device=pairs.device)
    place[order] = fresh.cumsum(0) - 1
    return ordered[:, fresh], place
