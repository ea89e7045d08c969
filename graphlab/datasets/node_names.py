"""Names of nodes: text (or any ids) in files, row numbers in the store."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphlab.datasets import tables
from graphlab.datasets.ledger import Ledger


class NodeNames:
    """Numbers names in the order in which they are first met.

    Args:
        ledger: Names are counted there as they come.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._number: dict[Any, int] = {}
        self._table = sys.getsizeof(self._number)
        self.frozen = False

    def __len__(self) -> int:
        return len(self._number)

    def add(self, names: Iterable[Any]) -> npt.NDArray[np.int64]:
        """Numbers of names; new ones get the next numbers, -1 when frozen.

        Raises:
            BudgetError: the names do not fit in the memory that was declared.
        """
        number = self._number
        found = np.fromiter((number.get(name, -1) for name in names), dtype=np.int64)
        if self.frozen or not (found < 0).any():
            return found
        size = 0
        for position, name in enumerate(names):
            if found[position] < 0:
                if name is None:
                    continue
                known = number.setdefault(name, len(number))
                found[position] = known
                # The name, its number, and its place in the table.
                size += sys.getsizeof(name) + 32
        table = sys.getsizeof(number)
        what = (
            f"{len(number):,} node names (or number the nodes 0, 1, ... in the files, "
            "which needs no table of names)"
        )
        self._ledger.take(what, size + table - self._table)
        self._table = table
        return found

    def translate(self, column: Any) -> npt.NDArray[np.int64]:
        """Numbers of the values of a column; -1 for nulls, and for new ones when frozen."""
        values, position = tables.distinct(column)
        number = self.add(values)
        return np.where(position < 0, -1, number[position])

    def __iter__(self) -> Any:
        return iter(self._number)
