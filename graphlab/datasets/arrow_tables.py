"""Tables that pyarrow reads, parquet and text, in batches of bounded memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from graphlab.interop.arrow import SOURCES, TARGETS, library

# Arrow reads files in blocks of this size and holds a few of them for each column.
BLOCK_BYTES = 2**20
FIXED_BYTES = 24 * BLOCK_BYTES
ID_NAMES = ("id", "node", "node_id", "nodeid", "name", "key")
LABEL_NAMES = ("label", "labels", "y", "class", "target", "category")
_KNOWN = {*SOURCES, *TARGETS, *ID_NAMES, *LABEL_NAMES}


def load() -> Any:
    """Pyarrow with the modules that reading needs; it is an extra."""
    for module in ("pyarrow.csv", "pyarrow.parquet"):
        library(module)
    return library()


class ParquetTable:
    """One parquet file; see :class:`graphlab.datasets.tables.Table`."""

    fixed_bytes = FIXED_BYTES

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self.columns = [str(n) for n in file.schema_arrow.names]
            self.rows: int | None = file.metadata.num_rows
            self._groups = [
                file.metadata.row_group(g).num_rows
                for g in range(file.metadata.num_row_groups)
            ]
            self._bytes = {
                name: _parquet_row_bytes(file, k) for k, name in enumerate(self.columns)
            }

    def _open(self) -> Any:
        arrow = load()
        # Buffered reading: without it a column chunk is read whole.
        return arrow.parquet.ParquetFile(
            self._path, buffer_size=BLOCK_BYTES, pre_buffer=False
        )

    def row_bytes(self, columns: Sequence[str]) -> int:
        """See ``Table``."""
        # Measured at pyarrow 26: 2.3 to 2.8 times the batch, the batch included.
        return 3 * sum(self._bytes[c] for c in columns)

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        """See ``Table``."""
        skip, groups = start, list(range(len(self._groups)))
        while groups and skip >= self._groups[groups[0]]:
            skip -= self._groups[groups.pop(0)]
        if not groups:
            return
        pool = load().default_memory_pool()
        with self._open() as file:
            for batch in file.iter_batches(
                count, row_groups=groups, columns=list(columns), use_threads=False
            ):
                if skip >= batch.num_rows:
                    skip -= batch.num_rows
                    continue
                part = batch.slice(skip)
                skip = 0
                found = [part.column(part.schema.get_field_index(c)) for c in columns]
                del batch, part
                yield found
                del found
                # The pool keeps freed pages for long; they are not in our account.
                pool.release_unused()


class TextTable:
    """One csv, tsv or txt file, perhaps gzipped; see ``Table``."""

    fixed_bytes = FIXED_BYTES

    def __init__(self, path: Path, delimiter: str | None) -> None:
        self._path = path
        lines, self._skip = _head(path)
        if not lines:
            raise ValueError(
                f"convert: `path` must hold rows, got {path.name} without any"
            )
        first = lines[0]
        found = next((d for d in "\t,; " if d in first), ",")
        self._delimiter = delimiter if delimiter and delimiter in first else found
        cells = [c.strip().strip('"') for c in first.split(self._delimiter)]
        self._header = not all(_is_number(c) for c in cells) and (
            len(lines) < 2
            or any(_is_number(c.strip()) for c in lines[1].split(self._delimiter))
            or {c.lower() for c in cells} & _KNOWN
        )
        self.columns = cells if self._header else [str(k) for k in range(len(cells))]
        self.rows: int | None = None
        load()

    def row_bytes(self, columns: Sequence[str]) -> int:
        """See ``Table``."""
        return 2 * 24 * len(columns)

    def batches(
        self, columns: Sequence[str], start: int, count: int
    ) -> Iterator[list[Any]]:
        """See ``Table``."""
        arrow = load()
        csv = arrow.csv
        stream = arrow.input_stream(str(self._path), compression="detect")
        options = (
            csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=self.columns,
                skip_rows=self._skip + bool(self._header),
            ),
            csv.ParseOptions(delimiter=self._delimiter),
            csv.ConvertOptions(include_columns=list(columns)),
        )
        skip = start
        try:
            with stream, csv.open_csv(stream, *options) as reader:
                for batch in reader:
                    if skip >= batch.num_rows:
                        skip -= batch.num_rows
                        continue
                    for first in range(skip, batch.num_rows, count):
                        part = batch.slice(first, count)
                        yield [part.column(k) for k in range(len(columns))]
                    skip = 0
        except arrow.ArrowInvalid as error:
            raise ValueError(
                f"convert: {self._path.name} must hold a table of equally long rows, each "
                f"column of one kind, got {error}"
            ) from error


def _parquet_row_bytes(file: Any, column: int) -> int:
    kind = file.schema_arrow.field(column).type
    try:
        return max(1, kind.bit_width // 8)
    except ValueError:
        # Text and lists: from the uncompressed size, with room for uneven rows.
        metadata = file.metadata
        rows = max(1, metadata.num_rows)
        size = 0
        for group in range(metadata.num_row_groups):
            for k in range(metadata.row_group(group).num_columns):
                chunk = metadata.row_group(group).column(k)
                if (
                    chunk.path_in_schema.split(".")[0]
                    == file.schema_arrow.names[column]
                ):
                    size += chunk.total_uncompressed_size
        return 2 * (size // rows + 16)


def _head(path: Path) -> tuple[list[str], int]:
    """The first two lines that are no comment, and the number of lines before them."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    lines: list[str] = []
    skip = 0
    with opened(path, "rt", errors="replace") as file:
        for line in file:
            text = line.strip("\r\n")
            if not lines and (not text.strip() or text.startswith(("#", "%"))):
                skip += 1
                continue
            lines.append(text)
            if len(lines) == 2:
                break
    return lines, skip


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
