"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_QUIET = False


def set_quiet(quiet: bool) -> None:
    """Silence (or restore) all progress output of this process."""
    global _QUIET
    _QUIET = quiet


@contextmanager
def silence() -> Iterator[None]:
    """Show nothing inside the block."""
    before = _QUIET
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


def duration(seconds: float) -> str:
    """Write a time span for people.

    Example:
        >>> duration(3725)
        '1 h 02 min'
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Counts units of work; shows done / total, rate and the time left.

    On a terminal one line is rewritten at most ten times a second; elsewhere a plain line
    is printed at most every ``interval`` seconds, so that logs stay short.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str,
        *,
        file: TextIO | None = None,
        interval: float = 10.0,
        done: int = 0,
        quiet: bool = False,
    ) -> None:
        self._what = what
        self._silent = quiet
        self._total = total
        self._unit = unit
        self._file = sys.stderr if file is None else file
        self._terminal = self._file.isatty()
        self._interval = 0.1 if self._terminal else interval
        self._done = done
        self._first = done
        self._start = time.monotonic()
        self._shown = self._start if not self._terminal else 0.0
        self.note = ""

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count ``amount`` more units as done; ``note`` stands behind the line."""
        self._done += amount
        if note is not None:
            self.note = note
        now = time.monotonic()
        if not self._quiet and now - self._shown >= self._interval:
            self._shown = now
            self._print(now)

    def close(self) -> None:
        """End the line."""
        if not self._quiet and self._terminal and self._shown > 0.0:
            self._print(time.monotonic())
            self._file.write("\n")
            self._file.flush()

    @property
    def _quiet(self) -> bool:
        return _QUIET or self._silent

    def _print(self, now: float) -> None:
        elapsed = max(now - self._start, 1e-9)
        rate = (self._done - self._first) / elapsed
        left = (self._total - self._done) / rate if rate > 0 else float("inf")
        eta = f", {duration(left)} left" if left < 1e7 and self._total else ""
        share = f" ({100 * self._done / self._total:.0f} %)" if self._total else ""
        total = f"/{self._total:,}" if self._total else ""
        text = (
            f"{self._what}: {self._done:,}{total} {self._unit}{share}, "
            f"{rate:,.1f} {self._unit}/s{eta}"
        )
        if self.note:
            text += f", {self.note}"
        end = "" if self._terminal else "\n"
        lead = "\r\x1b[K" if self._terminal else ""
        self._file.write(lead + text + end)
        self._file.flush()


@contextmanager
def track(
    what: str, total: int, unit: str, *, done: int = 0, quiet: bool = False
) -> Iterator[Progress]:
    """Show progress of a block; ``total=0`` where it is not known."""
    progress = Progress(what, total, unit, done=done, quiet=quiet)
    try:
        yield progress
    finally:
        progress.close()


def say(text: str) -> None:
    """Print one line of news to stderr, unless silenced."""
    if not _QUIET:
        print(text, file=sys.stderr, flush=True)
