"""NeighborLoader: batches of seed nodes with their sampled neighbourhoods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphlab import check
from graphlab.sample.batch import join, node_columns
from graphlab.sample.loader import Loader, Made
from graphlab.sample.order import num_batches, seed_batches
from graphlab.sample.sampler import NeighborSampler
from graphlab.sample.source import (
    as_dataset,
    fingerprint,
    input_ids,
    require_distinct,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data


class NeighborLoader(Loader):
    """Yield mini-batches of seed nodes and their sampled in-neighbourhoods.

    Batches are ``torch_geometric.data.Data`` with the fields of PyG's loader: ``x``, ``y``
    and the other columns, ``edge_index`` (local ids, row 0 sources, grouped by target),
    ``n_id`` (seeds first, then by hop), ``e_id``, ``input_id`` (position in
    ``input_nodes``), ``batch_size``, ``num_sampled_nodes``, ``num_sampled_edges`` and, with
    ``disjoint``, ``batch``. So any PyG model and ``trim_to_layer`` work unchanged; loss and
    accuracy count the first ``batch_size`` rows.

    A batch is a function of (``seed``, epoch, number of the batch): the same for any number
    of threads or ranks, after a resume, and from disk. :class:`Loader` tells about epochs,
    ranks and resume.

    Args:
        data: A Dataset, a ``torch_geometric.data.Data`` or a ``dgl.DGLGraph``.
        num_neighbors: Neighbours per node and hop; -1 takes all.
        batch_size: Seeds per batch.
        input_nodes: Seeds: None for all nodes, ids, a bool mask [N], or the name of a split
            such as ``"train"``. Distinct, unless ``disjoint``.
        replace: Draw neighbours with replacement.
        weighted: Draw in proportion to the graph's edge weights.
        disjoint: One tree per seed.
        method: ``uniform``, or ``labor`` for layer-neighbour sampling.
        seed: Seed of order and samples.
        shuffle: New random order each epoch.
        drop_last: Drop a last batch that is not full, and under ranks the uneven end.
        rank: This process, from 0; with ``world_size``.
        world_size: Number of processes.
        transform: Called with each ``Data`` on a background thread; returns one.
        prefetch: Batches made ahead for each thread; 0 makes them in the caller.
        num_threads: Background threads; None: one per two of torch's, at most 8.
        columns: Node columns to join; None: ``x``, ``y`` and all others of the dataset.
            Masks are joined by name only (``"train_mask"``).

    Raises:
        TypeError: a wrong type.
        ValueError: no or repeated seeds, a mask of the wrong length, an unknown column.
        IndexError: a seed that is no node.

    Example:
        >>> import torch, graphlab as gl
        >>> g = gl.Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
        >>> d = gl.Dataset(graph=g, x=torch.eye(3))
        >>> loader = NeighborLoader(d, [1], batch_size=2, shuffle=False)
        >>> [batch.n_id.tolist() for batch in loader]
        [[0, 1, 2], [2, 1]]
    """

    def __init__(
        self,
        data: Any,
        num_neighbors: Sequence[int],
        batch_size: int = 1024,
        input_nodes: Any = None,
        *,
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
        self.input_nodes = input_ids(name, self.dataset, input_nodes)
        if not disjoint:
            require_distinct(name, "input_nodes", self.input_nodes)
        self.batch_size = check.positive(name, "batch_size", batch_size)
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.transform = transform
        self._columns = node_columns(self.dataset, columns, name)
        super().__init__(
            identity={
                "seed": seed,
                "inputs": fingerprint(self.input_nodes),
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
            len(self.input_nodes), self.batch_size, drop_last=self.drop_last
        )

    def _open(self, epoch: int) -> Callable[[int], Made]:
        batches = seed_batches(
            len(self.input_nodes),
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
        )

        def make(number: int) -> Made:
            input_id = batches[number]
            made = join(
                self.sampler.sample(
                    self.input_nodes[input_id], epoch=epoch, batch=number
                ),
                self.dataset,
                self._columns,
                input_id=input_id,
                batch_size=len(input_id),
            )
            if self.transform is None:
                return made
            return made._replace(data=self.transform(made.data))

        return make

    def _resident_bytes(self) -> int:
        return self.dataset.nbytes + self.sampler.nbytes + self.input_nodes.nbytes
