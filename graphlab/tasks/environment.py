"""What a run ran on, for its config."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from graphlab import native, sizes
from graphlab._version import __version__


def environment() -> dict[str, Any]:
    """Return processor, memory, GPU, threads and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "memory": sizes.show(memory),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "graphlab": __version__,
        "native": native.load().cpu is not None,
        "system": platform.platform(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
