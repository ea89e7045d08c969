"""Pairs of neighbours for LAGNN's generator, drawn from the CSC; no list of pairs exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets.column import Column, gather
from graphlab.graph import Graph
from graphlab.graph.adjacency import owners
from graphlab.ops import rng

_DRAW = 91


class PairSampler:
    """Draws (neighbour, centre) pairs: an edge u -> v gives the pair (u, v).

    Args:
        graph: The graph; its CSC is read, and may be memory-mapped.
        sampler: ``slot``: every edge alike, so that a centre is met in proportion to its
            degree, which is LAGNN's objective; ``node``: every centre alike, then one of its
            neighbours.
        nodes: [n], int64: pairs between these nodes only (inductive training); None: all.
        centres: [n], int64: pairs around these nodes only; None: all.
        seed: Names the draws.

    Raises:
        ValueError: there is no pair.

    Cost:
        A draw: O(log N) by bisection of the offsets. Memory: one offset for each centre;
        with ``nodes``, the edges between them.

    Example:
        >>> pairs = PairSampler(Graph(torch.tensor([[0, 1], [1, 2]])), seed=0)
        >>> [int(end[0]) for end in pairs.draw(0, 1)] in ([0, 1], [1, 2])
        True
    """

    def __init__(
        self,
        graph: Graph,
        sampler: str = "slot",
        *,
        nodes: Tensor | None = None,
        centres: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        self.sampler = check.one_of("PairSampler", "sampler", sampler, ("slot", "node"))
        ptr, idx, _ = graph.csc()
        if nodes is not None:
            inside = torch.zeros(graph.num_nodes, dtype=torch.bool)
            inside[nodes] = True
            owner = owners(ptr, idx.dtype)
            keep = inside[idx.long()] & inside[owner.long()]
            idx, owner = idx[keep], owner[keep]
            ptr = torch.zeros(graph.num_nodes + 1, dtype=torch.int64)
            ptr[1:] = torch.bincount(owner, minlength=graph.num_nodes).cumsum(0)
        self._start, self._idx = ptr[:-1], idx
        degree = ptr.diff()
        held = degree > 0
        if centres is not None:
            wanted = torch.zeros_like(held)
            wanted[centres] = True
            held &= wanted
        self.centres = held.nonzero()[:, 0]
        if len(self.centres) == 0:
            need = "hold an edge between the nodes that may be used"
            check.fail(ValueError, "PairSampler", "graph", need, "none")
        self._degree = degree[self.centres]
        self._end = self._degree.cumsum(0)
        self._seed = seed

    @property
    def num_pairs(self) -> int:
        """Pairs that can be drawn."""
        return int(self._end[-1])

    @property
    def nbytes(self) -> int:
        """Bytes held beside the graph's own arrays."""
        return self.centres.nbytes + self._degree.nbytes + self._end.nbytes

    def draw(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Neighbours and centres of a batch, [size] int64 each: a function of seed and step."""
        bits = rng.bits(rng.key(self._seed, _DRAW, step), 2 * size)
        # 53 bits of a fraction: no number of pairs is so large that the bias could be seen.
        share = torch.from_numpy((bits >> np.uint64(11)).astype(np.float64)) * 2.0**-53
        if self.sampler == "slot":
            pair = (share[:size] * self.num_pairs).long()
            place = torch.searchsorted(self._end, pair, right=True)
            offset = pair - (self._end[place] - self._degree[place])
        else:
            place = (share[:size] * len(self.centres)).long()
            offset = (share[size:] * self._degree[place]).long()
        centre = self.centres[place]
        return self._idx[self._start[centre] + offset].long(), centre

    def rows(self, x: Tensor | Column, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Feature rows of a batch: of the neighbours and of the centres. [size, F] each."""
        neighbour, centre = self.draw(step, size)
        both: Any = gather(x, torch.cat([neighbour, centre]))
        both = both if both.dtype in check.FLOAT_DTYPES else both.float()
        return both[:size], both[size:]
