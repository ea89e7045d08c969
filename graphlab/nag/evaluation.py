"""Evaluations of architectures: cached by canonical hash, in parallel, resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from torch import Tensor

from graphlab import check, progress
from graphlab.errors import StoreError
from graphlab.nag.space import SearchSpace

Evaluate = Callable[[str], float]


class Evaluator:
    """Scores architectures by a callback; what computes the same is scored once.

    Args:
        space: The search space.
        evaluate: Architecture's string -> score, larger is better.
        path: File of one JSON object a line that every score is appended to as soon as it
            is known; an existing one is read first, so a killed search goes on.
        workers: Processes; with more than one ``evaluate`` must be importable (picklable).
        by_hash: Share scores between architectures of one canonical hash; False: by string.

    Raises:
        StoreError: a damaged line in ``path``, other than a last one cut by a kill.

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
        self.records: dict[str, dict[str, Any]] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __call__(self, x: Tensor) -> list[float]:
        """Score architectures int64 [B, V]."""
        texts = self.space.decode(x)
        keys = self.space.hashes(x) if self.by_hash else list(texts)
        todo = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.records}
        if self.workers > 1 and len(todo) > 1:
            with ProcessPoolExecutor(
                min(self.workers, len(todo)), mp_context=get_context("spawn")
            ) as pool:
                jobs = [(self._evaluate, text) for text in todo.values()]
                for key, text, (score, seconds) in zip(
                    todo, todo.values(), pool.map(progress.timed, jobs), strict=True
                ):
                    self._keep(key, text, score, seconds)
        else:
            for key, text in todo.items():
                self._keep(key, text, *progress.timed((self._evaluate, text)))
        return [float(self.records[key]["score"]) for key in keys]

    def _keep(self, key: str, text: str, score: float, seconds: float) -> None:
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
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            # A kill cut the last line; what follows must not be glued to it.
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                record = json.loads(line)
                self.records[record["hash"]] = record
            except (ValueError, KeyError, TypeError) as error:
                where = f"line {number} unreadable: {error}"
                remedy = "delete the line, or name another file"
                raise StoreError(
                    path, None, "one score a line", where, remedy
                ) from error


def scores(evaluator: Evaluator, texts: Sequence[str]) -> list[float]:
    """Score architectures given as strings."""
    return evaluator(evaluator.space.encode(texts))
