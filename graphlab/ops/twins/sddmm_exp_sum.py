"""Readable twins of ``sddmm_exp_sum`` and of its derivative in the products: plain torch."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab.ops.twins.segment import owners
from graphlab.ops.twins.spmm import spmm_edge_dot


def sddmm_exp_sum(
    ptr: Tensor,
    idx: Tensor,
    weight: Tensor | None,
    u: Tensor,
    v: Tensor,
    tau: float,
    skip_diagonal: bool,
    t_ptr: Tensor | None = None,
    t_idx: Tensor | None = None,
    t_perm: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum ``exp(tau <u_i, v_j>)`` over rows; see :func:`graphlab.ops.sddmm_exp_sum`."""
    owner = owners(ptr)
    dot = spmm_edge_dot(ptr, idx, u, v)
    if skip_diagonal:
        dot = dot.masked_fill(idx == owner, 0.0)
    each = torch.exp(tau * dot)

    def sums(values: Tensor) -> Tensor:
        # In float64, as the kernels add.
        total = torch.zeros(u.shape[0], dtype=torch.float64, device=u.device)
        return total.index_add_(0, owner, values.double()).to(u.dtype)

    plain = sums(each)
    return (plain.clone() if weight is None else sums(weight * each)), plain, each


def sddmm_exp_sum_factors(
    ptr: Tensor,
    idx: Tensor,
    weight: Tensor | None,
    each: Tensor,
    weighted_grad: Tensor,
    plain_grad: Tensor,
    tau: float,
    skip_diagonal: bool,
) -> Tensor:
    """Derivative in each product: ``tau exp(tau <u_i, v_j>) (g_i w_ij + h_i)``."""
    owner = owners(ptr)
    slope = weighted_grad[owner]
    slope = (slope if weight is None else slope * weight) + plain_grad[owner]
    factors = tau * each * slope
    return factors.masked_fill(idx == owner, 0.0) if skip_diagonal else factors
