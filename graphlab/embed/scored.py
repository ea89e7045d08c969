"""Skip-gram with any score of a pair, by autograd: slower than the op, free in its form."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from graphlab import check
from graphlab.ops import negative_sample
from graphlab.ops.skipgram import Tally

Scorer = Callable[[Tensor, Tensor], Tensor]

# Pairs of a step: their gradients are summed, so many would leap and few would crawl.
_STEP = 128


def distance(h: Tensor, t: Tensor) -> Tensor:
    """Return ``1 - |h - t|^2``: pairs come within a ball, negatives leave it."""
    return 1 - (h - t).square().sum(-1)


SCORERS: dict[str, Scorer | None] = {"dot": None, "distance": distance}
"""By name; ``dot`` is the op ``skipgram_train``."""


def scorer_of(name: str, scorer: str | Scorer) -> Scorer | None:
    """The function of a name; a function is taken as it is; None: the op."""
    if callable(scorer):
        return scorer
    check.one_of(name, "scorer", scorer, SCORERS)
    return SCORERS[scorer]


def train(
    head: Tensor,
    tail: Tensor,
    pairs: Tensor,
    threshold: Tensor,
    alias: Tensor,
    score: Scorer,
    *,
    dim: int,
    negatives: int,
    weight: float,
    decay: float,
    rate: float,
    rate_end: float,
    key: int,
    first: int,
) -> Tally:
    """Train two tables on pairs; the objective of ``skipgram_train`` with another score.

    ``-log s(f(h_u, t_v)) - weight sum_n log s(-f(h_u, t_n)) + decay/2 (|h|^2 + |t|^2)``,
    summed over 128 pairs a step; one thread's order, so the same tables for the same
    arguments.

    Args:
        head: [rows, stride], changed in place.
        tail: The same; may be the same tensor.
        pairs: [P, 2], rows of the two.
        threshold, alias: Of the distribution of negatives, rows of ``tail``.
        score: Of heads [.., dim] and tails [.., dim]: [..].
        dim: Columns that are not padding.
        negatives, weight, decay: Of the objective.
        rate, rate_end: Learning rate of the first pair and after the last.
        key, first: Name of the draws, and the number of the first pair in them.

    Raises:
        ValueError: the score is not one number a pair.
    """
    losses = []
    for begin in range(0, len(pairs), _STEP):
        local = pairs[begin : begin + _STEP].long()
        size = len(local)
        drawn = negative_sample(
            threshold,
            alias,
            size * negatives,
            key=key,
            first=(first + begin) * negatives,
        )
        rows = torch.cat([local[:, 1:], drawn.long().view(size, negatives)], 1)
        h = head[local[:, 0], :dim].float().requires_grad_()
        t = tail[rows, :dim].float().requires_grad_()
        with torch.enable_grad():
            f = score(h[:, None], t)
            if f.shape != rows.shape:
                need = (
                    f"give {list(rows.shape)} for {[size, 1, dim]} and {list(t.shape)}"
                )
                check.fail(ValueError, "NodeEmbedding", "scorer", need, list(f.shape))
            terms = torch.cat([F.softplus(-f[:, :1]), weight * F.softplus(f[:, 1:])], 1)
            loss = terms.sum()
            if decay:
                share = torch.full_like(terms, weight)
                share[:, 0] = 1
                squares = h.square().sum(-1, keepdim=True) + t.square().sum(-1)
                loss = loss + decay / 2 * (share * squares).sum()
            dh, dt = torch.autograd.grad(loss, [h, t])
        step = rate + (rate_end - rate) * begin / max(len(pairs), 1)
        head[:, :dim].index_add_(0, local[:, 0], dh.to(head), alpha=-step)
        tail[:, :dim].index_add_(
            0, rows.reshape(-1), dt.reshape(-1, dim).to(tail), alpha=-step
        )
        if begin % (8 * _STEP) == 0:
            losses.append(float(terms.detach().sum()) / size)
    mean = sum(losses) / len(losses) if losses else math.nan
    return Tally(mean, len(pairs))
