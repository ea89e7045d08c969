"""Walks and pairs of nodes for skip-gram, each a function of the seed and its number."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from graphlab.embed.partition import Partition
from graphlab.graph import Graph, WalkGraph, walk_graph
from graphlab.ops import alias_build, negative_sample, random_walk, rng

# Names of random streams.
_WALK, _DEPART, _ORDER, _SHRINK = 211, 212, 213, 214


@dataclass(frozen=True)
class WalkShape:
    """How walks are made and which of their pairs count.

    Attributes:
        length: Steps of a walk; 1: edges.
        window: Pairs reach so many places.
        forward: Only to later places.
        shrink: Reach drawn anew for each head.
        departure: ``node``: from every node in turn; ``degree``: as edges are drawn.
        p: Return parameter.
        q: In-out parameter.
    """

    length: int
    window: int
    forward: bool
    shrink: bool
    departure: str
    p: float
    q: float

    def pairs(self, nodes: int | None = None) -> float:
        """Pairs of a walk of ``nodes`` nodes (None: all); expected, where they shrink."""
        nodes = self.length + 1 if nodes is None else nodes
        total = 0.0
        for k in range(1, min(self.window, nodes - 1) + 1):
            share = (self.window - k + 1) / self.window if self.shrink else 1.0
            total += share * (nodes - k)
        return total if self.forward else 2 * total


class Walker:
    """Makes walks of a graph whose nodes are numbered as rows of the tables.

    Args:
        g: The graph.
        parts: Rows of its nodes.
        shape: How walks are made.
        seed: Names the draws.
        weighted: Walks follow edge weights.
        ahead: Sort the order of the next pass while walks of this one are made, so that a
            device does not wait for it; 8 bytes a node more, 32 while it sorts.
    """

    def __init__(
        self,
        g: Graph,
        parts: Partition,
        shape: WalkShape,
        seed: int,
        weighted: bool,
        ahead: bool = False,
    ) -> None:
        self.shape, self._seed = shape, seed
        relabelled = Graph(parts.rank[g.edge_index], g.num_nodes, g.edge_weight)
        second = shape.p != 1 or shape.q != 1
        self.graph: WalkGraph = walk_graph(
            relabelled, weighted=weighted, ordered=second
        )
        self._tables: tuple[Tensor, Tensor] | None = None
        if shape.departure == "degree":
            nodes = torch.tensor([0, g.num_nodes])
            self._tables = alias_build(nodes, self.graph.strength)
        # In the order of input nodes, so that walks start there whatever the parts are.
        alive = self.graph.strength[parts.rank] > 0
        self._alive = parts.rank[alive]
        self._pass, self._order = -1, self._alive
        self._sorter = ThreadPoolExecutor(1) if ahead else None
        self._ahead: tuple[int, Future[Tensor]] | None = None
        if ahead and self._tables is None:
            self._begin(0)

    def close(self) -> None:
        """Stop sorting ahead."""
        if self._sorter is not None:
            self._sorter.shutdown(wait=False, cancel_futures=True)

    def walks(self, first: int, count: int) -> Tensor:
        """Walks ``first`` to ``first + count - 1``: [count, length + 1]."""
        return random_walk(
            self.graph.ptr,
            self.graph.idx,
            self._starts(first, count),
            self.shape.length,
            slots=self.graph.slots,
            p=self.shape.p,
            q=self.shape.q,
            key=rng.key(self._seed, _WALK),
            first=first,
        )

    def _starts(self, first: int, count: int) -> Tensor:
        if self._tables is not None:
            key = rng.key(self._seed, _DEPART)
            return negative_sample(*self._tables, count, key=key, first=first).long()
        parts, size = [], len(self._alive)
        while count > 0:
            lap, place = divmod(first, size)
            if lap != self._pass:
                self._pass, self._order = lap, self._order_of(lap)
                self._begin(lap + 1)
            taken = self._order[place : place + count]
            parts.append(taken)
            first, count = first + len(taken), count - len(taken)
        return torch.cat(parts)

    def _sorted(self, lap: int) -> Tensor:
        key = rng.key(self._seed, _ORDER, lap)
        return self._alive[torch.from_numpy(rng.permutation(key, len(self._alive)))]

    def _begin(self, lap: int) -> None:
        if self._sorter is not None:
            self._ahead = lap, self._sorter.submit(self._sorted, lap)

    def _order_of(self, lap: int) -> Tensor:
        if self._ahead is not None and self._ahead[0] == lap:
            return self._ahead[1].result()
        return self._sorted(lap)

    def pairs(self, walks: Tensor, first: int) -> Tensor:
        """The (head, tail) pairs of walks, [P, 2]; pairs of one walk stand far apart."""
        shape, found = self.shape, []
        for k in range(1, min(shape.window, walks.shape[1] - 1) + 1):
            left, right = walks[:, :-k], walks[:, k:]
            good = right >= 0
            sides = [(left, right)] if shape.forward else [(left, right), (right, left)]
            for side, (head, tail) in enumerate(sides):
                keep = good
                if shape.shrink:
                    share = (shape.window - k + 1) / shape.window
                    name = rng.key(self._seed, _SHRINK, first, k, side)
                    draws = rng.bits(name, good.numel()) >> 32
                    chosen = torch.from_numpy(draws.astype("int64") < share * 2**32)
                    keep = good & chosen.view_as(good)
                found.append(torch.stack([head.T[keep.T], tail.T[keep.T]], 1))
        return torch.cat(found)
