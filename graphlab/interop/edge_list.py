"""Files of edges: csv, tsv, txt and parquet, with ids or names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.interop.arrays import Array, EdgeArrays, as_tensor
from graphlab.interop.arrow import (
    SOURCES,
    TARGETS,
    batches,
    column_names,
    is_parquet,
    library,
)

_WEIGHTS = ("weight", "edge_weight", "w")
# Ids that leave this many numbers unused are more likely names, such as account numbers.
_SPARSE_IDS = 16


def read(
    path: str | Path,
    *,
    source: str | int | None = None,
    target: str | int | None = None,
    weight: str | int | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    relabel: bool | None = None,
) -> EdgeArrays:
    """Read an edge list; see :meth:`graphlab.Graph.from_edge_list`."""
    name = "from_edge_list"
    names = column_names(path, header, delimiter)
    if len(names) < 2:
        got = f"{names} in {path}"
        check.fail(ValueError, name, "path", "hold two columns", got)
    source_name = _pick("source", source, names, SOURCES, names[0])
    target_name = _pick("target", target, names, TARGETS, names[1])
    weight_name = _pick("weight", weight, names, _WEIGHTS, None)
    wanted: list[str] = [source_name, target_name] + (
        [] if weight_name is None else [weight_name]
    )
    options: dict[str, Any] = {"header": header, "delimiter": delimiter}
    pyarrow = library()
    try:
        table = pyarrow.Table.from_batches(list(batches(path, wanted, **options)))
    except pyarrow.ArrowInvalid as error:
        if is_parquet(path):
            raise ValueError(f"{name}: {path}: {error}") from error
        # A column that begins with numbers and goes on with words: read it as words.
        options["as_text"] = (source_name, target_name)
        try:
            table = pyarrow.Table.from_batches(list(batches(path, wanted, **options)))
        except pyarrow.ArrowInvalid as second:
            raise ValueError(f"{name}: {path}: {second}") from second
    for column in wanted:
        if table[column].null_count:
            row = table[column].is_null().to_pylist().index(True)
            got = f"none in row {row:,} of column {column!r} of {path}"
            check.fail(ValueError, name, "path", "hold a value in every row", got)
    edge_index, node_names = _number(
        path, table[source_name], table[target_name], relabel
    )
    edge_weight = None
    if weight_name is not None:
        values = table[weight_name].to_numpy()
        if values.dtype.kind not in "iuf":
            got = f"{table[weight_name].type} in column {weight_name!r} of {path}"
            check.fail(TypeError, name, "weight", "hold numbers", got)
        edge_weight = as_tensor(np.array(values))
    num_nodes = None if node_names is None else len(node_names)
    return EdgeArrays(edge_index, num_nodes, edge_weight, node_names)


def _number(
    path: str | Path, source: Any, target: Any, relabel: bool | None
) -> tuple[Tensor, Array | None]:
    """Edge ids, and names by id where ids were given out here."""
    pyarrow, compute = library(), library("pyarrow.compute")
    types = pyarrow.types
    for column in (source, target):
        kind = column.type
        text = types.is_string(kind) or types.is_large_string(kind)
        if not (types.is_integer(kind) or text or types.is_dictionary(kind)):
            requirement = "hold integers or names"
            check.fail(
                TypeError, "from_edge_list", "path", requirement, f"{kind} in {path}"
            )
    integers = types.is_integer(source.type) and types.is_integer(target.type)
    if integers and not relabel:
        rows = [as_tensor(np.array(c.to_numpy())).long() for c in (source, target)]
        edge_index = torch.stack(rows)
        if relabel is None and edge_index.numel():
            _require_dense_ids(path, edge_index)
        return edge_index, None
    if relabel is False:
        requirement = "be True or None for a file of names"
        check.fail(ValueError, "from_edge_list", "relabel", requirement, False)
    if not integers:
        source, target = (c.cast(pyarrow.large_string()) for c in (source, target))
    both = pyarrow.chunked_array([*source.chunks, *target.chunks])
    unique = compute.unique(both)
    ids = [
        as_tensor(np.array(compute.index_in(c, value_set=unique).to_numpy()))
        for c in (source, target)
    ]
    # Number them as they appear edge by edge, which no block size can change.
    codes = torch.stack(ids).long().numpy()
    _, first = np.unique(codes.T.reshape(-1), return_index=True)
    order = np.argsort(first, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    names = np.array(unique.to_pylist(), dtype=None if integers else str)
    return as_tensor(number[codes]), names[order]


def _require_dense_ids(path: str | Path, edge_index: Tensor) -> None:
    highest = int(edge_index.max())
    if highest >= max(2**20, _SPARSE_IDS * edge_index.numel()):
        check.fail(
            ValueError,
            "from_edge_list",
            "path",
            "hold ids 0, 1, 2, ... with few gaps",
            f"{highest:,} among {edge_index.numel():,} ends of edges in {path}",
            "pass relabel=True to number them anew, or relabel=False to keep them",
        )


def _pick(
    argument: str,
    wanted: str | int | None,
    names: list[str],
    known: tuple[str, ...],
    default: str | None,
) -> Any:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(names):
            requirement = f"be in [0, {len(names)})"
            check.fail(IndexError, "from_edge_list", argument, requirement, wanted)
        return names[wanted]
    if wanted is not None:
        return check.one_of("from_edge_list", argument, wanted, names)
    lower = {n.lower(): n for n in names}
    return next((lower[k] for k in known if k in lower), default)
