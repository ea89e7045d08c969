"""Readable twins of ``norm_dropout_relu`` and its gradient: plain torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def threshold(p: float) -> int:
    """16 random bits below this drop a value."""
    return min(round(p * 65536), 65535)


def scale(p: float) -> float:
    """What kept values are multiplied by."""
    return 65536 / (65536 - threshold(p))


def kept(x: Tensor, p: float, key: int) -> Tensor:
    """Whether each value of [rows, width] is kept.

    Value ``(r, c)`` has the ``c % 4``-th 16 bits of draw ``r * ceil(width / 4) + c // 4``.
    """
    rows, width = x.shape
    words = -(-width // 4)
    # SplitMix64 in signed words: products wrap, shifts are made logical by a mask.
    z = torch.arange(1, rows * words + 1, device=x.device) * -0x61C8864680B583EB + key
    z = (z ^ (z >> 30 & (1 << 34) - 1)) * -0x40A7B892E31B1A47
    z = (z ^ (z >> 27 & (1 << 37) - 1)) * -0x6B2FB644ECCEEE15
    z = z ^ (z >> 31 & (1 << 33) - 1)
    parts = torch.stack([z >> shift & 0xFFFF for shift in (0, 16, 32, 48)], 1)
    return parts.view(rows, 4 * words)[:, :width] >= threshold(p)


def norm_dropout_relu(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    p: float,
    key: int,
    relu: bool,
) -> Tensor:
    """See :func:`graphlab.ops.norm_dropout_relu`."""
    out = x if weight is None else F.layer_norm(x, x.shape[1:], weight, bias, eps)
    if p:
        out = torch.where(kept(x, p, key), out * scale(p), 0.0)
    if relu:
        out = out.relu()
    return out.clone() if out is x else out


def norm_dropout_relu_backward(
    grad: Tensor,
    x: Tensor,
    out: Tensor,
    weight: Tensor | None,
    eps: float,
    p: float,
    key: int,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias."""
    # Where ReLU passed something, the value was kept.
    if relu:
        grad = torch.where(out > 0, grad * scale(p), 0.0)
    elif p:
        grad = torch.where(kept(x, p, key), grad * scale(p), 0.0)
    if weight is None:
        grad = grad.clone() if not (relu or p) else grad
        return grad, x.new_empty(0), x.new_empty(0)
    centred = x - x.mean(1, keepdim=True)
    inverse = (centred.square().mean(1, keepdim=True) + eps).rsqrt()
    unit = centred * inverse
    of_unit = grad * weight
    along = (of_unit * unit).mean(1, keepdim=True)
    grad_x = inverse * (of_unit - of_unit.mean(1, keepdim=True) - unit * along)
    return grad_x, (grad * unit).sum(0), grad.sum(0)
