"""Exact inference over a whole graph, one layer after the other, in chunks of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from graphlab.datasets.column import gather
from graphlab.graph import Graph
from graphlab.graph.entries import entries_of
from graphlab.models.backbone import GNN
from graphlab.models.structure import Block, Kind, build, gcn_scale


def layerwise(
    model: GNN,
    x: Any,
    graph: Graph,
    *,
    chunk: int | Sequence[int] = 16384,
    device: torch.device | str = "cpu",
    buffer: Callable[[tuple[int, int]], Tensor] = torch.empty,
) -> Tensor:
    """Logits of every node from all of its neighbours, as the full forward pass gives them.

    Each layer runs over all nodes before the next begins, so a node is computed once per
    layer and memory holds two layers' rows and one chunk, whatever the degrees.

    Args:
        model: A backbone of :mod:`graphlab.models`; put in evaluation mode meanwhile.
        x: [N, in_channels]: a tensor or any Column, which may be on disk.
        graph: The graph; its CSC may be memory-mapped.
        chunk: Target nodes at once; or where chunks begin and end, from 0 to N, for chunks
            of equal work where degrees differ.
        device: Where layers are computed; the model has to be there.
        buffer: Called with [N, width] for each layer's rows; pass one that maps a file
            where they do not fit in memory.

    Returns:
        [N, out_channels], in a ``buffer``.

    Cost:
        The work of one full forward pass; ``x`` rows are read once per edge chunk in which
        they appear.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _run(model, x, graph, chunk, device, buffer)
    finally:
        model.train(was_training)


def _run(
    model: GNN,
    x: Any,
    graph: Graph,
    chunk: int | Sequence[int],
    device: torch.device | str,
    buffer: Callable[[tuple[int, int]], Tensor],
) -> Tensor:
    dtype = next(model.parameters()).dtype
    scale = None
    if model.kind == "gcn":
        scale = torch.cat(
            [_scale(graph, nodes, dtype) for nodes in _chunks(graph.num_nodes, chunk)]
        )
    # Models without a map of their own in `start` read `x` itself in their first layer.
    started = None
    if type(model).start is not GNN.start:
        for nodes in _chunks(graph.num_nodes, chunk):
            rows = model.start(gather(x, nodes).to(device, dtype)).cpu()
            if started is None:
                started = buffer((graph.num_nodes, rows.shape[1]))
            started[nodes[0] : nodes[-1] + 1] = rows
    h = x if started is None else started
    for i in range(model.num_layers):
        out = None
        for nodes in _chunks(graph.num_nodes, chunk):
            block, sources = chunk_block(graph, nodes, model.kind, dtype, scale)
            initial = None if started is None else started[nodes].to(device)
            rows = gather(h, sources).to(device, dtype)
            rows = model.layer(i, rows, block.to(device), initial).cpu()
            if out is None:
                out = buffer((graph.num_nodes, rows.shape[1]))
            out[nodes[0] : nodes[-1] + 1] = rows
        h = out
    assert isinstance(h, Tensor)
    return h


def chunk_block(
    graph: Graph,
    nodes: Tensor,
    kind: Kind,
    dtype: torch.dtype = torch.float32,
    scale: Tensor | None = None,
) -> tuple[Block, Tensor]:
    """All edges into some nodes, and the nodes that they come from.

    Args:
        graph: The graph.
        nodes: [n], int64, distinct targets.
        kind: As ``model.kind``.
        dtype: Of weights.
        scale: [N], ``1 / sqrt(degree)`` over the whole graph; needed by kind ``gcn``.

    Returns:
        The block, and the ids of its rows, of which the first n are ``nodes``.
    """
    source, target, edge_id = entries_of(graph.csc(), nodes)
    edge_weight = None if graph.edge_weight is None else graph.edge_weight[edge_id]
    others = torch.unique(source)
    others = others[~torch.isin(others, nodes)]
    ids = torch.cat([nodes, others])
    ordered, place = ids.sort()
    local = place[torch.searchsorted(ordered, source)]
    block = build(
        torch.stack([local, target]),
        len(ids),
        kind,
        edge_weight,
        dtype=dtype,
        scale=None if scale is None else scale[ids],
    )
    return block.first(len(nodes), len(ids)), ids


def _scale(graph: Graph, nodes: Tensor, dtype: torch.dtype) -> Tensor:
    block, _ = chunk_block(graph, nodes, "gcn", dtype, torch.ones(graph.num_nodes))
    weight = None if graph.edge_weight is None else block.weight
    return gcn_scale(block.ptr, weight, dtype)


def _chunks(num_nodes: int, chunk: int | Sequence[int]) -> Iterator[Tensor]:
    if isinstance(chunk, int):
        chunk = [*range(0, num_nodes, chunk), num_nodes]
    for start, end in pairwise(chunk):
        yield torch.arange(start, end)
