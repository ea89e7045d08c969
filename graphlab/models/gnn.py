"""Backbones: MLP, GCN, SAGE, GAT, GCNII, for full graphs, sampled batches and inference.

One protocol for all of them.

**Forward.** ``model(x, edge_index, num_sampled_nodes=None, num_sampled_edges=None,
edge_weight=None) -> [rows, out_channels]``. ``edge_index`` is int64 [2, E] (row 0 sources,
row 1 targets) or a :class:`~graphlab.graph.Graph`, whose prepared structure (self loops,
normalisation, transpose) is kept for the next epoch. With the per-hop counts of a sampled
batch each layer computes only rows that still reach a seed, and the result has the seeds'
rows; without them it has all rows, and the seeds' are the same. In a full batch ``x`` may be
sparse: a ``SparseColumn``, or a sparse tensor.

**Layer by layer**, for exact inference on graphs whose activations do not fit::

    h = model.start(x)                                  # per node; needs no edges
    for i in range(model.num_layers):
        h = model.layer(i, h, adjacency, h_initial)     # per chunk of target nodes

``adjacency`` is a :class:`~graphlab.models.structure.Block` of the kind ``model.kind``: the
edges into a chunk of targets, whose own rows come first among the rows of ``h``;
``h_initial`` are the targets' rows of ``model.start(x)`` (only GCNII looks at them).
:func:`graphlab.models.layerwise` runs this loop over a whole graph.

**Dropout** stands where the papers' recipes for the public splits have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph
from graphlab.models.layers import GATLayer, GCNIILayer, GCNLayer, SAGELayer
from graphlab.models.sparse import Features, dropout, features, first_rows, linear
from graphlab.models.structure import Block, Kind, build, layer_blocks, of_graph


class GNN(nn.Module):
    """What the backbones share: the forward pass over blocks; see the module's text."""

    kind: ClassVar[Kind] = "plain"
    num_layers: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        for argument, value in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("hidden_channels", hidden_channels),
            ("num_layers", num_layers),
        ):
            check.positive(name, argument, value)
        if not 0 <= dropout < 1:
            check.fail(ValueError, name, "dropout", "be in [0, 1)", dropout)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.hidden_channels, self.num_layers = hidden_channels, num_layers
        self.dropout = dropout

    def reset_parameters(self) -> None:
        """Draw all parameters anew; the same ones after the same ``torch.manual_seed``."""
        _reset_children(self)

    def start(self, x: Any) -> Any:
        """Per-node map ahead of the layers; the identity unless a model says otherwise."""
        return x

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Layer ``i``: rows of the block's sources to rows of its targets."""
        raise NotImplementedError

    def forward(
        self,
        x: Any,
        edge_index: Tensor | Graph | Block,
        num_sampled_nodes: Sequence[int] | None = None,
        num_sampled_edges: Sequence[int] | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute logits; see the module's text.

        Raises:
            TypeError: ``x`` or ``edge_index`` of another type.
            ValueError: counts that do not fit ``x``, a wrong width or shape.
            IndexError: an edge between rows that ``x`` does not have.
        """
        x = self._check(x)
        block = self._block(x, edge_index, edge_weight)
        blocks = layer_blocks(
            block, self.num_layers, num_sampled_nodes, num_sampled_edges
        )
        h = initial = self.start(first_rows(x, blocks[0].num_sources))
        for i, part in enumerate(blocks):
            h = self.layer(i, h, part, initial)
        return h

    def _check(self, x: Any) -> Features:
        x = features(x)
        if len(x.shape) != 2 or x.shape[1] != self.in_channels:
            check.fail(
                ValueError,
                type(self).__name__,
                "x",
                f"have shape [nodes, in_channels = {self.in_channels}]",
                list(x.shape),
            )
        return x

    def _block(self, x: Features, edges: object, weight: Tensor | None) -> Block:
        name = type(self).__name__
        if isinstance(edges, Block):
            return edges
        if isinstance(edges, Graph):
            if edges.num_nodes != x.shape[0]:
                check.fail(
                    ValueError,
                    name,
                    "x",
                    f"have one row per node of the graph ({edges.num_nodes:,})",
                    x.shape[0],
                )
            return of_graph(edges, self.kind, x.dtype, x.device)
        edge_index = check.tensor(
            name, "edge_index", edges, dtypes=check.INDEX_DTYPES, ndim=2
        )
        if edge_index.shape[0] != 2:
            check.fail(
                ValueError,
                name,
                "edge_index",
                "have shape [2, edges]",
                list(edge_index.shape),
            )
        return build(edge_index, x.shape[0], self.kind, weight, dtype=x.dtype)

    def _widths(self) -> list[int]:
        inner = [self.hidden_channels] * (self.num_layers - 1)
        return [self.in_channels, *inner, self.out_channels]


def _reset_children(module: nn.Module) -> None:
    # A layer that resets itself also sees to its parts, which must not be drawn again.
    for child in module.children():
        reset = getattr(child, "reset_parameters", None)
        if callable(reset):
            reset()
        else:
            _reset_children(child)


class MLP(GNN):
    """Fully connected network on the node's own features; the control without a graph.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Linear layers.
        dropout: On the input and each inner layer.

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
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout
        )
        widths = self._widths()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Linear layer ``i`` on the targets' rows."""
        if isinstance(x, Tensor):
            x = x[: adjacency.num_targets]
        x = dropout(x, self.dropout, self.training)
        x = linear(x, self.layers[i])  # type: ignore[arg-type]
        return x.relu() if i + 1 < self.num_layers else x


