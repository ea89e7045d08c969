"""Losses of predictors: squared error, and a differentiable rank correlation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphlab import check

Loss = Literal["mse", "kendall"]


def kendall_loss(predicted: Tensor, target: Tensor, alpha: float = 2.0) -> Tensor:
    r"""DiffKendall: minus a soft Kendall's tau.

    :math:`-\frac{1}{P}\sum_{i<j}\tanh(\alpha\Delta\hat y_{ij})\,\mathrm{sign}(\Delta y_{ij})`

    Args:
        predicted: [..., n].
        target: [..., n].
        alpha: Steepness of the soft sign.

    Returns:
        [...]: minus a soft Kendall's tau, in [-1, 1].

    Source:
        Zheng et al., "DiffKendall", NeurIPS 2023, used for predictors in Dong et al.,
        "ParZC: Parametric Zero-Cost Proxies for Efficient NAS", AAAI 2025. They soften both
        signs; targets need no gradient, so theirs is the exact sign here.

    Example:
        >>> y = torch.tensor([0.0, 1.0, 2.0])
        >>> float(kendall_loss(100 * y, y))
        -1.0
    """
    count = predicted.shape[-1]
    if count < 2:
        return (predicted * 0).sum(-1)
    first, second = torch.triu_indices(count, count, 1)
    soft = torch.tanh(alpha * (predicted[..., first] - predicted[..., second]))
    return -(soft * torch.sign(target[..., first] - target[..., second])).mean(-1)


def regression_loss(name: str, predicted: Tensor, target: Tensor) -> Tensor:
    """One loss for each leading index: ``mse`` or ``kendall``.

    With ``kendall`` a tenth of the squared error keeps the scale, which a rank has not.
    """
    check.one_of("Ensemble", "loss", name, ("mse", "kendall"))
    squares = (predicted - target).square().mean(-1)
    if name == "mse":
        return squares
    return kendall_loss(predicted, target) + 0.1 * squares
