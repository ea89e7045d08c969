"""Free memory, refusing with words what would not fit, and keeping what was freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from graphlab import sizes
from graphlab.errors import BudgetError


def available() -> int:
    """Bytes that this process may still take: free memory, or less under a cgroup limit."""
    free = 2**63 - 1
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for folder, limit, used in _groups():
        try:
            text = (folder / limit).read_text().strip()
            if text != "max":
                free = min(free, int(text) - int((folder / used).read_text()))
        except OSError:
            continue
    return max(free, 0)


def _groups() -> Iterator[tuple[Path, str, str]]:
    """Folders of the control groups that this process is in, and of those above."""
    one = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    two = ("memory.max", "memory.current")
    places = [("/sys/fs/cgroup", "/", two), ("/sys/fs/cgroup/memory", "/", one)]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, kinds, place = line.split(":", 2)
        if not kinds:
            places.append(("/sys/fs/cgroup", place, two))
        elif "memory" in kinds.split(","):
            places.append(("/sys/fs/cgroup/memory", place, one))
    for root, place, names in places:
        folder = Path(root + place)
        while folder != Path(root):
            yield folder, *names
            folder = folder.parent
        yield folder, *names


def require(function: str, what: str, needed: int, instead: str = "") -> None:
    """Refuse, with words, what would not fit in memory.

    Raises:
        BudgetError: ``needed`` bytes are more than what is available.
    """
    # Below this no machine that runs torch is short, and reading /proc costs more.
    if needed < 2**26:
        return
    free = available()
    if needed > free:
        raise BudgetError(
            f"{function}: {what} needs {sizes.show(needed)} of memory and "
            f"{sizes.show(free)} are free" + (f"; {instead}" if instead else "")
        )


# Parameters of glibc's mallopt.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_OWN_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")
# Holes that nothing fits in may take this share of what was used before they are given back.
_SLACK = 0.5
# Less free memory than this share of what the process holds is little; seconds between looks.
_SPARE, _PERIOD = 0.125, 0.5


class KeptMemory:
    """What :func:`keep_freed` gives.

    Call :meth:`settle` now and then, such as every epoch, and :meth:`relieve` at every step.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._usual = 0
        self._looked = float("-inf")

    def settle(self) -> None:
        """Give freed memory back where holes have made the process grow by half."""
        self._calls += 1
        held = resident()
        # The first rounds allocate what every later one uses again.
        if self._calls <= 3:
            self._usual = held
        elif held > (1 + _SLACK) * self._usual and _Allocator.libc is not None:
            _Allocator.libc.malloc_trim(0)

    def relieve(self) -> None:
        """Give freed memory back where the machine has little left."""
        now = time.monotonic()
        if _Allocator.libc is None or now - self._looked < _PERIOD:
            return
        self._looked = now
        if available() < _SPARE * resident():
            _Allocator.libc.malloc_trim(0)


def resident() -> int:
    """Bytes of this process that are in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def keep_freed() -> Iterator[KeptMemory]:
    """Keep freed memory in the process for the next tensor, as torch does on a GPU.

    glibc gives every large block back to the system when it is freed; the next one comes
    empty, and each of its pages costs a fault on first touch. A training step makes and frees
    the same blocks every time. The process holds its peak, and up to half as much in holes
    (fewer where memory is short), until the context ends and gives everything back. Affects the
    whole process; does nothing without glibc, or where the environment configures malloc itself
    (``MALLOC_...``, ``GLIBC_TUNABLES``).

    Source: mallopt(3). benchmarks/results/link_epoch.json was measured inside it.

    Example:
        >>> with keep_freed() as kept:
        ...     kept.relieve()
        ...     kept.settle()
    """
    _Allocator.enter()
    try:
        yield KeptMemory()
    finally:
        _Allocator.leave()


class _Allocator:
    """glibc's settings, one a process: contexts may be nested, and in several threads."""

    lock = threading.Lock()
    depth = 0
    libc: ctypes.CDLL | None = None

    @classmethod
    def enter(cls) -> None:
        with cls.lock:
            cls.depth += 1
            if cls.depth > 1 or any(k.startswith(_OWN_SETTINGS) for k in os.environ):
                return
            libc = ctypes.CDLL(None)
            if hasattr(libc, "gnu_get_libc_version"):
                cls.libc = libc
                libc.mallopt(_MMAP_MAX, 0)
                libc.mallopt(_TRIM_THRESHOLD, -1)
                libc.mallopt(_TOP_PAD, 64 * 2**20)

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            cls.depth -= 1
            if cls.depth or cls.libc is None:
                return
            # Where glibc's own adjustment ends up in a process that frees large blocks.
            cls.libc.mallopt(_MMAP_MAX, 65536)
            cls.libc.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
            cls.libc.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
            cls.libc.mallopt(_TOP_PAD, 128 * 2**10)
            cls.libc.malloc_trim(0)
            cls.libc = None
