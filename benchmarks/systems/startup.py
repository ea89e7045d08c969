"""What `import graphlab` and `graphlab --help` take, in processes of their own.

No peer: the limits are ours (0.2 s and 1.0 s). The time is that of the whole process; the
notes say how much of it a bare interpreter takes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial

IMPORT = "import time; a = time.perf_counter(); import graphlab; print(time.perf_counter() - a)"
CASES = {
    "import graphlab": ["-c", IMPORT],
    "graphlab --help": ["-m", "graphlab", "--help"],
}


def run(arguments: Sequence[str]) -> tuple[float, str]:
    """Seconds of a Python process, and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(harness.ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, done.stdout


def setup(arguments: Sequence[str]) -> Trial:
    def notes(done: tuple[float, str]) -> dict[str, float]:
        own = {"import_seconds": float(done[1])} if "-c" in arguments else {}
        return own | {"bare_python_seconds": run(["-c", "pass"])[0]}

    return Trial(
        [
            Contender(
                "graphlab",
                lambda: run(arguments),
                seconds=lambda done: done[0],
                notes=notes,
            )
        ],
        None,
    )


def cases(quick: bool) -> Iterable[Case]:
    for name, arguments in CASES.items():
        yield Case(name, lambda _, a=arguments: setup(a))


if __name__ == "__main__":
    harness.main("startup", cases, repeats=15)
