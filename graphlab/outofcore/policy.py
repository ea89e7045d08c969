"""Cache policies: which rows are worth memory, when the batches to come are known.

Memory for rows is cut in two: rows that stay for good (the most used ones), and slots whose
rows change from batch to batch. A policy says how it is cut, and gives a key to each row of a
batch; after the batch the rows of smallest key stay in the slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from graphlab import check

Keys = npt.NDArray[np.int32]


@runtime_checkable
class Policy(Protocol):
    """What ``plan(policy=...)`` takes; any object with these two will do.

    ``repr(policy)`` names it in the plan, so it should hold the parameters and nothing
    else; that of a dataclass does.
    """

    @property
    def static_share(self) -> float | None:
        """Share of the memory for rows that stay for good; None: what the trace favours."""

    def keys(
        self,
        batch: int,
        num_batches: int,
        n_id: npt.NDArray[np.int64],
        next_use: Keys,
    ) -> Keys:
        """Key of each row of a batch, in [0, num_batches]; -1: not worth a slot.

        Args:
            batch: Number of the batch, of the ``num_batches`` of its epoch.
            num_batches: See there.
            n_id: [n], nodes of the batch.
            next_use: [n], the next batch that uses each; -1: none in this epoch.
        """


def _check_share(name: str, share: float | None) -> None:
    if share is not None and not 0 <= share <= 1:
        check.fail(ValueError, name, "static_share", "be in [0, 1] or None", share)


@dataclass(frozen=True)
class Belady:
    """Keep the rows that are needed next: no policy misses less in the given order.

    Args:
        static_share: See :class:`Policy`.

    Source:
        L. A. Belady, A study of replacement algorithms for a virtual-storage computer, IBM
        Systems Journal 5 (1966); with bypassing, as rows pass through a batch anyway.
    """

    static_share: float | None = None

    def __post_init__(self) -> None:
        _check_share("Belady", self.static_share)

    def keys(
        self, batch: int, num_batches: int, n_id: npt.NDArray[np.int64], next_use: Keys
    ) -> Keys:
        """See :meth:`Policy.keys`."""
        return next_use


@dataclass(frozen=True)
class Static:
    """Keep the rows that most batches use, for good; the batches may come in any order.

    Source:
        DiskGNN, whose cache this is.
    """

    @property
    def static_share(self) -> float:
        """All of it."""
        return 1.0

    def keys(
        self, batch: int, num_batches: int, n_id: npt.NDArray[np.int64], next_use: Keys
    ) -> Keys:
        """See :meth:`Policy.keys`."""
        return np.full(len(n_id), -1, dtype=np.int32)


@dataclass(frozen=True)
class LRU:
    """Keep the rows that were used last: what a cache does that cannot see ahead.

    Args:
        static_share: See :class:`Policy`.
    """

    static_share: float | None = 0.0

    def __post_init__(self) -> None:
        _check_share("LRU", self.static_share)

    def keys(
        self, batch: int, num_batches: int, n_id: npt.NDArray[np.int64], next_use: Keys
    ) -> Keys:
        """See :meth:`Policy.keys`."""
        return np.full(len(n_id), num_batches - batch, dtype=np.int32)


_NAMED: dict[str, Policy] = {"belady": Belady(), "static": Static(), "lru": LRU()}


def as_policy(function: str, policy: Any) -> Policy:
    """The policy of a name, or the object that was given.

    Example:
        >>> as_policy("plan", "belady")
        Belady(static_share=None)
    """
    if isinstance(policy, str):
        return _NAMED[check.one_of(function, "policy", policy, tuple(_NAMED))]
    if not isinstance(policy, Policy):
        need = (
            f"be one of {', '.join(map(repr, _NAMED))}, or have static_share and keys"
        )
        check.fail(TypeError, function, "policy", need, type(policy).__name__)
    return policy
