"""Evaluations of architectures: cached by canonical hash, in parallel, resumable."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from torch import Tensor

from graphlab import check
from graphlab.errors import StoreError
from graphlab.nag.space import SearchSpace

Evaluate = Callable[[str], float]
# How every record begins.
_FIRST = b'{"hash": "'
# The callback of a worker process, sent once.
_HELD: list[Evaluate] = []


class Evaluator:
    """Scores architectures by a callback; what computes the same is scored once.

    Args:
        space: The search space.
        evaluate: Architecture's string -> score, larger is better.
        path: File of one JSON object a line that every score is appended to as soon as it
            is known; an existing one is read first, so a killed search goes on.
        workers: Processes; with more than one ``evaluate`` must be importable (picklable). They
            start at the first call and wait for the next until :meth:`close`.
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
        self._pool: ProcessPoolExecutor | None = None
        self.records: dict[str, dict[str, Any]] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __call__(self, x: Tensor) -> list[float]:
        """Score architectures int64 [B, V]."""
        texts = self.space.decode(x)
        keys = self.space.hashes(x) if self.by_hash else list(texts)
        todo = {k: t for k, t in zip(keys, texts, strict=True) if k not in self.records}
        if self.workers > 1 and len(todo) > 1:
            try:
                self._side_by_side(todo)
            except BaseException:
                self.close()
                raise
        else:
            for key, text in todo.items():
                self._keep(key, text, *_timed(self._evaluate, text))
        return [float(self.records[key]["score"]) for key in keys]

    def close(self) -> None:
        """End the worker processes; what they have not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _side_by_side(self, todo: dict[str, str]) -> None:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_hold,
                initargs=(self._evaluate,),
            )
            weakref.finalize(self, self._pool.shutdown, wait=False)
        jobs = {self._pool.submit(_work, t): (k, t) for k, t in todo.items()}
        # Kept as they come, so that a kill loses only what was still running.
        for job in as_completed(jobs):
            self._keep(*jobs[job], *job.result())

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


def _timed(evaluate: Evaluate, text: str) -> tuple[float, float]:
    """The score, and the seconds it took."""
    began = time.perf_counter()
    score = float(evaluate(text))
    return score, time.perf_counter() - began


def _hold(evaluate: Evaluate) -> None:
    """Begin a worker: keep the callback, and end when the search is killed."""
    _HELD.append(evaluate)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _work(text: str) -> tuple[float, float]:
    """Score in a worker."""
    return _timed(_HELD[0], text)
