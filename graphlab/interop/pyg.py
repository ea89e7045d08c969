"""PyTorch Geometric: ``Data`` to plain arrays and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import DatasetArrays, EdgeArrays

MASKS = {"train_mask": "train", "val_mask": "val", "test_mask": "test"}
_TOPOLOGY = ("edge_index", "edge_weight", "adj_t", "num_nodes")


def is_data(source: object) -> bool:
    """Whether an object is a PyG ``Data`` or ``HeteroData``; does not import PyG."""
    kinds = {f"{k.__module__}.{k.__name__}" for k in type(source).__mro__}
    return "torch_geometric.data.data.BaseData" in kinds


def read(data: Any) -> DatasetArrays:
    """Take a ``Data`` apart.

    ``x``, ``y`` and masks by their names; every other tensor with one row per node is a
    column, with one row per edge an edge column. Other attributes are left out.

    Raises:
        TypeError: not a homogeneous ``Data``.
        ValueError: neither ``edge_index`` nor ``adj_t``.
    """
    name = "from_pyg"
    if not is_data(data) or not hasattr(data, "keys"):
        check.fail(TypeError, name, "data", "be a PyG Data", type(data).__name__)
    if type(data).__name__ == "HeteroData":
        remedy = "use data.to_homogeneous(); types are not supported in version 1"
        check.fail(TypeError, name, "data", "be homogeneous", "HeteroData", remedy)
    held = {k: data[k] for k in data.keys() if data[k] is not None}
    edges = _edges(held)
    arrays = DatasetArrays(edges)
    num_edges = edges.edge_index.shape[1]
    for key, value in held.items():
        if key in _TOPOLOGY or not isinstance(value, (Tensor, np.ndarray)):
            continue
        rows = value.shape[0] if value.ndim else -1
        if key in MASKS:
            arrays.splits[MASKS[key]] = value
        elif key == "y":
            arrays.y = value
        elif key == "x" or (rows == edges.num_nodes and "edge" not in key):
            arrays.columns[key] = value
        elif rows == num_edges:
            arrays.edge_columns[key] = value
    return arrays


def write(arrays: DatasetArrays) -> Any:
    """Put a ``Data`` together; columns must be dense tensors."""
    from torch_geometric.data import Data

    edges = arrays.edges
    data = Data(edge_index=edges.edge_index, num_nodes=edges.num_nodes)
    if edges.edge_weight is not None:
        data.edge_weight = edges.edge_weight
    attributes: dict[str, Any] = {**arrays.columns, **arrays.edge_columns}
    attributes |= {
        mask: arrays.splits[s] for mask, s in MASKS.items() if s in arrays.splits
    }
    if arrays.y is not None:
        attributes["y"] = arrays.y
    for key, value in attributes.items():
        setattr(data, key, value)
    return data


def _edges(held: Mapping[str, Any]) -> EdgeArrays:
    edge_index, weight = held.get("edge_index"), held.get("edge_weight")
    if edge_index is None:
        if "adj_t" not in held:
            remedy = "set data.edge_index = tensor [2, E]"
            requirement = "have `edge_index` or `adj_t`"
            got = ", ".join(held) or "an empty one"
            check.fail(ValueError, "from_pyg", "data", requirement, got, remedy)
        edge_index, weight = _from_adjacency(held["adj_t"])
    num_nodes = _num_nodes(held, edge_index)
    if hasattr(edge_index, "as_tensor"):
        # PyG's EdgeIndex is a tensor subclass that keeps sort orders; plain ids do here.
        edge_index = edge_index.as_tensor()
    return EdgeArrays(edge_index, num_nodes, weight)


def _from_adjacency(adj_t: Any) -> tuple[Tensor, Tensor | None]:
    """``adj_t[target, source]``: a torch sparse tensor or a torch_sparse one."""
    if isinstance(adj_t, Tensor):
        adj_t = adj_t.to_sparse_coo().coalesce()
        target, source = adj_t.indices()
        value = adj_t.values()
    else:
        target, source, value = adj_t.coo()
    return torch.stack([source, target]), value


def _num_nodes(held: Mapping[str, Any], edge_index: Tensor) -> int | None:
    if "num_nodes" in held:
        return int(held["num_nodes"])
    for key in ("x", "y", *MASKS, "pos"):
        if key in held:
            return len(held[key])
    if isinstance(held.get("adj_t"), Tensor):
        return int(held["adj_t"].shape[0])
    if "adj_t" in held:
        return int(held["adj_t"].size(0))
    if hasattr(edge_index, "sparse_size") and edge_index.sparse_size(0) is not None:
        return int(edge_index.sparse_size(0))
    return int(edge_index.max()) + 1 if edge_index.numel() else None
