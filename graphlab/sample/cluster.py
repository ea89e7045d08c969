"""ClusterLoader: batches are the subgraphs induced by a few clusters of a partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph
from graphlab.graph.entries import entries_of
from graphlab.sample.batch import assemble, node_columns
from graphlab.sample.loader import Loader, Made
from graphlab.sample.order import num_batches, seed_batches
from graphlab.sample.partition import partition
from graphlab.sample.source import as_dataset, fingerprint, input_ids

if TYPE_CHECKING:
    from torch_geometric.data import Data


class ClusterLoader(Loader):
    """Yield subgraphs induced by the union of a few clusters, in a new random order each epoch.

    A batch holds every edge between its nodes, so layers may be stacked to any depth without
    growing it; edges that leave the batch are missing from it. Of its nodes, those in
    ``input_nodes`` come first: ``batch_size`` of them, with ``input_id`` their positions
    there, so that the loop of ``NeighborLoader`` trains on both. ``n_id``, ``e_id``, ``x``,
    ``y`` and the other columns are as there; there are no per-hop counts.

    Args:
        data: A Dataset, a ``torch_geometric.data.Data`` or a ``dgl.DGLGraph``.
        num_parts: Number of clusters; not needed where ``part`` is given.
        clusters_per_batch: Clusters joined in one batch.
        input_nodes: Nodes that losses are taken on: None for all, ids, a bool mask [N], or
            the name of a split. A cluster without any is left out of the epoch.
        part: [N], int64: the cluster of each node; None: :func:`partition` by ``method``.
        method: ``ldg`` for clusters with few edges between them, ``random`` for the control.
        seed, shuffle, drop_last, rank, world_size, transform, prefetch, num_threads,
            columns: As for ``NeighborLoader``; masks are joined by name.

    Raises:
        TypeError: a wrong type.
        ValueError: neither ``num_parts`` nor ``part``, or a ``part`` of another length.

    Source:
        Chiang et al., "Cluster-GCN", KDD 2019, algorithm 1. Our clusters are not METIS's, and
        the adjacency is not renormalised here: GCN layers normalise what they are given.

    Example:
        >>> import graphlab as gl
        >>> g = gl.Graph(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]))
        >>> loader = ClusterLoader(gl.Dataset(graph=g, x=torch.eye(4)), num_parts=2)
        >>> sorted(sorted(batch.n_id.tolist()) for batch in loader)
        [[0, 1], [2, 3]]
    """

    def __init__(
        self,
        data: Any,
        num_parts: int | None = None,
        clusters_per_batch: int = 1,
        input_nodes: Any = None,
        *,
        part: Tensor | None = None,
        method: str = "ldg",
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
        graph = self.dataset.graph
        if part is None:
            if num_parts is None:
                check.fail(
                    ValueError, name, "num_parts", "be given", None, "or give part="
                )
            part = partition(graph, num_parts, method=method, seed=seed)
        check.tensor(name, "part", part, dtypes=check.INDEX_DTYPES, ndim=1)
        if len(part) != graph.num_nodes:
            check.fail(
                ValueError,
                name,
                "part",
                f"have one entry per node ({graph.num_nodes:,})",
                len(part),
            )
        if int(part.min()) < 0:
            check.fail(ValueError, name, "part", "not be negative", int(part.min()))
        self.part = part.long()
        self.input_nodes = input_ids(name, self.dataset, input_nodes)
        self._position = torch.full((graph.num_nodes,), -1)
        self._position[self.input_nodes] = torch.arange(len(self.input_nodes))
        # Nodes of cluster c: self._members[self._ptr[c] : self._ptr[c + 1]].
        self._members = self.part.argsort(stable=True)
        size = torch.bincount(self.part)
        self._ptr = torch.cat([torch.zeros(1, dtype=torch.int64), size.cumsum(0)])
        self._clusters = self.part[self.input_nodes].unique()
        self.clusters_per_batch = check.positive(
            name, "clusters_per_batch", clusters_per_batch
        )
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self.transform = transform
        self._columns = node_columns(self.dataset, columns, name)
        super().__init__(
            identity={
                "seed": seed,
                "inputs": fingerprint(self.input_nodes),
                "part": fingerprint(self.part),
                "clusters_per_batch": clusters_per_batch,
                "shuffle": shuffle,
                "drop_last": drop_last,
            },
            rank=rank,
            world_size=world_size,
            drop_last=drop_last,
            prefetch=prefetch,
            num_threads=num_threads,
        )

    def _num_batches(self) -> int:
        return num_batches(
            len(self._clusters), self.clusters_per_batch, drop_last=self.drop_last
        )

    def _open(self, epoch: int) -> Callable[[int], Made]:
        batches = seed_batches(
            len(self._clusters),
            self.clusters_per_batch,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
        )
        return lambda number: self._make(self._clusters[batches[number]])

    def _make(self, clusters: Tensor) -> Made:
        nodes = torch.cat(
            [self._members[self._ptr[c] : self._ptr[c + 1]] for c in clusters]
        )
        is_input = self._position[nodes] >= 0
        nodes = torch.cat([nodes[is_input], nodes[~is_input]])
        size = int(is_input.sum())
        edge_index, e_id = induced(self.dataset.graph, nodes)
        made = assemble(
            self.dataset,
            self._columns,
            edge_index=edge_index,
            n_id=nodes,
            e_id=e_id,
            fields={"input_id": self._position[nodes[:size]], "batch_size": size},
        )
        if self.transform is None:
            return made
        return made._replace(data=self.transform(made.data))

    def _resident_bytes(self) -> int:
        own = (self.part, self.input_nodes, self._position, self._members, self._ptr)
        return self.dataset.nbytes + sum(t.nbytes for t in own)


def induced(graph: Graph, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """The edges between some nodes.

    Args:
        graph: The graph.
        nodes: [n], int64, distinct.

    Returns:
        ``edge_index`` [2, e], int64, in positions of ``nodes``, grouped by target; and the
        edges' ids [e].

    Cost:
        Their in-degrees; 4 bytes per node of the graph for a table of positions.
    """
    place = torch.full((graph.num_nodes,), -1, dtype=torch.int32)
    place[nodes] = torch.arange(len(nodes), dtype=torch.int32)
    source, target, edge_id = entries_of(graph.csc(), nodes)
    local = place[source].long()
    inside = local >= 0
    return torch.stack([local[inside], target[inside]]), edge_id[inside]
