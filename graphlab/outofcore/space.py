"""Disk that two windows share: one grows while the other is read and given back."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

from graphlab.outofcore.trace import Stop

_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_WAIT_SECONDS = 0.05


class Space:
    """Bytes of disk under a limit; who wants more than is left waits.

    Args:
        limit: Bytes.

    Attributes:
        peak: The most that was held.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.peak = limit, 0, 0
        self._change = threading.Condition()

    def take(self, size: int, stop: Stop) -> None:
        """Hold ``size`` more bytes, as soon as they are free.

        Raises:
            Stopped: ``stop`` was set meanwhile.
        """
        with self._change:
            while self.held + size > self.limit:
                stop.check()
                self._change.wait(_WAIT_SECONDS)
            self.held += size
            self.peak = max(self.peak, self.held)

    def give(self, size: int) -> None:
        """Give bytes back."""
        with self._change:
            self.held -= size
            self._change.notify_all()


class Held:
    """What one window holds of a space."""

    def __init__(self, space: Space) -> None:
        self._space, self.held = space, 0

    def take(self, size: int, stop: Stop) -> None:
        """See :meth:`Space.take`."""
        self._space.take(size, stop)
        self.held += size

    def give(self, size: int) -> None:
        """Give bytes back, as far as they are held."""
        size = min(size, self.held)
        self.held -= size
        self._space.give(size)

    def release(self) -> None:
        """Give everything back; harmless when repeated."""
        self.give(self.held)


@cache
def _fallocate() -> Any:
    """The system's call, which Python does not offer; None where there is none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return call


def punch(descriptor: int, offset: int, length: int) -> None:
    """Give the blocks of ``[offset, offset + length)`` of a file back; it reads as zeros.

    Raises:
        OSError: the file system cannot.
    """
    call = _fallocate()
    if call is None:
        raise OSError("no fallocate")
    if call(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def can_punch(folder: Path) -> bool:
    """Whether blocks in the middle of a file in ``folder`` can be given back."""
    path, block = folder / ".punch", 2**16
    try:
        with open(path, "wb") as file:
            file.write(b"\1" * 2 * block)
            file.flush()
            os.fsync(file.fileno())
            before = os.fstat(file.fileno()).st_blocks
            punch(file.fileno(), 0, block)
            return os.fstat(file.fileno()).st_blocks < before
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
