"""Columns: anything with shape, dtype and gather, whether in memory, sparse or on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import Array, as_tensor, torch_dtype
from graphlab.ops import gather_rows

# Rows read at once by validate(): bounds its memory at any size of column.
_VALIDATE_BYTES = 2**25


@runtime_checkable
class Column(Protocol):
    """One row per node (or edge); a tensor is one too, through :func:`gather`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, ...]."""

    @property
    def dtype(self) -> torch.dtype:
        """What :meth:`gather` returns."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory held; 0 for what stays on disk."""

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows ``ids`` as a dense tensor [len(ids), ...], written to ``out`` if given."""


def gather(column: Tensor | Column, ids: Tensor, out: Tensor | None = None) -> Tensor:
    """Copy rows of a column.

    Args:
        column: [rows, ...], a tensor or any :class:`Column`.
        ids: [n], int32 or int64, in [0, rows); repeats are fine.
        out: [n, ...] of the column's dtype, to write into.

    Returns:
        [n, ...]: ``out``, or a new tensor.

    Raises:
        TypeError: ids that are not int32 or int64 (a mask: use ``mask.nonzero()[:, 0]``).
        IndexError: an id out of range.

    Example:
        >>> gather(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([2, 0]))
        tensor([[3.],
                [1.]])
    """
    if not isinstance(column, Tensor):
        return column.gather(ids, out)
    check_kind("gather", ids)
    if out is not None:
        check_out("gather", out, (len(ids), *column.shape[1:]), column.dtype)
    plain = column.is_contiguous() and not column.requires_grad
    if plain and (out is None or out.is_contiguous()):
        return gather_rows(column, ids, out=out)
    check.ids_in_range("gather", "ids", ids, column.shape[0])
    if out is None:
        return column.index_select(0, ids)
    return out.copy_(column.index_select(0, ids))


def check_kind(function: str, ids: Tensor) -> None:
    """Require int32 or int64 ids [n]."""
    if isinstance(ids, Tensor) and ids.dtype == torch.bool:
        remedy = "use mask.nonzero()[:, 0]"
        check.fail(TypeError, function, "ids", "be int64 or int32", "a mask", remedy)
    check.tensor(function, "ids", ids, dtypes=check.INDEX_DTYPES, ndim=1)


def check_rows(function: str, ids: Tensor, rows: int) -> None:
    """Require int32 or int64 ids [n] in [0, rows). O(n)."""
    check_kind(function, ids)
    check.ids_in_range(function, "ids", ids, rows)


def check_out(
    function: str, out: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Require a buffer of the right shape and dtype."""
    check.tensor(function, "out", out, dtypes=(dtype,))
    if tuple(out.shape) != shape:
        requirement = f"have shape {list(shape)}"
        check.fail(ValueError, function, "out", requirement, list(out.shape))


