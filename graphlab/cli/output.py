"""What commands print: tables or one JSON object on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from graphlab.report.tables import Table

_stdout: TextIO | None = None
_resume = ""
_stopped = ""


@contextlib.contextmanager
def only_json() -> Iterator[None]:
    """Send whatever anybody prints to stderr, so that stdout holds one object alone.

    A user's model that prints must not break the reader of ``--json``.
    """
    global _stdout
    _stdout = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _stdout = None


def emit(value: Mapping[str, Any]) -> None:
    """Print the one JSON object of a command; what is not finite becomes null."""
    file = _stdout or sys.stdout
    print(json.dumps(plain(value), indent=2, allow_nan=False), file=file, flush=True)


def show(*parts: Table | str) -> None:
    """Print tables and lines for people on stdout."""
    from rich.console import Console

    # Logs and pipes have no width of their own; 80 columns would fold the tables.
    width = None if sys.stdout.isatty() else 120
    console = Console(highlight=False, soft_wrap=True, width=width)
    for part in parts:
        console.print(part if isinstance(part, str) else part.rich(), markup=False)


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def resume_with(command: str) -> None:
    """Remember what to tell a user who interrupts the command that runs now."""
    global _resume
    _resume = command


def stopped(message: str) -> None:
    """Remember what an interrupted job said about where it stands."""
    global _stopped
    _stopped = message


def interrupted() -> str:
    """Return the line for Ctrl-C."""
    # What the job adds about going on is for Python; here a command is known.
    where = _stopped.partition(";")[0] or "interrupted; nothing was left half-written"
    go_on = f"go on with: {_resume}" if _resume else "run the same command again"
    return f"{where}; {go_on}"


def columns(
    rows: Sequence[Mapping[str, Any]], title: str, names: Sequence[str]
) -> Table:
    """Make a table of some keys of records; what is absent shows as ``-``."""
    cells = [tuple(_cell(row.get(name)) for name in names) for row in rows]
    return Table(title, tuple(names), cells)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
