"""Worker processes of a search: they start once and do not outlive it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait

# The function of a worker process, sent once.
_HELD: list[Callable[[str], float]] = []


class Workers:
    """Calls a function of strings in several processes.

    They start at the first call and wait for the next until :meth:`close`. The function is
    sent to each once, as it is then, so what it reads and keeps there stays.

    Args:
        function: String -> number; picklable.
        count: Processes.
    """

    def __init__(self, function: Callable[[str], float], count: int) -> None:
        self._function, self._count = function, count
        self._pool: ProcessPoolExecutor | None = None
        self._finalizer: weakref.finalize[[], Workers] | None = None

    def run(self, texts: Iterable[str]) -> Iterator[tuple[str, float, float]]:
        """Each text with its number and seconds, as they are done.

        Raises:
            Exception: the first that the function raised, after all others are done.
        """
        pool = self._pool or self._start()
        jobs = {pool.submit(_work, text): text for text in texts}
        failure = None
        try:
            for job in as_completed(jobs):
                error = job.exception()
                if error is None:
                    yield (jobs[job], *job.result())
                else:
                    failure = failure or error
        except BaseException:  # an interrupt, or who asked stopped asking
            self.close()
            raise
        if failure is not None:
            self.close()
            raise failure

    def close(self) -> None:
        """End the processes at once, whatever they do."""
        pool, self._pool = self._pool, None
        if pool is not None and self._finalizer is not None:
            self._finalizer()
            pool.shutdown(cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        watched, gate = context.Pipe(duplex=False)
        self._finalizer = weakref.finalize(self, gate.close)
        self._pool = ProcessPoolExecutor(
            self._count,
            mp_context=context,
            initializer=_hold,
            initargs=(self._function, watched),
        )
        return self._pool


def timed(function: Callable[[str], float], text: str) -> tuple[float, float]:
    """The number, and the seconds it took.

    Example:
        >>> timed(len, "abc")[0]
        3.0
    """
    began = time.perf_counter()
    found = float(function(text))
    return found, time.perf_counter() - began


def _hold(function: Callable[[str], float], watched: Connection) -> None:
    """Begin a worker: keep the function, end with the search and not by its Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _HELD.append(function)
    threading.Thread(target=_end_with_search, args=(watched,), daemon=True).start()


def _end_with_search(watched: Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel, watched])
    os._exit(1)


def _work(text: str) -> tuple[float, float]:
    return timed(_HELD[0], text)
