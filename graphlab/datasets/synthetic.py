"""Random graphs, labels and features as functions of (seed, position).

Nothing here depends on threads, on the size of pieces, or on what was drawn before: edge
``e`` and feature row ``v`` can be computed alone, so the same data set comes out in memory
and streamed to disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab.ops import rng
from graphlab.ops.twins.rng import bits, fold

# Names of streams; see ops/rng.py.
_SHUFFLE, _SPLIT, _EDGES, _NOISE, _MEANS, _LABELS = range(6)
_ROUNDS = 4
_MASK = (1 << 64) - 1
# Rows or edges that one task computes.
TASK = 2**16
Ints = npt.NDArray[np.int64]


class Bijection:
    """A keyed shuffle of ``range(size)`` that needs no table: O(1) memory at any size.

    Rounds of add, multiply by an odd number and xor-shift permute ``b`` bits, ``2^b`` the
    next power of two; a result out of range goes through them again (cycle walking). It
    hides locality; it is no cipher.

    Args:
        size: Number of elements.
        key: Key of the shuffle.
    """

    def __init__(self, size: int, key: int) -> None:
        self.size = size
        width = max(1, (size - 1).bit_length())
        draws = rng.bits(key, 2 * _ROUNDS)
        mask = (1 << width) - 1
        odd = [(int(d) | 1) & mask for d in draws[:_ROUNDS]]
        add = [int(d) & mask for d in draws[_ROUNDS:]]
        inverse = [pow(m, -1, 1 << width) for m in odd]
        as_array = np.array([odd, inverse, add], dtype=np.uint64)
        self._tables = as_array
        self._shape = (np.uint64(size), np.uint64(mask), np.uint64((width + 1) // 2))

    def forward(self, ids: Ints) -> Ints:
        """Where elements go."""
        return _walk(ids, self._tables, *self._shape, True)

    def backward(self, ids: Ints) -> Ints:
        """Which elements come there: the inverse of :meth:`forward`."""
        return _walk(ids, self._tables, *self._shape, False)


@numba.njit(cache=True, nogil=True)
def _permute(z, tables, mask, shift, forward):  # type: ignore[no-untyped-def]
    if forward:
        for k in range(_ROUNDS):
            z = (z + tables[2, k]) & mask
            z = (z * tables[0, k]) & mask
            z ^= z >> shift
        return z
    for k in range(_ROUNDS - 1, -1, -1):
        # The shift is at least half the width, so it undoes itself.
        z ^= z >> shift
        z = (z * tables[1, k]) & mask
        z = (z - tables[2, k]) & mask
    return z


@numba.njit(cache=True, nogil=True)
def _walk_one(z, tables, size, mask, shift, forward):  # type: ignore[no-untyped-def]
    z = _permute(z, tables, mask, shift, forward)
    while z >= size:
        z = _permute(z, tables, mask, shift, forward)
    return z


@numba.njit(cache=True, nogil=True)
def _walk(ids, tables, size, mask, shift, forward):  # type: ignore[no-untyped-def]
    out = np.empty(len(ids), dtype=np.int64)
    for i in range(len(ids)):
        out[i] = _walk_one(np.uint64(ids[i]), tables, size, mask, shift, forward)
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def _below(word, limit):  # type: ignore[no-untyped-def]
    """A 64-bit draw scaled to [0, limit), limit < 2^32 (bias below limit / 2^32)."""
    return ((word >> np.uint64(32)) * limit) >> np.uint64(32)


@numba.njit(cache=True, nogil=True)
def _sbm_pairs(key, start, count, size, classes, same, tables, mask, shift):  # type: ignore[no-untyped-def]
    """Pairs ``start`` to ``start + count - 1`` of a planted partition, as node ids.

    Places 0 .. size - 1 are cut into blocks of equal size (to one), a block a class; the
    shuffle says which node sits at a place.
    """
    one = np.uint64(1)
    out = np.empty((count, 2), dtype=np.int64)
    for i in range(count):
        at = np.uint64(3 * (start + i))
        first = _below(bits(key, at), size)
        block = (first * classes) // size
        low = (block * size + classes - one) // classes
        high = ((block + one) * size + classes - one) // classes
        inside = high - low
        word = bits(key, at + np.uint64(2))
        outside = size - inside
        if (bits(key, at + one) < same and inside > one) or outside == np.uint64(0):
            # Another place of the block: skip the first itself.
            second = low + _below(word, inside - one)
            if second >= first:
                second += one
        else:
            second = _below(word, outside)
            if second >= low:
                second += inside
        out[i, 0] = _walk_one(first, tables, size, mask, shift, True)
        out[i, 1] = _walk_one(second, tables, size, mask, shift, True)
    return out


@numba.njit(cache=True, nogil=True)
def _rmat_pairs(key, start, count, size, levels, a, b, c, tables, mask, shift):  # type: ignore[no-untyped-def]
    """Edges of an R-MAT graph; thresholds are cumulative, of 32 bits each."""
    low_word = np.uint64(0xFFFFFFFF)
    out = np.empty((count, 2), dtype=np.int64)
    for i in range(count):
        stream = fold(key, np.uint64(start + i))
        draw = np.uint64(0)
        while True:
            u, v = np.uint64(0), np.uint64(0)
            for level in range(levels):
                if level % 2 == 0:
                    word = bits(stream, draw)
                    draw += np.uint64(1)
                    r = word & low_word
                else:
                    r = word >> np.uint64(32)
                u <<= np.uint64(1)
                v <<= np.uint64(1)
                if r >= a:
                    if r < b:
                        v |= np.uint64(1)
                    elif r < c:
                        u |= np.uint64(1)
                    else:
                        u |= np.uint64(1)
                        v |= np.uint64(1)
            # Outside of a size that is no power of two: drawn again.
            if u < size and v < size:
                break
        out[i, 0] = _walk_one(u, tables, size, mask, shift, True)
        out[i, 1] = _walk_one(v, tables, size, mask, shift, True)
    return out


@numba.njit(cache=True, nogil=True)
def _features(key, start, labels, means, scale, out):  # type: ignore[no-untyped-def]
    """Class mean plus noise: the sum of four uniform 16-bit numbers, mean 0, variance 1."""
    low = np.uint64(0xFFFF)
    rows, width = out.shape
    for i in range(rows):
        row = np.uint64((start + i) * width)
        label = labels[i]
        for j in range(width):
            z = bits(key, row + np.uint64(j))
            total = (
                np.int32(z & low)
                + np.int32((z >> np.uint64(16)) & low)
                + np.int32((z >> np.uint64(32)) & low)
                + np.int32(z >> np.uint64(48))
            )
            out[i, j] = np.float32(total - np.int32(131070)) * scale + means[label, j]


@dataclass(frozen=True)
class Recipe:
    """What to draw; see :func:`graphlab.datasets.generate` for the meaning of each."""

    kind: str
    num_nodes: int
    num_edges: int
    num_features: int
    num_classes: int
    homophily: float
    snr: float
    probabilities: tuple[float, float, float, float]
    train: float
    val: float
    seed: int

    def _key(self, stream: int) -> int:
        return rng.key(self.seed, stream)

    @property
    def shuffle(self) -> Bijection:
        """Which node sits at each place."""
        return Bijection(self.num_nodes, self._key(_SHUFFLE))

    def labels(self, start: int, stop: int) -> Ints:
        """Classes of nodes ``start`` to ``stop - 1``: the block of their place.

        R-MAT's places say how many edges a node has, so its classes have a shuffle of
        their own.
        """
        stream = _LABELS if self.kind == "rmat" else _SHUFFLE
        shuffle = Bijection(self.num_nodes, self._key(stream))
        place = shuffle.backward(np.arange(start, stop))
        return place * self.num_classes // self.num_nodes

    def masks(self, start: int, stop: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Splits of exact sizes, in an order of their own."""
        shuffle = Bijection(self.num_nodes, self._key(_SPLIT))
        order = shuffle.forward(np.arange(start, stop))
        train = round(self.train * self.num_nodes)
        val = train + round(self.val * self.num_nodes)
        return {
            "train": order < train,
            "val": (order >= train) & (order < val),
            "test": order >= val,
        }

    def means(self) -> npt.NDArray[np.float32]:
        """[classes, features]: directions of length ``snr``, signs at random."""
        width = self.num_features
        draws = rng.bits(self._key(_MEANS), self.num_classes * width)
        signs = np.where(draws >> np.uint64(63), 1.0, -1.0)
        length = self.snr / np.sqrt(max(1, width))
        return (signs.reshape(-1, width) * length).astype(np.float32)

    def features(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop - 1``, float32."""
        out = np.empty((stop - start, self.num_features), dtype=np.float32)
        # Variance of four uniform integers in [0, 65535].
        scale = np.float32(1 / np.sqrt(4 * (65536**2 - 1) / 12))
        key, means = np.uint64(self._key(_NOISE) & _MASK), self.means()

        def fill(first: int) -> None:
            last = min(stop, first + _rows(self.num_features))
            part = out[first - start : last - start]
            _features(key, first, self.labels(first, last), means, scale, part)

        _in_threads(fill, range(start, stop, _rows(self.num_features)))
        return torch.from_numpy(out)

    def edges(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Sources and targets of edges ``start`` to ``stop - 1``, int64."""
        if self.kind == "rmat":
            pairs = self._pairs(start, stop)
            return torch.from_numpy(pairs).unbind(1)  # type: ignore[return-value]
        # Edge 2i is pair i, edge 2i + 1 its reverse.
        first, last = start // 2, -(-stop // 2)
        both = torch.from_numpy(self._pairs(first, last))
        both = torch.stack([both, both.flip(1)], 1).reshape(-1, 2)
        source, target = both[start - 2 * first : stop - 2 * first].unbind(1)
        return source, target

    def _pairs(self, start: int, stop: int) -> Ints:
        out = np.empty((stop - start, 2), dtype=np.int64)
        key = np.uint64(self._key(_EDGES) & _MASK)
        shuffle = self.shuffle
        size, mask, shift = shuffle._shape
        a, b, c, _ = self.probabilities
        cuts = [np.uint64(round(p * 2**32)) for p in (a, a + b, a + b + c)]
        levels = max(1, (self.num_nodes - 1).bit_length())
        same = np.uint64(min(_MASK, round(self.homophily * 2**64)))
        classes = np.uint64(self.num_classes)

        def fill(first: int) -> None:
            count = min(TASK, stop - first)
            if self.kind == "rmat":
                made = _rmat_pairs(
                    key, first, count, size, levels, *cuts, shuffle._tables, mask, shift
                )
            else:
                made = _sbm_pairs(
                    key, first, count, size, classes, same, shuffle._tables, mask, shift
                )
            out[first - start : first - start + count] = made

        _in_threads(fill, range(start, stop, TASK))
        return out


class SyntheticEdges:
    """The edges of a recipe as a stream; see :class:`topology.EdgeStream`."""

    # Pairs, their copies with the reverse, and two strided views.
    edge_bytes = 16 + 16 + 16
    fixed_bytes = 0

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def batches(self, start: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Sources and targets from edge ``start`` on."""
        total = self._recipe.num_edges
        for first in range(start, total, count):
            yield self._recipe.edges(first, min(total, first + count))


def _rows(width: int) -> int:
    return max(1, 2**20 // max(1, width))


def _in_threads(work: Any, starts: range) -> None:
    """Run independent tasks; numba releases the GIL in them."""
    if len(starts) <= 1:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(work, starts):
            pass
