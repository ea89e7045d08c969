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
        config: The resolved config of the run, ``task`` among them; JSON values.

    Raises:
        ValueError: the folder holds a run of another config; the message names the keys.
        GraphlabError: another process is filling it.
        StoreError: its config is damaged.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._function = f"{config['task']}.fit"
        if (self.path / "manifest.json").exists():
            got = f"a data set or plan in {self.path}"
            check.fail(ValueError, self._function, "run_dir", "be a run folder", got)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            got = f"{self.path}, where a file is"
            check.fail(ValueError, self._function, "run_dir", "be a folder", got)
        self._lock = open(self.path / ".lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise GraphlabError(
                f"{self._function}: `run_dir` {self.path} is in use by another process; "
                "wait for it or choose another folder"
            ) from None
        try:
            self.config = json.loads(json.dumps(config))
            known = self.path / "config.json"
            if known.exists():
                self._require_same(read_json(known))
            files.publish_json(known, self.config)
            # Length of the log at the end of the last finished seed.
            states = [read_json(p) for p in self.path.glob("seed-*/state.json")]
            self._kept = max((s["log_bytes"] for s in states), default=0)
            self._log = open(self.path / "metrics.jsonl", "ab")
        except BaseException:
            self._lock.close()
            raise

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
        """Length of metrics.jsonl, for checkpoints to note."""
        return self._log.tell()

    def start_seed(self, log_bytes: int | None) -> None:
        """Forget lines that a killed process wrote after its last checkpoint.

        Args:
            log_bytes: Length that the seed's checkpoint noted; None: there is none.
        """
        self._log.truncate(self._kept if log_bytes is None else log_bytes)
        self._log.seek(0, os.SEEK_END)

    def end_seed(self, seed: int, outcome: Mapping[str, Any]) -> None:
        """Note that a seed is finished: it will not run again in this folder."""
        self._kept = self.log_bytes
        self.amend(seed, outcome)

    def amend(self, seed: int, outcome: Mapping[str, Any]) -> None:
        """Write the outcome of a finished seed anew."""
        files.publish_json(self.seed(seed) / "state.json", outcome)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result over all seeds; once more where the run was finished before."""
        self.start_seed(None)
        self.log("done", valid=result["valid"], test=result["test"])
        files.publish_json(self.path / "result.json", result)

    def close(self) -> None:
        """Let go of the folder."""
        self._log.close()
        self._lock.close()

    def _require_same(self, earlier: dict[str, Any]) -> None:
        task = earlier.get("task")
        if task != self.config["task"]:
            need = f"hold a run of the {self.config['task']} task"
            got = f"one of the {task} task in {self.path}"
            remedy = "choose another folder"
            check.fail(ValueError, self._function, "run_dir", need, got, remedy)
        differing = list(_differences(earlier, self.config))
        if differing:
            shown = ", ".join(
                f"{key} = {old!r} there and {new!r} now"
                for key, old, new in differing[:3]
            )
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            check.fail(
                ValueError,
                self._function,
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
                self._function,
                "seeds",
                f"begin with the seeds {before} of the run in {self.path}",
                now,
                "choose another folder",
            )


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
