"""Reading labels and splits that users pass, with words for what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import as_tensor

SPLITS = ("train", "val", "test")


def split_name(function: str, name: str) -> str:
    """``train``, ``val`` or ``test``; ``valid`` and ``validation`` mean ``val``."""
    if name in ("valid", "validation"):
        return "val"
    return check.one_of(function, "split", name, SPLITS)


def read_labels(labels: Any, num_nodes: int) -> Tensor:
    """Return labels as [N] or [N, C]; a single column [N, 1] of class ids becomes [N]."""
    name = "Dataset"
    if isinstance(labels, (np.ndarray, list, tuple)):
        array = np.asarray(labels)
        if array.dtype.kind not in "iufb":
            remedy = (
                "map class names to 0, 1, 2, ... with numpy.unique(return_inverse=True)"
            )
            check.fail(TypeError, name, "y", "hold numbers", array.dtype, remedy)
        labels = as_tensor(array)
    y = check.tensor(name, "y", labels)
    if y.dim() not in (1, 2) or y.shape[0] != num_nodes:
        requirement = f"have one row per node ({num_nodes:,})"
        check.fail(ValueError, name, "y", requirement, f"shape {list(y.shape)}")
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0].contiguous()
    if y.dtype.is_floating_point:
        return y
    if y.dtype == torch.bool:
        return y.to(torch.int64 if y.dim() == 1 else torch.uint8)
    lowest = int(y.min())
    if lowest < (-1 if y.dim() == 1 else 0):
        requirement = "hold class ids from 0, or -1 for unlabelled nodes"
        if y.dim() == 2:
            requirement = "hold 0 and 1"
        check.fail(ValueError, name, "y", requirement, lowest)
    return y.long() if y.dim() == 1 else y


def read_splits(splits: Mapping[str, Any], num_nodes: int) -> dict[str, Tensor]:
    """Return bool masks [N] or [N, runs] of equal runs, in the order train, val, test."""
    named: dict[str, Tensor] = {}
    for key, value in splits.items():
        name = split_name("Dataset", key)
        if name in named:
            got = f"{name!r} twice"
            check.fail(ValueError, "Dataset", "splits", "name each split once", got)
        named[name] = _read_mask(name, value, num_nodes)
    named = {name: named[name] for name in SPLITS if name in named}
    widths = {m.shape[1] for m in named.values() if m.dim() == 2}
    if len(widths) > 1:
        got = " and ".join(str(w) for w in sorted(widths))
        check.fail(ValueError, "Dataset", "splits", "have equally many runs", got)
    _require_disjoint(named)
    return named


def _read_mask(name: str, value: Any, num_nodes: int) -> Tensor:
    argument = f"{name}_mask"
    if isinstance(value, (np.ndarray, list, tuple)):
        value = as_tensor(np.asarray(value) if len(value) else np.zeros(0, np.int64))
    value = check.tensor("Dataset", argument, value)
    if value.dtype == torch.bool:
        if value.dim() not in (1, 2) or value.shape[0] != num_nodes:
            requirement = f"have one row per node ({num_nodes:,})"
            got = f"shape {list(value.shape)}"
            check.fail(ValueError, "Dataset", argument, requirement, got)
        return value[:, 0] if value.dim() == 2 and value.shape[1] == 1 else value
    ids = check.tensor("Dataset", argument, value, ndim=1)
    if ids.dtype.is_floating_point:
        got = str(ids.dtype).removeprefix("torch.")
        requirement = "be a bool mask or integer node ids"
        check.fail(TypeError, "Dataset", argument, requirement, got)
    is_mask = ids.dtype == torch.uint8 and len(ids) == num_nodes
    if is_mask and num_nodes > 2 and int(ids.max()) <= 1:
        # 0/1 bytes, as older files hold masks; as ids they would name two nodes N times.
        return ids.bool()
    check.ids_in_range("Dataset", argument, ids, num_nodes)
    mask = torch.zeros(num_nodes, dtype=torch.bool)
    mask[ids.long()] = True
    return mask


def _require_disjoint(splits: Mapping[str, Tensor]) -> None:
    names = list(splits)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            a, b = splits[first], splits[second]
            if a.dim() != b.dim():
                a, b = (m[:, None] if m.dim() == 1 else m for m in (a, b))
            both = (a & b).nonzero()
            if len(both):
                got = f"{len(both):,} nodes in both, such as node {int(both[0, 0]):,}"
                requirement = f"have disjoint {first} and {second} masks"
                check.fail(ValueError, "Dataset", "splits", requirement, got)


def read_edge_splits(
    splits: Mapping[str, Mapping[str, Any]], num_nodes: int
) -> dict[str, dict[str, Tensor]]:
    """Return pairs by split and name; ``edge`` and ``edge_neg`` as int64 [2, P]."""
    named: dict[str, dict[str, Tensor]] = {}
    for key, parts in splits.items():
        split = split_name("Dataset", key)
        named[split] = {}
        for name, value in parts.items():
            argument = f"{split} {name}"
            if isinstance(value, (np.ndarray, list, tuple)):
                value = as_tensor(np.asarray(value))
            pairs = check.tensor("Dataset", argument, value)
            if name in ("edge", "edge_neg"):
                if pairs.dim() != 2 or pairs.shape[0] != 2:
                    got = list(pairs.shape)
                    check.fail(
                        ValueError, "Dataset", argument, "have shape [2, P]", got
                    )
                check.tensor("Dataset", argument, pairs, dtypes=check.INDEX_DTYPES)
                check.ids_in_range("Dataset", argument, pairs, num_nodes)
                pairs = pairs.long()
            named[split][name] = pairs
    return {name: named[name] for name in SPLITS if name in named}
