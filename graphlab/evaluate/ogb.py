"""OGB's evaluators for node and link tasks: the same numbers to the bit, behind guards."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.evaluate.link import LinkEvaluator, ranks

# name -> (metric, number of tasks): table of OGB 1.3.6 (ogb/nodeproppred/master.csv).
_NODE = {
    "ogbn-arxiv": ("acc", 1),
    "ogbn-mag": ("acc", 1),
    "ogbn-papers100M": ("acc", 1),
    "ogbn-products": ("acc", 1),
    "ogbn-proteins": ("rocauc", 112),
}
# name -> metric: table of OGB 1.3.6 (ogb/linkproppred/master.csv).
_LINK = {
    "ogbl-biokg": "mrr",
    "ogbl-citation2": "mrr",
    "ogbl-collab": "hits@50",
    "ogbl-ddi": "hits@20",
    "ogbl-ppa": "hits@100",
    "ogbl-vessel": "rocauc",
    "ogbl-wikikg2": "mrr",
}


@dataclasses.dataclass(frozen=True)
class OgbNodeEvaluator:
    """The official score of an ogbn data set.

    ``acc``: share of equal classes among labelled nodes. ``rocauc``: mean over the tasks that
    have both a positive and a negative label. NaN marks a missing label.

    Args:
        name: Name of the data set.
        metric: ``acc`` or ``rocauc``.
        num_tasks: Columns of labels.

    Source: snap-stanford/ogb 1.3.6, ogb/nodeproppred/evaluate.py; equal to the bit on what
        both accept. This one refuses predictions that are not finite, float16 scores (they
        tie, and ties move the area) and data without a labelled node.
    """

    name: str
    metric: str
    num_tasks: int

    def eval(self, inputs: dict[str, Any]) -> dict[str, float]:
        """Score ``{"y_true": [n, tasks], "y_pred": [n, tasks]}``, as OGB's evaluator does.

        Args:
            inputs: Tensors or arrays; ``y_pred`` holds classes (acc) or scores (rocauc).

        Returns:
            ``{"acc": score}`` or ``{"rocauc": score}``.

        Raises:
            KeyError: a key is missing.
            TypeError, ValueError: wrong type, shape, or values that are not finite.
        """
        for key in ("y_true", "y_pred"):
            if key not in inputs:
                raise KeyError(f"{self.name}: `inputs` must hold 'y_true' and 'y_pred'")
        y_true = self._array("y_true", inputs["y_true"])
        y_pred = self._array("y_pred", inputs["y_pred"])
        if y_true.shape != y_pred.shape:
            need = f"have the shape {list(y_true.shape)} of `y_true`"
            check.fail(ValueError, self.name, "y_pred", need, list(y_pred.shape))
        if not np.isfinite(y_pred).all():
            count = int((~np.isfinite(y_pred)).sum())
            check.fail(
                ValueError,
                self.name,
                "y_pred",
                "be finite",
                f"{count} of {y_pred.size} values that are not",
                "the model diverged",
            )
        if self.metric == "acc":
            return {"acc": _accuracy(self.name, y_true, y_pred)}
        return {"rocauc": _roc_auc(self.name, y_true, y_pred)}

    def _array(self, argument: str, value: object) -> npt.NDArray[Any]:
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        if not isinstance(value, np.ndarray):
            got = type(value).__name__
            check.fail(TypeError, self.name, argument, "be a tensor or an array", got)
        if value.dtype == np.float16:
            check.fail(
                TypeError,
                self.name,
                argument,
                "be float32 or wider",
                "float16",
                "half precision ties scores; cast before evaluating",
            )
        if value.ndim != 2 or value.shape[1] != self.num_tasks or not len(value):
            need = f"have shape [n, {self.num_tasks}], n >= 1"
            check.fail(ValueError, self.name, argument, need, list(value.shape))
        return value


@dataclasses.dataclass(frozen=True)
class OgbLinkEvaluator:
    """The official score of an ogbl data set.

    ``hits@K``: share of positives above the K-th best of the shared negatives. ``mrr``: one
    over the rank of each positive among its own negatives. ``rocauc``: area under the curve.

    Args:
        name: Name of the data set.
        metric: ``hits@K``, ``mrr`` or ``rocauc``.

    Source: snap-stanford/ogb 1.3.6, ogb/linkproppred/evaluate.py; equal to the bit on what
        both accept. Guards of :class:`~graphlab.evaluate.LinkEvaluator` come first.
    """

    name: str
    metric: str

    @property
    def eval_metric(self) -> str:
        """The metric, as OGB's evaluator names it."""
        return self.metric

    def eval(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Score ``{"y_pred_pos": [P], "y_pred_neg": [Q] or [P, Q]}``.

        Args:
            inputs: Tensors or arrays.

        Returns:
            ``{"hits@K": share}``, ``{"rocauc": area}``, or for ``mrr`` the lists, one number
            for each positive, that OGB returns: ``mrr_list``, ``hits@1_list``,
            ``hits@3_list``, ``hits@10_list``; take their means.

        Raises:
            KeyError: a key is missing.
            TypeError, ValueError: as :class:`~graphlab.evaluate.LinkEvaluator`.
        """
        for key in ("y_pred_pos", "y_pred_neg"):
            if key not in inputs:
                raise KeyError(
                    f"{self.name}: `inputs` must hold 'y_pred_pos' and 'y_pred_neg'"
                )
        pos, neg = inputs["y_pred_pos"], inputs["y_pred_neg"]
        name = "auc" if self.metric == "rocauc" else self.metric
        score = LinkEvaluator(name).score(pos, neg)
        if self.metric != "mrr":
            return {self.metric: score}
        rank = ranks(torch.as_tensor(pos), torch.as_tensor(neg))
        hits = {f"hits@{k}_list": (rank <= k).to(torch.float) for k in (1, 3, 10)}
        return {**hits, "mrr_list": 1.0 / rank.to(torch.float)}


def ogb(name: str) -> OgbNodeEvaluator | OgbLinkEvaluator:
    """Return the evaluator of an OGB data set.

    Args:
        name: Such as ``ogbn-arxiv`` or ``ogbl-ddi``.

    Raises:
        NotImplementedError: a graph set of OGB, which graphlab cannot score.
        ValueError: not a name of OGB.

    Example:
        >>> evaluator = ogb("ogbn-arxiv")
        >>> evaluator.eval({"y_true": np.array([[1], [2]]), "y_pred": np.array([[1], [0]])})
        {'acc': 0.5}
    """
    if name in _NODE:
        return OgbNodeEvaluator(name, *_NODE[name])
    if name in _LINK:
        return OgbLinkEvaluator(name, _LINK[name])
    known = ", ".join((*_NODE, *_LINK))
    if isinstance(name, str) and name.startswith(("ogbg-", "ogblsc-")):
        raise NotImplementedError(
            f"ogb: {name} has no evaluator in this version of graphlab; there are {known}"
        )
    check.fail(ValueError, "ogb", "name", f"be one of {known}", repr(name))


def _accuracy(name: str, y_true: npt.NDArray[Any], y_pred: npt.NDArray[Any]) -> float:
    shares = []
    for task in range(y_true.shape[1]):
        labelled = y_true[:, task] == y_true[:, task]
        if not labelled.any():
            check.fail(ValueError, name, "y_true", "hold a label", "only nan")
        right = y_true[labelled, task] == y_pred[labelled, task]
        shares.append(float(np.sum(right)) / len(right))
    return sum(shares) / len(shares)


def _roc_auc(name: str, y_true: npt.NDArray[Any], y_pred: npt.NDArray[Any]) -> float:
    from sklearn.metrics import roc_auc_score

    areas = []
    for task in range(y_true.shape[1]):
        labels = y_true[:, task]
        # Defined only where there is a positive and a negative.
        if np.sum(labels == 1) > 0 and np.sum(labels == 0) > 0:
            labelled = labels == labels
            areas.append(roc_auc_score(labels[labelled], y_pred[labelled, task]))
    if not areas:
        need = "hold a positive and a negative label in some task"
        check.fail(ValueError, name, "y_true", need, "none such")
    return float(sum(areas) / len(areas))
