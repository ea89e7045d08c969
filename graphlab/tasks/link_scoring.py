"""Scores of validation and test pairs, of models and of heuristics alike."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.datasets.stored import StoredColumn
from graphlab.evaluate import LinkEvaluator, heuristics
from graphlab.graph import Graph
from graphlab.models.link_encoder import LinkEncoder
from graphlab.models.link_model import LinkModel
from graphlab.tasks import calling
from graphlab.tasks.scoring import DivergedError

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.link_settings import LinkSettings

# Pairs -> their scores.
Score = Callable[[Tensor], Tensor]
# "auto" takes the heuristics that follow walks on graphs up to here.
_SMALL_NODES, _SMALL_PAIRS = 50_000, 100_000


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Positives and negatives of a split.

    Attributes:
        pos: [2, P].
        neg: [2, Q], shared by all, or [2, P, Q], each positive's own.
    """

    pos: Tensor
    neg: Tensor

    @property
    def size(self) -> int:
        """Number of pairs."""
        return int(self.pos.shape[1] + self.neg[0].numel())

    def evaluate(self, metric: str, score: Score, block: int) -> float:
        """Score all pairs, own negatives in blocks of about ``block`` pairs."""
        evaluator = LinkEvaluator(metric)
        if self.neg.dim() == 2:
            both = score(torch.cat([self.pos, self.neg], 1))
            count = self.pos.shape[1]
            return evaluator.score(both[:count], both[count:])
        width = self.neg.shape[2]
        step = max(1, block // (width + 1))
        for first in range(0, self.pos.shape[1], step):
            pos = self.pos[:, first : first + step]
            neg = self.neg[:, first : first + step]
            # A positive beside its negatives: they share an end, whose row is marked once.
            together = torch.cat([pos[:, :, None], neg], 2).flatten(1)
            scores = score(together).view(-1, width + 1)
            evaluator.update(scores[:, 0], scores[:, 1:])
        return evaluator.compute()


def candidates(d: Dataset, split: str) -> Candidates:
    """Read a split's pairs: ours, OGB's dictionaries, or HeaRT's.

    Raises:
        ValueError: no such split, or one without positives or negatives.
    """
    part = d.edge_splits.get(split, {})
    if "source_node" in part and "target_node" in part:
        source, target = part["source_node"].long(), part["target_node"].long()
        pos = torch.stack([source, target])
        own = part.get("target_node_neg")
        if own is None:
            _missing(split, "negatives", part)
        own = own.long()
        return Candidates(pos, torch.stack([source[:, None].expand_as(own), own]))
    if "edge" not in part:
        _missing(split, "positives", part)
    if "edge_neg_own" in part:
        return Candidates(part["edge"], part["edge_neg_own"].long().permute(2, 0, 1))
    if "edge_neg" not in part:
        _missing(split, "negatives", part)
    return Candidates(part["edge"], part["edge_neg"])


def require_metric(d: Dataset, metric: str) -> None:
    """Require negatives of the kind and number that a metric is made of.

    Raises:
        ValueError: they are shared and should be each positive's own, or the other way round;
            fewer than K.
    """
    neg = candidates(d, "val").neg
    if metric == "mrr" and neg.dim() == 2:
        got = "mrr, and negatives that all positives share"
        remedy = (
            "give each positive its own, as graphlab.evaluate.random_negatives and "
            "hard_negatives do (--set data.split.random_negatives=100)"
        )
        need = "be hits@K, auc or ap"
        check.fail(ValueError, "link.fit", "metric", need, got, remedy)
    # One positive's: what is wrong with them is the evaluator's to say.
    LinkEvaluator(metric).score(
        torch.zeros(1),
        torch.zeros(neg[0].shape if neg.dim() == 2 else (1, neg.shape[2])),
    )


def positives(d: Dataset, split: str) -> Tensor:
    """Pairs [2, P] of a split, of either layout."""
    part = d.edge_splits.get(split, {})
    if "edge" in part:
        return part["edge"]
    if "source_node" in part and "target_node" in part:
        return torch.stack([part["source_node"].long(), part["target_node"].long()])
    _missing(split, "positives", part)


class LinkScorer:
    """Evaluates the pairs of one split.

    Args:
        d: The data set; its graph holds the training edges.
        x: Features on the device, or on disk; or None.
        settings: Metric, blocks, whether test is read.
        device: Where the model is.
    """

    def __init__(
        self, d: Dataset, x: Any, settings: LinkSettings, device: torch.device
    ) -> None:
        self._d, self._x = d, x
        self._settings, self._device = settings, device
        self._val = candidates(d, "val")
        self._test = candidates(d, "test") if settings.read_test else None
        self.graph = d.graph
        self._test_graph = d.graph
        if settings.val_edges_at_test:
            edges = torch.cat([d.graph.edge_index, self._val.pos], 1)
            self._test_graph = Graph(edges, d.num_nodes).to_undirected()

    def validation(self, model: nn.Module) -> float:
        """Score of the validation pairs."""
        return self._score(model, self._val, self.graph)

    def final(self, model: nn.Module) -> dict[str, float | None]:
        """Scores ``valid`` and ``test`` of the chosen weights."""
        test = None
        if self._test is not None:
            test = self._score(model, self._test, self._test_graph)
        return {"valid": self.validation(model), "test": test}

    def heuristics(self) -> dict[str, float]:
        """Test scores of the heuristics that the settings name."""
        if self._test is None:
            return {}
        metric, block = self._settings.metric, self._settings.eval_batch_size
        scores = {}
        for name in self._names():
            score = functools.partial(
                heuristics.score, name, self._test_graph, x=self._d.x
            )
            # What follows walks from a node does so once a call: pairs of a node stay together.
            walks = name in heuristics.HEURISTICS and name not in heuristics.LOCAL
            size = self._test.size if walks else block
            scores[name] = self._test.evaluate(metric, score, size)
        return scores

    def _features(self, model: nn.Module) -> Any:
        """Features as the model takes them: on disk only where it reads them by pieces."""
        encoder = model.encoder if isinstance(model, LinkModel) else None
        by_pieces = isinstance(encoder, LinkEncoder) and encoder.reads_by_pieces
        if isinstance(self._x, StoredColumn) and not by_pieces:
            self._x = inputs(self._d, self._device)
        return self._x

    def _names(self) -> tuple[str, ...]:
        wanted = self._settings.baselines
        if not isinstance(wanted, str):
            return wanted
        if wanted == "none" or self._test is None:
            return ()
        small = self._d.num_nodes <= _SMALL_NODES and self._test.size <= _SMALL_PAIRS
        graph = tuple(heuristics.HEURISTICS)
        chosen = graph if small or wanted == "all" else heuristics.LOCAL
        return chosen if self._d.x is None else (*chosen, "cosine")

    def _score(self, model: nn.Module, pairs: Candidates, graph: Graph) -> float:
        def score(some: Tensor) -> Tensor:
            logits = score_pairs(
                model,
                None if h is not None else self._features(model),
                graph,
                some.to(self._device),
                self._settings.eval_batch_size,
                h,
            )
            if not bool(logits.isfinite().all()):
                count = int((~logits.isfinite()).sum())
                raise DivergedError(
                    f"link.fit: scores must be finite, got {count} of {len(logits)} that "
                    "are not; lower `lr`"
                )
            return logits.cpu()

        h = None
        model.eval()
        kept: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if isinstance(model, LinkModel):
            with torch.no_grad():
                h = model.encode(self._features(model), graph)
            kept = model.caching()
        with kept:
            return pairs.evaluate(
                self._settings.metric, score, self._settings.eval_batch_size
            )


@torch.no_grad()
def score_pairs(
    model: nn.Module,
    x: Any,
    graph: Graph,
    pairs: Tensor,
    batch_size: int,
    h: Tensor | None = None,
) -> Tensor:
    """Logits of pairs, by a LinkModel or any ``forward(x, graph, pairs)``."""
    model.eval()
    if isinstance(model, LinkModel):
        return model.score(x, graph, pairs, batch_size=batch_size, h=h)
    parts = [model(x, graph, part.contiguous()) for part in pairs.split(batch_size, 1)]
    return torch.cat(parts)


def inputs(d: Dataset, device: torch.device) -> Any:
    """Features as link models take them: sparse ones stay sparse; None where none are."""
    from graphlab.datasets import SparseColumn
    from graphlab.models.sparse import features

    if d.x is None:
        return None
    if isinstance(d.x, SparseColumn):
        if device.type == "cpu":
            return features(d.x)
        return calling.as_float(d.x.gather(torch.arange(d.num_nodes))).to(device)
    x = d.x if isinstance(d.x, Tensor) else d.x.gather(torch.arange(d.num_nodes))
    return calling.as_float(x).to(device)


def _missing(split: str, what: str, part: Any) -> NoReturn:
    got = ", ".join(part) or "nothing"
    remedy = "make one with gl.datasets.split_links(d) or split_links_ncn(d)"
    need = f"have {what} in its {split} link split"
    check.fail(ValueError, "link.fit", "d", need, got, remedy)
