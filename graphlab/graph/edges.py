"""Reading what users call an edge list, with words for what is wrong with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import Array, as_tensor

ArrayLike = Tensor | Array | list[Any] | tuple[Any, ...]


def read_edge_index(function: str, edge_index: object) -> Tensor:
    """Return ``edge_index`` as an int32 or int64 tensor [2, E].

    Tensors and numpy arrays of these dtypes are not copied; narrower integers and lists of
    ints are converted.
    """
    name = "edge_index"
    if isinstance(edge_index, (list, tuple)):
        edge_index = _from_sequence(function, edge_index)
    if isinstance(edge_index, np.ndarray):
        edge_index = _from_numpy(function, edge_index)
    if not isinstance(edge_index, Tensor):
        got = type(edge_index).__name__
        check.fail(TypeError, function, name, "be a tensor or array [2, E]", got)
    if edge_index.layout != torch.strided:
        got = str(edge_index.layout).removeprefix("torch.")
        remedy = "use edge_index = adjacency.coalesce().indices()"
        check.fail(TypeError, function, name, "be a dense tensor", got, remedy)
    if edge_index.device.type != "cpu":
        remedy = "use edge_index.cpu(); loaders move batches to the device"
        got = str(edge_index.device)
        check.fail(ValueError, function, name, "be on the CPU", got, remedy)
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        shape = list(edge_index.shape)
        tall = edge_index.dim() == 2 and edge_index.shape[1] == 2
        remedy = "use edge_index.t()" if tall else ""
        check.fail(ValueError, function, name, "have shape [2, E]", shape, remedy)
    if edge_index.dtype in check.INDEX_DTYPES:
        return edge_index
    got = str(edge_index.dtype).removeprefix("torch.")
    if edge_index.dtype.is_floating_point or edge_index.dtype.is_complex:
        remedy = "ids are integers: use edge_index.long()"
        check.fail(TypeError, function, name, "be int64 or int32", got, remedy)
    if edge_index.dtype == torch.bool:
        remedy = "use mask.nonzero().t() of an adjacency matrix"
        check.fail(TypeError, function, name, "be int64 or int32", got, remedy)
    return edge_index.long()


def read_weight(function: str, edge_weight: object, num_edges: int) -> Tensor:
    """Return ``edge_weight`` as a float tensor [E]; integers become float32."""
    name = "edge_weight"
    if isinstance(edge_weight, (list, tuple, np.ndarray)):
        edge_weight = torch.as_tensor(np.ascontiguousarray(edge_weight))
    weight = check.tensor(function, name, edge_weight)
    if weight.dtype not in check.FLOAT_DTYPES:
        if weight.dtype.is_complex:
            got = str(weight.dtype).removeprefix("torch.")
            check.fail(TypeError, function, name, "be real numbers", got)
        weight = weight.float()
    if weight.dim() != 1:
        column = weight.dim() == 2 and weight.shape[1] == 1
        remedy = "use edge_weight.flatten()" if column else "wider ones are `edge_attr`"
        shape = list(weight.shape)
        check.fail(ValueError, function, name, "have shape [E]", shape, remedy)
    if len(weight) != num_edges:
        requirement = f"have one entry per edge ({num_edges:,})"
        check.fail(ValueError, function, name, requirement, f"{len(weight):,}")
    return weight


def read_num_nodes(function: str, edge_index: Tensor, num_nodes: object) -> int:
    """Return the number of nodes, after checking that every id is below it. O(E)."""
    name = "num_nodes"
    if num_nodes is None:
        if edge_index.numel() == 0:
            check.fail(
                ValueError,
                function,
                name,
                "be given for a graph without edges",
                None,
                "an empty graph has no nodes to learn on",
            )
        check_ids(function, edge_index, None)
        return int(edge_index.max()) + 1
    if isinstance(num_nodes, (np.integer, Tensor)):
        num_nodes = int(num_nodes)
    num_nodes = check.positive(function, name, num_nodes)
    check_ids(function, edge_index, num_nodes)
    return num_nodes


def check_ids(function: str, edge_index: Tensor, num_nodes: int | None) -> None:
    """Require 0 <= ids < num_nodes; the message shows the first edge that has another."""
    if edge_index.numel() == 0:
        return
    low, high = (int(v) for v in torch.aminmax(edge_index))
    if low >= 0 and (num_nodes is None or high < num_nodes):
        return
    wrong = low if low < 0 else high
    edge = int((edge_index == wrong).any(0).nonzero()[0, 0])
    source, target = (int(v) for v in edge_index[:, edge])
    limit = "" if num_nodes is None else f" and below num_nodes = {num_nodes:,}"
    check.fail(
        IndexError,
        function,
        "edge_index",
        f"hold ids of at least 0{limit}",
        f"{wrong} in edge {edge:,} ({source} -> {target})",
        "pass a larger num_nodes, or map names to ids with Graph.from_edge_list"
        if low >= 0
        else "",
    )


def _from_sequence(function: str, rows: list[Any] | tuple[Any, ...]) -> Tensor | Array:
    if len(rows) == 2 and all(isinstance(r, (Tensor, np.ndarray)) for r in rows):
        lengths = [len(r) for r in rows]
        if lengths[0] == lengths[1]:
            return torch.stack([torch.as_tensor(r) for r in rows])
        _ragged(function, lengths)
    try:
        array = np.array(rows)
    except ValueError:
        array = np.array(rows, dtype=object)
    if array.dtype == object:
        _ragged(function, [len(r) if hasattr(r, "__len__") else 1 for r in rows])
    if array.size == 0:
        array = array.astype(np.int64).reshape(2, 0)
    return array


def _ragged(function: str, lengths: list[int]) -> None:
    requirement = "have rows of equal length and of integers"
    shown = ", ".join(str(n) for n in lengths[:4]) + (
        ", ..." if len(lengths) > 4 else ""
    )
    check.fail(ValueError, function, "edge_index", requirement, f"lengths {shown}")


def _from_numpy(function: str, array: Array) -> Tensor:
    if array.dtype.kind not in "iu":
        remedy = "ids are integers: use array.astype('int64')"
        if array.dtype.kind in "OUS":
            remedy = "map names to ids first, or read them with Graph.from_edge_list"
        got = str(array.dtype)
        check.fail(TypeError, function, "edge_index", "be int64 or int32", got, remedy)
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 2**63:
        check.fail(
            IndexError, function, "edge_index", "hold ids below 2**63", array.max()
        )
    return as_tensor(array)
