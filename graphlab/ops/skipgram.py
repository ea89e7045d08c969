"""Skip-gram with negative sampling: gradient steps over walks, in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare
from graphlab.ops.walk import check_tables

# Rows of both tables are padded with zeros to a multiple of this: one 512-bit register.
LANES = 16

declare(
    "skipgram_train(Tensor(a!) head, Tensor(b!) tail, Tensor walks, Tensor threshold, "
    "Tensor alias, int window, bool forward, bool shrink, int negatives, float weight, "
    "int pool, float rate, float rate_end, float decay, bool reference, int threads, "
    "int key, int first) -> Tensor",
    twin="graphlab.ops.twins.skipgram:skipgram_train",
    fake=lambda head, *rest: head.new_empty(3, dtype=torch.float64),
)


class Tally(NamedTuple):
    """What a call of :func:`skipgram_train` did.

    Attributes:
        loss: Mean over pairs of a sample of the walks: -log s(x) of the pair and of each
            negative -weight log s(-x), before its step; nan without pairs.
        pairs: Positive pairs trained on.
    """

    loss: float
    pairs: int


def skipgram_train(
    head: Tensor,
    tail: Tensor,
    walks: Tensor,
    threshold: Tensor,
    alias: Tensor,
    *,
    window: int,
    forward: bool = False,
    shrink: bool = False,
    negatives: int = 5,
    weight: float = 1.0,
    pool: int = 0,
    rate: float = 0.025,
    rate_end: float | None = None,
    decay: float = 0.0,
    reference: bool = False,
    threads: int = 1,
    key: int = 0,
    first: int = 0,
) -> Tally:
    """Train two tables on the pairs of nodes that stand near each other in walks.

    Each pair (u, v) and its K negatives n ~ P lower, by one step of gradient descent,

    ``-log s(h_u . t_v) - weight sum_n log s(-h_u . t_n) + decay/2 (|h|^2 + |t|^2)``,

    with s the logistic function, h rows of ``head`` and t rows of ``tail``. Pairs of one u
    are taken together: up to eight rows of ``tail`` see the same h_u, then it moves by the
    sum (word2vec: the 1 + K rows of one pair). The learning rate falls linearly over the
    walks of the call, from ``rate`` to ``rate_end``.

    Args:
        head: [rows, width], float32 (on CUDA also bfloat16), contiguous, changed in place;
            width a multiple of 16 (pad with zeros: they stay zeros).
        tail: The same; may be the same tensor as ``head``.
        walks: [W, n], int32 or int64: rows of the tables; -1 ends a walk.
        threshold: [rows of tail], int32, of ``alias_build``: the distribution P.
        alias: The same.
        window: Pairs reach so many places.
        forward: Only to later places; else to both sides.
        shrink: Reach 1 to ``window`` places, drawn anew for each u, as word2vec does.
        negatives: K.
        weight: Weight of each negative's loss.
        pool: Negatives of a walk are taken in turn from so many draws, which keeps the
            expectation and reads fewer rows; 0: each is a draw of its own.
        rate: Learning rate of the first walk.
        rate_end: That of the walk after the last; None: ``rate``.
        decay: Weight decay of the rows that a step touches; times the term's weight.
        reference: GraphVite's order: the negatives, then the pair, h moving at each.
        threads: 1: walks one after the other; the same tables for the same arguments. More:
            they share the tables without locks, and results vary.
        key: Key of the random stream, of :func:`graphlab.ops.rng.key`.
        first: Number of the first walk in the stream.

    Returns:
        The mean loss and the number of pairs.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape, a number out of range.
        RuntimeError: a node that is no row.

    Cost:
        6 width (1 + K) operations a pair. Reads and writes, for each walk, its rows of both
        tables and the pool's rows; without a pool K rows a pair.

    Source:
        Mikolov et al. 2013; Perozzi et al. 2014 (DeepWalk). ``reference``: Zhu et al. 2019
        (GraphVite), release 0.2.2. Shared negatives: Ji et al. 2016 share them in a
        window; here they are shared in a walk, each pair still has K of its own.

    Example:
        >>> head, tail = torch.full((2, 16), 0.1), torch.zeros(2, 16)
        >>> tables = torch.zeros(2, dtype=torch.int32), torch.ones(2, dtype=torch.int32)
        >>> walks = torch.tensor([[0, 1]], dtype=torch.int32)
        >>> skipgram_train(head, tail, walks, *tables, window=1, negatives=0).pairs
        2
    """
    name = "skipgram_train"
    check.tensor(name, "head", head)
    dtypes = [torch.float32] + [torch.bfloat16] * (head.device.type == "cuda")
    for argument, table in (("head", head), ("tail", tail)):
        check.tensor(name, argument, table, dtypes=dtypes, ndim=2)
        if table.shape[1] % LANES or not table.shape[1] or not table.is_contiguous():
            requirement = f"be contiguous with rows of a multiple of {LANES} numbers"
            check.fail(ValueError, name, argument, requirement, list(table.shape))
    if head.shape[1] != tail.shape[1]:
        requirement = f"have rows of {head.shape[1]} numbers as `head`"
        check.fail(ValueError, name, "tail", requirement, tail.shape[1])
    check.tensor(name, "walks", walks, dtypes=check.INDEX_DTYPES, ndim=2)
    if walks.shape[1] == 0:
        check.fail(ValueError, name, "walks", "hold nodes", list(walks.shape))
    check_tables(name, threshold, alias)
    if len(alias) > len(tail):
        requirement = f"be at most as long as `tail` ({len(tail)})"
        check.fail(ValueError, name, "alias", requirement, len(alias))
    check.same_device(
        name, ("head", head), tail=tail, walks=walks, threshold=threshold, alias=alias
    )
    check.positive(name, "window", window)
    check.positive(name, "negatives", negatives, least=0)
    check.positive(name, "pool", pool, least=0)
    check.positive(name, "threads", threads)
    if 0 < pool < negatives:
        check.fail(ValueError, name, "pool", f"be 0 or at least {negatives}", pool)
    loss, counted, pairs = torch.ops.graphlab.skipgram_train(
        head,
        tail,
        walks.contiguous(),
        threshold.contiguous(),
        alias.contiguous(),
        window,
        forward,
        shrink,
        negatives,
        weight,
        pool,
        rate,
        rate if rate_end is None else rate_end,
        decay,
        reference,
        threads,
        key,
        first,
    ).tolist()
    return Tally(loss / counted if counted else float("nan"), int(pairs))
