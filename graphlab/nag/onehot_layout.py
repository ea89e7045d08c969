"""How DiffusionNAG writes architectures as rows of one-hot operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from graphlab.nag.space import SearchSpace, closure
from graphlab.nag.spaces.mobilenet import LAYERS, STAGES, MobileNetV3
from graphlab.nag.spaces.nb201 import NB201


class Layout:
    """Rows of operations for a space; one row a node, one-hot.

    Attributes:
        adjacency: bool [n, n], the raw DAG, row -> column.
        positions: int64 [n], of the positional encoding.
        highest: Largest noise level.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.width = space.num_labels
        raw = space.adjacency if isinstance(space, NB201) else space.attention.triu(1)
        self.adjacency = raw
        self.positions = torch.arange(space.num_nodes)
        self.highest = 5.0

    @property
    def closure(self) -> Tensor:
        """What each node reaches: the mask that the paper means."""
        return closure(self.adjacency)

    def encode(self, x: Tensor) -> Tensor:
        """int64 [B, V] -> float [B, n, width] of zeros and ones."""
        return self.space.one_hot(x)

    def relaxed(self, rows: Tensor) -> Tensor:
        """Rows in [0, 1] as the space's one-hot, differentiable: [B, V, F]."""
        return rows

    def decode(self, rows: Tensor) -> Tensor:
        """The best allowed label of each row: always an architecture."""
        x = rows.masked_fill(~self.space.allowed, -torch.inf).argmax(-1)
        masks = self.space.masks(x)
        again = rows.masked_fill(~masks, -torch.inf).argmax(-1)
        if self.space.wiring is not None:
            again[:, self.space.wiring] = x[:, self.space.wiring]
        return self.space.canonical(again)

    def threshold(self, rows: Tensor) -> Tensor:
        """The release's: entries of at least one half; -1 where a row has not one of them."""
        on = rows >= 0.5
        return torch.where(on.sum(-1) == 1, on.long().argmax(-1), -1)


class StageLayout(Layout):
    """MobileNetV3: 20 layers by 9 types; a missing layer is a row of zeros."""

    def __init__(self, space: MobileNetV3) -> None:
        super().__init__(space)
        self.mobile = space
        self.width, count = 9, STAGES * LAYERS
        self.adjacency = torch.zeros(count, count, dtype=torch.bool)
        self.adjacency[torch.arange(count - 1), torch.arange(1, count)] = True
        self.positions = torch.arange(LAYERS).repeat(STAGES)
        self.highest = 1.0

    @property
    def closure(self) -> Tensor:
        """The release's configuration keeps the raw chain here."""
        return self.adjacency

    def encode(self, x: Tensor) -> Tensor:
        """Layers that exist, one-hot."""
        one_hot = self.space.one_hot(x)[:, STAGES:, : self.width]
        return one_hot * self.mobile.present(x).flatten(1)[..., None]

    def relaxed(self, rows: Tensor) -> Tensor:
        """Depths by how much of the last two layers is there; a missing layer is ``3-3``."""
        there = rows.sum(-1).clamp(max=1)
        third, fourth = there.view(-1, STAGES, LAYERS)[..., 2:].unbind(-1)
        depth = torch.stack([1 - third, third * (1 - fourth), third * fourth], -1)
        first = torch.cat([rows[..., :1] + (1 - there)[..., None], rows[..., 1:]], -1)
        return torch.cat([F.pad(depth, (self.width, 0)), F.pad(first, (0, 3))], 1)

    def decode(self, rows: Tensor) -> Tensor:
        """The best type of each layer; depths from which layers reach one half."""
        there = (rows.max(-1).values >= 0.5).view(-1, STAGES, LAYERS)
        depth = there[:, :, 2] + (there[:, :, 2] & there[:, :, 3]).long()
        x = torch.cat([9 + depth, rows.argmax(-1)], 1)
        return self.space.canonical(x)

    def threshold(self, rows: Tensor) -> Tensor:
        """The release's; -1 where two types are on, or a layer misses that must be there."""
        on = rows >= 0.5
        count = on.sum(-1).view(-1, STAGES, LAYERS)
        third, fourth = count[..., 2] > 0, count[..., 3] > 0
        bad = (count > 1).any(-1) | (count[..., :2] == 0).any(-1) | (fourth & ~third)
        depth = torch.where(bad, -1, 9 + third.long() + fourth.long())
        x = torch.cat([depth, on.long().argmax(-1)], 1)
        return torch.where(bad.any(1)[:, None], x, self.space.canonical(x))


def layout(space: SearchSpace) -> Layout:
    """The layout of a space."""
    return StageLayout(space) if isinstance(space, MobileNetV3) else Layout(space)
