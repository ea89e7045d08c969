"""Refined-GAE's head: a deep MLP on the product of two nodes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from graphlab import check
from graphlab.models.dense import DenseLayers, layer
from graphlab.models.link_rows import products


class HadamardMLP(nn.Module):
    r"""Score a pair by a deep MLP on :math:`h_i \odot h_j`; the graph is not used.

    Its layers have residuals. With orthogonal node embeddings and a plain GCN this is
    Refined-GAE, the baseline that a method with more structure has to beat.

    Args:
        hidden_channels: Width of ``h`` and of the layers.
        num_layers: Linear layers, the last one to a single logit.
        dropout: Behind each inner layer.

    Shapes:
        h [N, hidden_channels], pairs [2, B] -> [B].

    Source:
        Ma et al., "Reconsidering the Performance of GAE in Link Prediction", CIKM 2025: the
        ingredients are theirs (orthogonal embeddings, linear propagation, deep Hadamard MLP
        with residuals), their settings for each data set are not reproduced here.
    """

    def __init__(
        self, hidden_channels: int, num_layers: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check.positive(name, "hidden_channels", hidden_channels)
        check.positive(name, "num_layers", num_layers)
        if not 0 <= dropout < 1:
            check.fail(ValueError, name, "dropout", "be in [0, 1)", dropout)
        width = hidden_channels
        self.blocks = nn.ModuleList(
            DenseLayers(*layer(width, dropout, True)) for _ in range(num_layers - 1)
        )
        self.last = nn.Linear(width, 1)

    def forward(
        self, h: Tensor, graph: Any, pairs: Tensor, exclude: Tensor | None = None
    ) -> Tensor:
        """Compute logits. [B]."""
        z = products(h, pairs)
        for block in self.blocks:
            z = z + block(z)
        return self.last(z)[:, 0]
