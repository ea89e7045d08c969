"""Symmetry of edge lists, and making it."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab.graph.adjacency import owners, sort_pairs


def is_symmetric(
    source: Tensor, target: Tensor, num_nodes: int, weight: Tensor | None
) -> bool:
    """Whether each (u, v) occurs as often as (v, u), with the same total weight."""
    ptr, idx, forward = sort_pairs(source, target, num_nodes)
    reverse_ptr, reverse_idx, backward = sort_pairs(target, source, num_nodes)
    if not torch.equal(ptr, reverse_ptr) or not torch.equal(idx, reverse_idx):
        return False
    if weight is None:
        return True
    group = _groups(owners(ptr), idx)
    totals = [
        torch.zeros(len(group), dtype=torch.float64).index_add_(
            0, group, weight[edges.long()].double()
        )
        for edges in (forward, backward)
    ]
    return torch.allclose(totals[0], totals[1], rtol=1e-6, atol=0.0)


def symmetrise(
    source: Tensor, target: Tensor, num_nodes: int, weight: Tensor | None, reduce: str
) -> tuple[Tensor, Tensor | None, Tensor]:
    """One edge each way between neighbours: edges [2, E'], weights, ids of origin [E']."""
    low, high = torch.minimum(source, target), torch.maximum(source, target)
    edge_id = sort_pairs(low, high, num_nodes)[2].long()
    low, high = low[edge_id], high[edge_id]
    group = _groups(low, high)
    is_first = torch.ones(len(group), dtype=torch.bool)
    is_first[1:] = group[1:] != group[:-1]
    low, high, origin = low[is_first], high[is_first], edge_id[is_first]

    both = low != high
    out_source = torch.cat([low, high[both]])
    out_target = torch.cat([high, low[both]])
    order = sort_pairs(out_source, out_target, num_nodes)[2].long()
    merged = None
    if weight is not None:
        merged = weight.new_zeros(len(low)).scatter_reduce_(
            0, group, weight[edge_id], _REDUCE[reduce], include_self=False
        )
        merged = torch.cat([merged, merged[both]])[order]
    origin = torch.cat([origin, origin[both]])[order]
    return torch.stack([out_source[order], out_target[order]]), merged, origin


_REDUCE = {"mean": "mean", "sum": "sum", "max": "amax"}


def _groups(row: Tensor, col: Tensor) -> Tensor:
    """Number the runs of equal pairs in a sorted list. [E], int64."""
    changes = torch.zeros(len(row), dtype=torch.int64)
    changes[1:] = (row[1:] != row[:-1]) | (col[1:] != col[:-1])
    return changes.cumsum(0)
