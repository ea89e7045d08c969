"""Tables in csv, tsv, txt (also .gz) and parquet files, read with pyarrow."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from graphlab import check, files
from graphlab.interop.arrays import Array

SOURCES = ("source", "src", "from", "head", "u", "row", "node1", "id1")
TARGETS = (
    *("target", "dst", "dest", "destination", "to", "tail", "v", "col"),
    *("node2", "id2"),
)
_COMMENTS = ("#", "%", "//")
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}


class Layout(NamedTuple):
    """How a text table is written."""

    delimiter: str
    header: bool
    skip: int
    """Lines of comments before the table."""
    names: list[str]
    """Column names; "0", "1", ... without a header."""


def library(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "graphlab.interop.arrow: reading tables needs pyarrow; "
            "pip install 'graphlab[arrow]'"
        ) from error


def is_parquet(path: str | Path) -> bool:
    """Whether a file is parquet, by its name."""
    return Path(path).suffix in (".parquet", ".pq")


def layout(
    path: str | Path, header: bool | None = None, delimiter: str | None = None
) -> Layout:
    """Look at the first lines of a text table.

    A first line counts as a header where its first two fields are not numbers and either
    are known names (source, target, src, dst, from, to, ...) or stand above numbers.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an empty file, one column, or a header that cannot be told from names.
    """
    path, name = require_file("from_edge_list", path), "from_edge_list"
    opener: Any = gzip.open if path.suffix == ".gz" else open
    lines: list[str] = []
    skip = 0
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            if not lines and (not line.strip() or line.lstrip().startswith(_COMMENTS)):
                skip += 1
                continue
            lines.append(line.rstrip("\r\n"))
            if len(lines) == 2:
                break
    if not lines:
        check.fail(ValueError, name, "path", "hold edges", f"an empty file {path}")
    if delimiter is None:
        found = [d for d in _DELIMITERS if d in lines[0]]
        if not found:
            remedy = "pass delimiter="
            got = f"the line {lines[0][:60]!r} in {path}"
            check.fail(ValueError, name, "path", "hold two columns", got, remedy)
        delimiter = found[0]
    rows = [line.split(delimiter) for line in lines]
    if header is None:
        header = _has_header(path, rows)
    names = [n.strip().strip('"') for n in rows[0]]
    if not header:
        names = [str(i) for i in range(len(rows[0]))]
    return Layout(delimiter, header, skip, names)


def column_names(
    path: str | Path, header: bool | None = None, delimiter: str | None = None
) -> list[str]:
    """Names of a table's columns; "0", "1", ... for text without a header."""
    if is_parquet(path):
        path = require_file("from_edge_list", path)
        return list(library("pyarrow.parquet").read_schema(path).names)
    return layout(path, header, delimiter).names


def batches(
    path: str | Path,
    columns: list[str],
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    as_text: tuple[str, ...] = (),
    rows: int = 2**20,
) -> Iterator[Any]:
    """Read named columns piece by piece, in order.

    Args:
        path: The table.
        columns: Names as in :func:`column_names`.
        header: As in :func:`layout`.
        delimiter: As in :func:`layout`.
        as_text: Columns to read as strings whatever they look like (text files only).
        rows: Rows of a batch of a parquet file; text comes in blocks of 16 MiB.

    Yields:
        ``pyarrow.RecordBatch`` of these columns.
    """
    if is_parquet(path):
        parquet = library("pyarrow.parquet")
        with parquet.ParquetFile(require_file("batches", path)) as file:
            yield from file.iter_batches(batch_size=rows, columns=columns)
        return
    csv = library("pyarrow.csv")
    found = layout(path, header, delimiter)
    read = csv.ReadOptions(
        block_size=2**24,
        skip_rows=found.skip + found.header,
        column_names=found.names,
    )
    parse = csv.ParseOptions(delimiter=found.delimiter)
    convert = csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(as_text, library().string())
    )
    with csv.open_csv(str(path), read, parse, convert) as reader:
        yield from reader


