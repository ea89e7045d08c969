"""Datasets of other libraries, to and from ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.datasets.column import Column, gather
from graphlab.datasets.dataset import Dataset
from graphlab.graph import Graph
from graphlab.interop import dgl, pyg
from graphlab.interop.arrays import DatasetArrays


def as_dataset(source: Any) -> Dataset:
    """Take a Dataset as it is, and a PyG ``Data``, a ``DGLGraph`` or a Graph as one.

    Raises:
        TypeError: anything else.

    Example:
        >>> as_dataset(Graph(torch.tensor([[0], [1]])))
        Dataset('dataset', 2 nodes, 1 edges)
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, Graph):
        return Dataset(source)
    if pyg.is_data(source):
        return from_arrays(pyg.read(source))
    if dgl.is_graph(source):
        return from_arrays(dgl.read(source))
    return check.fail(
        TypeError,
        "as_dataset",
        "source",
        "be a Dataset, a Graph, a PyG Data or a DGLGraph",
        type(source).__name__,
        "use gl.datasets.load(name) or gl.Dataset(graph, x=..., y=...)",
    )


def from_arrays(arrays: DatasetArrays) -> Dataset:
    """Build from what an ``interop`` module read; tensors come to the CPU."""
    columns = {name: _on_cpu(column) for name, column in arrays.columns.items()}
    return Dataset(
        Graph.from_arrays(arrays.edges),
        x=columns.pop("x", None),
        y=_on_cpu(arrays.y),
        splits={split: _on_cpu(mask) for split, mask in arrays.splits.items()},
        edge_attr={
            name: _on_cpu(column) for name, column in arrays.edge_columns.items()
        },
        columns=columns,
        edge_splits=arrays.edge_splits,
        meta=arrays.meta,
    )


def to_arrays(dataset: Dataset) -> DatasetArrays:
    """What ``interop`` modules write: every column as a dense tensor.

    Raises:
        BudgetError: the dense columns would not fit in memory.
    """
    return DatasetArrays(
        dataset.graph.to_arrays(),
        y=dataset.y,
        columns={name: _dense(name, c) for name, c in dataset.columns.items()},
        edge_columns={
            name: _dense(name, c) for name, c in dataset.edge_columns.items()
        },
        splits=dict(dataset.splits),
    )


def _on_cpu(column: Any) -> Any:
    return column.cpu() if isinstance(column, Tensor) else column


def _dense(name: str, column: Tensor | Column) -> Tensor:
    if isinstance(column, Tensor):
        return column
    needed = column.dtype.itemsize
    for size in column.shape:
        needed *= size
    memory.require("Dataset.to_pyg", f"the dense column {name!r}", needed)
    return gather(column, torch.arange(column.shape[0]))
