"""Random walks of first and second order, and draws of nodes from a distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops import pages
from graphlab.ops.alias import alias_build
from graphlab.ops.registry import declare

# The threshold that marks a row without positive weight; see `walk_slots`.
_NO_WEIGHT = -1

declare(
    "random_walk(Tensor ptr, Tensor idx, Tensor? slots, Tensor starts, int length, "
    "int[] bias, int key, int first) -> Tensor",
    twin="graphlab.ops.twins.walk:random_walk",
    fake=lambda ptr, idx, slots, starts, length, bias, key, first: idx.new_empty(
        starts.shape[0], length + 1
    ),
)
declare(
    "negative_sample(Tensor threshold, Tensor alias, int count, int key, int first) "
    "-> Tensor",
    twin="graphlab.ops.twins.walk:negative_sample",
    fake=lambda threshold, alias, count, key, first: alias.new_empty(count),
)


def random_walk(
    ptr: Tensor,
    idx: Tensor,
    starts: Tensor,
    length: int,
    *,
    slots: Tensor | None = None,
    p: float = 1.0,
    q: float = 1.0,
    key: int = 0,
    first: int = 0,
) -> Tensor:
    """Walk ``length`` steps along out-edges from each of ``starts``.

    At node v, having come from t, the walk goes on to x with probability proportional to
    ``w(v, x) b(t, x)``: b = 1/p if x = t, 1 if there is an edge t -> x, else 1/q. With
    p = q = 1, and at the first step, b = 1.

    Args:
        ptr: [N + 1], int64: out-edges of node v are at ``ptr[v]`` to ``ptr[v + 1] - 1``.
        idx: [E], int32 or int64: target of each edge. Ascending in each row where p or q
            is not 1; else an edge t -> x may be missed.
        starts: [W], int64, same device.
        length: Steps.
        slots: Result of :func:`walk_slots`; None: all edges are equally likely.
        p: Return parameter of node2vec.
        q: In-out parameter of node2vec.
        key: Key of the random stream, of :func:`graphlab.ops.rng.key`.
        first: Number of the first walk in the stream: walk i is a function of
            (key, first + i) and its start alone.

    Returns:
        [W, length + 1], dtype of ``idx``: nodes visited, the start first. A walk that
        reaches a node without (positive) out-edges ends there; the rest is -1.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape or device; p or q outside 1e-4 to 1e4.
        RuntimeError: a start or neighbour that is no node.

    Cost:
        Two random cache lines a step, of many interleaved walks at once. Second order by
        rejection: on average max(1, 1/p, 1/q) / (mean weight) candidates, and for some of
        them a binary search in the row of t; no memory beyond the graph. The same walks at
        any thread count.

    Source:
        Grover & Leskovec, node2vec, 2016; rejection as in KnightKing (Yang et al. 2019).

    Example:
        >>> ring = torch.tensor([1, 2, 0])
        >>> random_walk(torch.arange(4), ring, torch.tensor([0, 2]), 3)
        tensor([[0, 1, 2, 0],
                [2, 0, 1, 2]])
    """
    name = "random_walk"
    check.offsets(name, "ptr", ptr, end=idx.shape[0])
    check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.tensor(name, "starts", starts, dtypes=(torch.int64,), ndim=1)
    check.same_device(name, ("ptr", ptr), idx=idx, starts=starts)
    check.positive(name, "length", length, least=0)
    if slots is not None:
        check.tensor(name, "slots", slots, dtypes=(torch.int32,), ndim=2)
        check.same_device(name, ("ptr", ptr), slots=slots)
        if list(slots.shape) != [idx.shape[0], 4]:
            requirement = f"be [{idx.shape[0]}, 4]"
            check.fail(ValueError, name, "slots", requirement, list(slots.shape))
    for argument, value in (("p", p), ("q", q)):
        # Rejection takes about as many attempts as the largest bias over the smallest.
        if not 1e-4 <= value <= 1e4:
            check.fail(ValueError, name, argument, "be between 1e-4 and 1e4", value)
    return torch.ops.graphlab.random_walk(
        ptr.contiguous(),
        idx.contiguous(),
        slots,
        starts.contiguous(),
        length,
        second_order(p, q),
        key,
        first,
    )


def second_order(p: float, q: float) -> list[int]:
    """Chances, of 2^32, that a candidate is accepted: back, near, far; empty: always.

    Example:
        >>> [n / 2**32 for n in second_order(4, 2)]
        [0.25, 1.0, 0.5]
    """
    if p == 1 and q == 1:
        return []
    most = max(1.0, 1 / p, 1 / q)
    return [round(weight / most * 2**32) for weight in (1 / p, 1.0, 1 / q)]


def walk_slots(ptr: Tensor, idx: Tensor, weight: Tensor) -> Tensor:
    """Lay each edge's alias slot beside its neighbour, for weighted walks.

    Args:
        ptr: [N + 1], int64.
        idx: [E], int32.
        weight: [E], float32 or float64, in the order of ``idx``; not negative.

    Returns:
        [E, 4], int32: neighbour, threshold, neighbour of the alias, 0. Rows whose weights
        are all zero have threshold -1.

    Raises:
        TypeError: wrong dtype, such as int64 ``idx``.
        ValueError: as :func:`alias_build`.

    Cost:
        16 bytes an edge, and 40 while it is made.
    """
    name = "walk_slots"
    check.tensor(name, "idx", idx, dtypes=(torch.int32,), ndim=1)
    threshold, alias = alias_build(ptr, weight)
    out = pages.empty((len(idx), 4), torch.int32)
    begin = torch.repeat_interleave(ptr[:-1], ptr.diff(), output_size=len(idx))
    out[:, 0] = idx
    # alias_build marks a row without weight by a first slot that is never taken.
    starts = ptr[:-1][ptr.diff() > 0]
    empty = (threshold[starts] == 0) & (alias[starts] == 0)
    out[:, 1] = threshold
    if bool(empty.any()):
        rows = torch.repeat_interleave(empty, ptr.diff()[ptr.diff() > 0])
        out[rows, 1] = _NO_WEIGHT
    out[:, 2] = idx[begin + alias]
    return out


def negative_sample(
    threshold: Tensor, alias: Tensor, count: int, *, key: int = 0, first: int = 0
) -> Tensor:
    """Draw nodes from a distribution, with replacement.

    Args:
        threshold: [N], int32, of :func:`alias_build` with one row over all nodes.
        alias: [N], int32.
        count: Number of draws.
        key: Key of the random stream.
        first: Number of the first draw in the stream.

    Returns:
        [count], int32. Draw i is a function of (key, first + i).

    Raises:
        TypeError: wrong dtype.
        ValueError: no nodes, tables of different lengths, no positive weight.

    Cost:
        One or two random cache lines a draw; parallel.

    Example:
        >>> tables = alias_build(torch.tensor([0, 2]), torch.tensor([0.0, 1.0]))
        >>> negative_sample(*tables, 3)
        tensor([1, 1, 1], dtype=torch.int32)
    """
    name = "negative_sample"
    check_tables(name, threshold, alias)
    check.positive(name, "count", count, least=0)
    return torch.ops.graphlab.negative_sample(threshold, alias, count, key, first)


def check_tables(name: str, threshold: Tensor, alias: Tensor) -> None:
    """Require the alias tables of one row that has positive weight."""
    check.tensor(name, "threshold", threshold, dtypes=(torch.int32,), ndim=1)
    check.tensor(name, "alias", alias, dtypes=(torch.int32,), ndim=1)
    if threshold.shape != alias.shape or len(alias) == 0:
        got = f"{len(alias)} for {len(threshold)}"
        check.fail(ValueError, name, "alias", "be as long as `threshold`, not 0", got)
    if threshold.device.type == "cpu" and not torch.compiler.is_compiling():
        if int(threshold[0]) == 0 and int(alias[0]) == 0:
            check.fail(
                ValueError, name, "threshold", "have positive weight", "only zeros"
            )
