"""SIGN: one linear map for each hop of the features, then an MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.models.decoupled import Decoupled
from graphlab.models.sparse import normalised
from graphlab.models.structure import of_graph


class SIGN(Decoupled):
    r"""Scalable inception: :math:`\xi(\sigma([X W_0, \hat{P} X W_1, .., \hat{P}^K X W_K]) W)`.

    :math:`\hat{P}` is GCN's normalised adjacency, over edges into each node.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of each hop's map.
        hops: K.
        dropout: On what the hops' maps give.
        input_dropout: On the propagated rows.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values first.
        precomputed: ``x`` holds propagated rows already; how they were made is not checked.

    Shapes:
        x [N, in_channels] -> [N, out_channels], or [len(nodes), out_channels].

    Source:
        Frasca et al., "SIGN: Scalable Inception Graph Neural Networks", 2020, eq. 4, with
        powers of one operator and PReLU.

    Example:
        >>> SIGN(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        hops: int = 2,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
        normalise_rows: bool = False,
        precomputed: bool = False,
    ) -> None:
        check.positive("SIGN", "hops", hops)
        super().__init__(
            in_channels, out_channels, hops + 1, precomputed, normalise_rows
        )
        self.hops = hops
        self.dropout, self.input_dropout = dropout, input_dropout
        self.maps = nn.ModuleList(
            nn.Linear(self.channels, hidden_channels) for _ in range(hops + 1)
        )
        self.act = nn.PReLU()
        self.lin = nn.Linear(hidden_channels * (hops + 1), out_channels)

    def key(self) -> tuple[object, ...]:
        """Hops and normalisation."""
        return ("sign", self.hops, self.normalise_rows)

    def propagated(self, x: Tensor, graph: Graph) -> Tensor:
        """Hops 0 .. K side by side."""
        first = normalised(x) if self.normalise_rows else x
        block = of_graph(graph, "gcn", x.dtype, x.device)
        hops = [first]
        for _ in range(self.hops):
            hops.append(block.aggregate(hops[-1], weight=block.weight))  # type: ignore[arg-type]
        return torch.stack(hops, dim=1)  # type: ignore[arg-type]

    def head(self, rows: Tensor) -> Tensor:
        """The maps of the hops, and the last one over all of them."""
        rows = ops.dropout(rows, self.input_dropout, self.training)
        parts = [lin(rows[:, k]) for k, lin in enumerate(self.maps)]
        h = ops.dropout(self.act(torch.cat(parts, 1)), self.dropout, self.training)
        return self.lin(h)
