"""Readable twin of ``pair_mlp``: plain torch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from graphlab.ops import rng
from graphlab.ops.twins.norm_dropout_relu import norm_dropout_relu

EPS = 1e-5


def pair_mlp(
    h: Tensor,
    pairs: Tensor,
    pooled: Tensor | None,
    params: Tensor,
    plan: Tensor,
    p: float,
    key: int,
) -> Tensor:
    """See :func:`graphlab.ops.pair_mlp`."""
    width, at = h.shape[1], 0

    def take(*shape: int) -> Tensor:
        nonlocal at
        count = 1
        for size in shape:
            count *= size
        at += count
        return params[at - count : at].view(*shape)

    layers = []
    for number, (branch, norm, acts) in enumerate(plan.tolist()):
        weight, bias = take(width, width), take(width)
        scale, shift = (take(width), take(width)) if norm else (None, None)
        layers.append((number, branch, acts, weight, bias, scale, shift))
    last, last_bias, beta = take(width), take(1), take(1)

    def run(wanted: int, x: Tensor) -> Tensor:
        for number, branch, acts, weight, bias, scale, shift in layers:
            if branch != wanted:
                continue
            x = F.linear(x, weight, bias)
            if acts:
                of_layer = rng.key(key, number)
                x = norm_dropout_relu(x, scale, shift, EPS, p, of_layer, True)
        return x

    z = run(1, h[pairs[0]] * h[pairs[1]])
    if pooled is not None:
        z = z + beta * run(0, pooled)
    return run(2, z) @ last + last_bias
