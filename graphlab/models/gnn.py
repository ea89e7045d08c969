"""Backbones: MLP, GCN, SAGE, GAT, GCNII; :mod:`graphlab.models.backbone` has their protocol."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.models.backbone import GNN
from graphlab.models.layers import GATLayer, GCNIILayer, GCNLayer, SAGELayer
from graphlab.models.sparse import dropout, features, first_rows, linear, normalised
from graphlab.models.structure import Block


class MLP(GNN):
    """Fully connected network on the node's own features; the control without a graph.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Linear layers.
        dropout: On the input and each inner layer.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 256,
        num_layers: int = 2,
        dropout: float = 0.5,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            normalise_rows,
        )
        widths = self._widths()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Linear layer ``i`` on the targets' rows."""
        x = first_rows(x, adjacency.num_targets)
        x = self._inputs(x) if i == 0 else dropout(x, self.dropout, self.training)
        x = linear(x, self.layers[i])  # type: ignore[arg-type]
        return x.relu() if i + 1 < self.num_layers else x


class _Stack(GNN):
    """Equal layers one after the other, with an optional norm between them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
        norm: str | None,
        normalise_rows: bool,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            normalise_rows,
        )
        self.norms = nn.ModuleList()
        if norm is not None:
            check.one_of(type(self).__name__, "norm", norm, ("batch", "layer"))
            make = nn.BatchNorm1d if norm == "batch" else nn.LayerNorm
            self.norms.extend(make(hidden_channels) for _ in range(num_layers - 1))
        self.layers = nn.ModuleList()

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Convolution ``i``, then norm and ReLU on all but the last."""
        x = self._inputs(x) if i == 0 else dropout(x, self.dropout, self.training)
        x = self.layers[i](x, adjacency)
        if i + 1 == self.num_layers:
            return x
        if len(self.norms):
            x = self.norms[i](x)
        return F.relu(x)


class GCN(_Stack):
    r"""Graph convolutional network: :math:`H' = \sigma(\hat{P} H W + b)`.

    :math:`\hat{P} = \hat{D}^{-1/2} (A + I) \hat{D}^{-1/2}`; edge weights are used, and each
    node has one self loop whatever the data hold. In a sampled batch degrees are those of
    the batch, as in PyG, and are the same with and without trimming.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Convolutions.
        dropout: On the input and each inner layer.
        norm: ``batch`` or ``layer`` normalisation of inner layers, or None.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Kipf and Welling, ICLR 2017, eqs. 2 and 9. :data:`graphlab.models.PUBLIC_SPLIT` has
        the recipe for Cora and CiteSeer.
    """

    kind = "gcn"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        dropout: float = 0.5,
        norm: str | None = None,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            norm,
            normalise_rows,
        )
        widths = self._widths()
        self.layers.extend(GCNLayer(a, b) for a, b in pairwise(widths))


class SAGE(_Stack):
    r"""GraphSAGE, mean: :math:`h'_v = \sigma(W_r h_v + W_l\,\mathrm{mean}_u h_u + b)`.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Convolutions.
        dropout: On inner layers, not on the input.
        norm: ``batch`` or ``layer`` normalisation of inner layers, or None.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Hamilton, Ying and Leskovec, NeurIPS 2017; layers and dropout as in OGB's examples.
        Edge weights are not used.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 256,
        num_layers: int = 2,
        dropout: float = 0.5,
        norm: str | None = None,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            norm,
            normalise_rows,
        )
        widths = self._widths()
        self.layers.extend(SAGELayer(a, b) for a, b in pairwise(widths))

    def _inputs(self, x: Any) -> Any:
        return normalised(x) if self.normalise_rows else x


class GAT(GNN):
    """Graph attention network with ELU between its layers.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers, all heads side by side.
        num_layers: Attention layers.
        dropout: On the input, inner layers and attention weights.
        heads: Heads of inner layers; divides ``hidden_channels``.
        out_heads: Heads of the last layer, averaged.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Velickovic et al., ICLR 2018, section 3.3 (8 heads of 8, dropout 0.6). Edge weights
        are not used.
    """

    kind = "loops"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        dropout: float = 0.6,
        heads: int = 8,
        out_heads: int = 1,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            normalise_rows,
        )
        check.positive("GAT", "heads", heads)
        check.positive("GAT", "out_heads", out_heads)
        if hidden_channels % heads:
            check.fail(
                ValueError,
                "GAT",
                "hidden_channels",
                f"be a multiple of heads = {heads}",
                hidden_channels,
            )
        self.layers = nn.ModuleList()
        for i in range(num_layers):
            last = i + 1 == num_layers
            self.layers.append(
                GATLayer(
                    in_channels if i == 0 else hidden_channels,
                    out_channels if last else hidden_channels // heads,
                    heads=out_heads if last else heads,
                    concat=not last,
                    dropout=dropout,
                )
            )

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Attention layer ``i``, then ELU on all but the last."""
        x = self._inputs(x) if i == 0 else dropout(x, self.dropout, self.training)
        x = self.layers[i](x, adjacency)
        return F.elu(x) if i + 1 < self.num_layers else x


class GCNII(GNN):
    r"""GCN with initial residual and identity mapping, for many layers.

    :math:`H_{l} = \sigma\big(((1-\alpha) \hat{P} H_{l-1} + \alpha H_0)((1-\beta_l) I +
    \beta_l W_l)\big)`, :math:`H_0 = \sigma(X W_0 + b_0)`, logits :math:`H_L W + b`.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of all layers.
        num_layers: Convolutions; the two linear maps come on top.
        dropout: On the input, each layer and before the output map.
        alpha: Share of the initial rows in each layer.
        theta: :math:`\beta_l = \ln(\theta / l + 1)`.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Chen et al., ICML 2020, eq. 5. For the public splits the paper decays the
        convolutions by 0.01 and the linear maps by 5e-4; ``model.convolutions`` and the
        rest are the two groups.
    """

    kind = "gcn"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 16,
        dropout: float = 0.6,
        alpha: float = 0.1,
        theta: float = 0.5,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            hidden_channels,
            num_layers,
            dropout,
            normalise_rows,
        )
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convolutions = nn.ModuleList(
            GCNIILayer(hidden_channels, alpha, theta, i + 1) for i in range(num_layers)
        )
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    def start(self, x: Any) -> Any:
        """The initial rows :math:`H_0`."""
        return linear(self._inputs(features(x)), self.lin_in).relu()

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """ReLU of what comes in, convolution ``i``; behind the last one the output map."""
        x = ops.dropout(x, self.dropout, self.training, relu=True)
        initial = x_initial[: adjacency.num_targets]
        x = self.convolutions[i](x, initial, adjacency)
        if i + 1 < self.num_layers:
            return x
        return self.lin_out(ops.dropout(x, self.dropout, self.training, relu=True))
