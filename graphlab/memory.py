"""Memory that is free, and refusing with words what would not fit in it."""

from __future__ import annotations

from pathlib import Path

from graphlab import sizes
from graphlab.errors import BudgetError


def available() -> int:
    """Bytes that this process may still take: free memory, or less under a cgroup limit."""
    free = 2**63 - 1
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            text = Path(limit).read_text().strip()
            if text != "max":
                free = min(free, int(text) - int(Path(used).read_text()))
        except OSError:
            continue
    return max(free, 0)


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
