"""GRAND: random propagation with whole rows dropped, and consistency of its views."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.models.consistency import consistency_loss
from graphlab.models.own_draws import WithAugmenter, own_seed
from graphlab.models.sparse import SparseRows, features, normalised
from graphlab.models.structure import Block, build, of_graph


class GRAND(WithAugmenter):
    r"""Graph random neural network.

    A view: rows of X are dropped whole (and the others scaled up), :math:`\bar{X} =
    \frac{1}{T+1} \sum_{t=0}^{T} \hat{P}^t \tilde{X}`, then an MLP. Training averages the loss
    of K views and adds their consistency; without training nothing is dropped.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of the MLP's inner layers.
        order: T.
        num_layers: Linear layers of the MLP.
        drop_node: Chance that a row is dropped.
        input_dropout: On the MLP's input.
        dropout: On its inner layers.
        num_views: K.
        consistency: Weight of the consistency loss.
        temperature: Of its sharpening.
        batch_norm: Normalise the MLP's inputs over the batch.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.
        augmenter: LA-GRAND: as in :class:`~graphlab.models.LAConcat`. One generated matrix
            is drawn once, by the model's attribute ``seed``, and gives K more views; without
            training it is not looked at.

    Shapes:
        x [N, in_channels] -> [N, out_channels]; full batches.

    Source:
        Feng et al., "Graph Random Neural Networks for Semi-Supervised Learning on Graphs",
        NeurIPS 2020, algorithm 2; LA-GRAND as in LAGNN's release.

    Example:
        >>> GRAND(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    takes_graph = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 32,
        order: int = 8,
        num_layers: int = 2,
        drop_node: float = 0.5,
        input_dropout: float = 0.5,
        dropout: float = 0.5,
        num_views: int = 4,
        consistency: float = 1.0,
        temperature: float = 0.5,
        batch_norm: bool = False,
        normalise_rows: bool = False,
        augmenter: Any = None,
    ) -> None:
        super().__init__()
        name = "GRAND"
        check.positive(name, "order", order, least=0)
        check.positive(name, "num_layers", num_layers)
        check.positive(name, "num_views", num_views)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.order, self.drop_node = order, drop_node
        self.input_dropout, self.dropout = input_dropout, dropout
        self.num_views, self.temperature = num_views, temperature
        self.consistency_weight, self.normalise_rows = consistency, normalise_rows
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        pairs = list(pairwise(widths))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm1d(a) for a, _ in pairs if batch_norm)
        self._augmenter = [augmenter]
        self.seed = own_seed()
        self._kept: tuple[Any, Tensor] | None = None

    def forward(self, x: Any, edges: Tensor | Graph) -> Tensor:
        """Logits of all nodes: of one random view when training."""
        rows = _rows(self, x)
        return self._view(rows, self._block(rows, edges))

    def views(self, x: Any, edges: Tensor | Graph) -> list[Tensor]:
        """Logits of K random views, and of K more of the generated features."""
        rows = _rows(self, x)
        block = self._block(rows, edges)
        found = [self._view(rows, block) for _ in range(self.num_views)]
        if self._augmenter[0] is not None:
            drawn = self._drawn(x)
            found += [self._view(drawn, block) for _ in range(self.num_views)]
        return found

    def consistency(self, views: Sequence[Tensor]) -> Tensor:
        """What is added to the views' mean loss."""
        return consistency_loss(views, self.temperature, self.consistency_weight)

    def _view(self, rows: Tensor, block: Block) -> Tensor:
        if self.training and self.drop_node:
            keep = torch.rand(len(rows), 1, device=rows.device) >= self.drop_node
            rows = rows * (keep / (1 - self.drop_node))
        total = at = rows
        for _ in range(self.order):
            at = block.aggregate(at, weight=block.weight)
            total = total + at
        h = total / (self.order + 1)
        for i, lin in enumerate(self.layers):
            h = self.norms[i](h) if len(self.norms) else h
            p = self.dropout if i else self.input_dropout
            h = lin(ops.dropout(h, p, self.training))
            h = h.relu() if i + 1 < len(self.layers) else h
        return h

    def _block(self, rows: Tensor, edges: Tensor | Graph) -> Block:
        if isinstance(edges, Graph):
            return of_graph(edges, "gcn", rows.dtype, rows.device)
        return build(edges, len(rows), "gcn", dtype=rows.dtype)

    def _drawn(self, x: Any) -> Tensor:
        """One generated matrix, the same for all steps."""
        if self._kept is None or self._kept[0]() is not x:
            given: Any = features(x)
            given = given.to_dense() if isinstance(given, SparseRows) else given
            generator = torch.Generator().manual_seed(self.seed)
            drawn = self._augmenter[0].sample(given, 1, generator=generator)[0]
            drawn = F.normalize(drawn, p=1.0, dim=1) if self.normalise_rows else drawn
            self._kept = (weakref.ref(x), drawn)
        return self._kept[1]


def _rows(model: GRAND, x: Any) -> Tensor:
    given: Any = features(x)
    if len(given.shape) != 2 or given.shape[1] != model.in_channels:
        need = f"have shape [nodes, in_channels = {model.in_channels}]"
        check.fail(ValueError, "GRAND", "x", need, list(given.shape))
    given = normalised(given) if model.normalise_rows else given
    return given.to_dense() if isinstance(given, SparseRows) else given
