"""Graphs as one ``<name>.npz`` each: edges, features dense or in CSR parts, labels, masks."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import check
from graphlab.datasets.column import SparseColumn
from graphlab.datasets.dataset import Dataset
from graphlab.errors import StoreError
from graphlab.graph import Graph
from graphlab.interop.arrays import Array, as_tensor

# Their files store each undirected edge once, from the lower id to the higher, and call
# themselves directed: the direction is node numbering, not information.
NUMBERED_ONCE = frozenset({"texas", "wisconsin", "cornell"})
_EDGE_SPLIT = re.compile(r"(train|valid|val|test)_(edge|edge_neg)")
_KNOWN = {"edge_index", "edge_weight", "num_nodes", "meta", "x", "y"} | {
    f"x_{part}" for part in ("indptr", "indices", "data", "shape")
}


def is_graph(path: Path) -> bool:
    """Whether an npz holds a graph, by the names of its members."""
    try:
        with zipfile.ZipFile(path) as file:
            return "edge_index.npy" in file.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def read(
    path: str | Path, *, splits: str | None = None, undirected: bool | None = None
) -> Dataset:
    """Read a graph; see :func:`graphlab.datasets.load` for ``splits`` and ``undirected``.

    Raises:
        StoreError: not an npz, truncated, or without ``edge_index``.
        ValueError: splits that the file has not.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        remedy = "copy the file again"
        raise StoreError(path, None, "an npz of arrays", str(error), remedy) from error
    if "edge_index" not in held:
        found = ", ".join(held)
        remedy = "it is a table, not a graph; read it with numpy.load"
        raise StoreError(path, None, "a member edge_index", found, remedy)
    name = path.stem
    meta: dict[str, Any] = json.loads(str(held["meta"])) if "meta" in held else {}
    meta["name"] = name
    if splits is not None:
        meta["splits"] = splits
    num_nodes = int(held["num_nodes"]) if "num_nodes" in held else None
    dataset = Dataset(
        Graph(held["edge_index"], num_nodes, held.get("edge_weight")),
        x=_features(held),
        y=held.get("y"),
        splits=_splits(name, held, splits),
        edge_splits=_edge_splits(held),
        meta=meta,
        columns={
            key: array
            for key, array in held.items()
            if _is_column(key, array, num_nodes)
        },
    )
    return _with_direction(dataset, undirected)


def _with_direction(dataset: Dataset, undirected: bool | None) -> Dataset:
    """Symmetrise what stores an undirected edge once, and say so in meta."""
    meta = dataset.meta
    if undirected is None:
        stated = bool(meta.get("directed", not dataset.graph.is_undirected()))
        undirected = not stated or dataset.name in NUMBERED_ONCE
    symmetrise = undirected and not dataset.graph.is_undirected()
    stored = dataset.num_edges
    if symmetrise:
        dataset = dataset.to_undirected()
    dataset.meta |= {
        "directed": not dataset.graph.is_undirected(),
        "symmetrised": symmetrise,
        "stored_edges": stored,
    }
    return dataset


def _features(held: dict[str, Array]) -> Any:
    if "x" in held:
        x = held["x"]
        # Small integers and halves are how the file saves room, not what models take.
        return x if x.dtype == np.float64 else x.astype(np.float32, copy=False)
    if "x_indptr" not in held:
        return None
    rows, width = (int(n) for n in held["x_shape"])
    parts = (held["x_indptr"], held["x_indices"], held["x_data"])
    return SparseColumn(*parts, (rows, width))


def _splits(name: str, held: dict[str, Array], choice: str | None) -> dict[str, Array]:
    prefix = "" if choice is None else f"{choice}_"
    found = {
        split: held[f"{prefix}{split}_mask"]
        for split in ("train", "val", "test")
        if f"{prefix}{split}_mask" in held
    }
    if choice is not None and not found:
        names = [
            n.removesuffix("_train_mask") for n in held if n.endswith("_train_mask")
        ]
        requirement = f"be None or one of {[n for n in names if n != 'train_mask']}"
        check.fail(
            ValueError, "load", "splits", requirement, f"{choice!r} for {name!r}"
        )
    return found


def _edge_splits(held: dict[str, Array]) -> dict[str, dict[str, Any]]:
    """Pairs for link prediction as int64 [2, P]; the stored edges are the training pairs."""
    found: dict[str, dict[str, Any]] = {}
    for key, array in held.items():
        match = _EDGE_SPLIT.fullmatch(key)
        if match is not None:
            split = "val" if match[1] == "valid" else match[1]
            found.setdefault(split, {})[match[2]] = as_tensor(array).long()
    if found and "train" not in found:
        found["train"] = {"edge": as_tensor(held["edge_index"]).long()}
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _is_column(key: str, array: Array, num_nodes: int | None) -> bool:
    known = key in _KNOWN or key.endswith("_mask") or _EDGE_SPLIT.fullmatch(key)
    return not known and array.ndim > 0 and len(array) == num_nodes