def require_file(function: str, path: str | Path) -> Path:
    """Return the path of a file that exists."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{function}: `path` must be a file, got {path}")
    return path


def _has_header(path: Path, rows: list[list[str]]) -> bool:
    first = [field.strip().strip('"') for field in rows[0][:2]]
    if any(_is_number(field) for field in first):
        return False
    if first[0].lower() in SOURCES or first[-1].lower() in TARGETS:
        return True
    if len(rows) > 1 and all(_is_number(field.strip('" ')) for field in rows[1][:2]):
        return True
    check.fail(
        ValueError,
        "from_edge_list",
        "header",
        "be given where the first line may be names of nodes or of columns",
        f"{rows[0][:3]} in {path}",
        "pass header=True or header=False",
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_matrix(path: str | Path) -> Array:
    """Read a text table of numbers without a header, such as OGB's ``*.csv.gz``.

    Returns:
        [rows, columns]: int64 where every value is an integer, else float32, with NaN for
        empty cells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: rows of different length, or words.
    """
    path = require_file("read_matrix", path)
    pyarrow, csv = library(), library("pyarrow.csv")
    read = csv.ReadOptions(autogenerate_column_names=True, block_size=2**24)
    for types in (None, pyarrow.float64()):
        # A column of integers in the first block may hold fractions later: read it again.
        pieces = []
        try:
            with csv.open_csv(str(path), read) as reader:
                names = reader.schema.names
            convert = csv.ConvertOptions(
                column_types={} if types is None else dict.fromkeys(names, types)
            )
            with csv.open_csv(str(path), read, convert_options=convert) as reader:
                pieces = [_as_matrix(batch) for batch in reader]
            break
        except pyarrow.ArrowInvalid as error:
            if types is not None:
                raise ValueError(f"read_matrix: {path}: {error}") from error
    kinds = {piece.dtype.kind for piece in pieces}
    if not kinds <= {"i", "f"}:
        raise ValueError(f"read_matrix: {path} must hold numbers, got words")
    dtype = np.int64 if kinds == {"i"} else np.float32
    return np.concatenate([piece.astype(dtype, copy=False) for piece in pieces])


def _as_matrix(batch: Any) -> Array:
    columns = [c.to_numpy(zero_copy_only=False) for c in batch.columns]
    return np.stack(columns, axis=1)


def read_columns(
    path: str | Path, columns: list[str] | None = None, *, header: bool = True
) -> dict[str, Array]:
    """Read columns of a table, such as features, labels or names of nodes.

    Args:
        path: A csv, tsv, txt (also .gz) or parquet file.
        columns: Names; None for all.
        header: Whether the first line of a text file names columns.

    Returns:
        Arrays by name, in the order asked for: numbers as they are, lists of equal length as
        [rows, length], text as numpy strings; numbers with gaps become floats with NaN.

    Raises:
        ValueError: a column that is not there, or rows that cannot be read.
    """
    names = column_names(path, header)
    for name in columns or []:
        check.one_of("read_columns", "columns", name, names)
    pyarrow = library()
    try:
        pieces = list(batches(path, columns or names, header=header))
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"read_columns: {path}: {error}") from error
    table = pyarrow.Table.from_batches(pieces)
    return {name: _values(table[name], name) for name in columns or names}


def write_columns(path: str | Path, columns: dict[str, Any]) -> None:
    """Write arrays or tensors of equal length as one parquet or csv file, whole or not at all.

    A matrix becomes a column of lists in parquet, and columns ``<name>_0``, ... in csv.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "p.parquet"
        >>> write_columns(path, {"node": np.arange(2), "score": np.ones((2, 3))})
        >>> read_columns(path)["score"].shape
        (2, 3)
    """
    pyarrow = library()
    arrays: dict[str, Any] = {}
    for name, column in columns.items():
        array = column.numpy() if isinstance(column, Tensor) else np.asarray(column)
        if array.ndim < 2:
            arrays[name] = pyarrow.array(array)
        elif is_parquet(path):
            flat = pyarrow.array(array.reshape(-1))
            arrays[name] = pyarrow.FixedSizeListArray.from_arrays(flat, array.shape[1])
        else:
            parts = {f"{name}_{k}": array[:, k] for k in range(array.shape[1])}
            arrays |= {part: pyarrow.array(values) for part, values in parts.items()}
    table = pyarrow.table(arrays)
    with files.publish(path) as file:
        if is_parquet(path):
            library("pyarrow.parquet").write_table(table, file)
        else:
            library("pyarrow.csv").write_csv(table, file)


def _values(column: Any, name: str) -> Array:
    pyarrow = library()
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pyarrow.types.is_list(kind) or pyarrow.types.is_fixed_size_list(kind):
        lengths = set(library("pyarrow.compute").list_value_length(column).to_pylist())
        if len(lengths) != 1 or None in lengths:
            got = f"lengths {sorted(map(str, lengths))[:4]} in {name!r}"
            requirement = "hold lists of equal length"
            check.fail(ValueError, "read_columns", "columns", requirement, got)
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.array(flat).reshape(len(column), -1)
    if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=str)
    return np.array(column.to_numpy())
