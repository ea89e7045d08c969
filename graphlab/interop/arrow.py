"""Tables in csv, tsv, txt (also .gz) and parquet files, read with pyarrow."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import Array, EdgeArrays, as_tensor

_SOURCES = ("source", "src", "from", "u", "head", "node1", "id1")
_TARGETS = ("target", "dst", "to", "v", "tail", "node2", "id2")
_WEIGHTS = ("weight", "edge_weight", "w")
_COMMENTS = ("#", "%", "//")
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "spaces"}
# Ids that leave this many numbers unused are more likely names, such as account numbers.
_SPARSE_IDS = 16


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


def read_edges(
    path: str | Path,
    *,
    source: str | int | None = None,
    target: str | int | None = None,
    weight: str | int | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    relabel: bool | None = None,
) -> EdgeArrays:
    """Read an edge list; see :meth:`graphlab.Graph.from_edge_list`."""
    name = "from_edge_list"
    names = column_names(path, header, delimiter)
    if len(names) < 2:
        got = f"{names} in {path}"
        check.fail(ValueError, name, "path", "hold two columns", got)
    source_name = _pick("source", source, names, _SOURCES, names[0])
    target_name = _pick("target", target, names, _TARGETS, names[1])
    weight_name = _pick("weight", weight, names, _WEIGHTS, None)
    wanted: list[str] = [source_name, target_name] + (
        [] if weight_name is None else [weight_name]
    )
    options: dict[str, Any] = {"header": header, "delimiter": delimiter}
    pyarrow = library()
    try:
        table = pyarrow.Table.from_batches(list(batches(path, wanted, **options)))
    except pyarrow.ArrowInvalid as error:
        if is_parquet(path):
            raise ValueError(f"{name}: {path}: {error}") from error
        # A column that begins with numbers and goes on with words: read it as words.
        options["as_text"] = (source_name, target_name)
        try:
            table = pyarrow.Table.from_batches(list(batches(path, wanted, **options)))
        except pyarrow.ArrowInvalid as second:
            raise ValueError(f"{name}: {path}: {second}") from second
    for column in wanted:
        if table[column].null_count:
            row = table[column].is_null().to_pylist().index(True)
            got = f"none in row {row:,} of column {column!r} of {path}"
            check.fail(ValueError, name, "path", "hold a value in every row", got)
    edge_index, node_names = _number(
        path, table[source_name], table[target_name], relabel
    )
    edge_weight = None
    if weight_name is not None:
        values = table[weight_name].to_numpy()
        if values.dtype.kind not in "iuf":
            got = f"{table[weight_name].type} in column {weight_name!r} of {path}"
            check.fail(TypeError, name, "weight", "hold numbers", got)
        edge_weight = as_tensor(np.array(values))
    num_nodes = None if node_names is None else len(node_names)
    return EdgeArrays(edge_index, num_nodes, edge_weight, node_names)


def require_file(function: str, path: str | Path) -> Path:
    """Return the path of a file that exists."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{function}: `path` must be a file, got {path}")
    return path


def _number(
    path: str | Path, source: Any, target: Any, relabel: bool | None
) -> tuple[Tensor, Array | None]:
    """Edge ids, and names by id where ids were given out here."""
    pyarrow, compute = library(), library("pyarrow.compute")
    types = pyarrow.types
    for column in (source, target):
        kind = column.type
        text = types.is_string(kind) or types.is_large_string(kind)
        if not (types.is_integer(kind) or text or types.is_dictionary(kind)):
            requirement = "hold integers or names"
            check.fail(
                TypeError, "from_edge_list", "path", requirement, f"{kind} in {path}"
            )
    integers = types.is_integer(source.type) and types.is_integer(target.type)
    if integers and not relabel:
        rows = [as_tensor(np.array(c.to_numpy())).long() for c in (source, target)]
        edge_index = torch.stack(rows)
        if relabel is None and edge_index.numel():
            _require_dense_ids(path, edge_index)
        return edge_index, None
    if relabel is False:
        requirement = "be True or None for a file of names"
        check.fail(ValueError, "from_edge_list", "relabel", requirement, False)
    if not integers:
        source, target = (c.cast(pyarrow.large_string()) for c in (source, target))
    both = pyarrow.chunked_array([*source.chunks, *target.chunks])
    unique = compute.unique(both)
    ids = [
        as_tensor(np.array(compute.index_in(c, value_set=unique).to_numpy()))
        for c in (source, target)
    ]
    names = np.array(unique.to_pylist(), dtype=None if integers else str)
    return torch.stack(ids).long(), names


def _require_dense_ids(path: str | Path, edge_index: Tensor) -> None:
    highest = int(edge_index.max())
    if highest >= max(2**20, _SPARSE_IDS * edge_index.numel()):
        check.fail(
            ValueError,
            "from_edge_list",
            "path",
            "hold ids 0, 1, 2, ... with few gaps",
            f"{highest:,} among {edge_index.numel():,} ends of edges in {path}",
            "pass relabel=True to number them anew, or relabel=False to keep them",
        )


def _pick(
    argument: str,
    wanted: str | int | None,
    names: list[str],
    known: tuple[str, ...],
    default: str | None,
) -> Any:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(names):
            requirement = f"be in [0, {len(names)})"
            check.fail(IndexError, "from_edge_list", argument, requirement, wanted)
        return names[wanted]
    if wanted is not None:
        return check.one_of("from_edge_list", argument, wanted, names)
    lower = {n.lower(): n for n in names}
    return next((lower[k] for k in known if k in lower), default)


def _has_header(path: Path, rows: list[list[str]]) -> bool:
    first = [field.strip().strip('"') for field in rows[0][:2]]
    if any(_is_number(field) for field in first):
        return False
    if first[0].lower() in _SOURCES or first[-1].lower() in _TARGETS:
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
