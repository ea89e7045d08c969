"""Neighbour sampling of one batch, as a function of (seed, epoch, batch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from graphlab import check, ops
from graphlab.ops import rng

if TYPE_CHECKING:
    from graphlab.graph import Graph
    from graphlab.ops import NeighborSample


class NeighborSampler:
    """Samples the in-neighbourhood of seed nodes, hop by hop.

    The result depends on ``(seed, epoch, batch)`` and the seeds alone: not on threads, on
    earlier batches, or on where the features are kept. Samplers in memory and out of core
    are this one class.

    Args:
        graph: The graph; its CSC (by target) is walked and may be memory-mapped.
        num_neighbors: Neighbours per node and hop; -1 takes all of them.
        replace: Draw with replacement.
        weighted: Draw in proportion to the graph's edge weights. The alias tables are built
            here, once.
        disjoint: One tree per seed: a node may appear once per seed.
        method: ``uniform``: each node draws for itself. ``labor``: nodes of one hop share
            their draws (Balin and Catalyurek, "Layer-Neighbor Sampling", 2023), so a batch
            holds fewer nodes at the same number of neighbours each.
        seed: Seed of the run.

    Raises:
        TypeError: a wrong type in ``num_neighbors``.
        ValueError: no hops, a count below -1, ``weighted`` on a graph without weights, or
            ``labor`` together with what it does not define.
    """

    def __init__(
        self,
        graph: Graph,
        num_neighbors: Sequence[int],
        *,
        replace: bool = False,
        weighted: bool = False,
        disjoint: bool = False,
        method: str = "uniform",
        seed: int = 0,
    ) -> None:
        name = type(self).__name__
        self.num_neighbors = check_num_neighbors(name, num_neighbors)
        check.one_of(name, "method", method, ("uniform", "labor"))
        if method == "labor":
            for argument, value in (("replace", replace), ("weighted", weighted)):
                if value:
                    check.fail(
                        ValueError, name, argument, "be False with method='labor'", True
                    )
        self.graph = graph
        self.replace = replace
        self.weighted = weighted
        self.disjoint = disjoint
        self.method = method
        self.seed = seed
        self._alias: tuple[Tensor, Tensor] | None = None
        if weighted:
            weight = graph.edge_weight
            if weight is None:
                check.fail(
                    ValueError,
                    name,
                    "weighted",
                    "be False on a graph without edge weights",
                    True,
                    "give Graph(..., edge_weight=...)",
                )
            ptr, _, edge_id = graph.csc()
            ordered = weight if edge_id is None else weight[edge_id]
            self._alias = ops.alias_build(ptr, ordered)

    @property
    def nbytes(self) -> int:
        """Bytes held beside the graph: the alias tables."""
        return 0 if self._alias is None else sum(t.nbytes for t in self._alias)

    def settings(self) -> dict[str, Any]:
        """What the samples depend on beside the graph and the seed."""
        return {
            "num_neighbors": self.num_neighbors,
            "replace": self.replace,
            "weighted": self.weighted,
            "disjoint": self.disjoint,
            "method": self.method,
        }

    def sample(
        self,
        seeds: Tensor,
        *,
        epoch: int,
        batch: int,
        hops: int | None = None,
        read: tuple[Tensor, Tensor] | None = None,
    ) -> NeighborSample:
        """Sample the neighbourhood of one batch.

        Args:
            seeds: [batch_size], int64 node ids; the first entries of the result's ``n_id``.
            epoch: Epoch, from 0.
            batch: Number of the batch in the epoch's global list, from 0.
            hops: Sample so many of the hops; None: all.
            read: What was read of a graph on disk, see
                :func:`graphlab.ops.neighbor_sample`; ``e_id`` then holds places.

        Returns:
            PyG's arrays: row, col, n_id, e_id, batch, num_sampled_nodes, num_sampled_edges.

        Raises:
            IndexError: a seed is not a node.
        """
        ptr, idx, edge_id = self.graph.csc()
        return ops.neighbor_sample(
            ptr,
            idx,
            seeds,
            self.num_neighbors[:hops],
            edge_id=edge_id if read is None else None,
            replace=self.replace,
            alias=self._alias,
            disjoint=self.disjoint,
            labor=self.method == "labor",
            key=rng.key(self.seed, epoch, batch),
            read=read,
        )


def check_num_neighbors(function: str, num_neighbors: Sequence[int]) -> list[int]:
    """Require a non-empty sequence of counts, each at least -1, and return it as a list."""
    if isinstance(num_neighbors, (str, int)) or not isinstance(num_neighbors, Sequence):
        check.fail(
            TypeError,
            function,
            "num_neighbors",
            "be a list with one count per hop",
            type(num_neighbors).__name__,
        )
    counts = [
        check.positive(function, "num_neighbors", count, least=-1)
        for count in num_neighbors
    ]
    if not counts:
        check.fail(ValueError, function, "num_neighbors", "name at least one hop", "[]")
    return counts
