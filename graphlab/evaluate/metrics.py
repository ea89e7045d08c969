"""Node metrics by name; they refuse what would give a number that means nothing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphlab import check

# A metric takes labels and raw model outputs (logits); larger is better.
Metric = Callable[[Tensor, Tensor], float]


def accuracy(y: Tensor, logits: Tensor) -> float:
    """Share of right decisions.

    Args:
        y: [n] int64 classes, or [n, tasks] zeros and ones, where each cell counts once.
        logits: [n, classes], or [n, tasks]; [n] or [n, 1] for two classes.

    Returns:
        A float in [0, 1].

    Raises:
        TypeError, ValueError: not tensors, no rows, other shapes, not finite.

    Example:
        >>> accuracy(torch.tensor([0, 1]), torch.tensor([[2.0, 1.0], [3.0, 0.0]]))
        0.5
    """
    y, logits = _checked("accuracy", y, logits)
    right = decide(y, logits) == y
    return int(right.sum()) / right.numel()


def roc_auc(y: Tensor, logits: Tensor) -> float:
    """Area under the ROC curve, by scikit-learn.

    Two classes: of the second one's score. More classes: one against the rest on softmax
    probabilities, mean over classes. Labels [n, tasks]: mean over tasks that have both
    values, as OGB does.

    Raises:
        TypeError, ValueError: as :func:`accuracy`; or a class or all tasks have one value
            only, so that the area is not defined.
    """
    from sklearn.metrics import roc_auc_score

    y, logits = _checked("roc_auc", y, logits)
    if y.dim() == 2:
        scores = logits.double().numpy()
        both = [i for i in range(y.shape[1]) if len(y[:, i].unique()) == 2]
        if not both:
            _undefined("both 0 and 1 in some task", y)
        areas = [float(roc_auc_score(y[:, i].numpy(), scores[:, i])) for i in both]
        return sum(areas) / len(areas)
    if logits.dim() == 1 or logits.shape[1] == 2:
        wide = logits.double()
        score = wide if logits.dim() == 1 else wide[:, 1] - wide[:, 0]
        if len(y.unique()) != 2:
            _undefined("both classes", y)
        return float(roc_auc_score(y.numpy(), score.numpy()))
    classes = list(range(logits.shape[1]))
    if len(y.unique()) != len(classes):
        _undefined(f"all {len(classes)} classes", y)
    probability = logits.double().softmax(1).numpy()
    return float(
        roc_auc_score(y.numpy(), probability, multi_class="ovr", labels=classes)
    )


def f1_micro(y: Tensor, logits: Tensor) -> float:
    """F1 over all decisions pooled, by scikit-learn; equals accuracy for single labels."""
    return _f1("f1_micro", y, logits, "micro")


def f1_macro(y: Tensor, logits: Tensor) -> float:
    """Mean of the F1 of each class that occurs in ``y`` or among the decisions."""
    return _f1("f1_macro", y, logits, "macro")


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "roc_auc": roc_auc,
    "f1_micro": f1_micro,
    "f1_macro": f1_macro,
}


def metric(name: str) -> Metric:
    """Return a metric by its name.

    Example:
        >>> metric("accuracy") is accuracy
        True
    """
    return METRICS[check.one_of("metric", "name", name, METRICS)]


def decide(y: Tensor, logits: Tensor) -> Tensor:
    """Turn logits into decisions of the same shape as the labels ``y``."""
    if y.dim() == 2 or logits.dim() == 1:
        return (logits > 0).to(y.dtype)
    return logits.argmax(1)


def _f1(name: str, y: Tensor, logits: Tensor, average: str) -> float:
    from sklearn.metrics import f1_score

    y, logits = _checked(name, y, logits)
    decided = decide(y, logits)
    return float(
        f1_score(y.numpy(), decided.numpy(), average=average, zero_division=0.0)
    )


def _checked(name: str, y: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels (int64, on CPU) and logits (detached) of matching, sane shapes."""
    check.tensor(name, "y", y)
    check.tensor(name, "logits", logits)
    y, logits = y.detach().cpu(), logits.detach().cpu()
    if not logits.is_floating_point():
        got = str(logits.dtype).removeprefix("torch.")
        check.fail(TypeError, name, "logits", "be floating point", got)
    if y.dim() == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if logits.dim() == 2 and logits.shape[1] == 1:
        logits = logits[:, 0]
    if y.shape[0] == 0:
        check.fail(ValueError, name, "y", "hold at least one label", "none")
    if y.dim() == 1 and logits.dim() in (1, 2):
        matches = logits.shape[0] == y.shape[0]
    else:
        matches = y.dim() == 2 and logits.shape == y.shape
    if not matches:
        need = f"match the labels {list(y.shape)}"
        check.fail(ValueError, name, "logits", need, list(logits.shape))
    if not bool(logits.isfinite().all()):
        count = int((~logits.isfinite()).sum())
        check.fail(
            ValueError,
            name,
            "logits",
            "be finite",
            f"{count} of {logits.numel()} that are not",
            "the model diverged",
        )
    if y.is_floating_point() and not bool((y == y.round()).all()):
        check.fail(ValueError, name, "y", "be classes", "fractions or nan")
    y = y.long()
    num_classes = 2 if y.dim() == 2 or logits.dim() == 1 else logits.shape[1]
    low, high = (int(v) for v in torch.aminmax(y))
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        check.fail(ValueError, name, "y", f"be in [0, {num_classes})", wrong)
    return y, logits


def _undefined(requirement: str, y: Tensor) -> None:
    got = y.unique().tolist()
    check.fail(ValueError, "roc_auc", "y", f"hold {requirement}", got)
