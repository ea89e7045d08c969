"""Sparse inputs of a first layer: ``X @ W`` without a dense ``X``."""

from __future__ import annotations

import weakref
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.datasets.column import SparseColumn


class SparseRows:
    """A matrix of which few entries are not zero, by rows.

    Args:
        ptr: [rows + 1], int64.
        idx: [entries], int32 or int64: columns.
        value: [entries], float32 or float64.
        num_columns: Width of the matrix.
        transpose: Entries by column, if known: offsets, rows, positions.
    """

    def __init__(
        self,
        ptr: Tensor,
        idx: Tensor,
        value: Tensor,
        num_columns: int,
        transpose: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        self.ptr, self.idx, self.value = ptr, idx, value
        self.shape = (len(ptr) - 1, num_columns)
        if transpose is None:
            transpose = ops.csr_transpose(ptr, idx, num_columns)
        self._transpose = transpose

    @property
    def dtype(self) -> torch.dtype:
        """Of the values."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """Of the values."""
        return self.value.device

    def to_dense(self) -> Tensor:
        """[rows, columns], zeros and all."""
        rows = torch.arange(self.shape[0], device=self.device)
        row = torch.repeat_interleave(rows, self.ptr.diff())
        out = torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        out[row, self.idx.long()] = self.value
        return out

    def with_values(self, value: Tensor) -> SparseRows:
        """The same entries with other values."""
        return SparseRows(self.ptr, self.idx, value, self.shape[1], self._transpose)

    def __matmul__(self, weight: Tensor) -> Tensor:
        """[rows, columns] @ [columns, width], with the gradient of ``weight``."""
        return ops.spmm(
            self.ptr, self.idx, weight, weight=self.value, transpose=self._transpose
        )


Features = Tensor | SparseRows
_CACHE: weakref.WeakKeyDictionary[SparseColumn, SparseRows]
_CACHE = weakref.WeakKeyDictionary()


def features(x: Any) -> Features:
    """Take what a user has: a dense or sparse tensor, a :class:`SparseColumn`.

    Raises:
        TypeError: none of these.
    """
    if isinstance(x, SparseRows):
        return x
    if isinstance(x, SparseColumn):
        if x not in _CACHE:
            csr = x.to_scipy()
            _CACHE[x] = SparseRows(
                torch.from_numpy(csr.indptr).to(torch.int64),
                torch.from_numpy(csr.indices),
                torch.from_numpy(csr.data),
                x.shape[1],
            )
        return _CACHE[x]
    if not isinstance(x, Tensor):
        check.fail(
            TypeError,
            "forward",
            "x",
            "be a tensor or a SparseColumn",
            type(x).__name__,
            "gather the rows of a column on disk with a loader",
        )
    if x.layout == torch.strided:
        return x
    coo = x.to_sparse_coo().coalesce()
    row, column = coo.indices()
    ptr, idx, _ = ops.csr_build(row, column, x.shape[0], x.shape[1])
    return SparseRows(ptr, idx, coo.values(), x.shape[1])


def first_rows(x: Features, count: int) -> Features:
    """The first ``count`` rows."""
    if count == x.shape[0]:
        return x
    if isinstance(x, SparseRows):
        end = int(x.ptr[count])
        return SparseRows(x.ptr[: count + 1], x.idx[:end], x.value[:end], x.shape[1])
    return x[:count]


def columns(x: Features, start: int, end: int) -> Tensor:
    """Columns ``start`` to ``end`` of all rows, dense."""
    if not isinstance(x, SparseRows):
        return x[:, start:end]
    row = torch.repeat_interleave(torch.arange(x.shape[0]), x.ptr.diff())
    inside = (x.idx >= start) & (x.idx < end)
    out = torch.zeros(x.shape[0], end - start, dtype=x.dtype)
    out[row[inside], x.idx[inside].long() - start] = x.value[inside]
    return out


def normalised(x: Features) -> Features:
    """Each row divided by the sum of its absolute values; a row of zeros stays."""
    if not isinstance(x, SparseRows):
        return F.normalize(x, p=1.0, dim=1)
    total = ops.segment_reduce(x.value.abs()[:, None], x.ptr)[:, 0].clamp(min=1e-12)
    return x.with_values(x.value / torch.repeat_interleave(total, x.ptr.diff()))


def dropout(x: Features, p: float, training: bool) -> Features:
    """Dropout; on sparse rows it meets the entries only, as zeros stay zero."""
    if isinstance(x, SparseRows):
        return x.with_values(ops.dropout(x.value, p, training)) if training and p else x
    return ops.dropout(x, p, training)


def linear(x: Features, layer: nn.Linear) -> Tensor:
    """``layer(x)`` for dense or sparse ``x``."""
    if isinstance(x, SparseRows):
        out = x @ layer.weight.t().contiguous()
        return out if layer.bias is None else out + layer.bias
    return layer(x)
