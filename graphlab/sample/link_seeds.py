"""The seeds of a batch of pairs: ends of its positives, and of the negatives drawn for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph
from graphlab.ops import rng
from graphlab.sample.negative import NonEdges
from graphlab.sample.source import fingerprint

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from graphlab.ops import NeighborSample
    from graphlab.sample.sampler import NeighborSampler

# Names the stream of a batch's negatives beside the sampler's own, key(seed, epoch, batch).
_NEGATIVES = -2


class Drawn(NamedTuple):
    """The pairs of a batch.

    Attributes:
        seeds: Nodes to sample from.
        local: [2, pairs], places of the pairs' ends in ``seeds``.
        label: [pairs, ...], or None.
    """

    seeds: Tensor
    local: Tensor
    label: Tensor | None

    def add_to(self, data: Data) -> None:
        """Give a batch its pairs, by PyG's names."""
        data.edge_label_index = self.local
        if self.label is not None:
            data.edge_label = self.label


class LinkSeeds:
    """Pairs and their negatives, batch by batch, as a function of (seed, epoch, batch).

    Args:
        name: Of the caller, for messages.
        graph: The graph.
        edge_label_index, edge_label, neg_sampling_ratio, seed: As for
            :class:`graphlab.sample.LinkNeighborLoader`.
    """

    def __init__(
        self,
        name: str,
        graph: Graph,
        edge_label_index: Any,
        edge_label: Tensor | None,
        *,
        neg_sampling_ratio: float,
        seed: int,
    ) -> None:
        given = _pairs(name, graph.num_nodes, edge_label_index)
        self.edge_label_index = graph.edge_index if given is None else given
        num_pairs = self.edge_label_index.shape[1]
        if num_pairs == 0:
            check.fail(
                ValueError, name, "edge_label_index", "hold at least one pair", "none"
            )
        if not (
            isinstance(neg_sampling_ratio, (int, float))
            and 0 <= neg_sampling_ratio < math.inf
        ):
            check.fail(
                ValueError,
                name,
                "neg_sampling_ratio",
                "be a number of at least 0",
                neg_sampling_ratio,
            )
        self.edge_label = edge_label
        if edge_label is not None:
            labels = check.tensor(name, "edge_label", edge_label)
            if labels.dim() == 0 or labels.shape[0] != num_pairs:
                check.fail(
                    ValueError,
                    name,
                    "edge_label",
                    f"have one entry per pair ({num_pairs:,})",
                    f"shape {list(labels.shape)}",
                )
            if neg_sampling_ratio and float(labels.min()) == 0:
                self.edge_label = labels + 1
        self.negatives: NonEdges | None = None
        if neg_sampling_ratio:
            self.negatives = NonEdges(graph, given)
        self.neg_sampling_ratio = neg_sampling_ratio
        self.seed = seed

    @property
    def nbytes(self) -> int:
        """Bytes held: the pairs, and what negatives are drawn from."""
        held = self.edge_label_index.nbytes
        held += 0 if self.edge_label is None else self.edge_label.nbytes
        return held + (0 if self.negatives is None else self.negatives.nbytes)

    def settings(self) -> dict[str, Any]:
        """What the batches depend on beside the sampler."""
        return {
            "inputs": fingerprint(self.edge_label_index),
            "neg_sampling_ratio": self.neg_sampling_ratio,
        }

    def draw(
        self, sampler: NeighborSampler, epoch: int, number: int, input_id: Tensor
    ) -> Drawn:
        """The pairs of a batch whose positives are ``input_id``."""
        pairs, label = self.edge_label_index[:, input_id], None
        if self.edge_label is not None:
            label = self.edge_label[input_id]
        if self.negatives is not None:
            if label is None:
                label = torch.ones(len(input_id))
            count = math.ceil(len(input_id) * self.neg_sampling_ratio)
            stream = rng.key(self.seed, epoch, number, _NEGATIVES)
            pairs = torch.cat([pairs, self.negatives.draw(count, stream)], dim=1)
            label = torch.cat([label, label.new_zeros(count, *label.shape[1:])])
        if sampler.disjoint:
            seeds = pairs.flatten()
            return Drawn(seeds, torch.arange(len(seeds)).view(2, -1), label)
        seeds, inverse = pairs.flatten().unique(return_inverse=True)
        return Drawn(seeds, inverse.view(2, -1), label)

    def sample(
        self, sampler: NeighborSampler, epoch: int, number: int, drawn: Drawn
    ) -> NeighborSample:
        """The neighbourhood of a batch's pairs."""
        sample = sampler.sample(drawn.seeds, epoch=epoch, batch=number)
        if sample.batch is not None:
            # Trees are numbered by end; both ends of a pair belong to it.
            sample = sample._replace(batch=sample.batch % drawn.local.shape[1])
        return sample


def _pairs(function: str, num_nodes: int, pairs: Any) -> Tensor | None:
    if pairs is None:
        return None
    if isinstance(pairs, (np.ndarray, list, tuple)):
        pairs = torch.as_tensor(np.asarray(pairs))
    argument = "edge_label_index"
    index = check.tensor(function, argument, pairs, dtypes=check.INDEX_DTYPES, ndim=2)
    if index.shape[0] != 2:
        check.fail(
            ValueError, function, argument, "have shape [2, pairs]", list(index.shape)
        )
    check.ids_in_range(function, argument, index.flatten(), num_nodes)
    return index.long()
