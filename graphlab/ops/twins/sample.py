"""Readable twin of ``neighbor_sample``: numba, bit for bit.

Draws are functions of (key, hop, place in the frontier, slot); see ``cpp_ext/include/draw.h``.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

from graphlab.ops.twins.rng import bits, bounded, fold

UNIFORM, REPLACE, ALIAS, ALIAS_REPLACE, LABOR = range(5)


def neighbor_sample(
    ptr: Tensor,
    idx: Tensor,
    edge_id: Tensor | None,
    seeds: Tensor,
    num_neighbors: list[int],
    replace: bool,
    threshold: Tensor | None,
    alias: Tensor | None,
    disjoint: bool,
    labor: bool,
    key: int,
    rows: Tensor | None = None,
    sources: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Sample all hops of a batch; see :func:`graphlab.ops.neighbor_sample`."""
    none = np.empty(0, dtype=np.int32)
    how = LABOR if labor else REPLACE if replace else UNIFORM
    if alias is not None:
        how = ALIAS_REPLACE if replace else ALIAS
    arrays = _sample(
        ptr.numpy(),
        idx.numpy(),
        seeds.numpy(),
        np.array(num_neighbors, dtype=np.int64),
        how,
        none if threshold is None else threshold.numpy(),
        none if alias is None else alias.numpy(),
        disjoint,
        np.uint64(key % 2**64),
        rows is not None,
        np.empty((0, 2), dtype=np.int64) if rows is None else rows.numpy(),
        idx[:0].numpy() if sources is None else sources.numpy(),
    )
    row, col, n_id, e_id, tree, num_nodes, num_edges = map(torch.from_numpy, arrays)
    if edge_id is not None:
        e_id = edge_id[e_id].long()
    batch = tree if disjoint else tree[:0].clone()
    return row, col, n_id, e_id, batch, num_nodes, num_edges


@numba.njit(cache=True, nogil=True)
def _sample(  # type: ignore[no-untyped-def]
    ptr,
    idx,
    seeds,
    fanouts,
    how,
    threshold,
    alias,
    disjoint,
    key,
    on_disk,
    rows,
    sources,
):
    size, hops = ptr.size - 1, fanouts.size
    num_nodes = np.zeros(hops + 1, dtype=np.int64)
    num_edges = np.zeros(hops, dtype=np.int64)
    # Local ids: an open-addressing table of (tree, node) keys, and its inverse.
    table = np.full(1024, -1, dtype=np.int64)
    node, tree = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int64)
    row, col = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int64)
    position = np.empty(1024, dtype=np.int64)
    nodes = edges = 0
    for i in range(seeds.size):
        table, node, tree = _room(table, node, tree, nodes, size)
        local = _local(table, node, tree, nodes, seeds[i], i if disjoint else 0, size)
        if local < nodes:
            nothing = np.empty(0, dtype=np.int64)
            num_nodes[:] = -1 - i
            return nothing, nothing, nothing, nothing, nothing, num_nodes, num_edges
        nodes += 1
    num_nodes[0] = nodes

    first = 0
    for hop in range(hops):
        frontier_end, edges_before = nodes, edges
        hop_key = fold(key, np.uint64(hop))
        # Sources that were not read yet: the edges are drawn, and lead nowhere.
        known = not on_disk or edges < sources.size
        if on_disk and frontier_end > rows.shape[0]:
            raise RuntimeError("`rows` must hold every target")
        for target in range(first, frontier_end):
            if on_disk:
                begin, end = rows[target, 0], rows[target, 0] + rows[target, 1]
            else:
                begin, end = ptr[node[target]], ptr[node[target] + 1]
            if begin < 0 or end < begin or end > idx.size:
                raise RuntimeError("`ptr` must be offsets into `idx`")
            row_key = (
                hop_key if how == LABOR else fold(hop_key, np.uint64(target - first))
            )
            picks = _draw(idx, begin, end, fanouts[hop], how, threshold, alias, row_key)
            if edges + picks.size > row.size:
                capacity = 2 * (edges + picks.size)
                row, col = _longer(row, capacity), _longer(col, capacity)
                position = _longer(position, capacity)
            for pick in picks:
                position[edges] = begin + pick
                if not known:
                    row[edges], col[edges] = -1, target
                    edges += 1
                    continue
                if on_disk and edges >= sources.size:
                    raise RuntimeError("`sources` must end with a hop")
                source = np.int64(sources[edges] if on_disk else idx[begin + pick])
                if source < 0 or source >= size:
                    raise RuntimeError("`idx` must hold node ids")
                table, node, tree = _room(table, node, tree, nodes, size)
                local = _local(table, node, tree, nodes, source, tree[target], size)
                nodes += local == nodes
                row[edges], col[edges] = local, target
                edges += 1
        first = frontier_end
        num_nodes[hop + 1] = nodes - frontier_end
        num_edges[hop] = edges - edges_before
    return (
        row[:edges].copy(),
        col[:edges].copy(),
        node[:nodes].copy(),
        position[:edges].copy(),
        tree[:nodes].copy(),
        num_nodes,
        num_edges,
    )


