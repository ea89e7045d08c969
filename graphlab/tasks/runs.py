"""Run folders: config, metrics line by line, checkpoints, result.

::

    config.json           resolved settings, data set, model, stamp, environment
    metrics.jsonl         one JSON object a line: events epoch, run, done
    seed-<s>/last.safetensors   where training stands; best.safetensors: chosen weights
    seed-<s>/state.json   scores of a finished seed
    result.json           scores over all seeds
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphlab import check, files
from graphlab.errors import GraphlabError, StoreError

SCHEMA = 1
# What may differ between the run that began a folder and the one that continues it.
_FREE = ("command", "environment", "stamp.commit", "stamp.version", "seeds")
_FREE_FIT = ("fit.checkpoint_seconds", "fit.checkpoint_batches", "fit.memory")


class RunFolder:
    """A folder that one process at a time fills and a killed one can continue.

    Args:
        path: The folder; made where it is missing.
        config: The resolved config of the run; JSON values.

    Raises:
        ValueError: the folder holds a run of another config; the message names the keys.
        GraphlabError: another process is filling it.
        StoreError: its config is damaged.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        if (self.path / "manifest.json").exists():
            got = f"a data set or plan in {self.path}"
            check.fail(ValueError, "node.fit", "run_dir", "be a run folder", got)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / ".lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise GraphlabError(
                f"node.fit: `run_dir` {self.path} is in use by another process; "
                "wait for it or choose another folder"
            ) from None
        self.config = json.loads(json.dumps(config))
        known = self.path / "config.json"
        if known.exists():
            self._continue(read_json(known))
        files.publish_json(known, self.config)
        self._log = open(self.path / "metrics.jsonl", "ab")
        self._cut_log()

    @property
    def continued_from(self) -> str | None:
        """Commit that began the folder, where it is another than the present one."""
        return self._earlier

    _earlier: str | None = None

    def seed(self, seed: int) -> Path:
        """Folder of a seed."""
        folder = self.path / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        return folder

    def finished(self, seed: int) -> dict[str, Any] | None:
        """What a finished seed left, or None."""
        path = self.path / f"seed-{seed}" / "state.json"
        return read_json(path) if path.exists() else None

    def log(self, event: str, **values: Any) -> None:
        """Append a line to metrics.jsonl."""
        line = json.dumps({"schema": SCHEMA, "event": event, **values})
        self._log.write(line.encode() + b"\n")
        self._log.flush()

    @property
    def log_bytes(self) -> int:
        """Length of metrics.jsonl; checkpoints note it, and a resumed run cuts back to it."""
        return self._log.tell()

    def cut_log(self, length: int) -> None:
        """Forget lines that a killed process wrote after its last checkpoint."""
        self._log.truncate(length)
        self._log.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Let go of the folder."""
        self._log.close()
        self._lock.close()

    def _continue(self, earlier: dict[str, Any]) -> None:
        differing = list(_differences(earlier, self.config))
        if differing:
            shown = ", ".join(
                f"{key} = {old!r} there and {new!r} now" for key, old, new in differing[:3]
            )
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            check.fail(
                ValueError,
                "node.fit",
                "run_dir",
                "hold a run of the same settings",
                f"{shown}{more} in {self.path}",
                "choose another folder or the same settings",
            )
        before, now = earlier["seeds"], self.config["seeds"]
        length = min(len(before), len(now))
        if before[:length] != now[:length]:
            check.fail(
                ValueError,
                "node.fit",
                "seeds",
                f"begin with the seeds {before} of the run in {self.path}",
                now,
                "choose another folder",
            )
        commit = earlier.get("stamp", {}).get("commit", "unknown")
        if commit != self.config.get("stamp", {}).get("commit", "unknown"):
            self._earlier = commit

    def _cut_log(self) -> None:
        """Cut back to the end of the last finished seed; checkpoints lengthen that."""
        ends = [state["log_bytes"] for state in self._states()]
        self._keep = max(ends, default=0)

    def _states(self) -> Iterator[dict[str, Any]]:
        for path in self.path.glob("seed-*/state.json"):
            yield read_json(path)

    def start_seed(self, log_bytes: int | None) -> None:
        """Cut the log to a checkpoint's length, or to the end of the last finished seed."""
        self.cut_log(self._keep if log_bytes is None else log_bytes)

    def end_seed(self, seed: int, state: Mapping[str, Any]) -> None:
        """Note that a seed is finished; it will not run again in this folder."""
        self._keep = self.log_bytes
        whole = {**state, "log_bytes": self._keep}
        files.publish_json(self.seed(seed) / "state.json", whole)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder.

    Raises:
        StoreError: it is damaged.
    """
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise StoreError(path, None, "a JSON object", f"{error}") from error
    if not isinstance(value, dict):
        raise StoreError(path, None, "a JSON object", type(value).__name__)
    return value


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    before, now = dict(_flat(old)), dict(_flat(new))
    for key in sorted({*before, *now}):
        if any(key == free or key.startswith(f"{free}.") for free in _FREE + _FREE_FIT):
            continue
        if before.get(key) != now.get(key):
            yield key, before.get(key), now.get(key)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
