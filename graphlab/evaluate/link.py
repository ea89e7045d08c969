"""Scores of link prediction: Hits@K, MRR, AUC, AP, with guards against silent nonsense."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from graphlab import check

_HITS = re.compile(r"hits@([1-9][0-9]*)")


class LinkEvaluator:
    r"""Score positive pairs against negative ones; larger is better.

    ``hits@K``: share of positives above the K-th best negative, strictly. ``mrr``: mean of
    ``1 / rank`` among the negatives of the same positive, ``rank`` the mean of the optimistic
    and the pessimistic one. ``auc``, ``ap``: area under the ROC curve and average precision,
    by scikit-learn.

    Negatives are shared, [Q], or each positive's own, [P, Q]. ``mrr`` needs own ones, ``auc``
    and ``ap`` shared ones; ``hits@K`` takes both, and ranks each positive among its own where
    they are.

    Args:
        metric: ``hits@K`` for any K, ``mrr``, ``auc`` or ``ap``.

    Raises:
        ValueError: not a metric.

    Source:
        OGB 1.3.6, ogb/linkproppred/evaluate.py: Hits and reciprocal ranks are equal to the
        bit where that one is right. It returns 1.0 where there are fewer than K negatives,
        scores NaN as a miss, and its numpy branch of MRR fails; here the first two are
        errors and the third works.

    Example:
        >>> evaluator = LinkEvaluator("hits@2")
        >>> evaluator.score(torch.tensor([0.9, 0.3]), torch.tensor([0.1, 0.5, 0.4]))
        0.5
    """

    def __init__(self, metric: str = "hits@100") -> None:
        found = _HITS.fullmatch(str(metric))
        if found is None and metric not in ("mrr", "auc", "ap"):
            need = "be hits@K, mrr, auc or ap"
            check.fail(ValueError, "LinkEvaluator", "metric", need, repr(metric))
        self.metric = str(metric)
        self._k = int(found[1]) if found else 0
        self.reset()

    def score(self, pos: Any, neg: Any) -> float:
        """Score once.

        Args:
            pos: [P], scores of positives; a tensor or array, float32 or wider.
            neg: [Q] shared, or [P, Q] each positive's own.

        Raises:
            TypeError: not floating point, or half precision, which ties scores.
            ValueError: NaN, other shapes, fewer than K negatives, nothing to score.
        """
        self.reset()
        self.update(pos, neg)
        return self.compute()

    def reset(self) -> None:
        """Forget what :meth:`update` was given."""
        self._pos: list[Tensor] = []
        self._neg: list[Tensor] = []
        self._top: Tensor | None = None
        self._negatives = 0
        self._sum, self._count, self._ties = 0.0, 0, 0
        self._own: bool | None = None

    def update(self, pos: Any, neg: Any) -> None:
        """Take a block of scores; either may be empty where negatives are shared.

        Cost:
            Own negatives are reduced at once and nothing of them is kept. Of shared ones the
            best K are kept for Hits, all for AUC and AP.
        """
        pos, neg = _scores("pos", pos), _scores("neg", neg)
        if pos.dim() != 1 or neg.dim() not in (1, 2):
            got = f"{list(pos.shape)} and {list(neg.shape)}"
            need = "have shapes [P] and [Q], or [P] and [P, Q]"
            check.fail(ValueError, "LinkEvaluator", "pos and neg", need, got)
        own = neg.dim() == 2
        if self._own is not None and own != self._own:
            need = "be shared or own in all blocks alike"
            check.fail(ValueError, "LinkEvaluator", "neg", need, list(neg.shape))
        self._own = own
        if own:
            self._update_own(pos, neg)
        else:
            self._update_shared(pos, neg)

    def compute(self) -> float:
        """Score of all that was given."""
        if self._own:
            if self._count == 0:
                self._too_few("pos", "hold a positive", 0)
            return self._sum / self._count
        pos = torch.cat(self._pos) if self._pos else torch.empty(0)
        if len(pos) == 0:
            self._too_few("pos", "hold a positive", 0)
        if self._k:
            if self._top is None or len(self._top) < self._k:
                need = f"hold at least K = {self._k} negatives"
                self._too_few("neg", need, self._negatives)
            kth = self._top.min()
            self._ties = int((pos == kth).sum())
            return float((pos > kth).sum()) / len(pos)
        from sklearn.metrics import average_precision_score, roc_auc_score

        neg = torch.cat(self._neg) if self._neg else torch.empty(0)
        if len(neg) == 0:
            self._too_few("neg", "hold a negative", 0)
        truth = np.concatenate([np.ones(len(pos)), np.zeros(len(neg))])
        given = torch.cat([pos, neg]).numpy()
        area = roc_auc_score if self.metric == "auc" else average_precision_score
        return float(area(truth, given))

    @property
    def ties(self) -> int:
        """Positives that tie with the K-th negative, or with one of their own.

        Many of them say that the score is too coarse for its metric.
        """
        return self._ties

    def _update_own(self, pos: Tensor, neg: Tensor) -> None:
        if self.metric in ("auc", "ap"):
            need = f"be shared, [Q], for {self.metric}"
            check.fail(ValueError, "LinkEvaluator", "neg", need, list(neg.shape))
        if len(pos) != len(neg):
            need = f"have a row for each of {len(pos)} positives"
            check.fail(ValueError, "LinkEvaluator", "neg", need, list(neg.shape))
        least = self._k or 1
        if neg.shape[1] < least:
            need = f"hold at least {least} negatives for each positive"
            self._too_few("neg", need, neg.shape[1])
        if self._k:
            kth = neg.topk(self._k, 1).values[:, -1]
            self._ties += int((pos == kth).sum())
            self._sum += float((pos > kth).sum())
        else:
            inverse = 1.0 / ranks(pos, neg)
            self._ties += int((neg == pos[:, None]).any(1).sum())
            self._sum += float(inverse.double().sum())
        self._count += len(pos)

    def _update_shared(self, pos: Tensor, neg: Tensor) -> None:
        if self.metric == "mrr":
            need = "be each positive's own, [P, Q], for mrr"
            check.fail(ValueError, "LinkEvaluator", "neg", need, list(neg.shape))
        if len(pos):
            self._pos.append(pos)
        if not len(neg):
            return
        self._negatives += len(neg)
        if not self._k:
            self._neg.append(neg)
            return
        kept = neg if self._top is None else torch.cat([self._top.to(neg.dtype), neg])
        self._top = kept.topk(min(self._k, len(kept))).values

    def _too_few(self, argument: str, need: str, got: int) -> NoReturn:
        check.fail(ValueError, "LinkEvaluator", argument, need, got)


def ranks(pos: Tensor, neg: Tensor) -> Tensor:
    """Rank of each positive among its own negatives: 1 for the best. [P], float32.

    One more than the mean of the numbers of negatives above, and not below.
    """
    above = (neg > pos[:, None]).sum(1)
    not_below = (neg >= pos[:, None]).sum(1)
    return 0.5 * (above + not_below) + 1


def _scores(argument: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.ascontiguousarray(value))
    value = check.tensor("LinkEvaluator", argument, value)
    value = value.detach().cpu()
    if value.dtype not in check.FLOAT_DTYPES:
        half = value.dtype in (torch.float16, torch.bfloat16)
        remedy = "half precision ties scores; score in float32" if half else ""
        got = str(value.dtype).removeprefix("torch.")
        need = "be float32 or float64"
        check.fail(TypeError, "LinkEvaluator", argument, need, got, remedy)
    if bool(value.isnan().any()):
        got = f"{int(value.isnan().sum())} of {value.numel()} that are"
        need = "hold no NaN"
        check.fail(
            ValueError, "LinkEvaluator", argument, need, got, "the model diverged"
        )
    return value
