"""Result of link training: scores, and what the chosen weights say about any pairs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Adjacency
from graphlab.graph.adjacency import owners
from graphlab.graph.entries import entries_of
from graphlab.models.link_graph import link_graph
from graphlab.models.link_model import LinkModel
from graphlab.tasks import link_scoring
from graphlab.tasks.result import Result

if TYPE_CHECKING:
    from graphlab.datasets import Dataset


@dataclasses.dataclass
class LinkResult(Result):
    """What link training over several seeds gave.

    Attributes as :class:`~graphlab.tasks.Result`; ``baselines`` are heuristics on the same
    pairs.
    """

    def predict(  # type: ignore[override]
        self,
        d: Dataset,
        pairs: Tensor,
        *,
        seed: int | None = None,
        batch_size: int = 65536,
        device: str = "cpu",
    ) -> Tensor:
        """Compute the probability of a link for each pair.

        Args:
            d: Features and the graph that neighbours are looked up in.
            pairs: [2, B], int64.
            seed: Whose weights; None: those with the best validation score.
            batch_size: Pairs at a time.
            device: Where to compute.

        Returns:
            [B], in [0, 1], as trained with one negative for each positive.
        """
        model, x, where = self._ready(d, seed, device)
        pairs = torch.as_tensor(pairs).to(where)
        logits = link_scoring.score_pairs(model, x, d.graph, pairs, batch_size)
        return logits.sigmoid().cpu()

    def score_all(
        self,
        d: Dataset,
        topk: int = 10,
        *,
        sources: Any = None,
        candidates: str = "two_hop",
        seed: int | None = None,
        batch_size: int = 65536,
        device: str = "cpu",
    ) -> tuple[Tensor, Tensor]:
        """Find the most likely new neighbours of nodes.

        Args:
            d: As for :meth:`predict`.
            topk: How many of each node.
            sources: [n], node ids, or a mask of all nodes; None: all nodes.
            candidates: ``two_hop``: nodes that share a neighbour with the source; ``all``:
                every node. Neighbours and the node itself are no candidates.
            seed: Whose weights; None: those with the best validation score.
            batch_size: Pairs at a time.
            device: Where to compute.

        Returns:
            Nodes [n, topk], int64, best first, -1 where there are no more candidates; and
            their logits, -inf there.

        Cost:
            The candidates of one block of sources are held at a time, about ``batch_size``
            pairs; pairs of a source come together, so its row is looked up once.

        Raises:
            ValueError: no such kind of candidates.
        """
        name = "score_all"
        check.positive(name, "topk", topk)
        check.one_of(name, "candidates", candidates, ("two_hop", "all"))
        model, x, where = self._ready(d, seed, device)
        wanted = torch.arange(d.num_nodes) if sources is None else sources
        wanted = torch.as_tensor(wanted)
        if wanted.dtype == torch.bool and wanted.shape == (d.num_nodes,):
            wanted = wanted.nonzero()[:, 0]
        check.tensor(name, "sources", wanted, dtypes=check.INDEX_DTYPES, ndim=1)
        wanted = wanted.long()
        check.ids_in_range(name, "sources", wanted, d.num_nodes)
        nodes = torch.full((len(wanted), topk), -1)
        logits = torch.full((len(wanted), topk), float("-inf"))
        h = None
        if isinstance(model, LinkModel):
            with torch.no_grad():
                h = model.encode(x, d.graph)
        for first, place, target in _blocks(d, wanted, candidates, batch_size):
            source = wanted[first + place]
            pairs = torch.stack([source, target]).to(where)
            got = link_scoring.score_pairs(model, x, d.graph, pairs, batch_size, h)
            got = got.float().cpu()
            # By score, then stably by source: each source's best come first.
            order = got.argsort(descending=True, stable=True)
            order = order[place[order].argsort(stable=True)]
            count = torch.bincount(place)
            rank = torch.arange(len(order)) - (count.cumsum(0) - count)[place[order]]
            best = order[rank < topk]
            row, column = first + place[best], rank[rank < topk]
            nodes[row, column], logits[row, column] = target[best], got[best]
        return nodes, logits

    def _ready(
        self, d: Dataset, seed: int | None, device: str
    ) -> tuple[Any, Any, torch.device]:
        where = torch.device(device)
        return self.model(seed, d).to(where), link_scoring.inputs(d, where), where


def _blocks(d: Dataset, sources: Tensor, kind: str, batch_size: int) -> Any:
    """Blocks of sources: the first one's place, and candidates as (place, node)."""
    rows = link_graph("score_all", d.graph)
    adjacency = Adjacency(rows.ptr, rows.idx, None)
    n = d.num_nodes
    work = torch.full((len(sources),), n)
    if kind == "two_hop":
        reach = torch.zeros(n, dtype=torch.int64)
        reach.index_add_(0, owners(rows.ptr), rows.degree[rows.idx.long()])
        work = reach[sources].clamp(max=n)
    before = work.cumsum(0)
    first = 0
    while first < len(sources):
        done = int(before[first - 1]) if first else 0
        last = int(torch.searchsorted(before, done + batch_size, right=True))
        last = min(max(last, first + 1), len(sources))
        block = sources[first:last]
        near, near_place, _ = entries_of(adjacency, block)
        if kind == "two_hop":
            far, through, _ = entries_of(adjacency, near)
            key = near_place[through] * n + far
        else:
            key = torch.arange(len(block) * n)
        own = torch.arange(len(block)) * n + block
        key = key.unique()
        key = key[~torch.isin(key, torch.cat([near_place * n + near, own]))]
        if len(key):
            yield first, key // n, key % n
        first = last
