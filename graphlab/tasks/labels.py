"""Labels: what a model must put out for them, and its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from graphlab import check

if TYPE_CHECKING:
    from graphlab.datasets import Dataset


def of(function: str, d: Dataset) -> Tensor:
    """Return the labels of a data set.

    Raises:
        ValueError: it has none.
    """
    if d.y is None:
        remedy = "set d.y to [N] class ids or [N, C] zeros and ones"
        check.fail(ValueError, function, "d", "have labels", "none", remedy)
    return d.y


def num_outputs(function: str, d: Dataset) -> int:
    """Return the outputs that a model needs: classes, or tasks of multi-label data.

    Raises:
        ValueError: no labels, or labels that are not classes.
    """
    y = of(function, d)
    if y.dim() == 1 and y.is_floating_point():
        check.fail(
            ValueError,
            function,
            "d.y",
            "be [N] class ids or [N, C] zeros and ones",
            f"[N] {str(y.dtype).removeprefix('torch.')}",
            "cast whole numbers with d.y.long()",
        )
    if d.num_classes < 1:
        got = "only unlabelled nodes"
        check.fail(ValueError, function, "d.y", "hold a class", got)
    return int(d.num_classes)


def require_labels(function: str, d: Dataset, ids: Tensor, split: str) -> None:
    """Require that every node of a split has a label. O(len(ids))."""
    y = of(function, d)[ids]
    missing = y.isnan().flatten(1).any(1) if y.is_floating_point() else y < 0
    missing = missing if missing.dim() == 1 else missing.any(1)
    if bool(missing.any()):
        node = int(ids[missing][0])
        got = f"{int(missing.sum()):,} without, such as node {node:,} of {split}"
        check.fail(ValueError, function, "d.y", "label every node of the splits", got)


def class_weights(
    function: str, wanted: str | tuple[float, ...] | None, y: Tensor, width: int
) -> Tensor | None:
    """Return the weight of each class (or of each task's positives), or None.

    Args:
        function: Caller, for messages.
        wanted: ``balanced``: inverse to the frequency in ``y``; or the weights themselves.
        y: Training labels.
        width: Number of classes or tasks.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        if y.dim() == 2:
            positive = y.double().sum(0)
            return ((len(y) - positive) / positive.clamp(min=1)).float()
        count = torch.bincount(y, minlength=width).double()
        return (len(y) / (width * count.clamp(min=1))).float()
    weights = torch.tensor([float(w) for w in wanted])
    if len(weights) != width or bool((weights < 0).any()):
        need = f"be 'balanced' or {width} weights, none below 0"
        check.fail(ValueError, function, "class_weights", need, list(wanted))
    return weights


def loss(logits: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean loss: cross-entropy for classes, binary cross-entropy for tasks.

    Args:
        logits: [n, classes]; [n, tasks]; or [n] or [n, 1] for two classes by one logit.
        y: [n] int64, or [n, tasks] zeros and ones.
        weights: [classes], of each class; [tasks], of each task's positives. By one logit:
            [2].

    Raises:
        ValueError: shapes that do not match.
    """
    if logits.dim() == 2 and logits.shape[1] == 1 and y.dim() == 1:
        logits = logits[:, 0]
    if logits.dim() == 1 and y.dim() == 1 and len(logits) == len(y):
        each = None if weights is None else weights[y]
        target = y.to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, target, each)
    if y.dim() == 2 and logits.shape == y.shape:
        target = y.to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(
            logits, target, pos_weight=weights
        )
    if y.dim() == 1 and logits.dim() == 2 and len(logits) == len(y):
        return functional.cross_entropy(logits, y, weights)
    need = f"put out one row for each of the labels {list(y.shape)}"
    check.fail(ValueError, "node.fit", "model", need, f"shape {list(logits.shape)}")


def probabilities(logits: Tensor, y_dim: int) -> Tensor:
    """Turn logits into probabilities: softmax over classes, sigmoid for tasks.

    Returns:
        The shape of ``logits``; [n, 2] for two classes by one logit.
    """
    if y_dim == 2:
        return logits.sigmoid()
    if logits.dim() == 1 or logits.shape[1] == 1:
        second = logits.reshape(-1).sigmoid()
        return torch.stack([1 - second, second], 1)
    return logits.softmax(1)
