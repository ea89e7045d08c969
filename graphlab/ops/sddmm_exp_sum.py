"""Exponentials of sampled dot products, summed by row: the positives of a contrastive loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare
from graphlab.ops.spmm import Transpose, check_transpose, transpose_of
from graphlab.ops.twins.segment import owners

declare(
    "sddmm_exp_sum(Tensor ptr, Tensor idx, Tensor? weight, Tensor u, Tensor v, float tau,"
    " bool skip_diagonal, Tensor? t_ptr, Tensor? t_idx, Tensor? t_perm)"
    " -> (Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.sddmm_exp_sum:sddmm_exp_sum",
    fake=lambda ptr, idx, weight, u, *rest: (
        u.new_empty(u.shape[0]),
        u.new_empty(u.shape[0]),
        u.new_empty(idx.shape[0]),
    ),
    twin_on_cuda=True,
)
# The derivative in the products, one number an edge, from which spmm makes both gradients.
declare(
    "sddmm_exp_sum_factors(Tensor ptr, Tensor idx, Tensor? weight, Tensor each,"
    " Tensor weighted_grad, Tensor plain_grad, float tau, bool skip_diagonal) -> Tensor",
    twin="graphlab.ops.twins.sddmm_exp_sum:sddmm_exp_sum_factors",
    fake=lambda ptr, idx, weight, each, *rest: torch.empty_like(each),
    twin_on_cuda=True,
)


def sddmm_exp_sum(
    ptr: Tensor,
    idx: Tensor,
    u: Tensor,
    v: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    tau: float = 1.0,
    skip_diagonal: bool = False,
    transpose: Transpose | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Sum the exponentials of dot products over the entries of each row.

    :math:`weighted_i = \sum_j w_{ij}\, e^{\tau \langle u_i, v_j \rangle}` and
    :math:`plain_i = \sum_j e^{\tau \langle u_i, v_j \rangle}` over the entries (i, j) of a
    sparse matrix; a row without entries gives zero.

    Args:
        ptr: [rows + 1], int64; starts at 0, ends at ``edges``, never falls.
        idx: [edges], int32 or int64, rows of ``v``.
        u: [rows, width], float32 or float64.
        v: [num_v, width], dtype of ``u``; ``u`` itself when absent.
        weight: [edges], dtype of ``u``; ones when absent.
        tau: Factor of the products.
        skip_diagonal: Count the product of an entry (i, i) as zero: it adds its weight.
        transpose: CSR of the transpose, ``(ptr, idx, perm)``, for the gradient in ``v``, as
            :func:`csr_transpose` gives; built in every backward pass when absent.

    Returns:
        ``weighted`` and ``plain``, [rows] each; the same numbers without ``weight``.
        Differentiable once in ``u``, ``v`` and ``weight``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong rank, length or device, ``ptr`` not spanning ``idx``.
        IndexError: an entry of ``idx`` out of range.

    Cost:
        edges * (width multiply-adds and one exponential); reads one row of ``v`` an edge and
        keeps one scalar an edge for the backward pass, which is two spmm. Widths that are a
        multiple of 16 (float32) are fastest: pad with zeros. CPU: parallel over rows, sums
        in float64 in edge order, the same bits for any thread count.

    Example:
        >>> ptr, idx = torch.tensor([0, 1, 3]), torch.tensor([1, 0, 1])
        >>> u = torch.tensor([[0.0], [1.0]])
        >>> sddmm_exp_sum(ptr, idx, u, skip_diagonal=True)[0]
        tensor([1., 2.])
    """
    name = "sddmm_exp_sum"
    u = check.tensor(name, "u", u, dtypes=check.FLOAT_DTYPES, ndim=2)
    v = u if v is None else check.tensor(name, "v", v, dtypes=(u.dtype,), ndim=2)
    if v.shape[1] != u.shape[1]:
        requirement = f"have the width of `u` ({u.shape[1]})"
        check.fail(ValueError, name, "v", requirement, v.shape[1])
    check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=idx.shape[0])
    check.same_device(name, ("u", u), v=v, ptr=ptr, idx=idx)
    if ptr.shape[0] != u.shape[0] + 1:
        requirement = f"have a row for each of {u.shape[0]} rows of `u`"
        check.fail(ValueError, name, "ptr", requirement, ptr.shape[0] - 1)
    if weight is not None:
        check.tensor(name, "weight", weight, dtypes=(u.dtype,), ndim=1)
        check.same_device(name, ("u", u), weight=weight)
        if weight.shape != idx.shape:
            requirement = f"have a value for each of {idx.shape[0]} edges"
            check.fail(ValueError, name, "weight", requirement, weight.shape[0])
        weight = weight.contiguous()
    if transpose is not None:
        check_transpose(name, transpose, idx, v, "v")
    u = u.contiguous()
    v = v.contiguous()
    try:
        weighted, plain, _ = torch.ops.graphlab.sddmm_exp_sum(
            ptr,
            idx,
            weight,
            u,
            v,
            float(tau),
            skip_diagonal,
            *(transpose or (None, None, None)),
        )
    except (RuntimeError, IndexError):
        # The kernel meets wrong ids as it adds; only then do they cost a pass here.
        check.ids_in_range(name, "idx", idx, v.shape[0])
        raise
    return weighted, plain


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ptr, idx, weight, u, v, ctx.tau, ctx.skip_diagonal, *transpose = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(ptr, idx, weight, u, v, output[2], *transpose)


def _backward(
    ctx: Any, weighted_grad: Tensor | None, plain_grad: Tensor | None, _: object
) -> tuple[Any, ...]:
    ptr, idx, weight, u, v, each, *transpose = ctx.saved_tensors
    zeros = u.new_zeros(u.shape[0])
    g = zeros if weighted_grad is None else weighted_grad.contiguous()
    h = zeros if plain_grad is None else plain_grad.contiguous()
    factors = torch.ops.graphlab.sddmm_exp_sum_factors(
        ptr, idx, weight, each, g, h, ctx.tau, ctx.skip_diagonal
    )
    spmm_op = torch.ops.graphlab.spmm
    grad_weight = grad_u = grad_v = None
    if ctx.needs_input_grad[2]:
        grad_weight = each * g.index_select(0, owners(ptr, idx.shape[0]))
    if ctx.needs_input_grad[3]:
        grad_u = spmm_op(ptr, idx, factors, v, "sum", None, None, None)
    if ctx.needs_input_grad[4]:
        if transpose[0] is None:
            transpose = transpose_of(ptr, idx, v.shape[0])
        t_ptr, t_idx, t_perm = transpose
        t_factors = factors.index_select(0, t_perm)
        grad_v = spmm_op(t_ptr, t_idx, t_factors, u, "sum", None, None, None)
    return None, None, grad_weight, grad_u, grad_v, *[None] * 5


torch.library.register_autograd(
    "graphlab::sddmm_exp_sum", _backward, setup_context=_save
)
