"""DirGNN: any convolution, once along the edges and once against them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph
from graphlab.graph.directions import both_directions
from graphlab.models.layers import GATLayer, GCNLayer, SAGELayer
from graphlab.models.sparse import dropout, features, linear, normalised
from graphlab.models.structure import Block, as_graph

CONVOLUTIONS = ("gcn", "sage", "gat")
Convolution = str | Callable[[int, int], nn.Module]


class DirGNN(nn.Module):
    r"""Directed message passing: :math:`(1-\alpha)\,c_{in}(x) + \alpha\,c_{out}(x)`.

    Each layer runs one convolution over the edges into a node and another one, with weights
    of its own, over the edges out of it; the node's own row comes in through a linear map.
    With ``gcn`` an edge u -> v has the weight :math:`1/\sqrt{d_{out}(u)\,d_{in}(v)}`, in both
    runs.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Layers.
        conv: ``gcn``, ``sage``, ``gat``; or a factory ``(in, out) -> module`` of modules that
            are called with (rows, :class:`~graphlab.models.structure.Block`).
        alpha: Share of the outgoing run; where learnable, its start value.
        learn_alpha: Learn one ``alpha`` for each layer.
        dropout: On the input of each layer.
        jumping: ``cat`` or ``max`` over the layers' rows, then a linear map; None: the last
            layer gives the logits.
        own_row: Add the linear map of the node's own row.
        normalise: Divide each inner row by its length.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [N, in_channels] -> [N, out_channels]; in a sampled batch, over the batch's edges in
        both directions.

    Source:
        Rossi et al., "Edge Directionality Improves Learning on Heterophilic Graphs", LoG
        2023, eqs. 5 and 7. The release fixes ``alpha``.

    Example:
        >>> DirGNN(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    takes_graph = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        conv: Convolution = "gcn",
        alpha: float = 0.5,
        learn_alpha: bool = True,
        dropout: float = 0.5,
        jumping: str | None = None,
        own_row: bool = True,
        normalise: bool = False,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__()
        name = "DirGNN"
        check.positive(name, "num_layers", num_layers)
        if not 0 <= alpha <= 1:
            check.fail(ValueError, name, "alpha", "be in [0, 1]", alpha)
        if jumping is not None:
            check.one_of(name, "jumping", jumping, ("cat", "max"))
        if isinstance(conv, str):
            check.one_of(name, "conv", conv, CONVOLUTIONS)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.num_layers, self.dropout, self.jumping = num_layers, dropout, jumping
        self.normalise, self.normalise_rows = normalise, normalise_rows
        last = out_channels if jumping is None else hidden_channels
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), last]
        pairs = list(pairwise(widths))
        self.incoming = nn.ModuleList(_make(conv, a, b) for a, b in pairs)
        self.outgoing = nn.ModuleList(_make(conv, a, b) for a, b in pairs)
        self.own = nn.ModuleList(nn.Linear(a, b) for a, b in pairs if own_row)
        # A logit keeps a learnt share between 0 and 1.
        share = torch.full((num_layers,), float(alpha))
        if learn_alpha:
            self.alpha_logit = nn.Parameter(torch.logit(share, eps=1e-4))
        else:
            self.register_buffer("fixed_alpha", share)
        if jumping is not None:
            width = hidden_channels * (num_layers if jumping == "cat" else 1)
            self.lin = nn.Linear(width, out_channels)

    @property
    def alpha(self) -> Tensor:
        """Share of the outgoing run in each layer. [num_layers]."""
        if hasattr(self, "alpha_logit"):
            return self.alpha_logit.sigmoid()
        fixed: Tensor = self.fixed_alpha  # type: ignore[assignment]
        return fixed

    def forward(self, x: Any, edges: Tensor | Graph) -> Tensor:
        """Compute logits of all rows."""
        h: Any = features(x)
        h = normalised(h) if self.normalise_rows else h
        blocks = directed_blocks(edges, h.shape[0], h.dtype, h.device)
        alpha, layers = self.alpha, []
        for i in range(self.num_layers):
            h = dropout(h, self.dropout, self.training)
            runs = [
                conv(h, block)
                for conv, block in zip(
                    (self.incoming[i], self.outgoing[i]), blocks, strict=True
                )
            ]
            total = torch.lerp(runs[0], runs[1], alpha[i].to(runs[0].dtype))
            if len(self.own):
                total = total + linear(h, self.own[i])  # type: ignore[arg-type]
            if i + 1 == self.num_layers and self.jumping is None:
                return total
            h = F.relu(total)
            h = F.normalize(h, dim=1) if self.normalise else h
            layers.append(h)
        joined = torch.cat(layers, 1) if self.jumping == "cat" else _maximum(layers)
        return self.lin(joined)


_BLOCKS: weakref.WeakKeyDictionary[Graph, dict[Any, tuple[Block, Block]]]
_BLOCKS = weakref.WeakKeyDictionary()


def directed_blocks(
    edges: Tensor | Graph,
    num_nodes: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> tuple[Block, Block]:
    r"""Blocks over the edges into and out of each node, weights 1/sqrt(d_out d_in).

    Distinct edges between two nodes count, each once. Those of a Graph are kept with it.
    """
    if not isinstance(edges, Graph):
        return _directed_blocks(as_graph(edges, num_nodes), dtype, device)
    kept = _BLOCKS.setdefault(edges, {})
    key = (dtype, str(device))
    if key not in kept:
        kept[key] = _directed_blocks(edges, dtype, device)
    return kept[key]


def _directed_blocks(
    graph: Graph, dtype: torch.dtype, device: torch.device | str
) -> tuple[Block, Block]:
    by_source, by_target = both_directions(graph)
    outgoing = by_source[0].diff().to(dtype)
    incoming = by_target[0].diff().to(dtype)
    blocks = []
    for (ptr, idx), own, other in (
        (by_target, incoming, outgoing),
        (by_source, outgoing, incoming),
    ):
        block = Block(ptr, idx, None, graph.num_nodes)
        block.weight = (own[block.owner] * other[idx]).pow(-0.5)
        blocks.append(block.to(device))
    return blocks[0], blocks[1]


def _make(conv: Convolution, in_channels: int, out_channels: int) -> nn.Module:
    if not isinstance(conv, str):
        return conv(in_channels, out_channels)
    if conv == "gcn":
        return GCNLayer(in_channels, out_channels)
    if conv == "sage":
        return SAGELayer(in_channels, out_channels)
    return GATLayer(in_channels, out_channels)


def _maximum(layers: list[Tensor]) -> Tensor:
    return torch.stack(layers).amax(0)
