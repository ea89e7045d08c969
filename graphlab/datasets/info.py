"""What a dataset holds, in numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab.datasets.column import Column
from graphlab.datasets.dataset import Dataset


def info(dataset: Dataset) -> dict[str, Any]:
    """Describe a dataset for ``graphlab data info``; every value is plain JSON.

    Counts, whether it is directed, degrees, self loops, parallel edges, isolated nodes,
    columns, splits, bytes in memory, the share of edges inside a class
    (``edge_homophily``, over edges whose ends are labelled), and meta.

    Cost:
        A few passes over the edges, O(E + N).

    Example:
        >>> from graphlab.graph import Graph
        >>> info(Dataset(Graph(torch.tensor([[0, 1, 1], [1, 0, 1]]))))["num_self_loops"]
        1
    """
    graph = dataset.graph
    source, target = graph.edge_index
    in_degree, out_degree = graph.in_degree(), graph.out_degree()
    distinct = torch.unique(source * graph.num_nodes + target).numel()
    found: dict[str, Any] = {
        "name": dataset.name,
        "num_nodes": graph.num_nodes,
        "num_edges": graph.num_edges,
        "num_features": dataset.num_features,
        "num_classes": dataset.num_classes,
        "is_undirected": graph.is_undirected(),
        "is_weighted": graph.edge_weight is not None,
        "num_self_loops": int((source == target).sum()),
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
    if dataset.y is not None:
        found["labels"] = _column(dataset.y)
        if dataset.y.dim() == 1 and not dataset.y.is_floating_point():
            found["class_counts"] = torch.bincount(dataset.y[dataset.y >= 0]).tolist()
            ends = dataset.y[source], dataset.y[target]
            labelled = (ends[0] >= 0) & (ends[1] >= 0)
            same = (ends[0] == ends[1]) & labelled
            total = int(labelled.sum())
            found["edge_homophily"] = int(same.sum()) / total if total else None
    return found


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
