"""The graph of a link model: neighbour rows, and the same without some pairs."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph import Graph, neighbor_rows


class LinkGraph:
    """Rows of an undirected graph, each neighbour once, and where the reverse edges are.

    Args:
        ptr: [N + 1], int64.
        idx: [E], int32 or int64; ascending in each row.
        reverse: [E]: place of ``(v, u)`` for the entry ``(u, v)``; found when absent.
    """

    def __init__(self, ptr: Tensor, idx: Tensor, reverse: Tensor | None = None) -> None:
        self.ptr, self.idx = ptr, idx
        self.num_nodes = len(ptr) - 1
        self._reverse = reverse
        self._steps = int(ptr.diff().max()).bit_length() if len(idx) else 0

    @property
    def degree(self) -> Tensor:
        """[N], int64."""
        return self.ptr.diff()

    @property
    def transpose(self) -> tuple[Tensor, Tensor, Tensor]:
        """What :func:`graphlab.ops.spmm` wants for its gradient: the rows again."""
        if self._reverse is None:
            _, _, self._reverse = ops.csr_transpose(self.ptr, self.idx, self.num_nodes)
        return self.ptr, self.idx, self._reverse

    def places(self, pairs: Tensor) -> Tensor:
        """Find the entries of pairs, in both directions; pairs that are no edge have none.

        Args:
            pairs: [2, M].

        Returns:
            [at most 2 M], int64; a pair that comes twice has its places twice.

        Cost: one binary search in a row for each direction of each pair.
        """
        if len(self.idx) == 0 or pairs.shape[1] == 0:
            return self.ptr.new_empty(0)
        node = torch.cat([pairs[0], pairs[1]])
        wanted = torch.cat([pairs[1], pairs[0]])
        low, end = self.ptr[node], self.ptr[node + 1]
        high = end
        last = len(self.idx) - 1
        for _ in range(self._steps):
            middle = (low + high) // 2
            below = (self.idx[middle.clamp(max=last)] < wanted) & (low < high)
            low = torch.where(below, middle + 1, low)
            high = torch.where(below, high, torch.minimum(middle, high))
        found = (low < end) & (self.idx[low.clamp(max=last)] == wanted)
        return low[found]

    def kept(self, exclude: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Ones for all entries, zeros for excluded pairs; None where all are kept. [E]."""
        if exclude is None or exclude.shape[1] == 0:
            return None
        weight = torch.ones(len(self.idx), dtype=dtype, device=self.idx.device)
        weight[self.places(exclude)] = 0
        return weight

    def thinned(self, p: float) -> LinkGraph:
        """Keep each stored entry with probability ``1 - p``: directions independently."""
        keep = torch.rand(len(self.idx), device=self.idx.device) >= p
        before = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
        return LinkGraph(before[self.ptr], self.idx[keep])


_CACHE: weakref.WeakKeyDictionary[Graph, dict[str, LinkGraph]]
_CACHE = weakref.WeakKeyDictionary()


def link_graph(
    function: str, graph: object, device: torch.device | str = "cpu"
) -> LinkGraph:
    """Return the rows of a Graph, prepared once and kept as long as it lives.

    Raises:
        TypeError: not a Graph.
        ValueError: a directed graph.
    """
    if isinstance(graph, LinkGraph):
        return graph
    if not isinstance(graph, Graph):
        got = type(graph).__name__
        check.fail(TypeError, function, "graph", "be a Graph", got)
    kept = _CACHE.setdefault(graph, {})
    if str(device) not in kept:
        if not graph.is_undirected():
            check.fail(
                ValueError,
                function,
                "graph",
                "hold both directions of every edge",
                "a directed graph",
                "links have no direction here: use graph.to_undirected()",
            )
        ptr, idx = neighbor_rows(graph)
        kept[str(device)] = LinkGraph(ptr.to(device), idx.to(device))
    return kept[str(device)]
