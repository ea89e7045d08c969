"""Graphs of other libraries and files, to and from ours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from graphlab.graph.adjacency import Adjacency
from graphlab.interop.arrays import DatasetArrays, EdgeArrays


class ForeignForms(ABC):
    """The ``from_*`` and ``to_*`` of a Graph; foreign libraries load inside them."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, edges: EdgeArrays) -> Self:
        """Build from what an ``interop`` module read."""

    @abstractmethod
    def to_arrays(self) -> EdgeArrays:
        """What ``interop`` modules write."""

    @abstractmethod
    def csr(self) -> Adjacency:
        """Targets of every node."""

    @property
    @abstractmethod
    def edge_weight(self) -> Tensor | None:
        """[E], by edge id."""

    @classmethod
    def from_pyg(cls, data: Any) -> Self:
        """Take ``edge_index`` (or ``adj_t``), ``edge_weight`` and ``num_nodes`` of a Data."""
        from graphlab.interop import pyg

        return cls.from_arrays(pyg.read(data).edges)

    @classmethod
    def from_dgl(cls, graph: Any) -> Self:
        """Take a homogeneous DGLGraph; edge column ``edge_weight``, ``weight`` or ``w``."""
        from graphlab.interop import dgl

        return cls.from_arrays(dgl.read(graph).edges)

    @classmethod
    def from_scipy(cls, matrix: Any, weighted: bool | None = None) -> Self:
        """Take a sparse matrix A; each stored A[source, target] is an edge.

        Args:
            matrix: [N, N], any scipy sparse matrix or array.
            weighted: Whether values become weights; None: where any is not 1.

        Example:
            >>> from scipy.sparse import csr_matrix
            >>> from graphlab.graph import Graph
            >>> Graph.from_scipy(csr_matrix([[0, 1], [0, 0]])).edge_index.tolist()
            [[0], [1]]
        """
        from graphlab.interop import scipy

        return cls.from_arrays(scipy.read(matrix, weighted))

    @classmethod
    def from_networkx(cls, graph: Any, weight: str = "weight") -> Self:
        """Take a networkx graph; names other than 0, 1, 2, ... become ``node_names``."""
        from graphlab.interop import networkx

        return cls.from_arrays(networkx.read(graph, weight))

    @classmethod
    def from_edge_list(
        cls,
        path: str | Path,
        *,
        source: str | int | None = None,
        target: str | int | None = None,
        weight: str | int | None = None,
        header: bool | None = None,
        delimiter: str | None = None,
        relabel: bool | None = None,
    ) -> Self:
        """Read a file of edges: csv, tsv, txt (also .gz; leading comments) or parquet.

        Args:
            path: The file.
            source: Name or position of the column; by default one named source, src, from,
                ..., else the first.
            target: The same; by default one named target, dst, to, ..., else the second.
            weight: The same; by default one named weight, edge_weight or w, else none.
            header: Whether the first line of a text file names columns; None: guess, and
                refuse where that is open.
            delimiter: Of a text file; by default what the first line has.
            relabel: Whether to number nodes as they appear, edge by edge, and keep their
                names in ``node_names``; None: for names that are not integers.

        Raises:
            ValueError: an empty cell, a file that cannot be read in one way only, integers
                with large gaps and ``relabel=None``.
        """
        from graphlab.interop import edge_list

        edges = edge_list.read(
            path,
            source=source,
            target=target,
            weight=weight,
            header=header,
            delimiter=delimiter,
            relabel=relabel,
        )
        return cls.from_arrays(edges)

    def to_pyg(self) -> Any:
        """A PyG ``Data`` with ``edge_index``, ``num_nodes`` and ``edge_weight``."""
        from graphlab.interop import pyg

        return pyg.write(DatasetArrays(self.to_arrays()))

    def to_dgl(self) -> Any:
        """A ``DGLGraph`` with the same edge ids; weights as ``edata["edge_weight"]``."""
        from graphlab.interop import dgl

        return dgl.write(DatasetArrays(self.to_arrays()))

    def to_scipy(self) -> Any:
        """A csr_matrix A with A[source, target]; parallel edges are separate entries."""
        from graphlab.interop import scipy

        ptr, idx, edge_id = self.csr()
        weight = self.edge_weight
        if weight is not None and edge_id is not None:
            weight = weight[edge_id]
        return scipy.write(ptr, idx, weight, len(ptr) - 1)

    def to_networkx(self) -> Any:
        """A ``networkx.MultiDiGraph``, with ``node_names`` where the graph has them."""
        from graphlab.interop import networkx

        return networkx.write(self.to_arrays())
