"""Readable twin of ``csr_build``: plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def csr_build(
    row: Tensor, col: Tensor, num_rows: int, num_cols: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort an edge list by row; see :func:`graphlab.ops.csr_build`."""
    for ids, size in ((row, num_rows), (col, num_cols)):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise RuntimeError("ids must be in [0, num_rows) and [0, num_cols)")
    edge_id = torch.argsort(row, stable=True)
    ptr = row.new_zeros(num_rows + 1, dtype=torch.int64)
    ptr[1:] = torch.bincount(row, minlength=num_rows).cumsum(0)
    idx = col[edge_id].to(index_dtype(num_cols))
    return ptr, idx, edge_id.to(index_dtype(row.numel()))


def index_dtype(size: int) -> torch.dtype:
    """The dtype of ids below ``size``: int32 where they fit."""
    return torch.int32 if size < 2**31 else torch.int64
