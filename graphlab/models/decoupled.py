"""Models that propagate features once, without weights, and then train on single rows."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.datasets.column import SparseColumn
from graphlab.graph import Graph
from graphlab.models.structure import as_graph

# Rows of a graph's features, by graph; one entry for each way to propagate them.
_ROWS: weakref.WeakKeyDictionary[Graph, dict[Any, tuple[Any, Tensor]]]
_ROWS = weakref.WeakKeyDictionary()


class Decoupled(nn.Module):
    """What SGC, SIGN and ADPA share: rows that are propagated once and kept with the graph.

    ``model(x, edges, nodes=None)`` gives logits of all nodes, or of ``nodes`` alone, which is
    all that a training step has to compute. With ``precomputed`` the columns of ``x`` are
    the propagated rows themselves, slot after slot, such as a batch from a store written by
    :func:`graphlab.outofcore.propagate`; edges are then not looked at. How rows were made is
    not to be seen from them: a call checks their width alone, tasks also what a store says
    of itself (:meth:`require_rows`).

    Args:
        in_channels: Width of ``x``.
        out_channels: Number of classes.
        slots: Matrices that :meth:`propagated` puts side by side.
        precomputed: Whether ``x`` holds propagated rows.
        normalise_rows: Whether features are normalised ahead of propagation, for which it is
            too late with ``precomputed``.
    """

    takes_graph = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        slots: int,
        precomputed: bool = False,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check.positive(name, "in_channels", in_channels)
        check.positive(name, "out_channels", out_channels)
        if precomputed and in_channels % slots:
            need = f"be a multiple of the {slots} slots of its precomputed rows"
            check.fail(ValueError, name, "in_channels", need, in_channels)
        if precomputed and normalise_rows:
            remedy = "normalise the features before they are propagated"
            need = "be False with precomputed=True"
            check.fail(ValueError, name, "normalise_rows", need, True, remedy)
        self.normalise_rows = normalise_rows
        self.in_channels, self.out_channels = in_channels, out_channels
        self.slots, self.precomputed = slots, precomputed
        self.channels = in_channels // slots if precomputed else in_channels
        self._parts: list[tuple[Any, Any, weakref.ref[Any], Tensor]] = []

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's logits depend on the rows beside it."""
        return False

    def key(self) -> tuple[object, ...]:
        """What the propagated rows depend on besides graph and features."""
        raise NotImplementedError

    def propagated(self, x: Tensor, graph: Graph) -> Tensor:
        """Propagate [N, F] to [N, slots, F]."""
        raise NotImplementedError

    def head(self, rows: Tensor) -> Tensor:
        """Logits [n, classes] of propagated rows [n, slots, F]."""
        raise NotImplementedError

    def projected(self, x: SparseColumn, graph: Graph) -> Any:
        """What :meth:`last` takes, by multiplying sparse features first; None: not so."""
        return None

    def last(self, h: Any) -> Tensor:
        """Logits of what :meth:`projected` gives."""
        raise NotImplementedError

    def made_with(self) -> dict[str, Any]:
        """What rows in a store have to be made with, by its names; empty: anything."""
        return {}

    def require_rows(self, made: Mapping[str, Any] | None) -> None:
        """Require that precomputed rows were made as this model makes them.

        Args:
            made: ``meta["propagated"]`` of the store that they come from; None: not known,
                and not checked.

        Raises:
            ValueError: they were made otherwise.
        """
        if made is None or not self.precomputed:
            return
        wanted = self.made_with()
        other = {k: made[k] for k in wanted if k in made and made[k] != wanted[k]}
        if other:
            need = "hold rows made with " + _listed({k: wanted[k] for k in other})
            check.fail(ValueError, type(self).__name__, "x", need, _listed(other))

    def rows(self, x: Any, edges: Tensor | Graph) -> Tensor:
        """Propagated rows [N, slots, F] of a graph; made once for a Graph, and kept with it."""
        name = type(self).__name__
        if not isinstance(edges, Graph):
            check.tensor(name, "edges", edges, dtypes=check.INDEX_DTYPES, ndim=2)
            graph = as_graph(edges, x.shape[0])
            return self.propagated(_dense(name, x, self.channels), graph)
        kept = _ROWS.setdefault(edges, {})
        for held, (source, rows) in list(kept.items()):
            if source() is not x:
                del kept[held]
            elif held == self.key():
                return rows
        rows = self.propagated(_dense(name, x, self.channels), edges)
        kept[self.key()] = (weakref.ref(x), rows)
        return rows

    def forward(
        self, x: Any, edges: Tensor | Graph | None = None, nodes: Tensor | None = None
    ) -> Tensor:
        """Logits of all rows, or of ``nodes``."""
        name = type(self).__name__
        if len(x.shape) != 2 or x.shape[1] != self.in_channels:
            need = f"have shape [nodes, in_channels = {self.in_channels}]"
            check.fail(ValueError, name, "x", need, list(x.shape))
        if self.precomputed:
            rows = x if nodes is None else x[nodes]
            return self.head(rows.view(len(rows), self.slots, self.channels))
        if edges is None:
            check.fail(ValueError, name, "edges", "be given", None)
        if isinstance(x, SparseColumn) and isinstance(edges, Graph):
            h = self.projected(x, edges)
            if h is not None:
                return self.last(h if nodes is None else [part[nodes] for part in h])
        if nodes is None:
            return self.head(self.rows(x, edges))
        if self.mixes_rows:
            return self.head(self.rows(x, edges))[nodes]
        return self.head(self._part(x, edges, nodes))

    def _part(self, x: Any, edges: Tensor | Graph, nodes: Tensor) -> Tensor:
        """Rows of some nodes; those of training and validation are asked for every epoch."""
        for held, of, along, rows in self._parts:
            if held is nodes and of is x and along() is edges:
                return rows
        rows = self.rows(x, edges)[nodes]
        # Weakly, as what is kept of a graph elsewhere would otherwise live on with it.
        self._parts = [*self._parts[-1:], (nodes, x, weakref.ref(edges), rows)]
        return rows


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())


def _dense(name: str, x: Any, width: int) -> Tensor:
    if isinstance(x, SparseColumn):
        x = x.to_dense()
    if not isinstance(x, Tensor):
        remedy = "propagate what is on disk with gl.outofcore.propagate"
        got = type(x).__name__
        check.fail(TypeError, name, "x", "be a tensor or a SparseColumn", got, remedy)
    x = x.to_dense() if x.layout != torch.strided else x
    return x if x.dtype in check.FLOAT_DTYPES else x.float()
