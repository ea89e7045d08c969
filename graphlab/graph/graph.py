"""Graph: nodes and directed edges, with compressed adjacency in both directions."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.graph import simplify
from graphlab.graph.adjacency import (
    Adjacency,
    pairs,
    transpose,
)
from graphlab.graph.edges import (
    ArrayLike,
    check_ids,
    read_edge_index,
    read_num_nodes,
    read_weight,
)
from graphlab.graph.foreign import ForeignForms
from graphlab.interop.arrays import EdgeArrays
from graphlab.ops import csr_build


class Graph(ForeignForms):
    """A directed graph; an undirected one holds both directions of every edge.

    Nothing is changed on the way in: direction, parallel edges, self loops and the order of
    edges stay, and an edge's column in ``edge_index`` is its id everywhere. The compressed
    forms are built at first use and kept.

    Args:
        edge_index: [2, E], int64 or int32, tensor or numpy array: row 0 sources, row 1
            targets. Not copied.
        num_nodes: Number of nodes; by default the largest id plus one.
        edge_weight: [E], float32 or float64, in edge order.

    Raises:
        TypeError: ids that are not integers.
        ValueError: wrong shape, ragged rows, no nodes, weights of another length.
        IndexError: an id below 0 or not below ``num_nodes``.

    Example:
        >>> g = Graph(torch.tensor([[0, 0, 1], [1, 2, 2]]))
        >>> g
        Graph(num_nodes=3, num_edges=3)
        >>> g.csc().idx[g.csc().ptr[2] : g.csc().ptr[3]]
        tensor([0, 1], dtype=torch.int32)
    """

    node_names: np.ndarray[Any, Any] | None = None
    """Names of nodes by id, where the graph was read from a file of names."""

    def __init__(
        self,
        edge_index: ArrayLike,
        num_nodes: int | None = None,
        edge_weight: ArrayLike | None = None,
    ) -> None:
        self._edge_index: Tensor | None = read_edge_index("Graph", edge_index)
        self._num_nodes = read_num_nodes("Graph", self._edge_index, num_nodes)
        self._num_edges = self._edge_index.shape[1]
        self._weight = None
        if edge_weight is not None:
            self._weight = read_weight("Graph", edge_weight, self._num_edges)
        self._csc: Adjacency | None = None
        self._csr: Adjacency | None = None
        self._undirected: bool | None = None

    @classmethod
    def from_csc(
        cls,
        ptr: Tensor,
        idx: Tensor,
        edge_id: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Self:
        """Wrap a CSC by target; its tensors may be memory-mapped and are not read here.

        Args:
            ptr: [N + 1], int64.
            idx: [E], int32 or int64: sources, target after target.
            edge_id: [E], int32 or int64, a permutation; None: the position is the id.
            edge_weight: [E], by edge id.

        Example:
            >>> Graph.from_csc(torch.tensor([0, 0, 1]), torch.tensor([0])).edge_index
            tensor([[0],
                    [1]])
        """
        name = "Graph.from_csc"
        idx = check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
        ptr = check.offsets(name, "ptr", ptr, end=len(idx))
        if len(ptr) < 2:
            check.fail(ValueError, name, "ptr", "have at least 2 entries", len(ptr))
        if edge_id is not None:
            check.tensor(name, "edge_id", edge_id, dtypes=check.INDEX_DTYPES, ndim=1)
            if len(edge_id) != len(idx):
                requirement = f"have one entry per edge ({len(idx):,})"
                check.fail(ValueError, name, "edge_id", requirement, len(edge_id))
        graph = cls.__new__(cls)
        graph._edge_index = None
        graph._num_nodes, graph._num_edges = len(ptr) - 1, len(idx)
        graph._weight = None
        if edge_weight is not None:
            graph._weight = read_weight(name, edge_weight, len(idx))
        graph._csc, graph._csr = Adjacency(ptr, idx, edge_id), None
        graph._undirected = None
        return graph

    @classmethod
    def from_arrays(cls, edges: EdgeArrays) -> Self:
        """Build from what an ``interop`` module read; tensors come to the CPU."""
        weight = None if edges.edge_weight is None else edges.edge_weight.cpu()
        graph = cls(edges.edge_index.cpu(), edges.num_nodes, weight)
        graph.node_names = edges.node_names
        return graph

    @property
    def num_nodes(self) -> int:
        """Number of nodes, isolated ones included."""
        return self._num_nodes

    @property
    def num_edges(self) -> int:
        """Number of directed edges, parallel ones included."""
        return self._num_edges

    @property
    def edge_weight(self) -> Tensor | None:
        """[E], by edge id, or None."""
        return self._weight

    @property
    def edge_index(self) -> Tensor:
        """[2, E], int64, by edge id.

        Made anew at each access where the graph holds int32 ids or only a CSC.

        Raises:
            BudgetError: it would not fit in memory.
        """
        if self._edge_index is None:
            # Two int64 rows, and the same in the width of idx while they are made.
            needed = 2 * self.num_edges * (8 + self.csc().idx.element_size())
            instead = "use g.csc() or g.csr()"
            memory.require("Graph.edge_index", "the COO form", needed, instead)
            target, source = pairs(self.csc())
            return torch.stack([source, target]).long()
        if self._edge_index.dtype != torch.int64:
            needed = 16 * self.num_edges
            memory.require("Graph.edge_index", "its int64 form", needed)
        return self._edge_index.long()

    def csc(self) -> Adjacency:
        """Sources of every node, grouped by target; ids ascend inside a group. Kept."""
        if self._csc is None:
            (source, target), n = self._pairs(), self.num_nodes
            self._csc = Adjacency(*csr_build(target, source, n, n))
        return self._csc

    def csr(self) -> Adjacency:
        """Targets of every node, grouped by source; ids ascend inside a group. Kept."""
        if self._csr is None:
            if self._edge_index is None:
                self._csr = transpose(self.csc())
            else:
                (source, target), n = self._pairs(), self.num_nodes
                self._csr = Adjacency(*csr_build(source, target, n, n))
        return self._csr

    def in_degree(self) -> Tensor:
        """Edges that end at each node. [N], int64."""
        if self._csc is not None or self._edge_index is None:
            return self.csc().ptr.diff()
        return torch.bincount(self._edge_index[1], minlength=self.num_nodes)

    def out_degree(self) -> Tensor:
        """Edges that start at each node. [N], int64."""
        if self._csr is not None:
            return self._csr.ptr.diff()
        source = self.csc().idx if self._edge_index is None else self._edge_index[0]
        return torch.bincount(source, minlength=self.num_nodes)

    def is_undirected(self) -> bool:
        """Whether every edge has its reverse, equally often and with the same total weight.

        Cost: two sorts by counting, O(E + N), at the first call; then known.
        """
        if self._undirected is None:
            source, target = self._pairs()
            self._undirected = simplify.is_symmetric(
                source, target, self.num_nodes, self._weight
            )
        return self._undirected

    def to_undirected(self, reduce: str = "mean") -> Self:
        """Give every pair of neighbours one edge in each direction.

        Parallel edges and the two directions of a pair become one edge each way; a self loop
        stays one edge. Edges are ordered by (source, target) and get new ids.

        Args:
            reduce: How the weights of all edges between two nodes, in either direction,
                become the weight of both: ``mean``, ``sum`` or ``max``. With ``mean`` and
                ``max``, an undirected graph without parallel edges keeps its weights.

        Example:
            >>> Graph(torch.tensor([[0, 1], [1, 2]])).to_undirected().edge_index
            tensor([[0, 1, 1, 2],
                    [1, 0, 2, 1]])
        """
        return self.to_undirected_with_origin(reduce)[0]

    def to_undirected_with_origin(self, reduce: str = "mean") -> tuple[Self, Tensor]:
        """As :meth:`to_undirected`, with the old id each new edge takes its columns from.

        Returns:
            The graph, and ``origin`` [E'], int64: the lowest id among the old edges between
            the same two nodes; ``edge_attr[origin]`` are columns for the new edges.
        """
        name = "Graph.to_undirected"
        check.one_of(name, "reduce", reduce, ("mean", "sum", "max"))
        source, target = self._pairs()
        edges, weight, origin = simplify.symmetrise(
            source, target, self.num_nodes, self._weight, reduce
        )
        graph = self._like(edges, weight)
        graph._undirected = True
        return graph, origin

    def without_self_loops(self) -> Self:
        """Drop edges from a node to itself; the others keep their order and get new ids."""
        source, target = self._pairs()
        keep = source != target
        weight = None if self._weight is None else self._weight[keep]
        graph = self._like(torch.stack([source[keep], target[keep]]), weight)
        # Dropping loops changes nothing between distinct nodes.
        graph._undirected = self._undirected or None
        return graph

    def validate(self) -> None:
        """Read everything once and raise for what is wrong. O(E + N).

        Raises:
            IndexError: a neighbour or edge id out of range.
            ValueError: falling offsets, an edge id twice, a weight that is NaN or infinite.
        """
        name = "Graph.validate"
        if self._edge_index is not None:
            check_ids(name, self._edge_index, self.num_nodes)
        for adjacency in (self._csc, self._csr):
            if adjacency is None:
                continue
            if bool((adjacency.ptr.diff() < 0).any()):
                check.fail(ValueError, name, "ptr", "never fall", "a falling offset")
            check.ids_in_range(name, "idx", adjacency.idx, self.num_nodes)
            if adjacency.edge_id is not None:
                check.ids_in_range(name, "edge_id", adjacency.edge_id, self.num_edges)
                times = torch.bincount(adjacency.edge_id, minlength=self.num_edges)
                if self.num_edges and int(times.max()) != 1:
                    edge = int((times != 1).nonzero()[0, 0])
                    got = f"edge {edge:,} {int(times[edge])} times"
                    check.fail(ValueError, name, "edge_id", "hold each id once", got)
        if self._weight is not None and not bool(self._weight.isfinite().all()):
            edge = int((~self._weight.isfinite()).nonzero()[0, 0])
            got = f"{float(self._weight[edge])} at edge {edge:,}"
            check.fail(ValueError, name, "edge_weight", "be finite", got)

    def to_arrays(self) -> EdgeArrays:
        """What ``interop`` modules write."""
        return EdgeArrays(
            self.edge_index, self.num_nodes, self._weight, self.node_names
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays held now; of shared memory once, of mapped files too."""
        held: list[Tensor | None] = [self._edge_index, self._weight]
        for adjacency in (self._csc, self._csr):
            held += [] if adjacency is None else list(adjacency)
        names = 0 if self.node_names is None else self.node_names.nbytes
        return names + sum(
            {t.data_ptr(): t.nbytes for t in held if t is not None}.values()
        )

    def __repr__(self) -> str:
        weighted = "" if self._weight is None else ", weighted"
        return f"Graph(num_nodes={self.num_nodes:,}, num_edges={self.num_edges:,}{weighted})"

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_csr"] = None
        if self._edge_index is not None:
            state["_csc"] = None
        return state

    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Sources and targets by edge id, in the width they are held in."""
        if self._edge_index is not None:
            return self._edge_index[0], self._edge_index[1]
        needed = 4 * self.csc().idx.nbytes
        memory.require("Graph", "a pass over all edges", needed)
        target, source = pairs(self.csc())
        return source, target

    def _like(self, edge_index: Tensor, weight: Tensor | None) -> Self:
        """A graph on the same nodes."""
        graph = type(self)(edge_index, self.num_nodes, weight)
        graph.node_names = self.node_names
        return graph
