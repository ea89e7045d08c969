"""Sparse times dense: sums of neighbours' rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare, without_autograd
from graphlab.ops.twins.segment import owners

declare(
    "spmm(Tensor ptr, Tensor idx, Tensor? weight, Tensor x, str reduce,"
    " Tensor? t_ptr, Tensor? t_idx, Tensor? t_perm) -> Tensor",
    twin="graphlab.ops.twins.spmm:spmm",
    fake=lambda ptr, idx, weight, x, *rest: x.new_empty(ptr.shape[0] - 1, x.shape[1]),
    twin_on_cuda=True,
)
# The derivative of spmm in its weights: an op of its own, so that it too is parallel and
# never holds [edges, width].
declare(
    "spmm_edge_dot(Tensor ptr, Tensor idx, Tensor grad, Tensor x) -> Tensor",
    twin="graphlab.ops.twins.spmm:spmm_edge_dot",
    fake=lambda ptr, idx, grad, x: x.new_empty(idx.shape[0]),
    twin_on_cuda=True,
)

Transpose = tuple[Tensor, Tensor, Tensor]


def spmm(
    ptr: Tensor,
    idx: Tensor,
    x: Tensor,
    *,
    weight: Tensor | None = None,
    reduce: str = "sum",
    transpose: Transpose | None = None,
) -> Tensor:
    """Sum, or average, the rows of ``x`` that each row of a sparse matrix names.

    ``out[r] = sum of weight[e] * x[idx[e]] for e in ptr[r] .. ptr[r + 1] - 1``; ``mean``
    divides by the number of edges of the row. A row without edges gives zeros.

    Args:
        ptr: [rows + 1], int64; starts at 0, ends at ``edges``, never falls.
        idx: [edges], int32 or int64, rows of ``x``.
        x: [num_x, width] or [num_x], float32 or float64. Rows must be contiguous, and may be
            part of wider ones; other strides are copied once.
        weight: [edges], dtype of ``x``; ones when absent.
        reduce: ``sum`` or ``mean``.
        transpose: CSR of the transpose for the gradient in ``x``: ``(ptr, idx, perm)``, with
            ``perm`` the position of each entry in ``idx``, as :func:`csr_transpose` gives.
            Built in every backward pass when absent.

    Returns:
        [rows, width] or [rows], dtype and device of ``x``. Differentiable in ``x`` and
        ``weight``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong rank, length or device, ``ptr`` not spanning ``idx``, unknown
            ``reduce``.
        IndexError: an entry of ``idx`` out of range.

    Cost:
        edges * width multiply-adds; reads one row of ``x`` an edge; no temporary, neither in
        the gradients. CPU: parallel over rows, split where edges are equal; sums run in edge
        order, so results repeat bit for bit at any thread count. CUDA: rows of over 256 edges
        are cut in pieces, for which up to two rows of ``width`` are kept for every 256 edges,
        2^17 at most; results repeat there too.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 2, 3]), torch.tensor([0, 1, 1])
        >>> spmm(ptr, idx, torch.tensor([[1.0], [2.0]]))
        tensor([[3.],
                [0.],
                [2.]])
    """
    name = "spmm"
    flat = isinstance(x, Tensor) and x.dim() == 1
    matrix = x[:, None] if flat else x
    check.tensor(name, "x", matrix, dtypes=check.FLOAT_DTYPES, ndim=2)
    check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=None, values=False)
    check.same_device(name, ("x", x), ptr=ptr, idx=idx)
    check.one_of(name, "reduce", reduce, ("sum", "mean"))
    if weight is not None:
        check.tensor(name, "weight", weight, dtypes=(x.dtype,), ndim=1)
        check.same_device(name, ("x", x), weight=weight)
        if weight.shape != idx.shape:
            requirement = f"have a value for each of {idx.shape[0]} edges"
            check.fail(ValueError, name, "weight", requirement, weight.shape[0])
        weight = weight.contiguous()
    if transpose is not None:
        check_transpose(name, transpose, idx, x, "x")
    if matrix.stride(1) != 1 and matrix.shape[1] > 1:
        matrix = matrix.contiguous()
    try:
        with without_autograd(matrix, weight):
            out = torch.ops.graphlab.spmm.default(
                ptr, idx, weight, matrix, reduce, *(transpose or (None, None, None))
            )
    except (RuntimeError, IndexError):
        # The kernel meets what is wrong as it adds; only then does it cost a pass here.
        check.offsets(name, "ptr", ptr, end=idx.shape[0])
        check.ids_in_range(name, "idx", idx, x.shape[0])
        raise
    return out[:, 0] if flat else out


def check_transpose(
    name: str, transpose: object, idx: Tensor, x: Tensor, argument: str
) -> None:
    """Require the transpose of compressed rows ``idx`` that name rows of ``x``."""
    if not isinstance(transpose, tuple) or len(transpose) != 3:
        got = type(transpose).__name__
        check.fail(TypeError, name, "transpose", "be (ptr, idx, perm)", got)
    t_ptr, t_idx, t_perm = transpose
    check.offsets(name, "transpose", t_ptr, end=idx.shape[0])
    for part in (t_idx, t_perm):
        check.tensor(name, "transpose", part, dtypes=check.INDEX_DTYPES, ndim=1)
        check.same_device(name, (argument, x), transpose=part)
        if part.shape != idx.shape:
            requirement = f"have {idx.shape[0]} entries"
            check.fail(ValueError, name, "transpose", requirement, part.shape[0])
    if t_ptr.shape[0] != x.shape[0] + 1:
        requirement = f"have a row for each of {x.shape[0]} rows of `{argument}`"
        check.fail(ValueError, name, "transpose", requirement, t_ptr.shape[0] - 1)


def transpose_of(ptr: Tensor, idx: Tensor, num_x: int) -> list[Tensor]:
    """csr_transpose without its checks, which tracing of a backward pass cannot follow."""
    row = owners(ptr, idx.shape[0]).to(idx.dtype)
    return torch.ops.graphlab.csr_build(idx, row, num_x, ptr.shape[0] - 1)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ptr, idx, weight, x, reduce, *transpose = inputs
    ctx.reduce, ctx.num_x = reduce, x.shape[0]
    # x is only needed for the gradient of weights; let go of it otherwise.
    kept = x if ctx.needs_input_grad[2] else None
    ctx.save_for_backward(ptr, idx, weight, kept, *transpose)


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    ptr, idx, weight, x, *transpose = ctx.saved_tensors
    spmm_op = torch.ops.graphlab.spmm
    grad_weight = grad_x = None
    inverse = None
    if ctx.reduce == "mean":
        inverse = 1 / ptr.diff().clamp(min=1).to(grad.dtype)
    if ctx.needs_input_grad[2]:
        scaled = grad if inverse is None else grad * inverse[:, None]
        grad_weight = torch.ops.graphlab.spmm_edge_dot(ptr, idx, scaled.contiguous(), x)
    if ctx.needs_input_grad[3]:
        if transpose[0] is None:
            transpose = transpose_of(ptr, idx, ctx.num_x)
        t_ptr, t_idx, t_perm = transpose
        t_weight = None if weight is None else weight.index_select(0, t_perm)
        if inverse is not None:
            # A number an edge rather than a scaled copy of the whole gradient.
            scale = inverse.index_select(0, t_idx)
            t_weight = scale if t_weight is None else t_weight * scale
        grad_x = spmm_op(
            t_ptr, t_idx, t_weight, grad.contiguous(), "sum", None, None, None
        )
    return None, None, grad_weight, grad_x, None, None, None, None


def _save_dot(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _dot_backward(ctx: Any, grad_dot: Tensor) -> tuple[Any, ...]:
    ptr, idx, grad, x = ctx.saved_tensors
    spmm_op = torch.ops.graphlab.spmm
    grad_dot = grad_dot.contiguous()
    grad_grad = grad_x = None
    if ctx.needs_input_grad[2]:
        grad_grad = spmm_op(ptr, idx, grad_dot, x, "sum", None, None, None)
    if ctx.needs_input_grad[3]:
        t_ptr, t_idx, t_perm = transpose_of(ptr, idx, x.shape[0])
        t_weight = grad_dot.index_select(0, t_perm)
        grad_x = spmm_op(t_ptr, t_idx, t_weight, grad, "sum", None, None, None)
    return None, None, grad_grad, grad_x


torch.library.register_autograd("graphlab::spmm", _backward, setup_context=_save)
torch.library.register_autograd(
    "graphlab::spmm_edge_dot", _dot_backward, setup_context=_save_dot
)
