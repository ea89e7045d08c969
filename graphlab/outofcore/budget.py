"""Exact accounting of memory: what is declared holds, or the call refuses before it starts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from graphlab import sizes
from graphlab.errors import BudgetError


class Ledger:
    """Bytes held, by part, under a limit.

    Everything that the out-of-core layer allocates for data passes through a ledger, before
    it is allocated. Threads may share one.

    Args:
        limit: Bytes that may be held at once: the declared memory.
        owner: Function that declared the limit, for messages.
    """

    def __init__(self, limit: int, owner: str) -> None:
        self.limit = limit
        self.held = 0
        self.peak = 0
        self.parts: dict[str, int] = {}
        self._owner = owner
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes that may still be taken."""
        return self.limit - self.held

    def take(self, part: str, size: int, remedy: str = "") -> None:
        """Count ``size`` more bytes as held by ``part``.

        Raises:
            BudgetError: they do not fit; nothing is counted.
        """
        with self._lock:
            if self.held + size > self.limit:
                raise BudgetError(self.refusal(part, size, remedy))
            self.held += size
            self.parts[part] = self.parts.get(part, 0) + size
            self.peak = max(self.peak, self.held)

    def give(self, part: str, size: int) -> None:
        """Count ``size`` bytes of ``part`` as freed."""
        with self._lock:
            self.held -= size
            self.parts[part] -= size

    @contextmanager
    def hold(self, part: str, size: int, remedy: str = "") -> Iterator[None]:
        """Hold bytes for the length of a block."""
        self.take(part, size, remedy)
        try:
            yield
        finally:
            self.give(part, size)

    def refusal(self, part: str, size: int, remedy: str = "") -> str:
        """The message of a BudgetError: what was asked, what is held, what would hold."""
        held = ", ".join(
            f"{name} {sizes.show(value)}" for name, value in self.parts.items() if value
        )
        need = self.held + size
        text = (
            f"{self._owner}: `memory` must be at least {sizes.show(need)} ({need} bytes) to "
            f"hold {part} ({sizes.show(size)})"
        )
        text += f" beside {held}" if held else ""
        text += f", got {sizes.show(self.limit)} ({self.limit} bytes)"
        return text + (f"; {remedy}" if remedy else "")