class MemmapColumn:
    """Rows of a memory-mapped array; what is read passes through the page cache.

    Args:
        array: [rows, ...], a ``numpy.memmap`` or any array, or the path of a ``.npy`` file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "x.npy"
        >>> np.save(path, np.eye(3, dtype=np.float32))
        >>> MemmapColumn(path).gather(torch.tensor([1]))
        tensor([[0., 1., 0.]])
    """

    def __init__(self, array: Array | str | Path) -> None:
        if isinstance(array, (str, Path)):
            array = np.load(array, mmap_mode="r")
        if not isinstance(array, np.ndarray):
            got = type(array).__name__
            check.fail(TypeError, "MemmapColumn", "array", "be an array or path", got)
        if array.ndim == 0:
            check.fail(ValueError, "MemmapColumn", "array", "have rows", "a scalar")
        self.array = array
        self._dtype = torch_dtype(array.dtype)
        # Odd widths, byte orders and strides are converted row by row, not as a whole.
        is_plain = torch_dtype(array.dtype).itemsize == array.dtype.itemsize
        is_plain &= array.dtype.isnative and array.flags.c_contiguous
        self._tensor = as_tensor(array) if is_plain else None

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, ...]."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of gathered rows."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """0 for a mapped file, else the array's bytes."""
        return 0 if isinstance(self.array, np.memmap) else int(self.array.nbytes)

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Read rows; see :func:`gather`."""
        if self._tensor is not None:
            return gather(self._tensor, ids, out)
        name = "MemmapColumn.gather"
        check_rows(name, ids, self.shape[0])
        rows = as_tensor(np.asarray(self.array[ids.numpy()]))
        if out is None:
            return rows
        check_out(name, out, tuple(rows.shape), self.dtype)
        return out.copy_(rows)

    def __repr__(self) -> str:
        return f"MemmapColumn(shape={list(self.shape)}, dtype={self.array.dtype})"


class SparseColumn:
    """Rows of a sparse matrix in CSR parts, kept in their own widths; gather makes them dense.

    Args:
        ptr: [rows + 1], integers: offsets of rows.
        idx: [nnz], integers: columns; uint16 is kept. No column twice in a row.
        data: [nnz], numbers; or [1], one value for all entries.
        shape: (rows, columns).

    Raises:
        TypeError: parts of the wrong dtype.
        ValueError: parts that do not fit each other.
        IndexError: a column out of range.

    Example:
        >>> column = SparseColumn([0, 1, 3], [2, 0, 1], [1], (2, 3))
        >>> column.gather(torch.tensor([1]))
        tensor([[1., 1., 0.]])
    """

    def __init__(self, ptr: Any, idx: Any, data: Any, shape: tuple[int, int]) -> None:
        name = "SparseColumn"
        self.ptr, self.idx = np.asarray(ptr), np.asarray(idx)
        self.data = np.asarray(data)
        rows, width = (int(n) for n in shape)
        self._shape = (rows, width)
        for argument, part in (("ptr", self.ptr), ("idx", self.idx)):
            if part.size and part.dtype.kind not in "iu":
                check.fail(TypeError, name, argument, "hold integers", part.dtype)
        if self.data.dtype.kind not in "iufb":
            check.fail(TypeError, name, "data", "hold real numbers", self.data.dtype)
        if self.ptr.shape != (rows + 1,):
            requirement = f"have shape [rows + 1] = [{rows + 1}]"
            check.fail(ValueError, name, "ptr", requirement, list(self.ptr.shape))
        nnz = int(self.ptr[-1])
        if int(self.ptr[0]) != 0 or bool((np.diff(self.ptr) < 0).any()):
            check.fail(ValueError, name, "ptr", "start at 0 and never fall", "another")
        if self.idx.shape != (nnz,):
            requirement = f"have shape [ptr[-1]] = [{nnz}]"
            check.fail(ValueError, name, "idx", requirement, list(self.idx.shape))
        if self.data.shape not in ((nnz,), (1,)):
            requirement = f"have shape [{nnz}] or [1]"
            check.fail(ValueError, name, "data", requirement, list(self.data.shape))
        if nnz and (int(self.idx.min()) < 0 or int(self.idx.max()) >= width):
            low, high = int(self.idx.min()), int(self.idx.max())
            requirement = f"be in [0, {width})"
            check.fail(IndexError, name, "idx", requirement, low if low < 0 else high)
        double = self.data.dtype == np.float64
        self._dtype = torch.float64 if double else torch.float32

    @classmethod
    def from_scipy(cls, matrix: Any) -> Self:
        """Take the parts of a scipy sparse matrix; duplicates are summed."""
        matrix = matrix.tocsr()
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        return cls(matrix.indptr, matrix.indices, matrix.data, matrix.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """[rows, columns]."""
        return self._shape

    @property
    def dtype(self) -> torch.dtype:
        """float64 where the data are, else float32."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the three parts."""
        return int(self.ptr.nbytes + self.idx.nbytes + self.data.nbytes)

    @classmethod
    def from_torch(cls, matrix: Tensor) -> Self:
        """Take the parts of a torch sparse matrix; duplicates are summed."""
        if matrix.layout == torch.sparse_csr:
            ptr, idx, data = (
                matrix.crow_indices(),
                matrix.col_indices(),
                matrix.values(),
            )
        else:
            matrix = matrix.to_sparse_coo().coalesce()
            row, idx = matrix.indices()
            data = matrix.values()
            ptr = torch.zeros(matrix.shape[0] + 1, dtype=torch.int64)
            ptr[1:] = torch.bincount(row, minlength=matrix.shape[0]).cumsum(0)
        shape = (matrix.shape[0], matrix.shape[1])
        return cls(ptr.numpy(), idx.numpy(), data.numpy(), shape)

    @property
    def dense_nbytes(self) -> int:
        """Bytes that :meth:`to_dense` would take."""
        return self._shape[0] * self._shape[1] * self._dtype.itemsize

    def gather(self, ids: Tensor, out: Tensor | None = None) -> Tensor:
        """Dense rows; see :func:`gather`. Work: the output's bytes plus the entries."""
        name = "SparseColumn.gather"
        check_rows(name, ids, self._shape[0])
        shape = (len(ids), self._shape[1])
        if out is None:
            out = torch.zeros(shape, dtype=self._dtype)
        else:
            check_out(name, out, shape, self._dtype)
            out.zero_()
        if out.numel() == 0:
            return out
        start = self.ptr[ids.numpy()].astype(np.int64)
        count = self.ptr[ids.numpy() + 1].astype(np.int64) - start
        row = np.repeat(np.arange(len(ids)), count)
        first = np.cumsum(count) - count
        position = np.arange(len(row)) + np.repeat(start - first, count)
        value = self.data if len(self.data) == 1 else self.data[position]
        filled = out if out.is_contiguous() else torch.zeros(shape, dtype=self._dtype)
        filled.numpy()[row, self.idx[position]] = value
        return out if filled is out else out.copy_(filled)

    def to_dense(self) -> Tensor:
        """All rows. [rows, columns]."""
        return self.gather(torch.arange(self._shape[0]))

    def to_scipy(self) -> Any:
        """A ``scipy.sparse.csr_matrix`` of the same values."""
        from scipy.sparse import csr_matrix

        data = self.data.astype(self._dtype.__str__().removeprefix("torch."))
        if len(data) == 1 and len(self.idx) != 1:
            data = np.repeat(data, len(self.idx))
        idx = self.idx.astype(np.int32 if self._shape[1] < 2**31 else np.int64)
        return csr_matrix((data, idx, self.ptr), shape=self._shape)

    def __repr__(self) -> str:
        return f"SparseColumn(shape={list(self._shape)}, nnz={len(self.idx):,})"


