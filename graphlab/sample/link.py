"""LinkNeighborLoader: batches of node pairs with the neighbourhoods of their ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from graphlab import check
from graphlab.sample.batch import join, node_columns
from graphlab.sample.link_seeds import LinkSeeds
from graphlab.sample.loader import Loader, Made
from graphlab.sample.order import num_batches, seed_batches
from graphlab.sample.sampler import NeighborSampler
from graphlab.sample.source import as_dataset

if TYPE_CHECKING:
    from torch_geometric.data import Data


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
        >>> import torch
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
        self.links = LinkSeeds(
            name,
            self.dataset.graph,
            edge_label_index,
            edge_label,
            neg_sampling_ratio=neg_sampling_ratio,
            seed=seed,
        )
        self.edge_label_index = self.links.edge_label_index
        self.edge_label, self.negatives = self.links.edge_label, self.links.negatives
        self.neg_sampling_ratio = neg_sampling_ratio
        self.batch_size = check.positive(name, "batch_size", batch_size)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.transform = transform
        self._columns = node_columns(self.dataset, columns, name)
        super().__init__(
            identity={
                "seed": seed,
                **self.links.settings(),
                "batch_size": batch_size,
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
        drawn = self.links.draw(self.sampler, epoch, number, input_id)
        sample = self.links.sample(self.sampler, epoch, number, drawn)
        made = join(
            sample,
            self.dataset,
            self._columns,
            input_id=input_id,
            batch_size=len(input_id),
        )
        drawn.add_to(made.data)
        if self.transform is None:
            return made
        return made._replace(data=self.transform(made.data))

    def _resident_bytes(self) -> int:
        return self.dataset.nbytes + self.sampler.nbytes + self.links.nbytes
