"""Work done ahead on threads and handed over in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class _End(Exception):
    """All items are handed over."""


class Ahead(Iterator[T], Generic[T]):
    """Yield ``make(i)`` for each index in order, computed ahead on background threads.

    Threads, not processes: ops release the GIL, and nothing is copied or pickled. An error
    in ``make`` is raised at its place in the order, with the traceback of the thread. When
    the iterator ends, is closed or is dropped, waiting work is cancelled and the threads
    end; an interrupt (Ctrl-C) does not wait for work in progress.

    Args:
        make: Computes one item; called from several threads.
        indices: What to compute, in order.
        prefetch: Items computed ahead for each thread; 0 computes each on request, in the
            caller.
        num_threads: Background threads.

    Attributes:
        stall_seconds: Time that the caller has waited for items so far.

    Example:
        >>> list(Ahead(lambda i: i * i, range(4), prefetch=2))
        [0, 1, 4, 9]
    """

    def __init__(
        self,
        make: Callable[[int], T],
        indices: Iterable[int],
        *,
        prefetch: int,
        num_threads: int = 1,
    ) -> None:
        self._make = make
        self._indices = iter(indices)
        self._pending: deque[Future[T]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self.stall_seconds = 0.0
        if prefetch > 0:
            self._pool = ThreadPoolExecutor(
                num_threads, thread_name_prefix="graphlab-loader"
            )
            for _ in range(prefetch * num_threads):
                self._submit()

    def __next__(self) -> T:
        start = time.perf_counter()
        try:
            if self._pool is None:
                index = next(self._indices, None)
                if index is None:
                    raise _End
                return self._make(index)
            if not self._pending:
                raise _End
            # The next item is asked for only when one is taken, so a slow caller never
            # has more of them waiting than it allowed.
            item = self._pending.popleft().result()
            self._submit()
            return item
        except _End:
            self.close()
            raise StopIteration from None
        except StopIteration as error:
            # From `make`, such as a `next()` in a user's transform: not our end (PEP 479).
            self.close(wait=False)
            raise RuntimeError("making a batch raised StopIteration") from error
        except BaseException:
            self.close(wait=False)
            raise
        finally:
            self.stall_seconds += time.perf_counter() - start

    def close(self, *, wait: bool = True) -> None:
        """Cancel what waits and end the threads; ``wait`` for those at work."""
        pool, self._pool = self._pool, None
        self._indices = iter(())
        self._pending.clear()
        if pool is not None:
            pool.shutdown(wait=wait, cancel_futures=True)

    def __del__(self) -> None:
        # May run on one of the pool's own threads, which cannot wait for itself.
        if getattr(self, "_pool", None) is not None:
            self.close(wait=False)

    def _submit(self) -> None:
        assert self._pool is not None
        for index in self._indices:
            self._pending.append(self._pool.submit(self._make, index))
            return


def default_threads(intra_op: int) -> int:
    """Background threads where the user names none; a batch is sampled by one thread."""
    return max(1, min(8, intra_op // 2))
