"""Readable twins of ``common_neighbors`` and its pooled sum: plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab.ops.twins.segment import owners


def common_neighbors(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    exclude: Tensor | None,
    output: str,
    strategy: str = "auto",
) -> tuple[Tensor, ...]:
    """Shared neighbours of pairs, and the others; see :func:`graphlab.ops.common_neighbors`."""
    num_nodes, num_pairs = ptr.numel() - 1, pairs.shape[1]
    of_left = _keys(ptr, idx, pairs, 0, exclude)
    of_right = _keys(ptr, idx, pairs, 1, exclude)
    shared = torch.isin(of_left, of_right, assume_unique=True)
    sets = [of_left[shared]]
    if output == "sets":
        alone = ~torch.isin(of_right, of_left, assume_unique=True)
        sets += [of_left[~shared], of_right[alone]]
    results = []
    for keys in sets:
        count = torch.bincount(keys // num_nodes, minlength=num_pairs)
        ends = torch.cat([count.new_zeros(1), count.cumsum(0)])
        found = keys % num_nodes if output != "count" else keys[:0]
        results += [ends, found.to(idx.dtype)]
    results += [t.new_empty(0) for t in (ptr, idx) * (3 - len(sets))]
    return tuple(results)


def common_neighbors_pool(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    exclude: Tensor | None,
    x: Tensor,
    keep: bool,
    strategy: str = "auto",
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over shared neighbours; see :func:`graphlab.ops.common_neighbors_pool`."""
    ends, found, *_ = common_neighbors(ptr, idx, pairs, exclude, "ids")
    out = x.new_zeros(pairs.shape[1], x.shape[1])
    out.index_add_(0, owners(ends), x.index_select(0, found))
    if not keep:
        ends, found = ends.new_zeros(1), found[:0]
    return out, ends, found


def _keys(
    ptr: Tensor, idx: Tensor, pairs: Tensor, side: int, exclude: Tensor | None
) -> Tensor:
    """``pair * N + neighbour`` for the neighbours of one end of every pair, ascending."""
    num_nodes = ptr.numel() - 1
    node = pairs[side]
    start, count = ptr[node], ptr[node + 1] - ptr[node]
    pair = torch.repeat_interleave(torch.arange(len(node), device=ptr.device), count)
    first = count.cumsum(0) - count
    position = torch.arange(len(pair), device=ptr.device) - first[pair] + start[pair]
    neighbour = idx[position].long()
    keep = (neighbour != pairs[0][pair]) & (neighbour != pairs[1][pair])
    if exclude is not None:
        taken = torch.cat(
            [exclude[0] * num_nodes + exclude[1], exclude[1] * num_nodes + exclude[0]]
        )
        keep &= ~torch.isin(node[pair] * num_nodes + neighbour, taken)
    return (pair * num_nodes + neighbour)[keep]
