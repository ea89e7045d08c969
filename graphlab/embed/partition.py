"""Parts of the nodes, equal in size and in degree, and the order of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Partition(NamedTuple):
    """Nodes numbered anew so that each part is a range of rows.

    Attributes:
        rank: [N], int64: row of each node.
        node: [N], int64: node of each row; inside a part, falling degree.
        bounds: parts + 1 row numbers.
    """

    rank: Tensor
    node: Tensor
    bounds: tuple[int, ...]

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.bounds) - 1

    @property
    def largest(self) -> int:
        """Rows of the largest part."""
        return max(b - a for a, b in zip(self.bounds, self.bounds[1:], strict=False))

    def rows(self, part: int) -> slice:
        """Rows of a part."""
        return slice(self.bounds[part], self.bounds[part + 1])


def partition(degree: Tensor, parts: int) -> Partition:
    """Deal nodes to parts in snake order of falling degree, as GraphVite does.

    One part is the order by degree: the rows of hubs lie together, which spares TLB misses.

    Args:
        degree: [N].
        parts: Number of parts, at most N.

    Example:
        >>> partition(torch.tensor([1, 9, 5, 7]), 2).node.tolist()
        [1, 0, 3, 2]
    """
    order = torch.argsort(degree, descending=True, stable=True)
    place = torch.arange(len(order))
    lap, seat = place // parts, place % parts
    part = torch.where(lap % 2 == 0, seat, parts - 1 - seat)
    by_part = torch.argsort(part, stable=True)
    node = order[by_part]
    rank = torch.empty_like(node)
    rank[node] = place
    counts = torch.bincount(part, minlength=parts).cumsum(0).tolist()
    return Partition(rank, node, (0, *counts))


def rounds(parts: int) -> Iterator[list[tuple[int, int]]]:
    """Orders the blocks (head part, tail part) so that those of a round share no rows.

    Blocks of a round can be trained in any order, or at once, with the same result. Who
    keeps a tail part meets every head part in turn: only heads move.

    Example:
        >>> list(rounds(2))
        [[(0, 0), (1, 1)], [(1, 0), (0, 1)]]
    """
    for offset in range(parts):
        yield [((tail + offset) % parts, tail) for tail in range(parts)]
