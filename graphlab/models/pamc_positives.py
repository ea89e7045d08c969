"""Positives of PamC: which rows each anchor is pulled to, ready for many epochs."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.ops.spmm import Transpose


class Positives(NamedTuple):
    """Positives of each anchor in compressed rows, ready for many epochs.

    Attributes:
        ptr: [anchors + 1], int64.
        idx: [E], int32 or int64: row of the positive.
        weight: [E] or None.
        transpose: The same by positive, for gradients; None where it is built each time.
    """

    ptr: Tensor
    idx: Tensor
    weight: Tensor | None
    transpose: Transpose | None


def prepare(
    graph: Graph, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Positives:
    """Positives of a graph with their transpose: edges into each node, and their weights.

    Built once for a graph, dtype and device, and kept as long as the graph.
    """
    kept = _PREPARED.setdefault(graph, {})
    key = (dtype, str(device))
    if key not in kept:
        ptr, idx, edge_id = graph.csc()
        weight = graph.edge_weight
        if weight is not None:
            weight = weight if edge_id is None else weight[edge_id.long()]
            weight = weight.to(device, dtype)
        transpose = ops.csr_transpose(ptr, idx, graph.num_nodes)
        kept[key] = Positives(
            ptr.to(device),
            idx.to(device),
            weight,
            (transpose[0].to(device), transpose[1].to(device), transpose[2].to(device)),
        )
    return kept[key]


_PREPARED: weakref.WeakKeyDictionary[Graph, dict[tuple[Any, ...], Positives]]
_PREPARED = weakref.WeakKeyDictionary()


def read_positives(
    name: str,
    edge_index: Any,
    edge_weight: Tensor | None,
    count: int,
    others: int,
    z: Tensor,
) -> Positives:
    """Take what callers of the loss give for positives.

    Args:
        name: Of the caller, for messages.
        edge_index, edge_weight: As for :meth:`graphlab.models.PamCLoss.forward`.
        count: Anchors.
        others: Rows where positives live.
        z: Embeddings, whose dtype and device count.

    Raises:
        TypeError, ValueError, IndexError: what does not fit together.
    """
    if isinstance(edge_index, (Graph, Positives)) and edge_weight is not None:
        need = "be None where `edge_index` brings its weights"
        check.fail(ValueError, name, "edge_weight", need, "a tensor")
    if isinstance(edge_index, Positives):
        return edge_index
    if isinstance(edge_index, Graph):
        if edge_index.num_nodes != count or edge_index.num_nodes != others:
            need = f"have the {count} rows of `z` as nodes"
            check.fail(ValueError, name, "edge_index", need, edge_index.num_nodes)
        return prepare(edge_index, z.dtype, z.device)
    edges = check.tensor(name, "edge_index", edge_index, dtypes=check.INDEX_DTYPES)
    if edges.dim() != 2 or edges.shape[0] != 2:
        check.fail(ValueError, name, "edge_index", "be [2, E]", list(edges.shape))
    source, target = edges
    if edge_weight is not None:
        check.tensor(name, "edge_weight", edge_weight, ndim=1)
        if len(edge_weight) != edges.shape[1]:
            need = f"have a value for each of {edges.shape[1]} edges"
            check.fail(ValueError, name, "edge_weight", need, len(edge_weight))
    if count < len(z):
        # A batch holds edges into other rows than its seeds.
        kept = target < count
        source, target = source[kept], target[kept]
        edge_weight = None if edge_weight is None else edge_weight[kept]
    ptr, idx, edge_id = ops.csr_build(target, source, count, others)
    weight = None
    if edge_weight is not None:
        weight = edge_weight.index_select(0, edge_id).to(z.dtype)
    return Positives(ptr, idx, weight, None)
