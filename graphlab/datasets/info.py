"""What a dataset holds, in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from graphlab.datasets.column import Column
from graphlab.datasets.dataset import Dataset
from graphlab.errors import BudgetError
from graphlab.graph import Graph

# Edges looked at together; bounds the memory at any size of a stored graph.
_EDGES = 2**22


def info(dataset: Dataset) -> dict[str, Any]:
    """Describe a dataset for ``graphlab data info``; every value is plain JSON.

    Counts, whether it is undirected (as meta states it, else looked up; None where that would
    not fit in memory), degrees, self loops, parallel edges, isolated nodes, columns, splits,
    bytes in memory, the share of edges inside a class (``edge_homophily``, over edges whose
    ends are labelled), and meta.

    Cost:
        One pass over the edges, node by node: O(E + N) work, O(N) memory beside the graph.

    Example:
        >>> d = Dataset(Graph(torch.tensor([[0, 1, 1], [1, 0, 1]])))
        >>> info(d)["num_self_loops"], info(d)["is_undirected"]
        (1, True)
    """
    graph, y = dataset.graph, dataset.y
    has_classes = y is not None and y.dim() == 1 and not y.is_floating_point()
    out_degree = torch.zeros(graph.num_nodes, dtype=torch.int64)
    loops = distinct = labelled = inside = 0
    for source, target in _by_target(graph):
        out_degree += torch.bincount(source, minlength=graph.num_nodes)
        loops += int((source == target).sum())
        distinct += torch.unique(target * graph.num_nodes + source).numel()
        if y is not None and has_classes:
            first, second = y[source], y[target]
            known = (first >= 0) & (second >= 0)
            labelled += int(known.sum())
            inside += int((known & (first == second)).sum())
    in_degree = graph.in_degree()
    found: dict[str, Any] = {
        "name": dataset.name,
        "num_nodes": graph.num_nodes,
        "num_edges": graph.num_edges,
        "num_features": dataset.num_features,
        "num_classes": dataset.num_classes,
        "is_undirected": _is_undirected(dataset),
        "is_weighted": graph.edge_weight is not None,
        "num_self_loops": loops,
        "num_parallel_edges": graph.num_edges - distinct,
        "num_isolated_nodes": int((in_degree + out_degree == 0).sum()),
        "mean_degree": graph.num_edges / graph.num_nodes,
        "max_in_degree": int(in_degree.max()),
        "max_out_degree": int(out_degree.max()),
        "columns": {name: _column(c) for name, c in dataset.columns.items()},
        "edge_columns": {name: _column(c) for name, c in dataset.edge_columns.items()},
        "splits": {
            split: {
                "runs": mask.shape[1] if mask.dim() == 2 else 1,
                "nodes": _count(mask),
            }
            for split, mask in dataset.splits.items()
        },
        "edge_splits": {
            split: {name: list(pairs.shape) for name, pairs in parts.items()}
            for split, parts in dataset.edge_splits.items()
        },
        "nbytes": dataset.nbytes,
        "meta": dataset.meta,
    }
    if y is not None:
        found["labels"] = _column(y)
        if has_classes:
            found["class_counts"] = torch.bincount(y[y >= 0]).tolist()
            found["edge_homophily"] = inside / labelled if labelled else None
    return found


def _by_target(graph: Graph) -> Iterator[tuple[Tensor, Tensor]]:
    """Sources and targets as int64, all edges of a target in one piece."""
    ptr, idx, _ = graph.csc()
    first = 0
    while first < graph.num_nodes:
        limit = int(ptr[first]) + _EDGES
        last = int(torch.searchsorted(ptr, limit, right=True)) - 1
        last = min(max(last, first + 1), graph.num_nodes)
        targets = torch.arange(first, last)
        target = torch.repeat_interleave(targets, ptr[first : last + 1].diff())
        yield idx[int(ptr[first]) : int(ptr[last])].long(), target
        first = last


def _is_undirected(dataset: Dataset) -> bool | None:
    stated = dataset.meta.get("directed")
    if isinstance(stated, bool):
        return not stated
    try:
        return dataset.graph.is_undirected()
    except BudgetError:
        return None


def _count(mask: Tensor) -> int:
    """Nodes of the first run."""
    return int((mask if mask.dim() == 1 else mask[:, 0]).sum())


def _column(column: Tensor | Column) -> dict[str, Any]:
    return {
        "shape": list(column.shape),
        "dtype": str(column.dtype).removeprefix("torch."),
        "kind": type(column).__name__,
        "nbytes": int(column.nbytes),
    }
