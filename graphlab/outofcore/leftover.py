"""Windows that a killed process has left: whole ones are read on, others removed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphlab.errors import StoreError
from graphlab.outofcore import layout

if TYPE_CHECKING:
    from graphlab.outofcore.window import Window

_ABOUT = "window.json"


def remove_dead(folder: Path) -> None:
    """Remove windows of processes that are no more."""
    for path in folder.glob("window-*"):
        if _is_dead(path):
            shutil.rmtree(path, ignore_errors=True)


def save(window: Window, identity: str) -> None:
    """Say in a window's folder what is in it, once it is whole.

    Nothing is flushed: what the system itself loses, its next start does not believe in.
    """
    about = {f.name: getattr(window, f.name) for f in dataclasses.fields(window)}
    about |= {"folder": "", "numbers": _of(window.numbers), "held": None}
    about |= {"gone": sorted(window.gone), "identity": identity, "boot": _boot()}
    temporary = window.folder / f".{_ABOUT}"
    temporary.write_text(json.dumps(about))
    os.replace(temporary, window.folder / _ABOUT)


class Leftovers:
    """Whole windows of a rank's dead process, taken over.

    Args:
        folder: The plan.
        name: Of this process's windows: ``window-<rank>-<process>-...``.
        identity: What the windows must be of.
    """

    def __init__(self, folder: Path, name: str, identity: str) -> None:
        self._folder = folder
        self._windows: list[Window] = []
        rank = name.split("-")[1]
        for number, path in enumerate(sorted(folder.glob(f"window-{rank}-*"))):
            if not _is_dead(path):
                continue
            found = _read(path, identity)
            if found is None:
                continue
            # Under our name nobody else takes or removes it.
            ours = folder / f"{name}-left-{number}"
            try:
                os.rename(path, ours)
            except OSError:  # another loader was quicker
                continue
            self._windows.append(dataclasses.replace(found, folder=ours))

    def take(self, epoch: int, first: int, step: int) -> Window | None:
        """A window that holds a batch; where none does, all are removed."""
        for window in self._windows:
            numbers = window.numbers
            there = first in numbers and first not in window.gone
            if window.epoch == epoch and numbers.step == step and there:
                self._windows.remove(window)
                return window
        self.clear()
        return None

    def clear(self) -> None:
        """Remove what nobody wants, and what other dead processes have left."""
        while self._windows:
            self._windows.pop().delete()
        remove_dead(self._folder)


def _read(path: Path, identity: str) -> Window | None:
    from graphlab.outofcore.window import Window

    try:
        about: dict[str, Any] = json.loads((path / _ABOUT).read_text())
        if about.pop("identity") != identity or about.pop("boot") != _boot():
            return None
        for file, entry in about["files"].items():
            layout.check_size(path / file, entry)
        numbers = range(*about.pop("numbers"))
        about["gone"] = set(about["gone"])
        # Making it has cost this process nothing.
        return Window(**about | {"folder": path, "numbers": numbers, "read_bytes": 0})
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return None


def _is_dead(path: Path) -> bool:
    try:
        os.kill(int(path.name.split("-")[2]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return True
    except PermissionError:
        pass  # alive, and another user's
    return False


def _of(numbers: range) -> list[int]:
    return [numbers.start, numbers.stop, numbers.step]


def _boot() -> str:
    """Names the system's run; empty where it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
