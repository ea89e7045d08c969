"""MagNet: convolutions with a complex Laplacian whose phase is the edges' direction."""

from __future__ import annotations

import math
import weakref
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.graph.directions import both_directions
from graphlab.models.sparse import features, linear, normalised
from graphlab.models.structure import Block, as_graph, build


class MagNet(nn.Module):
    r"""Magnetic Laplacian network, Chebyshev order one.

    :math:`H = D_s^{-1/2} A_s D_s^{-1/2} \odot \exp(i \Theta)`, :math:`A_s = (A + A^\top)/2`,
    :math:`\Theta = 2 \pi q (A - A^\top)`; layers
    :math:`X' = \sigma(X W_0 - H X W_1 + B)` with a complex ReLU that keeps a number where its
    real part is positive; the real and imaginary parts side by side give the logits.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of inner layers.
        num_layers: Convolutions.
        q: Charge; 0 forgets direction, 0.25 makes an edge and its reverse opposite.
        dropout: Before the last map.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values.

    Shapes:
        x [N, in_channels] -> [N, out_channels].

    Source:
        Zhang et al., "MagNet: A Neural Network for Directed Graphs", NeurIPS 2021, eqs. 1-6
        with :math:`\lambda_{max} = 2`.

    Example:
        >>> MagNet(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    takes_graph = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 32,
        num_layers: int = 2,
        q: float = 0.25,
        dropout: float = 0.5,
        normalise_rows: bool = False,
    ) -> None:
        super().__init__()
        check.positive("MagNet", "num_layers", num_layers)
        if not 0 <= q <= 0.25:
            check.fail(ValueError, "MagNet", "q", "be in [0, 0.25]", q)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.q, self.dropout, self.normalise_rows = q, dropout, normalise_rows
        widths = [in_channels, *[hidden_channels] * num_layers]
        pairs = list(pairwise(widths))
        self.own = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)
        self.others = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairs)
        self.bias = nn.ParameterList(torch.zeros(b) for _, b in pairs)
        self.lin = nn.Linear(2 * hidden_channels, out_channels)

    def forward(self, x: Any, edges: Tensor | Graph) -> Tensor:
        """Compute logits of all rows."""
        given: Any = features(x)
        given = normalised(given) if self.normalise_rows else given
        n, dtype, device = given.shape[0], given.dtype, given.device
        cosine, sine = magnetic_blocks(edges, n, self.q, dtype, device)
        real: Any = given
        imaginary: Any = None
        for own, others, bias in zip(self.own, self.others, self.bias, strict=True):
            # The features are real: the first layer's imaginary input is none.
            parts = [real] if imaginary is None else [real, imaginary]
            kept = [linear(p, own) for p in parts]  # type: ignore[arg-type]
            moved = torch.cat([linear(p, others) for p in parts], 1)  # type: ignore[arg-type]
            with_cos = cosine.aggregate(moved, weight=cosine.weight)
            with_sin = sine.aggregate(moved, weight=sine.weight)
            if imaginary is None:
                real, imaginary = kept[0] - with_cos + bias, bias - with_sin
            else:
                c_real, c_imaginary = with_cos.chunk(2, 1)
                s_real, s_imaginary = with_sin.chunk(2, 1)
                real = kept[0] - (c_real - s_imaginary) + bias
                imaginary = kept[1] - (c_imaginary + s_real) + bias
            keep = (real >= 0).to(real.dtype)
            real, imaginary = real * keep, imaginary * keep
        h = torch.cat([real, imaginary], 1)
        return self.lin(ops.dropout(h, self.dropout, self.training))


_BLOCKS: weakref.WeakKeyDictionary[Graph, dict[Any, tuple[Block, Block]]]
_BLOCKS = weakref.WeakKeyDictionary()


def magnetic_blocks(
    edges: Tensor | Graph,
    num_nodes: int,
    q: float,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> tuple[Block, Block]:
    """Real and imaginary part of :math:`H`, as blocks; those of a Graph are kept with it."""
    graph = as_graph(edges, num_nodes)
    kept = _BLOCKS.setdefault(graph, {})
    key = (q, dtype, str(device))
    if key not in kept:
        cosine, sine = _magnetic_blocks(graph, q, dtype)
        kept[key] = (cosine.to(device), sine.to(device))
    return kept[key]


def _magnetic_blocks(graph: Graph, q: float, dtype: torch.dtype) -> tuple[Block, Block]:
    n = graph.num_nodes
    ptr, idx = both_directions(graph)[0]
    out = Block(ptr, idx, None, n)
    source, target = out.owner.long(), idx.long()
    # Entries (row, column) of A_s and of A - A^T; a reciprocated edge is met twice.
    row, column = torch.cat([source, target]), torch.cat([target, source])
    signed = torch.ones(len(source), dtype=torch.float64)
    signed = torch.cat([signed, -signed])
    keys, place = torch.unique(row * n + column, return_inverse=True)
    half = torch.zeros(len(keys), dtype=torch.float64)
    half.index_add_(0, place, torch.full_like(signed, 0.5))
    direction = torch.zeros_like(half).index_add_(0, place, signed)
    row, column = keys // n, keys % n
    degree = torch.zeros(n, dtype=torch.float64).index_add_(0, row, half)
    scale = degree.pow(-0.5).masked_fill_(degree <= 0, 0.0)
    size = half * scale[row] * scale[column]
    phase = 2 * math.pi * q * direction
    blocks = []
    for part in (size * phase.cos(), size * phase.sin()):
        block = build(torch.stack([column, row]), n, "plain")
        # Keys ascend by row, as the block's edges do.
        block.weight = part.to(dtype)
        blocks.append(block)
    return blocks[0], blocks[1]
