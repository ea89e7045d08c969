"""Spaces by name, for commands and saved denoisers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from graphlab import check
from graphlab.nag.space import SearchSpace
from graphlab.nag.spaces.dag import from_json
from graphlab.nag.spaces.gnn import GNN
from graphlab.nag.spaces.mobilenet import MobileNetV3
from graphlab.nag.spaces.nas_bench_graph import NASBenchGraph
from graphlab.nag.spaces.nb201 import NB201

_KNOWN: dict[str, Callable[[], SearchSpace]] = {
    "nb201": NB201,
    "mobilenetv3": MobileNetV3,
    "nas_bench_graph": NASBenchGraph,
    "gnn": GNN,
}


def names() -> list[str]:
    """Names that :func:`open` knows.

    Example:
        >>> names()
        ['nb201', 'mobilenetv3', 'nas_bench_graph', 'gnn']
    """
    return list(_KNOWN)


def open(name: str | Path) -> SearchSpace:
    """Make a space by name, or read one from a JSON file.

    Raises:
        ValueError: neither a known name nor a file.

    Example:
        >>> open("nb201").size
        15625
    """
    text = str(name).replace("-", "_")
    if text in _KNOWN:
        return _KNOWN[text]()
    if Path(name).is_file():
        return from_json(Path(name))
    need = f"be one of {', '.join(_KNOWN)}, or a JSON file"
    check.fail(ValueError, "spaces.open", "name", need, repr(str(name)))