@numba.njit(cache=True)
def _draw(idx, begin, end, k, how, threshold, alias, key):  # type: ignore[no-untyped-def]
    """Positions inside the row, in the order drawn."""
    degree = end - begin
    if k < 0 or (degree <= k and (how == UNIFORM or how == LABOR)):
        return np.arange(degree)
    if how == LABOR:
        return _draw_labor(idx[begin:end], k, key)
    if degree == 0 or k == 0:
        return np.empty(0, dtype=np.int64)
    if how == UNIFORM:
        return _draw_distinct(degree, k, key)
    picks = np.empty(k, dtype=np.int64)
    if how == REPLACE:
        for t in range(k):
            picks[t] = bounded(key, np.uint64(t), np.uint64(degree))
        return picks
    limit, other = threshold[begin:end], alias[begin:end]
    # The mark of a row without positive weight.
    if limit[0] == 0 and other[0] == 0:
        return np.empty(0, dtype=np.int64)
    if how == ALIAS_REPLACE:
        for t in range(k):
            picks[t] = _draw_alias(limit, other, key, t)
        return picks
    return _draw_weighted_distinct(limit, other, k, key)


@numba.njit(cache=True)
def _draw_distinct(degree, k, key):  # type: ignore[no-untyped-def]
    """Floyd: pick t is uniform in [0, degree - k + t]; a repeat becomes the upper end."""
    picks = np.empty(k, dtype=np.int64)
    taken = set([np.int64(-1)])
    for t in range(k):
        last = degree - k + t
        pick = np.int64(bounded(key, np.uint64(t), np.uint64(last + 1)))
        if pick in taken:
            pick = last
        taken.add(pick)
        picks[t] = pick
    return picks


@numba.njit(cache=True)
def _draw_labor(sources, k, key):  # type: ignore[no-untyped-def]
    """LABOR-0: edges whose source's 32-bit number r has r / 2^32 < k / degree."""
    picks = np.empty(sources.size, dtype=np.int64)
    count = 0
    bound = np.uint64(k) << np.uint64(32)
    for i in range(sources.size):
        r = bits(key, np.uint64(sources[i])) >> np.uint64(32)
        if r * np.uint64(sources.size) < bound:
            picks[count] = i
            count += 1
    return picks[:count]


@numba.njit(cache=True)
def _draw_alias(limit, other, key, number):  # type: ignore[no-untyped-def]
    slot = np.int64(bounded(key, np.uint64(2 * number), np.uint64(limit.size)))
    r = np.int64(bits(key, np.uint64(2 * number + 1)) >> np.uint64(33))
    if r < limit[slot]:
        return slot
    if other[slot] < 0 or other[slot] >= other.size:
        raise RuntimeError("`alias` must point inside its row")
    return np.int64(other[slot])


@numba.njit(cache=True)
def _draw_weighted_distinct(limit, other, k, key):  # type: ignore[no-untyped-def]
    """Successive draws: alias draws without the repeats, then from the weights left."""
    degree = limit.size
    # The weights that the tables stand for, as integers; their sum is degree * 2^31.
    weight = np.zeros(degree, dtype=np.int64)
    picks = np.empty(min(k, degree), dtype=np.int64)
    count = drawn = 0
    most = 8 * k + 32
    if degree > k:
        taken = set([np.int64(-1)])
        while drawn < most and count < k:
            pick = _draw_alias(limit, other, key, drawn)
            drawn += 1
            if pick not in taken:
                taken.add(pick)
                picks[count] = pick
                count += 1
        if count == k:
            return picks
    if other.min() < 0 or other.max() >= degree:
        raise RuntimeError("`alias` must point inside its row")
    for i in range(degree):
        weight[i] += limit[i]
        weight[other[i]] += 2**31 - np.int64(limit[i])
    if degree <= k:
        return np.flatnonzero(weight > 0)
    weight[picks[:count]] = 0
    total = weight.sum()
    while count < k and total > 0:
        left = _bounded_wide(key, np.uint64(2 * most + count), np.uint64(total))
        pick = 0
        while left >= np.uint64(weight[pick]):
            left -= np.uint64(weight[pick])
            pick += 1
        total -= weight[pick]
        weight[pick] = 0
        picks[count] = pick
        count += 1
    return picks[:count]


@numba.njit(cache=True)
def _bounded_wide(key, counter, limit):  # type: ignore[no-untyped-def]
    """Uniform integer in [0, limit), 0 < limit < 2^63, by masks and rejection."""
    mask = np.uint64(1)
    while mask < limit:
        mask = (mask << np.uint64(1)) | np.uint64(1)
    stream = fold(key, counter)
    attempt = np.uint64(0)
    value = bits(stream, attempt) & mask
    while value >= limit:
        attempt += np.uint64(1)
        value = bits(stream, attempt) & mask
    return value


@numba.njit(cache=True)
def _local(table, node, tree, nodes, new_node, new_tree, size):  # type: ignore[no-untyped-def]
    """Local id of (tree, node): the next one, entered, if it was not there."""
    mask = table.size - 1
    at = (new_tree * size + new_node) * 7046029254386353131 & mask
    while table[at] >= 0:
        local = table[at]
        if node[local] == new_node and tree[local] == new_tree:
            return local
        at = (at + 1) & mask
    table[at] = nodes
    node[nodes], tree[nodes] = new_node, new_tree
    return nodes


@numba.njit(cache=True)
def _room(table, node, tree, nodes, size):  # type: ignore[no-untyped-def]
    """Keep room for one node more, and the table at most half full."""
    if nodes == node.size:
        node, tree = _longer(node, 2 * nodes), _longer(tree, 2 * nodes)
    if 2 * (nodes + 1) > table.size:
        table = np.full(2 * table.size, -1, dtype=np.int64)
        for i in range(nodes):
            _local(table, node, tree, i, node[i], tree[i], size)
    return table, node, tree


@numba.njit(cache=True)
def _longer(values, capacity):  # type: ignore[no-untyped-def]
    longer = np.empty(capacity, dtype=np.int64)
    longer[: values.size] = values
    return longer
