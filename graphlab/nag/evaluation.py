"""Evaluations of architectures: cached by canonical hash, in parallel, resumable."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from graphlab import check
from graphlab.errors import StoreError
from graphlab.nag.space import SearchSpace
from graphlab.nag.workers import Workers, timed

Evaluate = Callable[[str], float]
# How every record begins.
_FIRST = b'{"hash": "'


class Evaluator:
    """Scores architectures by a callback; what computes the same is scored once.

    Args:
        space: The search space.
        evaluate: Architecture's string -> score, larger is better.
        path: File of one JSON object a line that every score is appended to as soon as it
            is known; an existing one is read first, so a killed search goes on.
        workers: Processes; with more than one ``evaluate`` must be importable (picklable).
            They start at the first call, with ``evaluate`` as it is then, and wait for the
            next until :meth:`close`, or the end of a ``with`` block.
        by_hash: Share scores between architectures of one canonical hash; False: by string.

    Raises:
        StoreError: a damaged line in ``path``, other than a last one cut by a kill.
        ValueError: ``evaluate`` gave a score that is not finite.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> evaluator = Evaluator(space, lambda text: text.count("nor_conv_3x3"))
        >>> evaluator(space.sample(3, seed=0)), evaluator.calls
        ([2.0, 0.0, 0.0], 3)
    """

    def __init__(
        self,
        space: SearchSpace,
        evaluate: Evaluate,
        *,
        path: str | Path | None = None,
        workers: int = 1,
        by_hash: bool = True,
    ) -> None:
        check.positive("Evaluator", "workers", workers)
        self.space, self._evaluate = space, evaluate
        self.path = None if path is None else Path(path)
        self.workers, self.by_hash = workers, by_hash
        self.calls = 0
        self._processes = Workers(evaluate, workers)
        self.records: dict[str, dict[str, Any]] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __call__(self, x: Tensor) -> list[float]:
        """Score architectures int64 [B, V]."""
        texts = self.space.decode(x)
        keys = self.space.hashes(x) if self.by_hash else list(texts)
        todo = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.records}
        if self.workers > 1 and len(todo) > 1:
            places = {text: key for key, text in todo.items()}
            # Kept as they come, so that a kill loses only what was still running.
            for text, score, seconds in self._processes.run(places):
                self._keep(places[text], text, score, seconds)
        else:
            for key, text in todo.items():
                self._keep(key, text, *timed(self._evaluate, text))
        return [float(self.records[key]["score"]) for key in keys]

    def close(self) -> None:
        """End the worker processes at once; scores are kept, and a next call starts others."""
        self._processes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _keep(self, key: str, text: str, score: float, seconds: float) -> None:
        if not math.isfinite(score):
            need = "give finite scores"
            check.fail(ValueError, "Evaluator", "evaluate", need, f"{score} for {text}")
        self.calls += 1
        record = {"hash": key, "architecture": text, "score": score, "seconds": seconds}
        self.records[key] = record
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a") as file:
                file.write(json.dumps(record) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _read(self, path: Path) -> None:
        *lines, rest = path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                self._take(line)
            except (ValueError, KeyError, TypeError) as error:
                where = f"line {number} unreadable: {error}"
                remedy = "delete the line, or name another file"
                raise StoreError(
                    path, None, "one score a line", where, remedy
                ) from error
        if not rest:
            return
        # A last line without an end: whole, or cut by a kill; what follows must not be glued
        # to it. A file of something else stays as it is.
        try:
            self._take(rest)
        except (ValueError, KeyError, TypeError) as error:
            if not rest.startswith(_FIRST[: len(rest)]):
                where, remedy = "something else in the last line", "name another file"
                raise StoreError(
                    path, None, "one score a line", where, remedy
                ) from error
            os.truncate(path, path.stat().st_size - len(rest))
        else:
            with open(path, "a") as file:
                file.write("\n")

    def _take(self, line: bytes) -> None:
        record = json.loads(line)
        record["score"] = float(record["score"])
        self.records[record["hash"]] = record
