"""Heads that score pairs of nodes: GAE and NCN; NCNC is in :mod:`graphlab.models.ncnc`.

A head maps the rows ``h`` of an encoder, a graph and pairs to logits:
``forward(h, graph, pairs, exclude=None)``. ``exclude`` are pairs that count as not joined,
such as the training batch itself, so that a model never sees the edge it has to predict.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.models.dense import DenseLayers, layer, packable
from graphlab.models.link_graph import LinkGraph, link_graph
from graphlab.models.link_rows import (
    distinct,
    products,
    take_distinct,
)


class GAE(nn.Module):
    r"""Score a pair by its nodes alone: :math:`s = f(\phi(h_i \odot h_j))`.

    Args:
        hidden_channels: Width of ``h`` and of the inner layers.
        dropout: Behind each inner linear layer.
        norm: Layer norm behind each inner linear layer.
        last_linear: End :math:`\phi` with one more linear layer (the release's default,
            where ``tailact`` is off).
        deep: One more inner layer in :math:`f` (the release's ``twolayerlin``).

    Shapes:
        h [N, hidden_channels], pairs [2, B] -> [B].

    Source:
        Kipf and Welling, "Variational Graph Auto-Encoders", 2016, with the decoder of NCN's
        release (predictor ``cn0``, which there ignores ``tailact`` and ``twolayerlin``).
    """

    def __init__(
        self,
        hidden_channels: int,
        dropout: float = 0.0,
        norm: bool = True,
        last_linear: bool = False,
        deep: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check.positive(name, "hidden_channels", hidden_channels)
        if not 0 <= dropout < 1:
            check.fail(ValueError, name, "dropout", "be in [0, 1)", dropout)
        width = hidden_channels
        self.hidden_channels, self.dropout = width, dropout
        self.pair_mlp = DenseLayers(*layer(width, dropout, norm))
        if last_linear:
            self.pair_mlp.append(nn.Linear(width, width))
        score = layer(width, dropout, norm)
        if deep:
            score += layer(width, dropout, norm)
        self.score_mlp = DenseLayers(*score, nn.Linear(width, 1))

    def forward(
        self,
        h: Tensor,
        graph: Graph | LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None = None,
    ) -> Tensor:
        """Compute logits. [B]."""
        return self._combine(h, pairs, None)

    def _combine(self, h: Tensor, pairs: Tensor, pooled: Tensor | None) -> Tensor:
        """Logits of pairs and their sums. Without a gradient: in one pass, in blocks."""
        packed = None if torch.is_grad_enabled() else self._packed(h)
        if packed is not None:
            p = self.dropout if self.training else 0.0
            return ops.pair_mlp(h, pairs, pooled, packed, p=p)
        joined = self.pair_mlp(products(h, pairs))
        if pooled is not None:
            joined = joined + self._common(pooled)
        return self.score_mlp(joined)[:, 0]

    def _common(self, pooled: Tensor) -> Tensor:
        raise NotImplementedError

    def _packed(self, h: Tensor) -> ops.PairLayers | None:
        """All layers in one piece; None where something else was put in their place."""
        if h.device.type != "cpu" or h.dtype != torch.float32:
            return None
        shared = getattr(self, "common_mlp", nn.Sequential())
        *inner, last = self.score_mlp
        common, pair = packable(shared), packable(self.pair_mlp)
        score = packable(nn.Sequential(*inner))
        if common is None or pair is None or score is None:
            return None
        if not isinstance(last, nn.Linear):
            return None
        beta = getattr(self, "beta", last.bias)
        end = last.weight, last.bias
        return ops.pack_pair_layers(common, pair, score, end, beta)


class NCN(GAE):
    r"""Neural common neighbour: score a pair by its nodes and the sum of their shared ones.

    .. math:: s_{ij} = f\Big(\beta\,\phi_{cn}\big(\sum_{u \in N(i) \cap N(j)} \hat h_u\big)
              + \phi_{ij}(h_i \odot h_j)\Big), \quad \hat h_u = h_u + g(h_u)

    Args:
        hidden_channels: Width of ``h`` and of the inner layers.
        dropout, norm, last_linear, deep: As for :class:`GAE`; ``last_linear`` counts for
            :math:`\phi_{cn}` too.
        neighbor_mlp: Whether there is a :math:`g` (the release's ``use_xlin``).
        edge_dropout: Share of stored entries left out of the neighbourhoods in training.
        beta: Start value of the learned :math:`\beta`.

    Shapes:
        h [N, hidden_channels], pairs [2, B] -> [B].

    Source:
        Wang, Yang and Zhang, "Neural Common Neighbor with Completion for Link Prediction",
        ICLR 2024, eq. 8; predictor ``cn1`` of the release, which adds the two branches where
        the paper joins them. Here pairs are taken out of the graph by ``exclude``, as
        unordered pairs, so that parallel edges do not leak as they do there.

    Example:
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> NCN(4)(torch.randn(3, 4), graph, torch.tensor([[0], [2]])).shape
        torch.Size([1])
    """

    def __init__(
        self,
        hidden_channels: int,
        dropout: float = 0.0,
        norm: bool = True,
        last_linear: bool = False,
        deep: bool = False,
        neighbor_mlp: bool = True,
        edge_dropout: float = 0.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__(hidden_channels, dropout, norm, last_linear, deep)
        if not 0 <= edge_dropout < 1:
            name = type(self).__name__
            check.fail(ValueError, name, "edge_dropout", "be in [0, 1)", edge_dropout)
        width = hidden_channels
        self.edge_dropout = edge_dropout
        self.neighbor_mlp: DenseLayers | None = None
        if neighbor_mlp:
            self.neighbor_mlp = _two_layers(width, dropout, norm)
        self.common_mlp = _two_layers(width, dropout, norm)
        if last_linear:
            self.common_mlp.append(nn.Linear(width, width))
        self.beta = nn.Parameter(torch.full((1,), float(beta)))
        # Inside `caching`: what depends on h alone, by the h it was made from.
        self._kept: dict[str, Any] | None = None

    @contextlib.contextmanager
    def caching(self) -> Iterator[None]:
        """Keep between calls what pairs share, for evaluation: ``h`` and graph must stay."""
        if self._kept is not None:
            yield
            return
        self._kept = {}
        try:
            yield
        finally:
            self._kept = None

    def forward(
        self,
        h: Tensor,
        graph: Graph | LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None = None,
    ) -> Tensor:
        """Compute logits. [B]."""
        rows = self._rows(graph, h)
        learning = self.training and torch.is_grad_enabled()
        if self.neighbor_mlp is None or not learning:
            return self._score(h, self._neighbors(h), rows, pairs, exclude)
        # g of the shared neighbours alone: most nodes are none.
        ends, found = ops.common_neighbors_ids(
            rows.ptr, rows.idx, pairs, exclude=exclude
        )
        nodes, place = distinct(found, h.shape[0])
        h_hat = self._neighbors(take_distinct(h, nodes))
        return self._combine(h, pairs, ops.spmm(ends, place, h_hat))

    def _rows(self, graph: Graph | LinkGraph, h: Tensor) -> LinkGraph:
        rows = link_graph(type(self).__name__, graph, h.device)
        if self.training and self.edge_dropout:
            return rows.thinned(self.edge_dropout)
        return rows

    def _neighbors(self, h: Tensor) -> Tensor:
        if self.neighbor_mlp is None:
            return h
        if self._kept is None or self.training:
            return h + self.neighbor_mlp(h)
        if self._kept.get("h") is not h:
            self._kept |= {"h": h, "h_hat": h + self.neighbor_mlp(h)}
        h_hat: Tensor = self._kept["h_hat"]
        return h_hat

    def _score(
        self,
        h: Tensor,
        h_hat: Tensor,
        rows: LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None,
    ) -> Tensor:
        pooled = ops.common_neighbors_pool(
            rows.ptr, rows.idx, pairs, h_hat, exclude=exclude
        )
        return self._combine(h, pairs, pooled)

    def _common(self, pooled: Tensor) -> Tensor:
        return self.beta * self.common_mlp(pooled)


def _two_layers(width: int, dropout: float, norm: bool) -> DenseLayers:
    return DenseLayers(*layer(width, dropout, False), *layer(width, dropout, norm))
