"""Error types of graphlab; each message says what, where and what to do."""

from __future__ import annotations

from pathlib import Path


class GraphlabError(Exception):
    """An error that a user can act on: the CLI prints it without a traceback."""


class DatasetNotFoundError(GraphlabError, FileNotFoundError):
    """A named dataset is not where it was looked for."""


class BudgetError(GraphlabError, ValueError):
    """A declared memory or disk budget cannot hold; the message says what would."""


class PeerFailedError(GraphlabError, RuntimeError):
    """Another process could not do its part of work that is shared."""


class StoreError(GraphlabError, OSError):
    """A file of a store or plan is damaged, truncated or of another version.

    Args:
        path: The file.
        offset: Byte offset of the damage, or None when it concerns the whole file.
        expected: What should be there.
        found: What is there.
        remedy: What the user can do.
    """

    def __init__(
        self,
        path: str | Path,
        offset: int | None,
        expected: str,
        found: str,
        remedy: str = "",
    ) -> None:
        self.path = Path(path)
        self.offset = offset
        self.expected = expected
        self.found = found
        self.remedy = remedy
        where = "" if offset is None else f" at byte {offset}"
        what_to_do = f"; {remedy}" if remedy else ""
        super().__init__(
            f"{self.path}{where}: expected {expected}, found {found}{what_to_do}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        # OSError pickles by its args; ours are the five above.
        return (
            StoreError,
            (self.path, self.offset, self.expected, self.found, self.remedy),
        )


class OutOfDiskError(StoreError):
    """The disk cannot hold what is about to be written; nothing was lost."""
