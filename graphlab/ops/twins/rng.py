"""Counter-based random numbers, twin of ``cpp_ext/include/rng.h`` (numba, bit for bit)."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, inline="always")
def mix64(z: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, inline="always")
def fold(key: np.uint64, name: np.uint64) -> np.uint64:
    """A key for a named part of a stream."""
    return mix64(key ^ mix64(name + np.uint64(0x9E3779B97F4A7C15)))


@numba.njit(cache=True, inline="always")
def bits(key: np.uint64, counter: np.uint64) -> np.uint64:
    """Draw number ``counter`` of the stream ``key``: 64 random bits."""
    return mix64(key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))


@numba.njit(cache=True)
def bounded(key: np.uint64, counter: np.uint64, limit: np.uint64) -> np.uint64:
    """Uniform integer in [0, limit), 0 < limit < 2^32, without bias (Lemire 2019)."""
    low_word = np.uint64(0xFFFFFFFF)
    product = (bits(key, counter) >> np.uint64(32)) * limit
    low = product & low_word
    if low < limit:
        threshold = (np.uint64(0x100000000) - limit) % limit
        again = fold(key, counter)
        attempt = np.uint64(0)
        while low < threshold:
            product = (bits(again, attempt) >> np.uint64(32)) * limit
            low = product & low_word
            attempt += np.uint64(1)
    return product >> np.uint64(32)
