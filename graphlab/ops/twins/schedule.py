"""Readable twins of the schedule's ops: numpy and numba, slot for slot the same."""

from __future__ import annotations

import numba
from torch import Tensor

NODE, KEY, PREV, NEXT, OWNER = range(5)  # fields of a slot


def next_use(n_id: Tensor, batch: int, last: Tensor, next: Tensor) -> None:
    """Next uses of a batch's nodes; see :func:`graphlab.ops.schedule.next_use`."""
    _in_range(n_id, len(last))
    next.copy_(last[n_id])
    last[n_id] = batch


def belady_schedule(
    n_id: Tensor,
    key: Tensor,
    first: int,
    slot: Tensor,
    links: Tensor,
    heads: Tensor,
    words: Tensor,
    source: Tensor,
    keep: Tensor,
) -> int:
    """Serve a batch and choose who stays; see :class:`graphlab.ops.schedule.Slots`.

    ``words``, which finds the highest bucket quickly, is not needed here.
    """
    _in_range(n_id, len(slot))
    if len(key) and int(key.max()) >= len(heads) - 1:
        raise RuntimeError("`key` is out of range")
    arrays = [t.numpy() for t in (slot, links, heads, source, keep)]
    return int(_step(n_id.numpy(), key.numpy(), first, *arrays))


def _in_range(n_id: Tensor, nodes: int) -> None:
    if len(n_id) and not 0 <= int(n_id.min()) <= int(n_id.max()) < nodes:
        raise RuntimeError("`n_id` is out of range")


@numba.njit(cache=True, nogil=True)
def _step(n_id, key, first, slot, links, heads, source, keep):  # type: ignore[no-untyped-def]
    free = heads.size - 1
    worst = free - 1  # at or above the highest bucket that is not empty
    misses = 0
    for i in range(n_id.size):
        source[i], keep[i] = slot[n_id[i]], -1
        misses += source[i] < 0
    # Rows that were in memory wait for their next use, or leave.
    for i in range(n_id.size):
        if source[i] < first or slot[n_id[i]] < 0:
            continue
        s = source[i] - first
        _remove(links, heads, s)
        if key[i] >= 0:
            _push(links, heads, s, key[i])
        else:
            slot[n_id[i]] = -1
            links[s, KEY], links[s, NEXT] = -1, heads[free]
            heads[free] = s
    # Missing rows take free slots, then those of rows that are needed later.
    for i in range(n_id.size):
        if source[i] >= 0 or key[i] < 0 or slot[n_id[i]] >= 0:
            continue
        s = heads[free]
        if s >= 0:
            heads[free] = links[s, NEXT]
        else:
            while worst >= 0 and heads[worst] < 0:
                worst -= 1
            if worst <= key[i]:
                continue
            s = heads[worst]
            node, owner = links[s, NODE], links[s, OWNER]
            if owner < n_id.size and keep[owner] == first + s and n_id[owner] == node:
                keep[owner] = -1  # came and went within this batch
            slot[node] = -1
            _remove(links, heads, s)
        links[s, NODE], links[s, OWNER] = n_id[i], i
        slot[n_id[i]] = keep[i] = first + s
        _push(links, heads, s, key[i])
        worst = max(worst, key[i])
    return misses


@numba.njit(cache=True, nogil=True)
def _push(links, heads, s, key):  # type: ignore[no-untyped-def]
    links[s, KEY], links[s, PREV], links[s, NEXT] = key, -1, heads[key]
    if heads[key] >= 0:
        links[heads[key], PREV] = s
    heads[key] = s


@numba.njit(cache=True, nogil=True)
def _remove(links, heads, s):  # type: ignore[no-untyped-def]
    before, after = links[s, PREV], links[s, NEXT]
    if after >= 0:
        links[after, PREV] = before
    if before >= 0:
        links[before, NEXT] = after
    else:
        heads[links[s, KEY]] = after
