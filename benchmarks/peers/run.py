"""Peers that live in an environment of their own, whose interpreter GRAPHLAB_PEERS names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("word2vec.py")


def python() -> str | None:
    """The peers' interpreter, or None where there is none."""
    path = os.environ.get("GRAPHLAB_PEERS")
    return path if path and Path(path).exists() else None


def word2vec(*arguments: str, threads: int) -> dict[str, Any]:
    """Run gensim or pecanpy and read what it measured of itself."""
    command = [python() or "", str(SCRIPT), *arguments, "--threads", str(threads)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": str(threads),
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])
