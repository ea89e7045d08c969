"""Ledger: exact account of the memory that a piece of work holds, against what was declared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphlab import sizes
from graphlab.errors import BudgetError


class Ledger:
    """Counts buffers in and out; refuses what would exceed the limit.

    Args:
        function: Name for messages.
        limit: Bytes that may be held at any instant.

    Attributes:
        held: Bytes held now.
        peak: Most bytes held so far.

    Example:
        >>> ledger = Ledger("convert", 1000)
        >>> with ledger.hold("a batch", 600):
        ...     ledger.held
        600
        >>> ledger.held, ledger.peak
        (0, 600)
    """

    def __init__(self, function: str, limit: int) -> None:
        self.function, self.limit = function, limit
        self.held = 0
        self.peak = 0

    @property
    def free(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - self.held

    def take(self, what: str, size: int) -> None:
        """Count ``size`` more bytes.

        Raises:
            BudgetError: they do not fit; says what would.
        """
        if self.held + size > self.limit:
            raise BudgetError(
                f"{self.function}: `memory` must be at least "
                f"{sizes.show(self.held + size)} to hold {what}, "
                f"got {sizes.show(self.limit)}"
            )
        self.held += size
        self.peak = max(self.peak, self.held)

    def give(self, size: int) -> None:
        """Count ``size`` bytes as released."""
        self.held -= size

    @contextmanager
    def hold(self, what: str, size: int) -> Iterator[None]:
        """Count ``size`` bytes for the length of a block."""
        self.take(what, size)
        try:
            yield
        finally:
            self.give(size)
