"""Compressed rows of a graph: building, sorting, expanding, and what fits in memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import memory
from graphlab.ops import csr_build

_SLICE = 2**24


class Adjacency(NamedTuple):
    """Neighbours of every node, row after row; tensors may be memory-mapped.

    ``idx[ptr[v]:ptr[v + 1]]`` are the neighbours of ``v``: its sources in a CSC (by target),
    its targets in a CSR (by source).

    Attributes:
        ptr: [num_nodes + 1], int64.
        idx: [num_edges], int32 where num_nodes < 2**31, else int64.
        edge_id: [num_edges], int32 where num_edges < 2**31, else int64: the edge's column in
            ``edge_index``. None where an edge's position here is its id.
    """

    ptr: Tensor
    idx: Tensor
    edge_id: Tensor | None

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return sum(t.nbytes for t in self if t is not None)


def sort_pairs(
    row: Tensor, col: Tensor, num_nodes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Group edges by ``row`` with ascending ``col`` inside a row; ids break ties.

    Two stable counting sorts, O(E + N), instead of a comparison sort of 64-bit keys.
    """
    _, row_by_col, id_by_col = csr_build(col, row, num_nodes, num_nodes)
    col_sorted = col[id_by_col].to(row_by_col.dtype)
    ptr, idx, position = csr_build(row_by_col, col_sorted, num_nodes, num_nodes)
    return ptr, idx, id_by_col[position]


def owners(ptr: Tensor, dtype: torch.dtype = torch.int64) -> Tensor:
    """The row of every entry: ``[0] * degree(0) + [1] * degree(1) + ...``."""
    rows = torch.arange(len(ptr) - 1, dtype=dtype)
    return torch.repeat_interleave(rows, ptr.diff())


def pairs(adjacency: Adjacency) -> tuple[Tensor, Tensor]:
    """The row and the neighbour of every edge, in the order of edge ids."""
    ptr, idx, edge_id = adjacency
    row = owners(ptr, idx.dtype)
    if edge_id is None:
        return row, idx
    row_by_id, idx_by_id = torch.empty_like(row), torch.empty_like(row)
    # index_copy_ wants int64 ids; slices keep the copy of int32 ids small.
    for start in range(0, len(idx), _SLICE):
        part = slice(start, start + _SLICE)
        ids = edge_id[part].long()
        row_by_id[ids] = row[part]
        idx_by_id[ids] = idx[part]
    return row_by_id, idx_by_id


def transpose(adjacency: Adjacency) -> Adjacency:
    """CSR of a CSC and the other way round, with the same edge ids."""
    ptr, idx, _ = adjacency
    memory.require("Graph", "the transposed adjacency", 6 * idx.nbytes)
    row, neighbour = pairs(adjacency)
    num_nodes = len(ptr) - 1
    return Adjacency(*csr_build(neighbour, row, num_nodes, num_nodes))
