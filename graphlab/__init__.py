"""Graph learning on graphs larger than memory.

Submodules load on first use (PEP 562): ``import graphlab`` imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from graphlab._version import __version__ as __version__

if TYPE_CHECKING:
    from graphlab import datasets as datasets
    from graphlab import embed as embed
    from graphlab import evaluate as evaluate
    from graphlab import graph as graph
    from graphlab import interop as interop
    from graphlab import models as models
    from graphlab import nag as nag
    from graphlab import native as native
    from graphlab import ops as ops
    from graphlab import outofcore as outofcore
    from graphlab import report as report
    from graphlab import sample as sample
    from graphlab import tasks as tasks
    from graphlab.datasets import Dataset as Dataset
    from graphlab.graph import Graph as Graph
    from graphlab.models import diagnose_direction as diagnose_direction

_SUBMODULES = frozenset(
    {
        "datasets",
        "embed",
        "evaluate",
        "graph",
        "interop",
        "models",
        "nag",
        "native",
        "ops",
        "outofcore",
        "report",
        "sample",
        "tasks",
    }
)
_NAMES = {
    "Graph": "graphlab.graph",
    "Dataset": "graphlab.datasets",
    "diagnose_direction": "graphlab.models",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"graphlab.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'graphlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_NAMES})