class _Stack(GNN):
    """Equal layers one after the other, with an optional norm between them."""

    input_dropout: ClassVar[bool]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        num_layers: int,
        dropout: float,
        norm: str | None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout
        )
        self.norms = nn.ModuleList()
        if norm is not None:
            check.one_of(type(self).__name__, "norm", norm, ("batch", "layer"))
            make = nn.BatchNorm1d if norm == "batch" else nn.LayerNorm
            self.norms.extend(make(hidden_channels) for _ in range(num_layers - 1))
        self.layers = nn.ModuleList()

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Convolution ``i``, then norm and ReLU on all but the last."""
        if i > 0 or self.input_dropout:
            x = dropout(x, self.dropout, self.training)
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

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Kipf and Welling, ICLR 2017, eqs. 2 and 9. :data:`graphlab.models.PUBLIC_SPLIT` has
        the recipe for Cora and CiteSeer.
    """

    kind = "gcn"
    input_dropout = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        dropout: float = 0.5,
        norm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout, norm
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

    Shapes:
        x [rows, in_channels] -> [rows, out_channels], or [seeds, out_channels] with counts.

    Source:
        Hamilton, Ying and Leskovec, NeurIPS 2017; layers and dropout as in OGB's examples.
        Edge weights are not used.
    """

    input_dropout = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 256,
        num_layers: int = 2,
        dropout: float = 0.5,
        norm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout, norm
        )
        widths = self._widths()
        self.layers.extend(SAGELayer(a, b) for a, b in pairwise(widths))


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
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout
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
        x = self.layers[i](dropout(x, self.dropout, self.training), adjacency)
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
    ) -> None:
        super().__init__(
            in_channels, out_channels, hidden_channels, num_layers, dropout
        )
        self.lin_in = nn.Linear(in_channels, hidden_channels)
        self.convolutions = nn.ModuleList(
            GCNIILayer(hidden_channels, alpha, theta, i + 1) for i in range(num_layers)
        )
        self.lin_out = nn.Linear(hidden_channels, out_channels)

    def start(self, x: Any) -> Any:
        """The initial rows :math:`H_0`."""
        x = dropout(features(x), self.dropout, self.training)
        return linear(x, self.lin_in).relu()

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """Convolution ``i`` and ReLU; behind the last one the output map."""
        x = F.dropout(x, self.dropout, self.training)
        initial = x_initial[: adjacency.num_targets]
        x = self.convolutions[i](x, initial, adjacency).relu()
        if i + 1 < self.num_layers:
            return x
        return self.lin_out(F.dropout(x, self.dropout, self.training))
