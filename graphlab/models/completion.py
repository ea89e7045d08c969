"""What NCNC's completion needs: samples of neighbours, chunks, logits that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab.ops.twins.segment import owners


class Entries(NamedTuple):
    """Neighbours of pairs, pair after pair.

    Attributes:
        ptr: [pairs + 1], int64.
        idx: [entries].
        owner: [entries], int64: the pair.
        weight: [entries], or None for ones: how many neighbours an entry stands for.
    """

    ptr: Tensor
    idx: Tensor
    owner: Tensor
    weight: Tensor | None


def sample_entries(ptr: Tensor, idx: Tensor, limit: int | None) -> Entries:
    """Keep at most ``limit`` entries of each row: drawn with replacement, weighted n / limit.

    Sums of weighted entries keep their expectation; shorter rows are kept as they are.

    Example:
        >>> rows = sample_entries(torch.tensor([0, 2, 5]), torch.arange(5), 2)
        >>> rows.ptr.tolist(), rows.weight.tolist()
        ([0, 2, 4], [1.0, 1.0, 1.5, 1.5])
    """
    owner = owners(ptr, len(idx))
    if limit is None:
        return Entries(ptr, idx, owner, None)
    count = ptr.diff()
    kept = count.clamp(max=limit)
    ends = torch.cat([ptr[:1], kept.cumsum(0)])
    of_kept = owners(ends)
    position = torch.arange(len(of_kept), device=ptr.device) - ends[of_kept]
    length = count[of_kept]
    drawn = (torch.rand(len(of_kept), device=ptr.device) * length).long()
    position = torch.where(length > limit, drawn.minimum(length - 1), position)
    weight = (length / kept[of_kept]).float()
    return Entries(ends, idx[ptr[of_kept] + position], of_kept, weight)


def chunks_within(
    degree: Tensor, pairs: Tensor, memory: int, *, each: int
) -> Iterator[slice]:
    """Cut pairs so that their neighbours, at ``each`` bytes, stay within ``memory``.

    A pair whose neighbours do not fit alone is a chunk of its own.
    """
    before = ((degree[pairs[0]] + degree[pairs[1]]) * each).cumsum(0)
    start, count = 0, pairs.shape[1]
    while start < count:
        held = int(before[start - 1]) if start else 0
        end = int(torch.searchsorted(before, held + memory, right=True))
        end = min(max(end, start + 1), count)
        yield slice(start, end)
        start = end


class InnerLogits:
    """Logits of pairs by key, kept sorted; pairs beyond the memory are not kept.

    Args:
        memory: Bytes of keys and logits.
    """

    def __init__(self, memory: int) -> None:
        self._most = memory // 16
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def of(
        self, key: Tensor, num_nodes: int, score: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return the logits of pairs, scoring those that are not known.

        Args:
            key: [n], ``a * num_nodes + b``.
            num_nodes: Nodes of the graph.
            score: Takes pairs [2, m], returns logits [m].
        """
        distinct, place = key.unique(return_inverse=True)
        if self._keys is None or self._values is None:
            values = score(torch.stack([distinct // num_nodes, distinct % num_nodes]))
            self._keep(distinct, values)
            return values[place]
        at = torch.searchsorted(self._keys, distinct).clamp(max=len(self._keys) - 1)
        known = self._keys[at] == distinct if len(self._keys) else at.bool()
        values = self._values.new_empty(len(distinct))
        values[known] = self._values[at[known]]
        fresh = distinct[~known]
        if len(fresh):
            new = score(torch.stack([fresh // num_nodes, fresh % num_nodes]))
            values[~known] = new
            keys = torch.cat([self._keys, fresh])
            order = keys.argsort()
            self._keep(keys[order], torch.cat([self._values, new])[order])
        return values[place]

    def _keep(self, keys: Tensor, values: Tensor) -> None:
        if self._keys is None or len(keys) <= self._most:
            self._keys, self._values = keys[: self._most], values[: self._most]
