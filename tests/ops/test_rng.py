from __future__ import annotations

import numpy as np
from scipy import stats

from graphlab.ops import rng
from graphlab.ops.twins import rng as twin


def test_key_depends_on_every_name_and_its_place():
    keys = {
        rng.key(*names) for names in [(0,), (0, 0), (0, 1), (1, 0), (-1, 0), (1, 0, 0)]
    }
    assert len(keys) == 6
    assert all(-(2**63) <= k < 2**63 for k in keys)


def test_python_and_numba_fold_agree():
    folded = np.uint64(0)
    for name in (3, 1, 4):
        folded = twin.fold(folded, np.uint64(name))
    assert int(folded) == rng.key(3, 1, 4) % 2**64


def test_bounded_is_uniform():
    # Chi-square at a false-alarm rate of 1e-6, range 1000, 200,000 draws.
    draws = [
        int(twin.bounded(np.uint64(7), np.uint64(i), np.uint64(1000)))
        for i in range(200_000)
    ]
    count = np.bincount(draws, minlength=1000)
    assert count.size == 1000
    assert stats.chisquare(count).pvalue > 1e-6


def test_numpy_draws_equal_the_kernels():
    stream = rng.key(5, 2)
    drawn = rng.bits(stream, 100, start=3)
    expected = [
        int(twin.bits(np.uint64(stream % 2**64), np.uint64(3 + i))) for i in range(100)
    ]
    assert drawn.tolist() == expected


def test_permutation_is_one():
    order = rng.permutation(rng.key(1), 1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != rng.permutation(rng.key(2), 1000).tolist()
