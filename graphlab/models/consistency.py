"""Consistency of several stochastic views of the same nodes, as in GRAND and LAGNN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphlab import check


def consistency_loss(
    logits: Sequence[Tensor],
    temperature: float = 0.5,
    weight: float = 1.0,
    compat: str | None = None,
) -> Tensor:
    r"""Pull the views' probabilities towards their sharpened mean.

    :math:`\frac{w}{K} \sum_k \frac{1}{n} \sum_i \| p_{ki} - p'_i \|^2`, :math:`p'_{i} \propto
    \bar{p}_i^{1/T}`, :math:`\bar{p}` the mean of the views; no gradient flows into p'.

    Args:
        logits: K of [n, C].
        temperature: T, above 0; below 1 sharpens.
        weight: w.
        compat: ``paper`` sums over nodes, as eq. 9 of LAGNN is printed; its release, and
            None, average.

    Returns:
        A scalar.

    Source:
        Feng et al., "Graph Random Neural Networks", NeurIPS 2020, eqs. 5-6.

    Example:
        >>> view = torch.tensor([[0.0, 0.0]])
        >>> consistency_loss([view, view], temperature=1.0)
        tensor(0.)
    """
    name = "consistency_loss"
    if not logits:
        check.fail(ValueError, name, "logits", "hold a view", "none")
    if not temperature > 0:
        check.fail(ValueError, name, "temperature", "be above 0", temperature)
    if compat is not None:
        check.one_of(name, "compat", compat, ("paper",))
    views = torch.stack([view.softmax(1) for view in logits])
    mean = views.mean(0).detach()
    sharp = mean.clamp(min=1e-12).log() / temperature
    distance = (views - sharp.softmax(1)).square().sum(2)
    per_view = distance.sum(1) if compat == "paper" else distance.mean(1)
    return weight * per_view.mean()
