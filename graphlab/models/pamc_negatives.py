r"""Estimators of the negatives of a contrastive loss: ``sum_j exp(tau cos(z_i, z_j))``.

The exact sum over all nodes costs N per anchor. By clusters b with n_b members, mean m_b and
covariance S_b of the unit vectors u, it is :math:`\sum_b n_b e^{\tau u_i m_b}` to first order
(a lower bound, by Jensen), and :math:`\sum_{ab} n_a n_b e^{\tau m_a m_b} (1 + \tau^2/2 (m_a S_b
m_a + m_b S_a m_b + tr S_a S_b))` over all anchors to second order. A node's own term counts as
:math:`e^0`, as its cosine is set to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from graphlab.models.pamc_clusters import Clusters
from graphlab.ops import rng

# Custom estimators: (anchors [n, d], all rows [N, d], clusters or None, tau) -> [n] sums.
Negatives = Callable[[Tensor, Tensor, Clusters | None, float], Tensor]
WITH_CLUSTERS = ("meta", "anchor", "meta2")
NAMES = (*WITH_CLUSTERS, "taylor2", "sampled", "full")
# Exponentials of all pairs that are held at a time.
_CHUNK_VALUES = 2**24


def anchor(u: Tensor, clusters: Clusters, tau: float) -> Tensor:
    """``sum_b n_b exp(tau u_i m_b)``, the node itself as ``exp(0)``. [n]; n K d operations."""
    count = clusters.share * clusters.size
    return torch.exp(tau * u @ clusters.mean.t()) @ count + (1 - math.exp(tau))


def meta2(clusters: Clusters, tau: float) -> Tensor:
    """Mean of the negatives over the anchors of each cluster, to second order. [K]."""
    mean, spread = clusters.mean, clusters.spread()
    width = mean.shape[1]
    across = torch.einsum("ai,bij,aj->ab", mean, spread, mean)
    flat = spread.reshape(-1, width * width)
    second = across + across.t() + flat @ flat.t()
    pairs = torch.exp(tau * mean @ mean.t()) * (1 + tau**2 / 2 * second)
    return pairs @ (clusters.share * clusters.size) + (1 - math.exp(tau))


def taylor2(u: Tensor, rows: Tensor, size: int, tau: float) -> Tensor:
    """``sum_j 1 + tau s_ij + tau^2 s_ij^2 / 2``: no clusters, N d^2 operations. [n]."""
    first, second = rows.mean(0), rows.t() @ rows / len(rows)
    linear, square = u @ first, ((u @ second) * u).sum(1)
    own = tau + tau**2 / 2
    return size * (1 + tau * linear + tau**2 / 2 * square) - own


def sampled(u: Tensor, rows: Tensor, size: int, tau: float, ids: Tensor) -> Tensor:
    """An unbiased estimate from some rows, drawn with replacement, for all anchors. [n]."""
    is_other = torch.arange(len(u), device=u.device)[:, None] != ids
    each = torch.exp(tau * u @ rows[ids].t()) * is_other
    return (size - 1) * each.sum(1) / is_other.sum(1).clamp(min=1) + 1


def draw(seed: int, step: int, count: int, rows: int, device: torch.device) -> Tensor:
    """Rows of a step: a function of (seed, step)."""
    high = rng.bits(rng.key(seed, step), count) >> 32
    return torch.from_numpy((high * rows >> 32).astype("int64")).to(device)


def full(u: Tensor, rows: Tensor, tau: float) -> Tensor:
    """All rows for each anchor, a chunk of anchors at a time. [n]; n N d operations.

    Chunks are computed again for the gradient, so that memory stays at one of them.
    """

    def part(chunk: Tensor, start: int) -> Tensor:
        product = chunk @ rows.t()
        ids = torch.arange(start, start + len(chunk), device=u.device)
        is_own = ids[:, None] == torch.arange(len(rows), device=u.device)
        return torch.exp(tau * product.masked_fill(is_own, 0.0)).sum(1)

    step = max(1, _CHUNK_VALUES // max(1, len(rows)))
    sums = [
        checkpoint(part, chunk, i * step, use_reentrant=False)
        for i, chunk in enumerate(u.split(step))
    ]
    return torch.cat(sums)


def between_means(clusters: Clusters, tau: float) -> Tensor:
    """``sum_l exp(tau cos(m_k, m_l))`` of clusters that are not empty, own cosine 0. [K']."""
    held = torch.nn.functional.normalize(clusters.mean[clusters.held], dim=1)
    return _rowsums(held @ held.t(), tau)


def between_sums(z: Tensor, assign: Tensor, k: int, tau: float) -> Tensor:
    """The release's: cluster sums of ``z`` as it is; an empty one has cosine 0. [K]."""
    sums = z.new_zeros(k, z.shape[1]).index_add(0, assign, z)
    unit = torch.nn.functional.normalize(sums, dim=1)
    return _rowsums(unit @ unit.t(), tau)


def _rowsums(cosine: Tensor, tau: float) -> Tensor:
    own = torch.eye(len(cosine), dtype=torch.bool, device=cosine.device)
    return torch.exp(tau * cosine.masked_fill(own, 0.0)).sum(1)
