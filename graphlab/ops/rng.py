"""Keys of random streams: a function of names, never of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def key(*names: int) -> int:
    """Fold names, such as (seed, epoch, batch), into one 64-bit key.

    Returns a signed int, because op schemas have no unsigned ones; kernels read its bits.

    Example:
        >>> key(0, 0, 1) != key(0, 1, 0)
        True
    """
    folded = 0
    for name in names:
        folded = _mix64(folded ^ _mix64((name + _GOLDEN) & _MASK))
    return folded - (1 << 64) if folded >= 1 << 63 else folded


def bits(stream: int, count: int, start: int = 0) -> npt.NDArray[np.uint64]:
    """Draws ``start`` to ``start + count - 1`` of a stream, 64 random bits each.

    Args:
        stream: A key made by :func:`key`.
        count: Number of draws.
        start: First counter.

    Returns:
        [count], uint64; equal to the kernels' draws of the same key and counters.
    """
    z = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    z *= np.uint64(_GOLDEN)
    z += np.uint64(stream & _MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def permutation(stream: int, size: int) -> npt.NDArray[np.int64]:
    """A random order of ``range(size)``: positions sorted by their 64-bit draws.

    Example:
        >>> sorted(permutation(key(7), 4).tolist())
        [0, 1, 2, 3]
    """
    return np.argsort(bits(stream, size), kind="stable")
