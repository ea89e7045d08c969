"""What follows a linear layer, in one pass: layer norm, dropout, ReLU."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare, without_autograd

declare(
    "norm_dropout_relu(Tensor x, Tensor? weight, Tensor? bias, float eps, float p, int key,"
    " bool relu) -> Tensor",
    twin="graphlab.ops.twins.norm_dropout_relu:norm_dropout_relu",
    fake=lambda x, *rest: torch.empty_like(x, memory_format=torch.contiguous_format),
    twin_on_cuda=True,
)
declare(
    "norm_dropout_relu_backward(Tensor grad, Tensor x, Tensor out, Tensor? weight,"
    " float eps, float p, int key, bool relu) -> (Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.norm_dropout_relu:norm_dropout_relu_backward",
    fake=lambda grad, x, out, weight, *rest: (
        torch.empty_like(x, memory_format=torch.contiguous_format),
        x.new_empty(0) if weight is None else torch.empty_like(weight),
        x.new_empty(0) if weight is None else torch.empty_like(weight),
    ),
    twin_on_cuda=True,
)


def norm_dropout_relu(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    p: float = 0.0,
    key: int | None = None,
    relu: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalise rows, drop values, cut at zero: ``relu(dropout(layer_norm(x)))``.

    A value is kept where its 16 random bits are at least ``t = round(65536 p)``, and then
    multiplied by ``65536 / (65536 - t)``, so that its mean is exact.

    Args:
        x: [..., width], float32 or float64; all but the last dimension are rows.
        weight: [width]: scale of the layer norm; None: no norm.
        bias: [width]: its shift.
        p: Share of values that become zero, in [0, 1).
        key: Of the random bits, which are those of (key, row, column); None: drawn from
            torch's generator.
        relu: Whether negative values become zero.
        eps: Added to the variance.

    Returns:
        Like ``x``. Differentiable in ``x``, ``weight`` and ``bias``, once.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape or device, ``p`` out of range.

    Cost:
        One read and one write of ``rows x width``, where torch takes three, and a 64-bit
        hash for 4 values, where torch draws one number a value in one thread. The gradient
        keeps ``x`` and the result, no mask. Parallel, deterministic.

    Example:
        >>> x = torch.tensor([[1.0, 3.0], [4.0, 2.0]])
        >>> norm_dropout_relu(x, torch.ones(2), torch.zeros(2)).round()
        tensor([[0., 1.],
                [1., 0.]])
    """
    name = "norm_dropout_relu"
    check.tensor(name, "x", x, dtypes=check.FLOAT_DTYPES)
    if x.dim() == 0:
        check.fail(ValueError, name, "x", "have rows", "a single number")
    if not 0 <= p < 1:
        check.fail(ValueError, name, "p", "be in [0, 1)", p)
    if (weight is None) != (bias is None):
        got = "one of them"
        check.fail(ValueError, name, "weight", "be given with `bias`", got)
    for argument, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            check.tensor(name, argument, value, dtypes=(x.dtype,), ndim=1)
            check.same_device(name, ("x", x), **{argument: value})
            if value.shape[0] != x.shape[-1]:
                need = f"have a value for each of {x.shape[-1]:,} columns"
                check.fail(ValueError, name, argument, need, value.shape[0])
    if key is None:
        key = draw_key() if p else 0
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    with without_autograd(x, weight, bias):
        out = torch.ops.graphlab.norm_dropout_relu(
            rows, weight, bias, eps, p, key, relu
        )
    return out.view(x.shape)


def dropout(
    x: Tensor, p: float, training: bool = True, *, relu: bool = False
) -> Tensor:
    """Drop values of any shape, on CPU with the draws of :func:`norm_dropout_relu`.

    With ``relu`` negative values become zero in the same pass.

    Example:
        >>> dropout(torch.tensor([1.0, -1.0]), 0.5, training=False, relu=True)
        tensor([1., 0.])
    """
    if not training or p == 0 or x.numel() == 0:
        return x.relu() if relu else x
    if x.device.type != "cpu" or x.dtype not in check.FLOAT_DTYPES:
        return F.dropout(x.relu() if relu else x, p)
    # A draw serves four values of a row: narrow rows are read as one.
    rows = x.reshape(-1) if x.dim() and x.shape[-1] < 4 else x
    return norm_dropout_relu(rows, p=p, relu=relu).view(x.shape)


def draw_key() -> int:
    """A key for random bits, from torch's generator."""
    return int(torch.randint(-(2**63), 2**63 - 1, ()))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, *ctx.rest = inputs
    ctx.save_for_backward(x, output, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, out, weight = ctx.saved_tensors
    grads = torch.ops.graphlab.norm_dropout_relu_backward(
        grad.contiguous(), x, out, weight, *ctx.rest
    )
    of_norm = (None, None) if weight is None else grads[1:]
    return grads[0], *of_norm, None, None, None, None


torch.library.register_autograd(
    "graphlab::norm_dropout_relu", _backward, setup_context=_save
)
