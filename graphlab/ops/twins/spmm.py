"""Readable twins of ``spmm`` and of its derivative in the weights: plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.twins.segment import owners

# Edges whose products are held at a time, so that [edges, width] never is.
CHUNK_VALUES = 1 << 22


def spmm(
    ptr: Tensor,
    idx: Tensor,
    weight: Tensor | None,
    x: Tensor,
    reduce: str,
    t_ptr: Tensor | None = None,
    t_idx: Tensor | None = None,
    t_perm: Tensor | None = None,
) -> Tensor:
    """Sum or mean of weighted rows of ``x``; see :func:`graphlab.ops.spmm`."""
    check.offsets("spmm", "ptr", ptr, end=idx.numel())
    owner = owners(ptr)
    out = x.new_zeros(ptr.numel() - 1, x.shape[1])
    step = max(1, CHUNK_VALUES // max(1, x.shape[1]))
    for first in range(0, idx.numel(), step):
        part = slice(first, first + step)
        values = x.index_select(0, idx[part])
        if weight is not None:
            values *= weight[part, None]
        out.index_add_(0, owner[part], values)
    if reduce == "mean":
        out /= ptr.diff().clamp(min=1)[:, None]
    return out


def spmm_edge_dot(ptr: Tensor, idx: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    """``out[e] = <grad[row of e], x[idx[e]]>``: the derivative of a sum in its weights."""
    owner = owners(ptr)
    out = x.new_empty(idx.numel())
    step = max(1, CHUNK_VALUES // max(1, x.shape[1]))
    for first in range(0, idx.numel(), step):
        part = slice(first, first + step)
        values = x.index_select(0, idx[part]) * grad.index_select(0, owner[part])
        torch.sum(values, 1, out=out[part])
    return out
