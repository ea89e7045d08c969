"""Memory that is free, and refusing with words what would not fit in it."""

from __future__ import annotations

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
