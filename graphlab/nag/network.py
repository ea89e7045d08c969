"""The denoising network: a transformer whose heads look along the DAG, one way each."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab.nag.space import SearchSpace


class DenoisingNetwork(nn.Module):
    r"""Predicts each node's label from noisy labels, the noise level and a condition.

    A quarter of the heads attend to the node itself and what it reaches, a quarter to itself
    and what reaches it, so that information flows both ways along the DAG; the rest see all
    nodes, because siblings depend on each other too.

    Args:
        space: The space; gives V, F and the attention graph.
        inputs: Width of a node's input (F, or F + 1 with a mask token).
        hidden: Width.
        blocks: Transformer blocks.
        heads: Attention heads; at least two.
        conditions: Number of classes of the condition; class 0 means none.

    Shapes:
        x [B, V, inputs], noise [B], condition [B] -> logits [B, V, F].

    Cost: about 12 * blocks * hidden^2 multiply-adds a node.
    """

    masks: Tensor

    def __init__(
        self,
        space: SearchSpace,
        inputs: int,
        hidden: int = 64,
        blocks: int = 4,
        heads: int = 4,
        conditions: int = 11,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(inputs, hidden)
        self.position = nn.Parameter(0.1 * torch.randn(space.num_nodes, hidden))
        self.noise = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, hidden)
        )
        self.condition = nn.Embedding(conditions, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, space.num_labels)
        self_edge = torch.eye(space.num_nodes, dtype=torch.bool)
        forward = space.attention | self_edge
        backward = space.attention.T | self_edge
        along = max(1, heads // 4)
        everything = torch.ones_like(forward)
        masks = torch.stack(
            [forward] * along + [backward] * along + [everything] * (heads - 2 * along)
        )
        self.register_buffer("masks", masks, persistent=False)

    def forward(
        self, x: Tensor, noise: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Compute logits."""
        h = self.embed(x) + self.position
        level = self.noise(sinusoid(noise, h.shape[-1]))
        if condition is None:
            condition = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        h = h + (level + self.condition(condition))[:, None]
        for block in self.blocks:
            h = block(h, self.masks)
        return self.head(self.norm(h))


class Block(nn.Module):
    """Pre-norm attention and feed-forward.

    Args:
        hidden: Width.
        heads: Number of heads.
        feed: Width inside the feed-forward; default twice ``hidden``.
    """

    def __init__(self, hidden: int, heads: int, feed: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.feed = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, feed or 2 * hidden),
            nn.GELU(),
            nn.Linear(feed or 2 * hidden, hidden),
        )

    def forward(self, h: Tensor, masks: Tensor | None = None) -> Tensor:
        """[B, V, hidden] -> the same; ``masks`` bool [heads, V, V]: may attend."""
        batch, nodes, width = h.shape
        qkv = self.qkv(self.norm_attention(h)).view(batch, nodes, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=masks)
        h = h + self.out(mixed.transpose(1, 2).reshape(batch, nodes, width))
        return h + self.feed(h)


def sinusoid(value: Tensor, width: int) -> Tensor:
    """Sines and cosines of ``value`` [B] at geometric frequencies: [B, width].

    Example:
        >>> sinusoid(torch.zeros(2), 4).tolist()
        [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=value.device)
    frequency = torch.exp(-math.log(1000.0) * steps / max(half - 1, 1))
    angle = 10.0 * value.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)
