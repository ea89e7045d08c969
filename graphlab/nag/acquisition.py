"""Acquisitions: what evaluating an architecture promises, from a surrogate's prediction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphlab import check

NAMES = ("ei", "pi", "ucb", "its", "ts")


def acquire(
    name: str,
    mean: Tensor,
    std: Tensor,
    best: float,
    *,
    draw: torch.Generator,
    outputs: Tensor | None = None,
) -> Tensor:
    r"""Score candidates; larger is better.

    ``ei`` :math:`(\mu - b)\Phi(u) + \sigma\phi(u)`, :math:`u = (\mu - b)/\sigma`; ``pi``
    :math:`\Phi(u)`; ``ucb`` :math:`\mu + \sigma / 2`; ``its`` independent Thompson: one draw
    of :math:`N(\mu, \sigma)` each; ``ts`` Thompson: one function for all, a member of an
    ensemble or a draw from a Gaussian process.

    Args:
        name: One of the above.
        mean: [N].
        std: [N].
        best: Best score so far.
        draw: Of random numbers.
        outputs: [functions, N], for ``ts``.

    Raises:
        ValueError: another name, or ``ts`` without outputs.

    Source:
        White et al., "BANANAS", AAAI 2021, section 3 (ITS, TS, and UCB's factor 0.5).

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> acquire("ei", torch.tensor([0.0, 1.0]), torch.ones(2), 0.5, draw=g).argmax().item()
        1
    """
    check.one_of("acquire", "name", name, NAMES)
    if name == "ucb":
        return mean + 0.5 * std
    if name == "ts":
        if outputs is None:
            check.fail(ValueError, "acquire", "outputs", "be given for 'ts'", None)
        return outputs[int(torch.randint(len(outputs), (1,), generator=draw))]
    if name == "its":
        return mean + std * torch.randn(mean.shape, generator=draw)
    std = std.clamp(min=1e-9)
    u = (mean - best) / std
    phi = torch.exp(-0.5 * u.square()) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + torch.erf(u / math.sqrt(2)))
    return below if name == "pi" else (mean - best) * below + std * phi
