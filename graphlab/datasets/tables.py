"""Tables as users have them (parquet, csv, tsv, npy), read column by column in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from graphlab import check
from graphlab.datasets import arrow_tables
from graphlab.datasets.encoding import Array

Ints = npt.NDArray[np.int64]
TEXT = {".csv": ",", ".tsv": "\t", ".txt": None, ".edges": None, ".el": None}


class Table(Protocol):
    """Named columns of one or more files."""

    columns: list[str]
    rows: int | None
    """Number of rows; None where only reading all of them would tell (text)."""
    fixed_bytes: int

    def row_bytes(self, columns: Sequence[str]) -> int:
        """Bytes that reading holds for each row of a batch, the batch included."""

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        """Columns of consecutive rows from ``start``, ``count`` at most each."""


def open_table(function: str, path: str | Path | Sequence[str | Path]) -> Table:
    """Open a file, a folder of parquet or text files, or a list of files.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a kind of file that is not known.
        ImportError: pyarrow is needed and absent.
    """
    if not isinstance(path, (str, Path)):
        parts = [open_table(function, p) for p in path]
        if not parts:
            check.fail(ValueError, function, "path", "name a file", "an empty list")
        return parts[0] if len(parts) == 1 else _Chain(function, parts)
    path = Path(path)
    if path.is_dir():
        known = {".parquet", ".pq", ".npy", *TEXT}
        inside = sorted(p for p in path.iterdir() if _suffix(p) in known)
        if not inside:
            got = f"{path}, which holds none"
            check.fail(ValueError, function, "path", "hold tables", got)
        return open_table(function, inside)
    if not path.is_file():
        raise FileNotFoundError(f"{function}: no file {path}")
    suffix = _suffix(path)
    if suffix == ".npy":
        return NpyTable(function, path)
    if suffix in (".parquet", ".pq"):
        return arrow_tables.ParquetTable(path)
    if suffix in TEXT:
        return arrow_tables.TextTable(path, TEXT[suffix])
    kinds = ".parquet, .csv, .tsv, .txt (and .gz of these) or .npy"
    check.fail(ValueError, function, "path", f"be one of {kinds}", path.name)


def open_npy(
    function: str, path: Path
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, dtype and start of the data of a ``.npy`` file; no pickle is read."""
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
        except ValueError as error:
            remedy = "a raw array without a header needs its name to end in .bin"
            got = f"{path.name} ({error})"
            raise ValueError(
                f"{function}: `path` must be a .npy file, got {got}; {remedy}"
            ) from error
        start = file.tell()
    if dtype.hasobject:
        check.fail(
            TypeError, function, "path", "hold numbers", f"objects in {path.name}"
        )
    size = path.stat().st_size - start
    if size < int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        got = f"{size:,} bytes of data"
        check.fail(ValueError, function, "path", f"hold {shape} {dtype}", got)
    return shape, fortran, dtype, start


class NpyTable:
    """An edge list in a ``.npy`` file: [2, n], or [n, columns] with n other than 2."""

    fixed_bytes = 0

    def __init__(self, function: str, path: Path) -> None:
        self._path = path
        shape, fortran, self._dtype, self._start = open_npy(function, path)
        if len(shape) != 2 or 2 not in (shape[0], shape[1]):
            got = f"{list(shape)} in {path.name}"
            check.fail(ValueError, function, "edges", "be [2, E] or [E, 2]", got)
        across = shape[0] == 2
        self._rows, self._width = shape[::-1] if across else shape
        self.rows: int | None = self._rows
        # Whether the file holds one column after the other.
        self._columnar = across != fortran
        self.columns = [str(k) for k in range(self._width)]

    def row_bytes(self, columns: Sequence[str]) -> int:
        """See :class:`Table`."""
        whole = 0 if self._columnar else self._dtype.itemsize * self._width
        return whole + self._dtype.itemsize * len(columns)

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        """See :class:`Table`."""
        wanted = [int(c) for c in columns]
        for first in range(start, self._rows, count):
            n = min(count, self._rows - first)
            if self._columnar:
                yield [self._read(c * self._rows + first, n) for c in wanted]
            else:
                whole = self._read(first * self._width, n * self._width)
                matrix = whole.reshape(n, self._width)
                yield [np.ascontiguousarray(matrix[:, c]) for c in wanted]

    def _read(self, position: int, count: int) -> Array:
        offset = self._start + position * self._dtype.itemsize
        return np.fromfile(self._path, self._dtype, count, offset=offset)


class ArrayTable:
    """Columns that are in memory already."""

    fixed_bytes = 0

    def __init__(self, columns: dict[str, Array]) -> None:
        self._columns = columns
        self.columns = list(columns)
        self.rows: int | None = len(next(iter(columns.values())))

    def row_bytes(self, columns: Sequence[str]) -> int:
        """See :class:`Table`."""
        return 0

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        """See :class:`Table`."""
        for first in range(start, self.rows or 0, count):
            yield [self._columns[c][first : first + count] for c in columns]


class _Chain:
    """Tables one after the other."""

    def __init__(self, function: str, parts: list[Table]) -> None:
        self._parts = parts
        self.columns = parts[0].columns
        for part in parts:
            if part.columns != self.columns:
                requirement = f"have the columns {self.columns} in every file"
                check.fail(ValueError, function, "path", requirement, part.columns)
        counts = [part.rows for part in parts]
        known = [n for n in counts if n is not None]
        self.rows: int | None = sum(known) if len(known) == len(counts) else None
        self.fixed_bytes = max(part.fixed_bytes for part in parts)

    def row_bytes(self, columns: Sequence[str]) -> int:
        return max(part.row_bytes(columns) for part in self._parts)

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        for part in self._parts:
            if part.rows is not None and start >= part.rows:
                start -= part.rows
                continue
            for batch in part.batches(
                columns, 0 if part.rows is None else start, count
            ):
                rows = len(batch[0])
                if part.rows is None and start:
                    drop = min(start, rows)
                    start -= drop
                    batch = [column[drop:] for column in batch]
                    rows -= drop
                if rows:
                    yield batch
            if part.rows is not None:
                start = 0


SPLIT_NAMES = ("split", "set", "fold", "partition")


def find_column(table: Table, names: Sequence[str]) -> str | None:
    """The column with one of the usual names, whatever its case."""
    lower = {column.lower(): column for column in table.columns}
    return next((lower[name] for name in names if name in lower), None)


def numbers(column: Any) -> Array | None:
    """A column as a numpy array of numbers; None where it holds text."""
    if isinstance(column, np.ndarray):
        return column if column.dtype.kind in "iufb" else None
    arrow = arrow_tables.load()
    kind = column.type
    if arrow.types.is_string(kind) or arrow.types.is_large_string(kind):
        return None
    if arrow.types.is_dictionary(kind):
        return None
    return np.asarray(column.to_numpy(zero_copy_only=False))


def distinct(column: Any) -> tuple[list[Any], Ints, Ints]:
    """The values of a column, each once.

    Returns:
        The values in the order in which they appear, each row's position among them (-1 for
        an empty cell), and the row in which each value is first.
    """
    if isinstance(column, np.ndarray):
        values, code = np.unique(column, return_inverse=True)
        names = values.tolist()
    else:
        arrow = arrow_tables.load()
        if not arrow.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        names = column.dictionary.to_pylist()
        code = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    used, first = np.unique(code, return_index=True)
    used, first = used[used >= 0], first[used >= 0]
    order = np.argsort(first)
    rank = np.full(len(names) + 1, -1)
    rank[used[order]] = np.arange(len(order))
    return [names[k] for k in used[order]], rank[code], first[order]


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
