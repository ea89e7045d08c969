"""Which rows stay in memory from batch to batch: next uses, and the choice of residents.

A batch sees what is in memory before it; afterwards the rows of smallest key stay. With the
next use as key that is Belady's rule with bypassing: no other choice misses less.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

_TWIN = "graphlab.ops.twins.schedule"
# No fake kernels for results: a schedule depends on values, and is never traced.
declare(
    "next_use(Tensor n_id, int batch, Tensor(a!) last, Tensor(b!) next) -> ()",
    twin=f"{_TWIN}:next_use",
    fake=lambda n_id, batch, last, next: None,
    namespace="graphlab_io",
)
declare(
    "belady_schedule(Tensor n_id, Tensor key, int first, Tensor(a!) slot, "
    "Tensor(b!) links, Tensor(c!) heads, Tensor(d!) words, Tensor(e!) source, "
    "Tensor(f!) keep) -> int",
    twin=f"{_TWIN}:belady_schedule",
    namespace="graphlab_io",
)

NEVER = -1
LINK_BYTES = 20


def next_use(n_id: Tensor, batch: int, last: Tensor, next: Tensor) -> None:
    """One step of the backward pass: ``next = last[n_id]``, then ``last[n_id] = batch``.

    Args:
        n_id: [n], int64: nodes of the batch.
        batch: Its number.
        last: [N], int32: the earliest later batch of each node, -1 for none; changed.
        next: [n], int32: written.

    Raises:
        TypeError, ValueError: wrong dtype or shape.
        RuntimeError: an id out of range.

    Example:
        >>> last = torch.full((3,), -1, dtype=torch.int32)
        >>> next = torch.empty(2, dtype=torch.int32)
        >>> for batch, n_id in ((1, [0, 2]), (0, [2, 1])):
        ...     next_use(torch.tensor(n_id), batch, last, next)
        >>> next.tolist()
        [1, -1]
    """
    name = "next_use"
    check.tensor(name, "n_id", n_id, dtypes=(torch.int64,), ndim=1)
    for argument, value in (("last", last), ("next", next)):
        check.tensor(name, argument, value, dtypes=(torch.int32,), ndim=1)
    if len(next) != len(n_id):
        check.fail(ValueError, name, "next", f"have {len(n_id)} entries", len(next))
    torch.ops.graphlab_io.next_use(n_id, batch, last, next)


class Slots:
    """Rows that come and go: ``capacity`` slots, and which node's row is in each.

    Slots are numbered from ``first`` on; lower numbers are rows that stay for good, which
    the caller enters in ``slot``.

    Args:
        num_nodes: Nodes of the graph, below 2**31.
        capacity: Slots that change.
        num_keys: Keys are in ``[0, num_keys]``.
        first: Number of the first slot that changes.

    Attributes:
        slot: [N], int32: where each node's row is, -1 for nowhere.
        misses: Rows that the last step did not find.

    Cost:
        4 bytes a node, 20 a slot, 4 a key.

    Example:
        >>> slots = Slots(4, capacity=1, num_keys=3)
        >>> for batch, next in (([0, 1], [2, 1]), ([1], [-1]), ([0], [-1])):
        ...     ids, keys = torch.tensor(batch), torch.tensor(next, dtype=torch.int32)
        ...     source, keep = slots.step(ids, keys)
        ...     print(source.tolist(), keep.tolist())
        [-1, -1] [-1, 0]
        [0] [-1]
        [-1] [-1]
    """

    def __init__(
        self, num_nodes: int, capacity: int, num_keys: int, *, first: int = 0
    ) -> None:
        name = "Slots"
        check.positive(name, "num_nodes", num_nodes, least=0)
        check.positive(name, "capacity", capacity, least=0)
        check.positive(name, "num_keys", num_keys, least=0)
        if max(num_nodes, first + capacity) >= 2**31:
            check.fail(ValueError, name, "num_nodes", "be below 2**31", num_nodes)
        self.first = first
        self.slot = torch.full((num_nodes,), NEVER, dtype=torch.int32)
        self._links = torch.empty((capacity, 5), dtype=torch.int32)
        # A bucket for each key, and the list of free slots.
        self._heads = torch.empty(num_keys + 2, dtype=torch.int32)
        words, size = 0, num_keys + 1
        while True:
            size = -(-size // 64)
            words += size
            if size == 1:
                break
        self._words = torch.empty(words, dtype=torch.int64)
        self.misses = 0
        self._empty()

    @staticmethod
    def bytes(num_nodes: int, capacity: int, num_keys: int) -> int:
        """Bytes that such an object holds, at most."""
        return 4 * num_nodes + LINK_BYTES * capacity + 5 * (num_keys + 2) + 64

    def _empty(self) -> None:
        capacity = len(self._links)
        self._links.fill_(-1)
        chain = torch.arange(1, capacity + 1, dtype=torch.int32)
        self._links[:, 3] = chain
        if capacity:
            self._links[-1, 3] = -1
        self._heads.fill_(-1)
        self._heads[-1] = 0 if capacity else -1
        self._words.zero_()

    def clear(self) -> None:
        """Empty the slots that change."""
        held = self._links[:, 1] >= 0
        self.slot[self._links[held, 0].long()] = NEVER
        self._empty()

    def step(self, n_id: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Serve a batch, then keep the rows of smallest key.

        Args:
            n_id: [n], int64: nodes of the batch; a node may stand more than once.
            key: [n], int32: each row's key, -1 to let it go; equal for equal nodes.

        Returns:
            ``source`` [n], int32: the slot of each row that is in memory, else -1; ``keep``
            [n], int32: the slot that takes the row after the batch, for rows that were
            missing, else -1. No slot is named twice.

        Raises:
            TypeError, ValueError: wrong dtype or shape.
            RuntimeError: an id or a key out of range.

        Cost:
            O(n); the row to give up is found in a tree of 64-bit words.
        """
        name = "Slots.step"
        check.tensor(name, "n_id", n_id, dtypes=(torch.int64,), ndim=1)
        check.tensor(name, "key", key, dtypes=(torch.int32,), ndim=1)
        if len(key) != len(n_id):
            check.fail(ValueError, name, "key", f"have {len(n_id)} entries", len(key))
        source = torch.empty(len(n_id), dtype=torch.int32)
        keep = torch.empty(len(n_id), dtype=torch.int32)
        self.misses = torch.ops.graphlab_io.belady_schedule(
            n_id,
            key,
            self.first,
            self.slot,
            self._links,
            self._heads,
            self._words,
            source,
            keep,
        )
        return source, keep
