"""Message-passing layers on ``ops.spmm`` and ``ops.segment_softmax``.

Each maps the rows of a :class:`~graphlab.models.structure.Block`'s sources to the rows of
its targets. Where a layer is linear in ``x`` it aggregates the narrower side.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import ops
from graphlab.models.sparse import Features, SparseRows, linear
from graphlab.models.structure import Block


def _project_first(x: Tensor, block: Block, width: int) -> bool:
    """Whether ``A (X W)`` beats ``(A X) W``.

    Multiplying first narrows what is aggregated; in a sampled block it also multiplies the
    rows of all sources, of which there are several times as many as targets.
    """
    return width <= x.shape[1] and block.num_sources <= 2 * block.num_targets


class GCNLayer(nn.Module):
    r"""Graph convolution: :math:`\hat{D}^{-1/2} \hat{A} \hat{D}^{-1/2} X W + b`.

    :math:`\hat{A} = A + I`, :math:`\hat{D}` its in-degrees; the block (kind ``gcn``) holds
    the normalised weights.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        bias: Add ``b``.

    Shapes:
        x [num_sources, in_channels] -> [num_targets, out_channels].

    Source:
        Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional
        Networks", ICLR 2017, eq. 2.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights, zero bias."""
        nn.init.xavier_uniform_(self.lin.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Features, block: Block) -> Tensor:
        """Compute the targets' rows."""
        width = self.lin.out_features
        if isinstance(x, SparseRows) or _project_first(x, block, width):
            out = block.aggregate(linear(x, self.lin), weight=block.weight)
        else:
            out = self.lin(block.aggregate(x, weight=block.weight))
        return out if self.bias is None else out + self.bias


class SAGELayer(nn.Module):
    r"""GraphSAGE, mean: :math:`W_r x_v + W_l \, \mathrm{mean}_{u \to v} x_u + b`.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.

    Shapes:
        x [num_sources, in_channels] -> [num_targets, out_channels].

    Source:
        Hamilton, Ying and Leskovec, "Inductive Representation Learning on Large Graphs",
        NeurIPS 2017, algorithm 1; as in PyG and the OGB examples two weights stand for the
        concatenation, and the rows are not normalised.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(in_channels, out_channels, bias=False)
        self.lin_r = nn.Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        """``torch.nn.Linear``'s start values."""
        self.lin_l.reset_parameters()
        self.lin_r.reset_parameters()

    def forward(self, x: Features, block: Block) -> Tensor:
        """Compute the targets' rows."""
        width = self.lin_l.out_features
        if isinstance(x, SparseRows):
            root = linear(x, self.lin_r)[: block.num_targets]
        else:
            root = self.lin_r(x[: block.num_targets])
        if isinstance(x, SparseRows) or _project_first(x, block, width):
            return block.aggregate(linear(x, self.lin_l), reduce="mean") + root
        return self.lin_l(block.aggregate(x, reduce="mean")) + root


class GATLayer(nn.Module):
    r"""Graph attention with several heads, over neighbours and the node itself.

    :math:`\alpha_{uv} = \mathrm{softmax}_{u}\big(\mathrm{LeakyReLU}(a_s^\top W x_u +
    a_t^\top W x_v)\big)`, :math:`x'_v = \sum_u \alpha_{uv} W x_u + b`.

    Args:
        in_channels: Width of the input.
        out_channels: Width of one head.
        heads: Number of heads.
        concat: Put the heads side by side; otherwise average them.
        dropout: Chance to drop an attention weight.
        negative_slope: Of the LeakyReLU.

    Shapes:
        x [num_sources, in_channels] -> [num_targets, heads * out_channels] (``concat``) or
        [num_targets, out_channels].

    Source:
        Velickovic et al., "Graph Attention Networks", ICLR 2018, eqs. 1-6.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        heads: int = 1,
        concat: bool = True,
        dropout: float = 0.0,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.heads, self.out_channels, self.concat = heads, out_channels, concat
        self.dropout, self.negative_slope = dropout, negative_slope
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att_src = nn.Parameter(torch.empty(heads, out_channels))
        self.att_dst = nn.Parameter(torch.empty(heads, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels * (heads if concat else 1)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights, zero bias."""
        for weight in (self.lin.weight, self.att_src, self.att_dst):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Features, block: Block) -> Tensor:
        """Compute the targets' rows."""
        h = linear(x, self.lin).view(-1, self.heads, self.out_channels)
        from_source = (h * self.att_src).sum(-1)
        from_target = (h[: block.num_targets] * self.att_dst).sum(-1)
        score = from_source[block.idx] + from_target[block.owner]
        alpha = ops.segment_softmax(F.leaky_relu(score, self.negative_slope), block.ptr)
        alpha = ops.dropout(alpha, self.dropout, self.training)
        heads = [
            block.aggregate(h[:, k], weight=alpha[:, k]) for k in range(self.heads)
        ]
        if self.concat:
            return torch.cat(heads, dim=1) + self.bias
        return torch.stack(heads).mean(0) + self.bias


class GCNIILayer(nn.Module):
    r"""GCNII: :math:`((1-\alpha) \hat{P} x + \alpha x_0)((1-\beta) I + \beta W)`.

    :math:`\hat{P}` is GCN's normalised adjacency, :math:`x_0` the rows before the first
    layer and :math:`\beta_l = \ln(\theta / l + 1)`.

    Args:
        channels: Width.
        alpha: Share of the initial rows.
        theta: Strength of the weights.
        layer: Number of the layer, from 1.

    Shapes:
        x [num_sources, channels], x_initial [num_targets, channels] -> the latter's shape.

    Source:
        Chen et al., "Simple and Deep Graph Convolutional Networks", ICML 2020, eq. 5.
    """

    def __init__(self, channels: int, alpha: float, theta: float, layer: int) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = math.log(theta / layer + 1)
        self.weight = nn.Parameter(torch.empty(channels, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights."""
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor, x_initial: Tensor, block: Block) -> Tensor:
        """Compute the targets' rows."""
        assert block.weight is not None
        # The factors go into the edges' weights and into one small matrix: rows are passed
        # over as seldom as can be.
        out = block.aggregate(x, weight=(1 - self.alpha) * block.weight)
        out = out.add(x_initial, alpha=self.alpha)
        identity = torch.eye(len(self.weight), dtype=x.dtype, device=x.device)
        return out @ torch.lerp(identity, self.weight, self.beta)
