"""Common neighbours of pairs of nodes: counted, listed, or summed over."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare
from graphlab.ops.twins.segment import owners

STRATEGIES = ("auto", "merge", "gallop", "bitmap", "dense")


def _fake(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    exclude: Tensor | None,
    output: str,
    strategy: str,
) -> tuple[Tensor, ...]:
    ends = ptr.new_empty(pairs.shape[1] + 1)
    if output == "count":
        lists = [idx.new_empty(0)]
    else:
        context = torch.library.get_ctx()
        wanted = 3 if output == "sets" else 1
        lists = [idx.new_empty(context.new_dynamic_size()) for _ in range(wanted)]
    found = [part for part in lists for part in (torch.empty_like(ends), part)]
    found += [t.new_empty(0) for t in (ptr, idx) * (3 - len(lists))]
    return tuple(found)


def _fake_pool(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    exclude: Tensor | None,
    x: Tensor,
    keep: bool,
    strategy: str,
) -> tuple[Tensor, Tensor, Tensor]:
    out = x.new_empty(pairs.shape[1], x.shape[1])
    if not keep:
        return out, ptr.new_empty(1), idx.new_empty(0)
    hits = torch.library.get_ctx().new_dynamic_size()
    return out, ptr.new_empty(pairs.shape[1] + 1), idx.new_empty(hits)


declare(
    "common_neighbors(Tensor ptr, Tensor idx, Tensor pairs, Tensor? exclude, str output,"
    " str strategy) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.common_neighbors:common_neighbors",
    fake=_fake,
    twin_on_cuda=True,
)
# With `keep` the list of hits comes with the sums, for the gradient.
declare(
    "common_neighbors_pool(Tensor ptr, Tensor idx, Tensor pairs, Tensor? exclude, Tensor x,"
    " bool keep, str strategy) -> (Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.common_neighbors:common_neighbors_pool",
    fake=_fake_pool,
    twin_on_cuda=True,
)


class NeighborSets(NamedTuple):
    """Neighbours of both nodes ``(i, j)`` of every pair, pair after pair.

    Attributes:
        ptr: [pairs + 1], int64; pair ``p`` has ``idx[ptr[p] : ptr[p + 1]]``.
        idx: Common neighbours, ascending in each pair; dtype of the graph's ``idx``.
        left_ptr: [pairs + 1], of ``left_idx``.
        left_idx: Neighbours of ``i`` that are none of ``j``.
        right_ptr: [pairs + 1], of ``right_idx``.
        right_idx: Neighbours of ``j`` that are none of ``i``.
    """

    ptr: Tensor
    idx: Tensor
    left_ptr: Tensor
    left_idx: Tensor
    right_ptr: Tensor
    right_idx: Tensor


def common_neighbors(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    *,
    exclude: Tensor | None = None,
    strategy: str = "auto",
) -> Tensor:
    r"""Count the nodes that are neighbours of both nodes of each pair.

    ``out[p] = |N(i) ∩ N(j) \ {i, j}|`` for ``(i, j) = pairs[:, p]``.

    Args:
        ptr: [nodes + 1], int64; starts at 0, ends at ``entries``, never falls.
        idx: [entries], int32 or int64; ascending in each row, no entry twice.
        pairs: [2, pairs], int64.
        exclude: [2, M], int64: unordered pairs that count as not joined in this call, such
            as a batch's own positives. They need not be edges.
        strategy: ``auto`` chooses by a cost model; ``merge``, ``gallop``, ``bitmap`` (pairs
            are grouped by the end of larger degree) and ``dense`` (a bit matrix, up to
            11,585 nodes) force one. The result is the same.

    Returns:
        [pairs], int64.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape or device, unknown strategy.
        IndexError: a node out of range.

    Cost:
        At most ``d(i) + d(j)`` steps a pair; the shorter list's length where a bitmap of
        the longer one serves. Memory of the pairs, and a bit a node in each thread; never
        pairs x nodes. Parallel, deterministic.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 4, 6, 8]), torch.tensor([1, 2, 0, 3, 0, 3, 1, 2])
        >>> common_neighbors(ptr, idx, torch.tensor([[0, 0], [3, 1]])).tolist()
        [2, 0]
    """
    name = "common_neighbors"
    _check(name, ptr, idx, pairs, exclude, strategy)
    ends, *_ = torch.ops.graphlab.common_neighbors(
        ptr, idx, pairs.contiguous(), _whole(exclude), "count", strategy
    )
    return ends.diff()


def common_neighbors_ids(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    *,
    exclude: Tensor | None = None,
    strategy: str = "auto",
) -> tuple[Tensor, Tensor]:
    """List the common neighbours of each pair; arguments of :func:`common_neighbors`.

    Returns:
        ``ends`` [pairs + 1], int64, and ``found``, dtype of ``idx``: those of pair ``p`` are
        ``found[ends[p] : ends[p + 1]]``, ascending.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 4, 6, 8]), torch.tensor([1, 2, 0, 3, 0, 3, 1, 2])
        >>> common_neighbors_ids(ptr, idx, torch.tensor([[0], [3]]))[1].tolist()
        [1, 2]
    """
    _check("common_neighbors_ids", ptr, idx, pairs, exclude, strategy)
    ends, found, *_ = torch.ops.graphlab.common_neighbors(
        ptr, idx, pairs.contiguous(), _whole(exclude), "ids", strategy
    )
    return ends, found


def common_neighbors_sets(
    ptr: Tensor, idx: Tensor, pairs: Tensor, *, exclude: Tensor | None = None
) -> NeighborSets:
    """List what the two neighbourhoods of each pair share and what each has alone.

    One merge gives all three sets; the nodes of the pair themselves are in none of them.
    Arguments as in :func:`common_neighbors`.

    Cost:
        ``d(i) + d(j)`` steps and entries a pair.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 3, 4]), torch.tensor([1, 2, 0, 0])
        >>> sets = common_neighbors_sets(ptr, idx, torch.tensor([[0], [1]]))
        >>> sets.idx.tolist(), sets.left_idx.tolist(), sets.right_idx.tolist()
        ([], [2], [])
    """
    _check("common_neighbors_sets", ptr, idx, pairs, exclude, "auto")
    found = torch.ops.graphlab.common_neighbors(
        ptr, idx, pairs.contiguous(), _whole(exclude), "sets", "auto"
    )
    return NeighborSets(*found)


def common_neighbors_pool(
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    x: Tensor,
    *,
    exclude: Tensor | None = None,
    strategy: str = "auto",
) -> Tensor:
    r"""Sum a feature over the common neighbours of each pair.

    ``out[p] = sum of x[u] for u in N(i) ∩ N(j) \ {i, j}``; zeros where there are none. With
    weights ``w`` [nodes, 1] for ``x`` it gives Adamic-Adar and resource allocation.

    Args:
        ptr, idx, pairs, exclude, strategy: As in :func:`common_neighbors`.
        x: [nodes, width], float32 or float64. Strided input is copied once.

    Returns:
        [pairs, width], dtype and device of ``x``. Differentiable in ``x``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape or device, unknown strategy.
        IndexError: a node out of range.

    Cost:
        That of :func:`common_neighbors`, and ``width`` additions a common neighbour. The
        list of common neighbours is kept only for a gradient, which is a sum over its
        transpose: no atomics. Sums run in ascending order of nodes, so results repeat bit
        for bit for any strategy and thread count.

    Source:
        The pooling of NCN (Wang, Yang and Zhang, ICLR 2024, eq. 8), without its
        pairs x nodes matrix.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 4, 6, 8]), torch.tensor([1, 2, 0, 3, 0, 3, 1, 2])
        >>> x = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
        >>> common_neighbors_pool(ptr, idx, torch.tensor([[0], [3]]), x)
        tensor([[6.]])
    """
    name = "common_neighbors_pool"
    _check(name, ptr, idx, pairs, exclude, strategy)
    check.tensor(name, "x", x, dtypes=check.FLOAT_DTYPES, ndim=2)
    check.same_device(name, ("ptr", ptr), x=x)
    if x.shape[0] != ptr.shape[0] - 1:
        need = f"have a row for each of {ptr.shape[0] - 1:,} nodes"
        check.fail(ValueError, name, "x", need, x.shape[0])
    keep = torch.is_grad_enabled() and x.requires_grad
    out, _, _ = torch.ops.graphlab.common_neighbors_pool(
        ptr, idx, pairs.contiguous(), _whole(exclude), x.contiguous(), keep, strategy
    )
    return out


def _whole(exclude: Tensor | None) -> Tensor | None:
    return None if exclude is None else exclude.contiguous()


def _check(
    name: str,
    ptr: Tensor,
    idx: Tensor,
    pairs: Tensor,
    exclude: Tensor | None,
    strategy: str,
) -> None:
    check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=idx.shape[0])
    check.one_of(name, "strategy", strategy, STRATEGIES)
    given = {"pairs": pairs} | ({} if exclude is None else {"exclude": exclude})
    for argument, value in given.items():
        check.tensor(name, argument, value, dtypes=(torch.int64,), ndim=2)
        if value.shape[0] != 2:
            remedy = f"use {argument}.t()" if value.shape[1] == 2 else ""
            shape = list(value.shape)
            check.fail(ValueError, name, argument, "have shape [2, n]", shape, remedy)
        check.ids_in_range(name, argument, value, ptr.shape[0] - 1)
    check.same_device(name, ("ptr", ptr), idx=idx, **given)
    if strategy == "dense" and ptr.shape[0] - 1 > DENSE_NODES:
        need = f"have at most {DENSE_NODES:,} nodes for strategy='dense'"
        check.fail(ValueError, name, "ptr", need, f"{ptr.shape[0] - 1:,}")


# Nodes whose bit matrix takes 16 MiB; cpp_ext/include/overlap.h: kDenseBytes.
DENSE_NODES = 11_585


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    x, keep = inputs[4], inputs[5]
    ctx.num_x, ctx.kept = x.shape[0], keep
    ctx.save_for_backward(output[1], output[2])
    ctx.mark_non_differentiable(output[1], output[2])


def _backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Any, ...]:
    ends, found = ctx.saved_tensors
    if not ctx.kept:
        raise RuntimeError("common_neighbors_pool: gradients need keep=True")
    pair = owners(ends, found.shape[0]).to(found.dtype)
    by_node, pairs, _ = torch.ops.graphlab.csr_build(
        found, pair, ctx.num_x, ends.shape[0] - 1
    )
    grad_x = torch.ops.graphlab.spmm(
        by_node, pairs, None, grad.contiguous(), "sum", None, None, None
    )
    return None, None, None, None, grad_x, None, None


torch.library.register_autograd(
    "graphlab::common_neighbors_pool", _backward, setup_context=_save
)
