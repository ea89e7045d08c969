"""The entries of some rows of a CSC or CSR, which may be memory-mapped."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphlab.graph.adjacency import Adjacency


class Entries(NamedTuple):
    """Entries of some rows, row after row.

    Attributes:
        neighbour: [n], int64: node at the other end.
        place: [n], int64: which of the rows asked for.
        edge_id: [n], int64.
    """

    neighbour: Tensor
    place: Tensor
    edge_id: Tensor


def entries_of(adjacency: Adjacency, nodes: Tensor) -> Entries:
    """List the neighbours of ``nodes`` [k], int64, one node after the other.

    Cost:
        Work and memory of the entries returned; only their pages of a file are read.

    Example:
        >>> adjacency = Adjacency(torch.tensor([0, 2, 3]), torch.tensor([1, 0, 1]), None)
        >>> [part.tolist() for part in entries_of(adjacency, torch.tensor([1, 0]))]
        [[1, 1, 0], [0, 1, 1], [2, 0, 1]]
    """
    ptr, idx, edge_id = adjacency
    start = ptr[nodes]
    count = ptr[nodes + 1] - start
    place = torch.repeat_interleave(torch.arange(len(nodes)), count)
    before = count.cumsum(0) - count
    position = torch.arange(len(place)) + (start - before)[place]
    ids = position if edge_id is None else edge_id[position].long()
    return Entries(idx[position].long(), place, ids)
