"""Journal: what a long conversion has finished, so that a killed one can go on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from graphlab import check, files
from graphlab.datasets.manifest import FileEntry

NAME = ".journal"
RUNS = ".runs"


class Journal:
    """One JSON object a line, each flushed to the device before work goes on.

    The first line is the request; a journal of another request is refused. A torn last line
    (the process died while writing it) is ignored.

    Args:
        folder: The store that is being made.
        request: What was asked for, as plain values: sources with sizes and times, options.
        overwrite: Whether to forget an unfinished conversion of something else.

    Attributes:
        resumed: Whether work of an earlier run is taken up.
        runs: Folder for temporary files; removed by :meth:`finish`.
    """

    def __init__(self, folder: Path, request: dict[str, Any], overwrite: bool) -> None:
        self._path = folder / NAME
        self.runs = folder / RUNS
        self._state: dict[str, Any] = {}
        lines = self._read()
        # As JSON gives it back: tuples are lists.
        request = json.loads(json.dumps(request))
        if lines and lines[0] != {"request": request} and not overwrite:
            changed = _difference(lines[0].get("request", {}), request)
            check.fail(
                ValueError,
                "convert",
                "out",
                "not hold an unfinished conversion of something else",
                f"{folder} ({changed} differs)",
                "give the same arguments to go on, or overwrite=True to start anew",
            )
        self.resumed = bool(lines) and lines[0] == {"request": request}
        if self.resumed:
            for line in lines[1:]:
                self._state[line["stage"]] = line["value"]
            whole = "".join(json.dumps(line) + "\n" for line in lines)
            files.publish_text(self._path, whole)
        else:
            shutil.rmtree(self.runs, ignore_errors=True)
            files.publish_text(self._path, json.dumps({"request": request}) + "\n")
        self.runs.mkdir(parents=True, exist_ok=True)

    def get(self, stage: str) -> Any:
        """What was last noted for a stage; None if nothing."""
        return self._state.get(stage)

    def note(self, stage: str, value: Any) -> None:
        """Remember the state of a stage; it is on the device when this returns."""
        line = json.dumps({"stage": stage, "value": value}) + "\n"
        with open(self._path, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._state[stage] = value

    def note_file(self, name: str, entry: FileEntry) -> None:
        """Remember a finished file."""
        self.note(f"file {name}", [entry.bytes, entry.crc32c])

    def file(self, name: str) -> FileEntry | None:
        """The entry of a file that an earlier run has finished."""
        found = self.get(f"file {name}")
        return None if found is None else FileEntry(*found)

    def finish(self) -> None:
        """Remove journal and temporary files: there is nothing to take up again."""
        shutil.rmtree(self.runs, ignore_errors=True)
        self._path.unlink(missing_ok=True)

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        lines = []
        for text in self._path.read_text(errors="replace").split("\n")[:-1]:
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(f"`{key}`" for key in keys) or "the request"
