"""GraphBolt's on-disk datasets: what ``metadata.yaml`` says, as arguments of ``convert``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphlab import check
from graphlab.errors import StoreError

METADATA = "metadata.yaml"
_SETS = {"train_set": "train", "validation_set": "val", "test_set": "test"}
# A folder may hold several features; ours is called x, and was one of these.
_FEATURES = ("feat", "x", "feats", "features")


def is_folder(source: object) -> bool:
    """Whether a path holds a GraphBolt dataset."""
    return isinstance(source, (str, Path)) and (Path(source) / METADATA).is_file()


def read(folder: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Read a homogeneous dataset's description.

    Args:
        folder: Holds ``metadata.yaml``, as its author wrote it (not ``preprocessed``).

    Returns:
        Arguments of :func:`graphlab.datasets.convert`, features and edges as paths or mapped
        arrays; and the names of features that ``convert`` has no place for.

    Raises:
        StoreError: a description, or a file of it, that is missing or makes no sense.
        ValueError: several types of nodes or edges.

    Source:
        DGL 2, "On-Disk Dataset for Homogeneous Graph": fields and formats. The first task is
        read; labels of nodes outside its sets are -1.
    """
    import yaml

    folder = Path(folder)
    try:
        text = yaml.safe_load((folder / METADATA).read_text())
        graph = text["graph"]
        nodes, edges = graph["nodes"], graph["edges"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        what = "a GraphBolt dataset with graph.nodes and graph.edges"
        raise StoreError(folder / METADATA, None, what, repr(error)) from error
    for name, entries in (("node", nodes), ("edge", edges)):
        if len(entries) != 1:
            kinds = [entry.get("type") for entry in entries]
            remedy = "make it homogeneous first; several types are not in this version"
            need = f"have one {name} type"
            check.fail(ValueError, "graphbolt", "folder", need, kinds, remedy)
    num_nodes = int(nodes[0]["num"])
    given: dict[str, Any] = {
        # [2, E] as .npy, or two columns of a csv without a header.
        "edges": _path(folder, edges[0]),
        "num_nodes": num_nodes,
        "meta": {"name": str(text.get("dataset_name", folder.name))},
    }
    left_out = []
    features: list[Any] = [
        f for f in text.get("feature_data") or [] if f.get("domain") == "node"
    ]
    best = min(features, key=_rank) if features else None
    if best is not None:
        given["features"] = _array(folder, best, lazily=True)
    for entry in text.get("feature_data") or []:
        if entry is not best:
            left_out.append(f"{entry.get('domain')}/{entry.get('name')}")
    tasks = text.get("tasks") or []
    if tasks:
        given |= _task(folder, tasks[0], num_nodes)
    return given, left_out


def _rank(entry: Mapping[str, Any]) -> int:
    name = entry.get("name")
    return _FEATURES.index(name) if name in _FEATURES else len(_FEATURES)


def _task(folder: Path, task: Mapping[str, Any], num_nodes: int) -> dict[str, Any]:
    splits: dict[str, Any] = {}
    labels: Any = None
    for key, split in _SETS.items():
        for part in task.get(key) or []:
            data = {d.get("name"): d for d in part["data"]}
            seeds = next((data[n] for n in ("seeds", "seed_nodes") if n in data), None)
            if seeds is None:
                continue  # pairs: a link task
            ids = np.asarray(_array(folder, seeds)).reshape(-1).astype(np.int64)
            if len(ids) and not 0 <= ids.min() <= ids.max() < num_nodes:
                need = f"have seeds in [0, {num_nodes})"
                check.fail(IndexError, "graphbolt", "folder", need, int(ids.max()))
            splits[split] = ids
            if "labels" in data:
                values = np.asarray(_array(folder, data["labels"]))
                if labels is None:
                    shape = (num_nodes, *values.shape[1:])
                    whole = np.issubdtype(values.dtype, np.floating)
                    labels = np.full(shape, np.nan if whole else -1, values.dtype)
                    labels = labels if whole else labels.astype(np.int64)
                labels[ids] = values
    found: dict[str, Any] = {"splits": splits} if splits else {}
    if labels is not None:
        found["labels"] = labels
    return found


def _path(folder: Path, entry: Mapping[str, Any]) -> Path:
    path = folder / str(entry["path"])
    if not path.is_file():
        raise StoreError(path, None, f"a file that {METADATA} names", "none")
    return path


def _array(folder: Path, entry: Mapping[str, Any], *, lazily: bool = False) -> Any:
    path = _path(folder, entry)
    if entry.get("format") == "torch":
        # Mapped: features may be larger than memory.
        found = torch.load(path, mmap=lazily, weights_only=True)
        return found if lazily else found.numpy()
    return path if lazily else np.load(path, allow_pickle=False)


def mag240m(folder: str | Path) -> dict[str, Any] | None:
    """Arguments of ``convert`` for MAG240M's folder, or None where this is not one.

    Papers and their citations, both ways: authors and institutions have no features of
    their own in the files.

    Source:
        OGB-LSC, MAG240M: files and their meaning.
    """
    root = Path(folder)
    papers = root / "processed" / "paper"
    cites = root / "processed" / "paper___cites___paper" / "edge_index.npy"
    if not cites.is_file() or not (papers / "node_feat.npy").is_file():
        return None
    features = papers / "node_feat.npy"
    given: dict[str, Any] = {"edges": cites, "features": features, "undirected": True}
    num_nodes = len(np.load(features, mmap_mode="r"))
    label = np.load(papers / "node_label.npy", mmap_mode="r")
    labels = np.full(num_nodes, -1, dtype=np.int64)
    known = np.isfinite(label)
    labels[: len(label)][known] = label[known].astype(np.int64)
    given["labels"] = labels
    splits = root / "split_dict.pt"
    if splits.is_file():
        from graphlab.interop import pickled

        found = pickled.load(splits)
        names = {"train": "train", "valid": "val"}
        given["splits"] = {
            to: np.asarray(found[name]) for name, to in names.items() if name in found
        }
    given["meta"] = {"name": "mag240m"}
    return given
