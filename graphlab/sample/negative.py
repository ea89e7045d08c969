"""Pairs of nodes that are not joined by an edge, drawn uniformly and without rejection."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph
from graphlab.graph.distinct import distinct
from graphlab.ops import rng


class NonEdges:
    """Uniform draws from the ordered pairs of distinct nodes that hold no edge.

    Pairs are numbered ``source * num_nodes + target``. With the sorted numbers ``p_0 < p_1 <
    ...`` of all pairs to leave out, ``p_i - i`` free pairs come before ``p_i``, so the
    ``r``-th free pair is ``r + i`` for the first ``i`` with ``p_i - i > r``: one binary
    search a draw, exact however dense the graph is.

    Args:
        graph: Its edges are left out, and all loops.
        also: [2, n], more pairs to leave out; in both directions where the graph is
            undirected.

    Raises:
        ValueError: every pair is left out.

    Cost:
        One sort of the edges; 8 bytes kept per distinct pair left out.

    Example:
        >>> free = NonEdges(Graph(torch.tensor([[0, 1], [1, 0]])[:, :1], num_nodes=2))
        >>> free.draw(2, stream=0).tolist()
        [[1, 1], [0, 0]]
    """

    def __init__(self, graph: Graph, also: Tensor | None = None) -> None:
        self._num_nodes = graph.num_nodes
        source, target = graph.edge_index
        taken = [self._numbers(source, target)]
        if also is not None:
            taken.append(self._numbers(also[0], also[1]))
            if graph.is_undirected():
                taken.append(self._numbers(also[1], also[0]))
        nodes = torch.arange(self._num_nodes)
        taken.append(self._numbers(nodes, nodes))
        numbers = distinct(np.concatenate(taken))
        self._before = numbers - np.arange(len(numbers))
        self.count = self._num_nodes**2 - len(numbers)
        if self.count == 0:
            check.fail(
                ValueError,
                "NonEdges",
                "graph",
                "leave a pair of nodes unjoined to draw negatives from",
                "a complete graph",
                "use neg_sampling_ratio=0",
            )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._before.nbytes)

    def draw(self, count: int, stream: int) -> Tensor:
        """Draw pairs independently.

        Args:
            count: Number of pairs.
            stream: Key of the random stream.

        Returns:
            [2, count], int64.
        """
        rank = bounded(stream, count, self.count)
        number = rank + np.searchsorted(self._before, rank, side="right")
        return torch.from_numpy(np.stack(np.divmod(number, self._num_nodes)))

    def _numbers(self, source: Tensor, target: Tensor) -> npt.NDArray[np.int64]:
        return (source.long() * self._num_nodes + target).numpy()


def bounded(stream: int, count: int, limit: int) -> npt.NDArray[np.int64]:
    """``count`` uniform integers in [0, limit), ``0 < limit <= 2**63``, without bias.

    A draw from the incomplete last repetition of the range is drawn again from a stream of
    its own.
    """
    bits = rng.bits(stream, count)
    end = 2**64 - 2**64 % limit
    attempt = 0
    while end < 2**64:
        wrong = np.flatnonzero(bits >= np.uint64(end))
        if not len(wrong):
            break
        attempt += 1
        bits[wrong] = rng.bits(rng.key(stream, attempt), len(wrong))
    return (bits % np.uint64(limit)).astype(np.int64)
