"""Distinct edges of a graph in both directions, and the undirected graph that they make."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch
from torch import Tensor

from graphlab import ops
from graphlab.graph.graph import Graph

Half = tuple[Tensor, Tensor]
"""(ptr, idx) of one direction."""

# Edges looked at together where pairs of all of them would take too much.
_SLICE = 2**24
_KEPT: weakref.WeakKeyDictionary[Graph, tuple[Half, Half]]
_KEPT = weakref.WeakKeyDictionary()


def both_directions(graph: Graph) -> tuple[Half, Half]:
    """Distinct edges between two nodes, by source and by target: (ptr, idx) each; kept.

    Neighbours ascend. Beside the graph two adjacencies are held, and three more while they
    are made.
    """
    if graph not in _KEPT:
        n = graph.num_nodes
        ptr, idx = _transposed(*graph.csc()[:2], n)
        ptr, idx = _distinct(ptr, idx)
        t_ptr, t_idx = _transposed(ptr, idx, n)
        _KEPT[graph] = ((ptr, idx), (t_ptr, t_idx))
    return _KEPT[graph]


def undirected_form(graph: Graph) -> Graph:
    """Every distinct edge between two nodes in both directions, once; no self loops.

    As :meth:`Graph.to_undirected`, without its weights and ids of edges, in the memory of
    one more adjacency.
    """
    halves = both_directions(graph)
    sizes = halves[0][0].diff() + halves[1][0].diff()
    sizes -= reciprocated(*halves, graph.num_nodes).long()
    ptr = torch.zeros(graph.num_nodes + 1, dtype=torch.int64)
    torch.cumsum(sizes, 0, out=ptr[1:])
    idx = torch.empty(int(ptr[-1]), dtype=halves[0][1].dtype)
    for first, last in _row_slices(ptr):
        keys = torch.cat([_keys(half, first, last, graph.num_nodes) for half in halves])
        keys = keys.sort().values
        fresh = torch.ones(len(keys), dtype=torch.bool)
        fresh[1:] = keys[1:] != keys[:-1]
        idx[ptr[first] : ptr[last]] = (keys[fresh] % graph.num_nodes).to(idx.dtype)
    out = Graph.from_csc(ptr, idx)
    _KEPT[out] = ((ptr, idx), (ptr, idx))
    return out


def reciprocated(by_source: Half, by_target: Half, num_nodes: int) -> Tensor:
    """Neighbours of each node that are both its source and its target. [N], float64."""
    found = torch.zeros(num_nodes, dtype=torch.float64)
    # Both lists ascend: rows in order, and neighbours inside a row.
    for first, last in _row_slices(by_source[0] + by_target[0]):
        keys = _keys(by_source, first, last, num_nodes)
        held = _keys(by_target, first, last, num_nodes)
        if len(keys) and len(held):
            place = torch.searchsorted(held, keys).clamp_(max=len(held) - 1)
            row = keys[held[place] == keys] // num_nodes
            found[first:last] = torch.bincount(row, minlength=last - first).double()
    return found


def _transposed(ptr: Tensor, idx: Tensor, num_nodes: int) -> Half:
    t_ptr, t_idx, _ = ops.csr_transpose(ptr, idx, num_nodes)
    return t_ptr, t_idx


def _distinct(ptr: Tensor, idx: Tensor) -> Half:
    """Entries that are no self loops and do not repeat the one before them."""
    kept, sizes = [], torch.zeros_like(ptr)
    for first, last in _row_slices(ptr):
        row = torch.arange(first, last).repeat_interleave(ptr[first : last + 1].diff())
        part = idx[ptr[first] : ptr[last]]
        keep = row != part
        keep[1:] &= (row[1:] != row[:-1]) | (part[1:] != part[:-1])
        kept.append(part[keep])
        sizes[first + 1 : last + 1] = torch.bincount(
            row[keep] - first, minlength=last - first
        )
    if sum(map(len, kept)) == len(idx):
        return ptr, idx
    return sizes.cumsum(0), torch.cat(kept)


def _row_slices(ptr: Tensor) -> Iterator[tuple[int, int]]:
    """Rows [first, last) with about ``_SLICE`` entries together, and one row at least."""
    rows = len(ptr) - 1
    first = 0
    while first < rows:
        room = int(ptr[first]) + _SLICE
        last = int(torch.searchsorted(ptr, room, right=True)) - 1
        last = min(max(last, first + 1), rows)
        yield first, last
        first = last


def _keys(half: Half, first: int, last: int, num_nodes: int) -> Tensor:
    """Row, counted from ``first``, and neighbour of the entries of rows as one number."""
    ptr, idx = half
    row = torch.arange(last - first).repeat_interleave(ptr[first : last + 1].diff())
    return row.mul_(num_nodes).add_(idx[ptr[first] : ptr[last]])
