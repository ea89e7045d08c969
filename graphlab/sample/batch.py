"""A sample and its columns as ``torch_geometric.data.Data``, with NeighborLoader's fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets.column import gather
from graphlab.sample.loader import Made

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphlab.datasets import Dataset
    from graphlab.ops import NeighborSample

MASKS = ("train_mask", "val_mask", "test_mask")


def to_data(
    sample: NeighborSample,
    dataset: Dataset,
    *,
    input_id: Tensor,
    batch_size: int,
    x: Tensor | None = None,
    columns: Sequence[str] | None = None,
) -> Data:
    """Join a sample with the rows of its nodes and edges.

    Args:
        sample: What the sampler returned.
        dataset: Source of node columns, labels, edge columns and edge weights.
        input_id: [batch_size], int64: positions of the seeds in the loader's input.
        batch_size: Number of seeds; they are the first entries of ``n_id``.
        x: Rows of ``x`` that were read elsewhere (from disk), in the order of ``n_id``;
            None: gathered here.
        columns: Names of node columns to join, of ``x``, ``y``, the dataset's columns and
            ``train_mask``, ``val_mask``, ``test_mask``; None: all but the masks.

    Returns:
        A ``Data`` with ``edge_index`` (local ids, row 0 sources), ``n_id``, ``e_id``,
        ``input_id``, ``batch_size``, ``num_sampled_nodes``, ``num_sampled_edges``,
        ``batch`` (disjoint samples), the node columns, ``edge_weight`` if the graph has
        weights, and the edge columns.

    Raises:
        ValueError: a name in ``columns`` that the dataset does not have.
    """
    made = join(
        sample,
        dataset,
        node_columns(dataset, columns),
        input_id=input_id,
        batch_size=batch_size,
        x=x,
    )
    return made.data


def join(
    sample: NeighborSample,
    dataset: Dataset,
    names: Sequence[str],
    *,
    input_id: Tensor,
    batch_size: int,
    x: Tensor | None = None,
) -> Made:
    """:func:`to_data` for names that are already checked, with an account of the rows."""
    fields: dict[str, Any] = {
        "input_id": input_id,
        "batch_size": batch_size,
        "num_sampled_nodes": sample.num_sampled_nodes,
        "num_sampled_edges": sample.num_sampled_edges,
    }
    if sample.batch is not None:
        fields["batch"] = sample.batch
    return assemble(
        dataset,
        names,
        edge_index=torch.stack([sample.row, sample.col]),
        n_id=sample.n_id,
        e_id=sample.e_id,
        fields=fields,
        x=x,
    )


def assemble(
    dataset: Dataset,
    names: Sequence[str],
    *,
    edge_index: Tensor,
    n_id: Tensor,
    e_id: Tensor,
    fields: dict[str, Any],
    x: Tensor | None = None,
) -> Made:
    """A ``Data`` of a subgraph: columns by node and edge, then the fields given."""
    from torch_geometric.data import Data

    rows: dict[str, Tensor] = {} if x is None else {"x": x}
    for name in names:
        if name not in rows:
            rows[name] = gather(_column(dataset, name), n_id)
    edges = {name: gather(c, e_id) for name, c in dataset.edge_columns.items()}
    weight = dataset.graph.edge_weight
    if weight is not None and "edge_weight" not in edges:
        edges["edge_weight"] = gather(weight, e_id)
    nbytes = sum(t.nbytes for t in (*rows.values(), *edges.values()))
    # PyG counts nodes by `x`; without one it would have to guess from edge_index.
    if "x" not in rows:
        fields = {"num_nodes": len(n_id), **fields}
    data = Data(edge_index=edge_index, n_id=n_id, e_id=e_id, **rows, **edges, **fields)
    return Made(data, len(n_id), nbytes)


def node_columns(
    dataset: Dataset, columns: Sequence[str] | None, function: str = "to_data"
) -> list[str]:
    """Names of the node columns to join, checked against the dataset."""
    held = [*dataset.columns, *(["y"] if dataset.y is not None else [])]
    if columns is None:
        return held
    if isinstance(columns, str):
        check.fail(TypeError, function, "columns", "be a list of names", repr(columns))
    masks = [f"{split}_mask" for split in dataset.splits]
    for name in columns:
        check.one_of(function, "columns", name, [*held, *masks])
    return list(columns)


def _column(dataset: Dataset, name: str) -> Any:
    if name in MASKS:
        return dataset.splits[name.removesuffix("_mask")]
    return dataset[name]
