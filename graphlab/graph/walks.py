"""Random walks on a Graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.graph.adjacency import owners, sort_pairs
from graphlab.graph.graph import Graph
from graphlab.ops import random_walk as random_walk_op
from graphlab.ops import rng, walk_slots

# Name of the random stream of walks.
WALKS = 201


class WalkGraph(NamedTuple):
    """Out-edges as walks need them: neighbours ascending in each row.

    Attributes:
        ptr: [N + 1], int64.
        idx: [E], int32 or int64.
        slots: [E, 4], int32, of :func:`graphlab.ops.walk_slots`; None: no weights.
        strength: [N], float64: total weight of a node's out-edges; its degree without.
    """

    ptr: Tensor
    idx: Tensor
    slots: Tensor | None
    strength: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(t.nbytes for t in self if t is not None)


def walk_graph(g: Graph, *, weighted: bool = True, ordered: bool = True) -> WalkGraph:
    """Prepare a graph for walks along its out-edges.

    Args:
        g: The graph.
        weighted: Whether to follow its weights, where it has any.
        ordered: Whether rows must ascend, as second-order walks need; False saves a sort.

    Raises:
        BudgetError: the copy does not fit in memory.
        ValueError: a negative weight.
    """
    weight = g.edge_weight if weighted else None
    memory.require("random_walk", "a sorted copy of the edges", 24 * g.num_edges)
    adjacency = g.csr()
    ptr, idx, edge_id = adjacency
    if ordered and not _ascends(ptr, idx):
        row = owners(ptr, idx.dtype)
        ptr, idx, position = sort_pairs(row, idx, g.num_nodes)
        edge_id = position if edge_id is None else edge_id[position.long()]
    slots = None
    strength = ptr.diff().double()
    if weight is not None:
        by_row = weight if edge_id is None else weight[edge_id.long()]
        slots = walk_slots(ptr, idx, by_row)
        rows = owners(ptr)
        strength = torch.zeros(g.num_nodes, dtype=torch.float64)
        strength.index_add_(0, rows, by_row.double())
    return WalkGraph(ptr, idx, slots, strength)


def random_walk(
    g: Graph,
    starts: Tensor,
    length: int,
    p: float = 1.0,
    q: float = 1.0,
    seed: int = 0,
    weighted: bool = True,
) -> Tensor:
    """Walk along out-edges; second order where p or q is not 1.

    Args:
        g: A graph; its weights, where it has any, are followed.
        starts: [W], int64: one walk from each.
        length: Steps.
        p: Return parameter of node2vec: large values keep a walk from turning back.
        q: In-out parameter of node2vec: large values keep a walk near its last node.
        seed: Names the draws.
        weighted: False leaves the weights aside.

    Returns:
        [W, length + 1]; -1 after a node without out-edges. See
        :func:`graphlab.ops.random_walk` for the distribution.

    Raises:
        TypeError, ValueError: wrong dtype, rank or parameter.
        IndexError: a start that is no node.

    Cost:
        Prepares the graph at each call, O(E); :func:`walk_graph` keeps that for many calls.

    Example:
        >>> ring = torch.arange(4)
        >>> random_walk(Graph(torch.stack([ring, ring.roll(-1)])), torch.tensor([2]), 3)
        tensor([[2, 3, 0, 1]], dtype=torch.int32)
    """
    name = "random_walk"
    check.tensor(name, "starts", starts, dtypes=check.INDEX_DTYPES, ndim=1)
    check.ids_in_range(name, "starts", starts, g.num_nodes)
    ready = walk_graph(g, weighted=weighted, ordered=p != 1 or q != 1)
    return random_walk_op(
        ready.ptr,
        ready.idx,
        starts.long(),
        length,
        slots=ready.slots,
        p=p,
        q=q,
        key=rng.key(seed, WALKS),
    )


def _ascends(ptr: Tensor, idx: Tensor) -> bool:
    """Whether neighbours ascend in every row."""
    if len(idx) < 2:
        return True
    falls = idx[1:] < idx[:-1]
    starts = ptr[1:-1]
    starts = starts[(starts > 0) & (starts < len(idx))]
    falls[starts - 1] = False
    return not bool(falls.any())
