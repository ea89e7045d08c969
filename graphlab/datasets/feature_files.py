"""Feature files as pieces of rows: ``.npy``, raw, parquet, or an array in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets import arrow_tables, tables
from graphlab.datasets.encoding import NUMPY_DTYPES, TORCH_DTYPES, Array, storable
from graphlab.datasets.node_names import NodeNames
from graphlab.interop.arrays import as_tensor, torch_dtype

PIECE_BYTES = 8 * 2**20


class FeatureFile:
    """Rows of features in node order, read front to back.

    Attributes:
        shape: [N, ...].
        dtype: As in the file.
        piece_bytes: Bytes that reading a piece holds.
    """

    def __init__(
        self,
        features: Any,
        *,
        num_features: int | None = None,
        dtype: str = "float32",
        allow_nan: bool = False,
    ) -> None:
        self._allow_nan = allow_nan
        self._path: Path | None = None
        self._table: tables.Table | None = None
        self.id_column: str | None = None
        if isinstance(features, (Tensor, np.ndarray)):
            self._array = (
                as_tensor(np.asarray(features))
                if not isinstance(features, Tensor)
                else features
            )
            self.shape, self.dtype = tuple(self._array.shape), self._array.dtype
        else:
            self._open(features, num_features, dtype)
        if not self.shape:
            check.fail(ValueError, "convert", "features", "have rows", "a scalar")
        storable("convert", "features", self.dtype)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the source."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def piece_bytes(self) -> int:
        """Bytes held while a piece is read, checked and encoded."""
        piece = max(PIECE_BYTES, self.row_bytes)
        # The piece, a mask of NaN or float32 copy for coding, and the coded rows.
        return 4 * piece + (arrow_tables.FIXED_BYTES + 2 * piece if self._table else 0)

    def _open(self, path: Any, num_features: int | None, dtype: str) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"convert: no file {path}")
        if path.suffix == ".npy":
            shape, fortran, found, self._start = tables.open_npy("convert", path)
            if fortran and len(shape) > 1:
                remedy = "save it with numpy.ascontiguousarray"
                got = "Fortran order"
                check.fail(
                    ValueError, "convert", "features", "be in C order", got, remedy
                )
            self.shape, self._found = tuple(shape), found
            self._path, self.dtype = path, torch_dtype(found)
        elif path.suffix in (".bin", ".raw", ".dat"):
            check.one_of("convert", "features_dtype", dtype, NUMPY_DTYPES)
            if num_features is None:
                remedy = "give num_features= (and features_dtype=, by default float32)"
                got = path.name
                check.fail(
                    ValueError, "convert", "features", "have a header", got, remedy
                )
            self._found = np.dtype(NUMPY_DTYPES[dtype])
            width = self._found.itemsize * num_features
            size = path.stat().st_size
            if size % width:
                requirement = f"be whole rows of {width:,} bytes"
                check.fail(ValueError, "convert", "features", requirement, f"{size:,}")
            self._start, self.shape = 0, (size // width, num_features)
            self._path, self.dtype = path, TORCH_DTYPES[dtype]
        else:
            self._table = tables.open_table("convert", path)
            self.id_column = tables.find_column(self._table, arrow_tables.ID_NAMES)
            self._columns = [c for c in self._table.columns if c != self.id_column]
            first = next(iter(self._table.batches(self._columns, 0, 1)), None)
            if self._table.rows is None:
                remedy = "save them as .npy or parquet"
                got = path.name
                check.fail(
                    ValueError, "convert", "features", "not be text", got, remedy
                )
            if first is None:
                check.fail(ValueError, "convert", "features", "have rows", "none")
            row = _matrix(first)
            self.shape = (self._table.rows, row.shape[1])
            self.dtype = torch_dtype(row.dtype)

    def pieces(
        self, rows: int | None = None, names: NodeNames | None = None
    ) -> Iterator[Tensor]:
        """Consecutive rows of at most 8 MiB; NaN is refused unless allowed."""
        step = max(1, PIECE_BYTES // max(1, self.row_bytes))
        at = 0
        for piece in self._read(step, names):
            if not self._allow_nan and piece.dtype.is_floating_point:
                _refuse_nan(piece, at)
            at += len(piece)
            yield piece

    def _read(self, step: int, names: NodeNames | None) -> Iterator[Tensor]:
        total = self.shape[0]
        if self._table is not None:
            yield from self._read_table(step, names)
            return
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        for first in range(0, total, step):
            rows = min(step, total - first)
            if self._path is None:
                yield self._array[first : first + rows]
                continue
            offset = self._start + first * width * self._found.itemsize
            raw = np.fromfile(self._path, self._found, rows * width, offset=offset)
            if len(raw) < rows * width:
                got = "a file that has become shorter"
                check.fail(ValueError, "convert", "features", "stay whole", got)
            piece = as_tensor(raw).view(self.dtype)
            yield piece.reshape(rows, *self.shape[1:])

    def _read_table(self, step: int, names: NodeNames | None) -> Iterator[Tensor]:
        assert self._table is not None
        wanted = [*self._columns, self.id_column] if self.id_column else self._columns
        at = 0
        for columns in self._table.batches(wanted, 0, step):
            if self.id_column:
                ids = columns.pop()
                found = (
                    tables.numbers(ids) if names is None else names.translate([ids])[0]
                )
                expected = np.arange(at, at + len(columns[0]))
                if found is None or not np.array_equal(found, expected):
                    requirement = f"have rows in the order of column {self.id_column!r}"
                    got = "another order or gaps"
                    remedy = "sort the file by it, one row for every node"
                    check.fail(
                        ValueError, "convert", "features", requirement, got, remedy
                    )
            matrix = _matrix(columns)
            at += len(matrix)
            yield as_tensor(matrix)


def _matrix(columns: Sequence[Any]) -> Array:
    """Number columns, or one column of equally long lists, as [rows, width]."""
    if len(columns) == 1 and not isinstance(columns[0], np.ndarray):
        kind = str(columns[0].type)
        if kind.startswith(("list", "fixed_size_list", "large_list")):
            rows = len(columns[0])
            flat = np.asarray(columns[0].flatten().to_numpy(zero_copy_only=False))
            if rows and len(flat) % rows:
                got = "lists of several lengths"
                check.fail(ValueError, "convert", "features", "have one width", got)
            return flat.reshape(rows, -1)
    parts = [tables.numbers(column) for column in columns]
    if any(part is None for part in parts):
        check.fail(TypeError, "convert", "features", "hold numbers", "text")
    return np.stack([part for part in parts if part is not None], axis=1)


def _refuse_nan(piece: Tensor, first: int) -> None:
    flat = piece.reshape(len(piece), -1)
    # A sum is NaN or infinite if a value is; only then are the values looked at.
    if flat.numel() == 0 or torch.isfinite(flat.sum(dtype=torch.float64)):
        return
    wrong = flat.isnan().any(1).nonzero()
    if len(wrong):
        row = first + int(wrong[0, 0])
        remedy = "fill the gaps first, or pass allow_nan=True"
        check.fail(
            ValueError,
            "convert",
            "features",
            "hold no NaN",
            f"NaN in row {row:,}",
            remedy,
        )
