"""Names of nodes: text (or any ids) in files, row numbers in the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphlab.datasets import tables
from graphlab.datasets.ledger import Ledger
from graphlab.datasets.tables import Ints


class NodeNames:
    """Numbers names in the order in which they appear, row after row.

    Args:
        ledger: Names are counted there as they come.

    Attributes:
        frozen: Whether names that are new get no number.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._number: dict[Any, int] = {}
        self._held = 0
        self._text = 0
        self.frozen = False

    def __len__(self) -> int:
        return len(self._number)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._number)

    def translate(self, columns: Sequence[Any]) -> list[Ints]:
        """Numbers of the values of columns of equally many rows.

        New names are numbered by row, inside a row by column, so that numbers do not depend
        on the size of batches. Empty cells, and new names when frozen, are -1.

        Raises:
            BudgetError: the names do not fit in the memory that was declared.
        """
        parts = [tables.distinct(column) for column in columns]
        if not self.frozen:
            self._add(parts)
        found = []
        for names, position, _ in parts:
            numbers = [self._number.get(name, -1) for name in names]
            # The last entry stands for empty cells, whose position is -1.
            found.append(np.array([*numbers, -1], dtype=np.int64)[position])
        return found

    def _add(self, parts: list[tuple[list[Any], Ints, Ints]]) -> None:
        new = [
            (int(row), k, name)
            for k, (names, _, first) in enumerate(parts)
            for name, row in zip(names, first, strict=True)
            if name not in self._number
        ]
        new.sort(key=lambda entry: entry[:2])
        for _, _, name in new:
            if name not in self._number:
                self._number[name] = len(self._number)
                # The name and its number.
                self._text += sys.getsizeof(name) + 32
        held = self._text + sys.getsizeof(self._number)
        what = (
            f"{len(self._number):,} node names (or number the nodes 0, 1, ... in the "
            "files, which needs no table of names)"
        )
        self._ledger.take(what, held - self._held)
        self._held = held
