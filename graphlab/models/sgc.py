"""SGC: logistic regression on features that were averaged over K hops."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph
from graphlab.models.decoupled import Decoupled
from graphlab.models.sparse import dropout, normalised
from graphlab.models.structure import of_graph


class SGC(Decoupled):
    r"""Simple graph convolution: :math:`\mathrm{softmax}(\hat{P}^K X W + b)`.

    :math:`\hat{P}` is GCN's normalised adjacency, over edges into each node.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hops: K.
        dropout: On the propagated rows.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values first.
        precomputed: ``x`` holds propagated rows already; how they were made is not checked.

    Shapes:
        x [N, in_channels] -> [N, out_channels], or [len(nodes), out_channels].

    Source:
        Wu et al., "Simplifying Graph Convolutional Networks", ICML 2019, eq. 8.

    Example:
        >>> import torch
        >>> SGC(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hops: int = 2,
        dropout: float = 0.0,
        normalise_rows: bool = False,
        precomputed: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, 1, precomputed, normalise_rows)
        self.hops = check.positive("SGC", "hops", hops)
        self.dropout = dropout
        self.lin = nn.Linear(self.channels, out_channels)

    def key(self) -> tuple[object, ...]:
        """Hops and normalisation."""
        return ("sgc", self.hops, self.normalise_rows)

    def propagated(self, x: Tensor, graph: Graph) -> Tensor:
        """The last hop alone."""
        rows: Any = normalised(x) if self.normalise_rows else x
        block = of_graph(graph, "gcn", x.dtype, x.device)
        for _ in range(self.hops):
            rows = block.aggregate(rows, weight=block.weight)
        return rows[:, None]

    def head(self, rows: Tensor) -> Tensor:
        """One linear map."""
        x: Any = dropout(rows[:, 0], self.dropout, self.training)
        return self.lin(x)
