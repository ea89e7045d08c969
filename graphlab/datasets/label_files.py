"""Labels and splits from files: one value a node, by row or by an id column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets import arrow_tables, tables
from graphlab.datasets.encoding import Array
from graphlab.datasets.node_names import NodeNames
from graphlab.interop.arrays import as_tensor

BATCH_ROWS = 2**18
SPLITS = {"valid": "val", "validation": "val", "dev": "val", "training": "train"}


class LabelFile:
    """A table of labels.

    Columns are known by their usual names: an id (``id``, ``node``, ...), the label
    (``label``, ``y``, ...; else the one column that is left) and a split (``split``, with
    values such as train, val, test).

    Attributes:
        rows: Number of rows; None for text files.
        id_column: Name of the id column, or None: row i is node i.
    """

    def __init__(self, labels: Any, column: str = "") -> None:
        self._matrix: Array | None = None
        self.id_column: str | None = None
        self.rows: int | None = None
        if isinstance(labels, (Tensor, np.ndarray)):
            self._matrix = np.asarray(labels)
        elif isinstance(labels, (str, Path)) and Path(labels).suffix == ".npy":
            if not Path(labels).is_file():
                raise FileNotFoundError(f"convert: no file {labels}")
            tables.open_npy("convert", Path(labels))
            self._matrix = np.load(labels, mmap_mode="r", allow_pickle=False)
        if self._matrix is not None:
            self.rows = len(self._matrix)
            return
        self.table = tables.open_table("convert", labels)
        self.rows = self.table.rows
        if column and column not in self.table.columns:
            check.one_of("convert", "label_column", column, self.table.columns)
        self.split_column = tables.find_column(self.table, tables.SPLIT_NAMES)
        self.id_column = tables.find_column(self.table, arrow_tables.ID_NAMES)
        self.label_column = column or tables.find_column(
            self.table, arrow_tables.LABEL_NAMES
        )
        if self.label_column is None:
            known = {self.id_column, self.split_column}
            rest = [name for name in self.table.columns if name not in known]
            if len(rest) > 1:
                remedy = "name it with label_column="
                got = f"columns {rest}"
                check.fail(
                    ValueError, "convert", "labels", "have one label", got, remedy
                )
            self.label_column = rest[0] if rest else None

    def read_names(self, names: NodeNames) -> None:
        """Number the ids of this file first, in its order."""
        if self._matrix is None and self.id_column is not None:
            for (ids,) in self.table.batches([self.id_column], 0, BATCH_ROWS):
                names.translate([ids])

    def largest_id(self) -> int:
        """The largest integer id, or the last row."""
        if self._matrix is not None or self.id_column is None:
            return self._count() - 1
        largest = -1
        for (ids,) in self.table.batches([self.id_column], 0, BATCH_ROWS):
            found = tables.numbers(ids)
            if found is not None and len(found):
                largest = max(largest, int(found.max()))
        return largest

    def _count(self) -> int:
        if self.rows is None:
            first = self.table.columns[:1]
            self.rows = sum(len(c[0]) for c in self.table.batches(first, 0, BATCH_ROWS))
        return self.rows

    def held_bytes(self, num_nodes: int) -> int:
        """Bytes that :meth:`read` and its result hold."""
        if self._matrix is not None:
            return int(self._matrix.nbytes)
        # A label, its final form and a split of every node, and one batch of the table.
        return num_nodes * 24 + BATCH_ROWS * 64 + self.table.fixed_bytes

    def read(
        self, num_nodes: int, names: NodeNames | None
    ) -> tuple[Tensor | None, dict[str, Tensor], list[str] | None]:
        """Labels, masks by split, and class names where labels are text.

        Nodes without a row, and empty cells, have label -1 (NaN for real-valued targets).

        Raises:
            ValueError: more or fewer rows than nodes, without an id column.
            IndexError: an id out of range.
        """
        if self._matrix is not None:
            matrix = self._matrix
            _require_rows(len(matrix), num_nodes)
            return as_tensor(np.array(matrix)), {}, None
        y = np.full(num_nodes, np.nan)
        split = np.full(num_nodes, -1, dtype=np.int8)
        classes: dict[str, int] = {}
        split_names: dict[str, int] = {}
        wanted = [self.id_column, self.label_column, self.split_column]
        at, real = 0, False
        for columns in self.table.batches([c for c in wanted if c], 0, BATCH_ROWS):
            rows = len(columns[0])
            ids = np.arange(at, at + rows)
            if self.id_column:
                ids = self._ids(columns.pop(0), names, num_nodes)
            elif at + rows > num_nodes:
                _require_rows(max(at + rows, self.rows or 0), num_nodes)
            if self.label_column:
                values, is_real = _values(columns.pop(0), classes)
                y[ids], real = values, real or is_real
            if self.split_column:
                text, position, _ = tables.distinct(columns.pop(0))
                number = [_split_number(t, split_names) for t in text]
                split[ids] = np.array([*number, -1])[position]
            at += rows
        if self.id_column is None:
            _require_rows(at, num_nodes)
        masks = {
            name: torch.from_numpy(split == number)
            for name, number in split_names.items()
        }
        if self.label_column is None:
            return None, masks, None
        if real and not classes:
            return torch.from_numpy(y.astype(np.float32)), masks, None
        if not classes:
            return (
                torch.from_numpy(np.nan_to_num(y, nan=-1).astype(np.int64)),
                masks,
                None,
            )
        return (*_sorted_classes(y, masks, classes),)

    def _ids(
        self, column: Any, names: NodeNames | None, num_nodes: int
    ) -> np.ndarray[Any, Any]:
        ids = tables.numbers(column) if names is None else names.translate([column])[0]
        if ids is None or ids.dtype.kind not in "iu":
            requirement = f"hold integers in its id column {self.id_column!r}"
            remedy = "pass names=True where ids are names"
            check.fail(TypeError, "convert", "labels", requirement, "others", remedy)
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= num_nodes):
            wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
            requirement = f"have ids in [0, {num_nodes:,})"
            check.fail(IndexError, "convert", "labels", requirement, f"{wrong:,}")
        return ids.astype(np.int64)


def read_split(
    function: str, name: str, value: Any, num_nodes: int
) -> tuple[str, Tensor]:
    """A mask from a ``.npy`` file, or an array, of node ids or bools."""
    if isinstance(value, (str, Path)):
        path = Path(value)
        if not path.is_file():
            raise FileNotFoundError(f"{function}: no file {path}")
        tables.open_npy(function, path)
        value = np.load(path, allow_pickle=False)
    array = np.asarray(value)
    if array.dtype == np.bool_:
        if len(array) != num_nodes:
            requirement = f"have one row per node ({num_nodes:,})"
            check.fail(ValueError, function, f"{name} mask", requirement, len(array))
        return SPLITS.get(name, name), as_tensor(array)
    ids = as_tensor(array.astype(np.int64, casting="same_kind"))
    check.ids_in_range(function, f"{name} ids", ids, num_nodes)
    mask = torch.zeros(num_nodes, dtype=torch.bool)
    mask[ids] = True
    return SPLITS.get(name, name), mask


def _values(column: Any, classes: dict[str, int]) -> tuple[Array, bool]:
    """Labels as float64 with NaN for none, and whether any is not whole."""
    found = tables.numbers(column)
    if found is not None:
        values = found.astype(np.float64)
        whole = values[np.isfinite(values)]
        return values, bool((whole != np.floor(whole)).any())
    text, position, _ = tables.distinct(column)
    number = [
        classes.setdefault(str(name), len(classes)) if str(name) else np.nan
        for name in text
    ]
    return np.array([*number, np.nan])[position], False


def _split_number(text: Any, known: dict[str, int]) -> int:
    if str(text).strip().lower() in ("", "none", "nan"):
        return -1
    name = str(text).strip().lower()
    name = SPLITS.get(name, name)
    if name not in ("train", "val", "test"):
        requirement = "have the splits train, val and test"
        check.fail(ValueError, "convert", "labels", requirement, repr(text))
    return known.setdefault(name, len(known))


def _sorted_classes(
    y: Array, masks: dict[str, Tensor], classes: dict[str, int]
) -> tuple[Tensor, dict[str, Tensor], list[str]]:
    """Class numbers in the order of class names, so that they do not depend on rows."""
    ordered = sorted(classes)
    place = {name: k for k, name in enumerate(ordered)}
    rank = np.array([place[name] for name in classes], dtype=np.int64)
    number = np.nan_to_num(y, nan=-1).astype(np.int64)
    return torch.from_numpy(np.where(number < 0, -1, rank[number])), masks, ordered


def _require_rows(rows: int, num_nodes: int) -> None:
    if rows != num_nodes:
        requirement = f"have one row per node ({num_nodes:,})"
        remedy = "or an id column, such as `id`, where some nodes have no label"
        check.fail(ValueError, "convert", "labels", requirement, f"{rows:,}", remedy)


def split_paths(splits: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``splits`` argument, checked."""
    for name in splits or {}:
        check.one_of(
            "convert", "splits", SPLITS.get(name, name), ("train", "val", "test")
        )
    return dict(splits or {})
