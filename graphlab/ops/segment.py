"""Reductions and softmax over consecutive rows (segments) of a matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare
from graphlab.ops.twins.segment import owners

declare(
    "segment_reduce(Tensor src, Tensor ptr, str reduce) -> (Tensor, Tensor)",
    twin="graphlab.ops.twins.segment:segment_reduce",
    fake=lambda src, ptr, reduce: (
        src.new_empty(ptr.shape[0] - 1, src.shape[1]),
        ptr.new_empty(ptr.shape[0] - 1 if reduce == "max" else 0, src.shape[1]),
    ),
    twin_on_cuda=True,
)
declare(
    "segment_softmax(Tensor src, Tensor ptr) -> Tensor",
    twin="graphlab.ops.twins.segment:segment_softmax",
    fake=lambda src, ptr: torch.empty_like(src),
    twin_on_cuda=True,
)


def segment_reduce(src: Tensor, ptr: Tensor, reduce: str = "sum") -> Tensor:
    """Reduce consecutive rows of ``src``, one result per segment.

    ``out[s] = reduce(src[ptr[s]], ..., src[ptr[s + 1] - 1])``; an empty segment gives zeros.

    Args:
        src: [rows, width], float32 or float64. Strided input is copied once.
        ptr: [segments + 1], int64, same device; starts at 0, ends at ``rows``, never falls.
        reduce: ``sum``, ``mean`` or ``max``. The gradient of ``max`` goes to the first row
            that attains it.

    Returns:
        [segments, width], dtype and device of ``src``. Differentiable in ``src``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong rank or device, ``ptr`` not spanning ``src``, unknown ``reduce``.

    Cost:
        rows * width operations; reads ``src`` once; no temporary beyond the result. CPU:
        parallel over segments; sums run in row order, so results repeat bit for bit. CUDA:
        long segments are cut in pieces, for which up to two rows are kept for every 256 rows
        of ``src``, 2^17 at most; results repeat there too.

    Example:
        >>> segment_reduce(torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([0, 2, 2, 3]))
        tensor([[3.],
                [0.],
                [4.]])
    """
    name = "segment_reduce"
    _check(name, src, ptr)
    check.one_of(name, "reduce", reduce, ("sum", "mean", "max"))
    out, _ = torch.ops.graphlab.segment_reduce(src.contiguous(), ptr, reduce)
    return out


def segment_softmax(src: Tensor, ptr: Tensor) -> Tensor:
    """Normalise each column within each segment by softmax.

    ``out[e] = exp(src[e] - m[s]) / sum of the same over segment s``, ``m[s]`` the maximum.

    Args:
        src: [rows, width] or [rows], float32 or float64.
        ptr: [segments + 1], int64, same device; starts at 0, ends at ``rows``, never falls.

    Returns:
        Shape, dtype and device of ``src``. Differentiable in ``src``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong rank or device, ``ptr`` not spanning ``src``.

    Cost:
        rows * width exponentials, three passes over a segment; deterministic.

    Example:
        >>> segment_softmax(torch.zeros(3, 1), torch.tensor([0, 2, 3])).flatten()
        tensor([0.5000, 0.5000, 1.0000])
    """
    name = "segment_softmax"
    flat = isinstance(src, Tensor) and src.dim() == 1
    matrix = src[:, None] if flat else src
    _check(name, matrix, ptr)
    out = torch.ops.graphlab.segment_softmax(matrix.contiguous(), ptr)
    return out[:, 0] if flat else out


def _check(name: str, src: Tensor, ptr: Tensor) -> None:
    check.tensor(name, "src", src, dtypes=check.FLOAT_DTYPES, ndim=2)
    check.offsets(name, "ptr", ptr, end=src.shape[0])
    check.same_device(name, ("src", src), ptr=ptr)


def _save_reduce(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    src, ptr, reduce = inputs
    ctx.reduce, ctx.rows = reduce, src.shape[0]
    ctx.save_for_backward(ptr, output[1])
    ctx.mark_non_differentiable(output[1])


def _reduce_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Any, ...]:
    ptr, arg = ctx.saved_tensors
    if ctx.reduce == "max":
        # An empty segment has arg -1; its gradient goes to a row that is cut off.
        target = torch.where(arg < 0, ctx.rows, arg)
        padded = grad.new_zeros(ctx.rows + 1, grad.shape[1])
        return padded.scatter_add(0, target, grad)[:-1], None, None
    if ctx.reduce == "mean":
        grad = grad / ptr.diff().clamp(min=1)[:, None]
    return grad[owners(ptr)], None, None


def _save_softmax(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], output)


def _softmax_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    ptr, out = ctx.saved_tensors
    product = out * grad
    total = torch.ops.graphlab.segment_reduce(product.contiguous(), ptr, "sum")[0]
    return product - out * total[owners(ptr)], None


torch.library.register_autograd(
    "graphlab::segment_reduce", _reduce_backward, setup_context=_save_reduce
)
torch.library.register_autograd(
    "graphlab::segment_softmax", _softmax_backward, setup_context=_save_softmax
)
