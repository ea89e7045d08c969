"""Readable twin of ``spgemm_topk``: a dense row at a time, compiled by numba."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor


@numba.njit(cache=True)
def _rows(a_ptr, a_idx, a_val, b_ptr, b_idx, b_val, c_ptr, c_idx, c_val, num_cols, k):  # type: ignore[no-untyped-def]
    rows = len(a_ptr) - 1
    total = np.zeros(num_cols)
    held = np.zeros(num_cols, dtype=np.bool_)
    ptr = np.zeros(rows + 1, dtype=np.int64)
    out_idx, out_val = [], []
    for row in range(rows):
        columns = []
        for e in range(a_ptr[row], a_ptr[row + 1]):
            for f in range(b_ptr[a_idx[e]], b_ptr[a_idx[e] + 1]):
                column = b_idx[f]
                if not held[column]:
                    held[column] = True
                    columns.append(column)
                total[column] += np.float64(a_val[e]) * np.float64(b_val[f])
        for e in range(c_ptr[row], c_ptr[row + 1]):
            column = c_idx[e]
            if not held[column]:
                held[column] = True
                columns.append(column)
            total[column] += np.float64(c_val[e])
        chosen = np.sort(np.array(columns, dtype=np.int64))
        if 0 < k < len(chosen):
            # A stable sort of ascending columns: of equal values the smaller ones stay.
            order = np.argsort(-total[chosen], kind="mergesort")
            chosen = np.sort(chosen[order[:k]])
        for column in chosen:
            out_idx.append(column)
            out_val.append(total[column])
        for column in columns:
            total[column] = 0.0
            held[column] = False
        ptr[row + 1] = len(out_idx)
    return ptr, np.array(out_idx), np.array(out_val)


def spgemm_topk(
    a_ptr: Tensor,
    a_idx: Tensor,
    a_val: Tensor,
    b_ptr: Tensor,
    b_idx: Tensor,
    b_val: Tensor,
    c_ptr: Tensor | None,
    c_idx: Tensor | None,
    c_val: Tensor | None,
    num_cols: int,
    k: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the ``k`` largest entries of each row of ``A B + C``, columns ascending."""
    if c_ptr is None or c_idx is None or c_val is None:
        c_ptr, c_idx, c_val = torch.zeros_like(a_ptr), a_idx[:0], a_val[:0]
    for ids, size in (
        (a_idx, len(b_ptr) - 1),
        (b_idx, num_cols),
        (c_idx, num_cols),
    ):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= size):
            raise RuntimeError("indices must be below the number of rows and columns")
    parts = (a_ptr, a_idx, a_val, b_ptr, b_idx, b_val, c_ptr, c_idx, c_val)
    ptr, idx, val = _rows(*(part.numpy() for part in parts), num_cols, k)
    return (
        torch.from_numpy(ptr),
        torch.from_numpy(idx.astype(np.int64)).to(a_idx.dtype),
        torch.from_numpy(val).to(a_val.dtype),
    )
