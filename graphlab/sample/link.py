"""LinkNeighborLoader: batches of node pairs with the neighbourhoods of their ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.ops import rng
from graphlab.sample.batch import join, node_columns
from graphlab.sample.loader import Loader, Made
from graphlab.sample.negative import NonEdges
from graphlab.sample.order import num_batches, seed_batches
from graphlab.sample.sampler import NeighborSampler
from graphlab.sample.source import as_dataset, fingerprint

if TYPE_CHECKING:
    from torch_geometric.data import Data

# Names the stream of a batch's negatives beside the sampler's own, key(seed, epoch, batch).
_NEGATIVES = -2


class LinkNeighborLoader(Loader):
    """Yield mini-batches of node pairs, with negatives, and their sampled neighbourhoods.

    Batches have the fields of :class:`~graphlab.sample.NeighborLoader` and PyG's
    ``edge_label_index`` [2, pairs] (local ids; the positives first), ``edge_label``
    [pairs] and ``input_id`` (positions of the positives in the ``edge_label_index`` given).
    ``batch_size`` counts positives; the seeds are the ends of all pairs, each node once in
    ascending order, or one tree per end with ``disjoint``.

    Negatives are drawn uniformly from the ordered pairs of distinct nodes that hold neither
    an edge of the graph nor one of ``edge_label_index`` (nor its reverse, where the graph
    is undirected), as a function of (``seed``, epoch, batch); a positive never comes as a
    negative. The pairs' own edges stay in the sampled neighbourhood where the graph holds
    them, as in PyG: give a graph without the supervised edges to train on held-out ones.

    Args:
        data: A Dataset, a ``torch_geometric.data.Data`` or a ``dgl.DGLGraph``.
        num_neighbors: Neighbours per node and hop; -1 takes all.
        edge_label_index: [2, P], the pairs; None: the graph's edges.
        edge_label: [P, ...], labels of the pairs; None: ones if negatives are drawn. With
            negatives, labels that begin at 0 are raised by 1, so that 0 means negative.
        batch_size: Positive pairs per batch.
        neg_sampling_ratio: Negatives per positive, rounded up in each batch.
        disjoint: One tree per end of each pair; ``batch`` is the number of the pair.
        replace, weighted, method, seed, shuffle, drop_last, rank, world_size, transform,
            prefetch, num_threads, columns: As for ``NeighborLoader``.

    Raises:
        TypeError: a wrong type.
        ValueError: no pairs, a wrong shape, a complete graph where negatives are wanted.
        IndexError: a pair with an id that is no node.

    Example:
        >>> import graphlab as gl
        >>> g = gl.Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]))
        >>> d = gl.Dataset(graph=g, x=torch.eye(4))
        >>> loader = LinkNeighborLoader(d, [1], neg_sampling_ratio=1.0)
        >>> next(iter(loader)).edge_label.tolist()
        [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Sequence[int],
        edge_label_index: Any = None,
        edge_label: Tensor | None = None,
        *,
        batch_size: int = 1024,
        neg_sampling_ratio: float = 0.0,
        replace: bool = False,
        weighted: bool = False,
        disjoint: bool = False,
        method: str = "uniform",
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        transform: Callable[[Data], Data] | None = None,
        prefetch: int = 2,
        num_threads: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        name = type(self).__name__
        self.dataset = as_dataset(name, data)
        self.sampler = NeighborSampler(
            self.dataset.graph,
            num_neighbors,
            replace=replace,
            weighted=weighted,
            disjoint=disjoint,
            method=method,
            seed=seed,
        )
        graph = self.dataset.graph
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
        self.batch_size = check.positive(name, "batch_size", batch_size)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.transform = transform
        self._columns = node_columns(self.dataset, columns, name)
        super().__init__(
            identity={
                "seed": seed,
                "inputs": fingerprint(self.edge_label_index),
                "batch_size": batch_size,
                "neg_sampling_ratio": neg_sampling_ratio,
                "shuffle": shuffle,
                "drop_last": drop_last,
                **self.sampler.settings(),
            },
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
            prefetch=prefetch,
            num_threads=num_threads,
        )

    def _num_batches(self) -> int:
        return num_batches(
            self.edge_label_index.shape[1], self.batch_size, drop_last=self.drop_last
        )

    def _open(self, epoch: int) -> Callable[[int], Made]:
        batches = seed_batches(
            self.edge_label_index.shape[1],
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
        )
        return lambda number: self._make(epoch, number, batches[number])

    def _make(self, epoch: int, number: int, input_id: Tensor) -> Made:
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
        if self.sampler.disjoint:
            seeds = pairs.flatten()
            local = torch.arange(len(seeds)).view(2, -1)
        else:
            seeds, inverse = pairs.flatten().unique(return_inverse=True)
            local = inverse.view(2, -1)
        sample = self.sampler.sample(seeds, epoch=epoch, batch=number)
        if sample.batch is not None:
            # Trees are numbered by end; both ends of a pair belong to it.
            sample = sample._replace(batch=sample.batch % pairs.shape[1])
        made = join(
            sample,
            self.dataset,
            self._columns,
            input_id=input_id,
            batch_size=len(input_id),
        )
        made.data.edge_label_index = local
        if label is not None:
            made.data.edge_label = label
        if self.transform is None:
            return made
        return made._replace(data=self.transform(made.data))

    def _resident_bytes(self) -> int:
        held = self.dataset.nbytes + self.sampler.nbytes + self.edge_label_index.nbytes
        return held + (0 if self.negatives is None else self.negatives.nbytes)


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
