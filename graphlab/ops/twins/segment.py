"""Readable twins of ``segment_reduce`` and ``segment_softmax``: plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def owners(ptr: Tensor, rows: int | None = None) -> Tensor:
    """The segment of each row: ``[0, 0, 2]`` for ``ptr = [0, 2, 2, 3]``.

    ``rows`` is ``ptr[-1]``; given, it need not be read, and tracing knows the shape.
    """
    segments = torch.arange(ptr.numel() - 1, device=ptr.device)
    return torch.repeat_interleave(segments, ptr.diff(), output_size=rows)


def segment_reduce(src: Tensor, ptr: Tensor, reduce: str) -> tuple[Tensor, Tensor]:
    """Reduce consecutive rows; see :func:`graphlab.ops.segment_reduce`."""
    segments, width = ptr.numel() - 1, src.shape[1]
    owner = owners(ptr)
    if reduce == "max":
        # The row that holds the maximum: NaN beats all, else the first of equals.
        out = src.new_zeros(segments, width)
        arg = torch.full((segments, width), -1, device=src.device)
        index = owner[:, None].expand(-1, width)
        out.scatter_reduce_(0, index, src, "amax", include_self=False)
        top = out[owner]
        hit = (src == top) | (src.isnan() & top.isnan())
        rows = torch.arange(src.shape[0], device=src.device)[:, None]
        candidate = torch.where(hit, rows, src.shape[0])
        arg.scatter_reduce_(0, index, candidate, "amin", include_self=False)
        return out, arg
    out = src.new_zeros(segments, width).index_add_(0, owner, src)
    if reduce == "mean":
        out /= ptr.diff().clamp(min=1)[:, None]
    return out, ptr.new_empty(0, width)


def segment_softmax(src: Tensor, ptr: Tensor) -> Tensor:
    """Softmax within each segment; see :func:`graphlab.ops.segment_softmax`."""
    owner = owners(ptr)
    top, _ = segment_reduce(src, ptr, "max")
    value = (src - top[owner]).exp()
    total, _ = segment_reduce(value, ptr, "sum")
    return value / total[owner]
