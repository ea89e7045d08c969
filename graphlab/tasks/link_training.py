"""Training of one seed on pairs: positives of the graph, fresh negatives every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphlab import check, sizes
from graphlab.graph import Graph
from graphlab.models.link_model import LinkModel
from graphlab.models.ncnc import NCNC
from graphlab.ops import rng
from graphlab.sample.negative import NonEdges, bounded
from graphlab.tasks import calling, source
from graphlab.tasks.training import Training

# Names of streams beside those of weights (-1) and batches (epoch, batch).
_ORDER, _NEGATIVES = -3, -4


class PairBatches:
    """Batches of positives, each with as many uniform negatives.

    Order and negatives are functions of (seed, epoch). The last batch is left out where it is
    smaller than the others, unless it is the only one.

    Args:
        graph: Undirected training graph.
        pos: [2, P], the positives.
        kind: ``pairs``: uniform pairs without an edge; ``targets``: the positive's source
            with a uniform target, edge or not (OGB's citation2).
        batch_size: Positives of a batch.
        seed: The seed.
        device: Where the model is.
    """

    def __init__(
        self,
        graph: Graph,
        pos: Tensor,
        kind: str,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self._pos, self._kind, self._seed = pos, kind, seed
        self._device, self._num_nodes = device, graph.num_nodes
        self._size = min(batch_size, pos.shape[1])
        self._free = NonEdges(graph) if kind == "pairs" else None
        self.length = pos.shape[1] // self._size

    def batches(
        self, epoch: int, skip: int, state: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches ``skip``, ``skip + 1``, ... of an epoch."""
        count = self._pos.shape[1]
        order = torch.from_numpy(
            rng.permutation(rng.key(self._seed, epoch, _ORDER), count)
        )
        stream = rng.key(self._seed, epoch, _NEGATIVES)
        if self._free is not None:
            neg = self._free.draw(count, stream)
        else:
            target = torch.from_numpy(bounded(stream, count, self._num_nodes))
            neg = torch.stack([self._pos[0], target])
        for number in range(skip, self.length):
            part = order[number * self._size : (number + 1) * self._size]
            yield self._pos[:, part].to(self._device), neg[:, part].to(self._device)

    def state(self) -> None:
        """Nothing to remember: an epoch is a function of its number."""

    def stats(self) -> dict[str, Any]:
        """Nothing was loaded."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


class LoaderPairs(source.Batches):
    """Batches of a link loader: pairs with labels, and the sampled graph around them.

    Args:
        loader: Iterable of batches with PyG's ``x``, ``edge_index``, ``edge_label_index``
            and ``edge_label``.
        device: Where the model is.
        owned: Whether the loader was made for this seed, and is closed with it.
    """

    def __init__(self, loader: Any, device: torch.device, *, owned: bool) -> None:
        self._loader, self._device, self._owned = loader, device, owned
        try:
            self.length: int | None = len(loader)
        except TypeError:
            self.length = None

    def _require_training_nodes(self, batch: Any) -> None:
        """Here: require pairs with labels."""
        for field in ("edge_label_index", "edge_label"):
            if getattr(batch, field, None) is None:
                remedy = "use LinkNeighborLoader(..., neg_sampling_ratio=1.0)"
                need = f"give batches with `{field}`"
                got = "one without"
                check.fail(ValueError, "link.fit", "loader", need, got, remedy)


def sampled_inputs(batch: Any) -> tuple[Any, Graph, Tensor, Tensor]:
    """Features, undirected sampled graph, positives and negatives of a loader's batch."""
    edges = batch.edge_index.cpu()
    graph = Graph(edges, int(batch.num_nodes)).to_undirected()
    is_link = batch.edge_label > 0
    pairs = batch.edge_label_index
    x = None if getattr(batch, "x", None) is None else calling.as_float(batch.x)
    return x, graph, pairs[:, is_link], pairs[:, ~is_link]


class LinkTraining(Training):
    """One seed of :func:`graphlab.tasks.link.fit`.

    ``job.whole`` holds the features, the positives and the scores of heuristics.
    """

    _function = "link.fit"

    def _make_model(self) -> nn.Module:
        d, memory = self._job.d, self._settings.memory
        made = calling.make("link.fit", self._job.factory, d.num_features, d.num_nodes)
        head = getattr(made, "head", None)
        if memory is not None and isinstance(head, NCNC):
            head.memory = sizes.parse(memory)
        return made

    def _make_optimiser(self) -> torch.optim.Optimizer:
        settings = self._settings
        groups: list[dict[str, Any]] = [{"params": list(self.model.parameters())}]
        if isinstance(self.model, LinkModel):
            head_lr = settings.lr if settings.head_lr is None else settings.head_lr
            groups = [
                {"params": list(self.model.encoder.parameters())},
                {"params": list(self.model.head.parameters()), "lr": head_lr},
            ]
        # Adam refuses a group without parameters.
        groups = [group for group in groups if group["params"]]
        return torch.optim.Adam(
            groups, lr=settings.lr, weight_decay=settings.weight_decay
        )

    def _make_source(self, run: int) -> Any:
        self._x, pos, self._heuristics = self._job.whole
        settings, loader = self._settings, self._job.loader
        if loader is not None:
            owned = not isinstance(loader, Iterable)
            made = loader(self._seed) if owned and callable(loader) else loader
            return LoaderPairs(made, self._job.device, owned=owned)
        return PairBatches(
            self._job.d.graph,
            pos,
            settings.negatives,
            settings.batch_size,
            self._seed,
            self._job.device,
        )

    def _loss(self, batch: Any) -> tuple[Tensor, int]:
        """-log sigma(s) of positives, -log sigma(-s) of negatives; means, added."""
        if isinstance(batch, tuple):
            x, graph, (pos, neg) = self._x, self._job.d.graph, batch
        else:
            x, graph, pos, neg = sampled_inputs(batch)
        count = pos.shape[1]
        pairs = torch.cat([pos, neg], 1)
        if self._settings.exclude_batch:
            logits = self.model(x, graph, pairs, exclude=pos.contiguous())
        else:
            logits = self.model(x, graph, pairs)
        of_pos = -functional.logsigmoid(logits[:count]).mean()
        of_neg = -functional.logsigmoid(-logits[count:]).mean()
        return of_pos + of_neg, count

    def _clip(self) -> None:
        if self._settings.clip is None:
            return
        parts = [self.model]
        if isinstance(self.model, LinkModel):
            parts = [self.model.encoder, self.model.head]
        for part in parts:
            nn.utils.clip_grad_norm_(part.parameters(), self._settings.clip)

    def _baselines(self) -> dict[str, float]:
        return dict(self._heuristics)