def as_column(name: str, column: Any, rows: int, of: str) -> Tensor | Column:
    """Return what a user passes as a column; ``of`` is node or edge, for messages."""
    if isinstance(column, np.memmap):
        column = MemmapColumn(column)
    elif isinstance(column, (np.ndarray, list, tuple)):
        column = as_tensor(np.asarray(column))
    elif hasattr(column, "tocsr"):
        column = SparseColumn.from_scipy(column)
    elif isinstance(column, Tensor) and column.layout != torch.strided:
        column = SparseColumn.from_torch(column)
    if not isinstance(column, (Tensor, Column)):
        requirement = "be a tensor, an array or a Column"
        check.fail(TypeError, "Dataset", name, requirement, type(column).__name__)
    if len(column.shape) == 0 or column.shape[0] != rows:
        requirement = f"have one row per {of} ({rows:,})"
        check.fail(
            ValueError, "Dataset", name, requirement, f"shape {list(column.shape)}"
        )
    return column


def require_finite(name: str, column: Tensor | Column) -> None:
    """Read a column once, in pieces, and name the first row with NaN or infinity."""
    if not column.dtype.is_floating_point:
        return
    if isinstance(column, SparseColumn):
        wrong = np.flatnonzero(~np.isfinite(column.data))
        if len(wrong):
            _not_finite(name, int(np.searchsorted(column.ptr, wrong[0], "right")) - 1)
        return
    rows, width = column.shape[0], int(np.prod(column.shape[1:], dtype=np.int64))
    step = max(1, _VALIDATE_BYTES // max(1, width * column.dtype.itemsize))
    for start in range(0, rows, step):
        ids = torch.arange(start, min(start + step, rows))
        finite = gather(column, ids).reshape(len(ids), width).isfinite().all(1)
        if not bool(finite.all()):
            _not_finite(name, int(ids[~finite][0]))


def _not_finite(name: str, row: int) -> NoReturn:
    remedy = "leave such nodes out, or fill them with torch.nan_to_num"
    got = f"NaN or infinity in row {row:,}"
    check.fail(ValueError, "Dataset.validate", name, "be finite", got, remedy)
