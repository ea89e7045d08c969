"""The compiled library: the only module that loads it, and says why it is off.

``GRAPHLAB_NATIVE`` decides: ``auto`` (default) uses the compiled kernels where they are
built, else the readable twins with one warning; ``require`` makes their absence an error;
``skip`` uses the twins. Read once, at the first use of an op.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Status:
    """What is loaded.

    Attributes:
        mode: Value of ``GRAPHLAB_NATIVE``.
        cpu: Path of the loaded CPU library, or None.
        cuda: Path of the loaded CUDA library, or None.
        reason: Why a library is not active; empty when all that could be is.
    """

    mode: str
    cpu: Path | None
    cuda: Path | None
    reason: str


def _find(name: str) -> Path | None:
    built = sorted(_FOLDER.glob(f"{name}.*so")) or sorted(_FOLDER.glob(f"{name}.so"))
    return built[0] if built else None


@functools.cache
def load() -> Status:
    """Load the compiled libraries once; return what is active.

    Raises:
        ValueError: ``GRAPHLAB_NATIVE`` is none of auto, require, skip.
        ImportError: ``GRAPHLAB_NATIVE=require`` and the library is absent or broken.
    """
    mode = os.environ.get("GRAPHLAB_NATIVE", "auto")
    if mode not in ("auto", "require", "skip"):
        raise ValueError(f"GRAPHLAB_NATIVE must be auto, require or skip, got {mode!r}")
    if mode == "skip":
        return Status(mode, None, None, "GRAPHLAB_NATIVE=skip")
    cpu, reason = _load_one("_C")
    cuda: Path | None = None
    if cpu is not None and torch.version.cuda is not None:
        cuda, reason = _load_one("_C_cuda")
    if cpu is None:
        if mode == "require":
            raise ImportError(f"GRAPHLAB_NATIVE=require, but {reason}")
        warnings.warn(
            f"graphlab: {reason}; using the slower readable twins "
            "(`graphlab doctor` tells more, GRAPHLAB_NATIVE=skip silences this)",
            RuntimeWarning,
        )
    return Status(mode, cpu, cuda, reason)


def _load_one(name: str) -> tuple[Path | None, str]:
    path = _find(name)
    if path is None:
        return None, f"the compiled library {name} is not built"
    try:
        torch.ops.load_library(path)
    except OSError as error:
        return None, f"the compiled library {path.name} does not load ({error})"
    return path, ""
