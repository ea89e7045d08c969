"""Checkpoints of an embedding: tables and counters of one moment, in one folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check, files, progress
from graphlab.errors import StoreError

_STATE = "state.json"
# Rows written at a time: a table on disk never comes to memory as a whole.
_ROWS = 2**14


def write(folder: Path, tables: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Save tables and state; a kill at any instant leaves the last whole checkpoint.

    Tables get the name of their generation, the state names them and appears last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _generation(folder)
    generation = before + 1
    for name, table in tables.items():
        with files.publish(folder / _name(name, generation)) as file:
            for begin in range(0, len(table), _ROWS):
                file.write(table[begin : begin + _ROWS].numpy().tobytes())
    shapes = {name: list(table.shape) for name, table in tables.items()}
    content = {"generation": generation, "tables": shapes, **state}
    files.publish_json(folder / _STATE, content)
    for name in tables:
        (folder / _name(name, before)).unlink(missing_ok=True)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the last checkpoint, mapped from its files; None where there is none.

    Raises:
        StoreError: a file is damaged or missing.
    """
    path = folder / _STATE
    if not path.exists():
        return None
    remedy = "delete the folder to start again"
    try:
        state = json.loads(path.read_text())
        generation, shapes = state.pop("generation"), state.pop("tables")
    except (ValueError, KeyError) as error:
        raise StoreError(path, None, "a state", str(error), remedy) from error
    tables = {}
    for name, shape in shapes.items():
        file = folder / _name(name, generation)
        size = file.stat().st_size if file.exists() else 0
        wanted = 4 * int(np.prod(shape))
        if size != wanted:
            raise StoreError(file, None, f"{wanted} bytes", f"{size}", remedy)
        mapped = np.memmap(file, np.float32, mode="c", shape=tuple(shape))
        tables[name] = torch.from_numpy(mapped)
    return tables, state


def _name(table: str, generation: int) -> str:
    return f"{table}-{generation}.bin"


def _generation(folder: Path) -> int:
    path = folder / _STATE
    try:
        return int(json.loads(path.read_text())["generation"])
    except (OSError, ValueError, KeyError):
        return 0


def resume(
    function: str, folder: Path, facts: dict[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tables and state of a fit of the same settings and graph; None: nothing is there.

    Raises:
        ValueError: a checkpoint of other ``facts``.
    """
    found = read(folder)
    if found is None:
        return None
    tables, content = found
    changed = [k for k, value in facts.items() if content["fit"].get(k) != value]
    if changed or content["fit"].keys() != facts.keys():
        check.fail(
            ValueError,
            function,
            "checkpoint",
            "be of the same settings and graph",
            f"{folder}, where {', '.join(changed) or 'other things'} differ",
            "choose another folder or delete it",
        )
    progress.say(f"{function}: going on from {folder}")
    return tables, content["state"]


def saver(
    folder: Path | None,
    seconds: float,
    facts: dict[str, Any],
    snapshot: Callable[[], dict[str, Tensor]],
    stop: Callable[[], bool],
) -> Callable[[Any], None]:
    """What happens after each call of the trainer: save now and then, stop if asked."""
    last = time.monotonic()

    def after(state: Any) -> None:
        nonlocal last
        asked = stop()
        if folder is not None and (asked or time.monotonic() - last >= seconds):
            write(folder, snapshot(), {"fit": facts, "state": vars(state)})
            last = time.monotonic()
        if asked:
            kept_in = f"; saved in {folder}" if folder else ""
            raise KeyboardInterrupt(f"interrupted after {state.pairs:,} pairs{kept_in}")

    return after
