from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from graphlab import ops
from graphlab.ops.rng import key

# False-alarm rate of each statistical test here. Keys are fixed: they pass or fail for
# good, and a wrong kernel has no luck to hope for.
RATE = 1e-6


def star(degree):
    """Node 0 has in-edges from 1 ... degree."""
    ptr = torch.full((degree + 2,), degree)
    ptr[0] = 0
    return ptr, torch.arange(1, degree + 1, dtype=torch.int32)


def draws(ptr, idx, k, times, **options):
    """Positions drawn for node 0 in `times` batches, [times, drawn]."""
    seed = torch.tensor([0])
    return np.array(
        [
            ops.neighbor_sample(ptr, idx, seed, [k], key=key(t), **options).e_id.numpy()
            for t in range(times)
        ]
    )


@pytest.mark.parametrize("replace", [False, True], ids=["distinct", "replace"])
def test_uniform_on_a_hub_of_40000(replace):
    # 20,000 batches of 10: five draws expected for each neighbour.
    ptr, idx = star(40_000)
    drawn = draws(ptr, idx, 10, 20_000, replace=replace)
    count = np.bincount(drawn.ravel(), minlength=40_000)
    assert count.size == 40_000
    assert stats.chisquare(count).pvalue > RATE
    # Coarse bins have more power against a smooth bias such as that of `% degree`.
    assert stats.chisquare(count.reshape(40, 1000).sum(1)).pvalue > RATE


@pytest.mark.parametrize(("size", "k"), [(5, 2), (6, 3), (5, 4)])
def test_every_subset_is_equally_likely(size, k):
    ptr, idx = star(size)
    drawn = np.sort(draws(ptr, idx, k, 6000), axis=1)
    subsets = list(itertools.combinations(range(size), k))
    count = [int((drawn == subset).all(1).sum()) for subset in subsets]
    assert sum(count) == 6000
    assert stats.chisquare(count).pvalue > RATE


def test_pairs_are_equally_likely_for_hashed_picks():
    # k = 40 is beyond the picks that are compared one by one.
    ptr, idx = star(60)
    drawn = draws(ptr, idx, 40, 3000)
    together = np.zeros((60, 60))
    for row in drawn:
        together[np.ix_(row, row)] += 1
    p = 40 * 39 / (60 * 59)
    error = (together[np.triu_indices(60, 1)] - 3000 * p) / np.sqrt(3000 * p * (1 - p))
    # Largest of 1770 normal deviations, union bound.
    assert np.abs(error).max() < stats.norm.isf(RATE / 1770 / 2)


@pytest.mark.parametrize("replace", [False, True], ids=["distinct", "replace"])
def test_weighted_draws_follow_weights(replace):
    ptr, idx = star(6)
    weight = torch.tensor([0.0, 1, 2, 3, 4, 10], dtype=torch.float64)
    options = {"alias": ops.alias_build(ptr, weight), "replace": replace}
    drawn = draws(ptr, idx, 2, 10_000, **options)
    p = (weight / weight.sum()).numpy()
    expected = {}
    for a, b in itertools.product(range(1, 6), repeat=2):
        if replace or a != b:
            expected[a, b] = p[a] * (p[b] if replace else p[b] / (1 - p[a]))
    count = [int(((drawn[:, 0] == a) & (drawn[:, 1] == b)).sum()) for a, b in expected]
    assert sum(count) == 10_000
    assert stats.chisquare(count, 10_000 * np.array([*expected.values()])).pvalue > RATE


def test_weighted_fallback_keeps_the_distribution():
    # One weight of almost 1 uses up the alias draws; the others must stay proportional.
    ptr, idx = star(8)
    weight = torch.tensor([1e6, 1, 2, 3, 4, 0, 0, 0], dtype=torch.float64)
    drawn = draws(ptr, idx, 2, 6000, alias=ops.alias_build(ptr, weight))
    assert drawn.shape == (6000, 2)
    second = drawn[drawn[:, 0] == 0, 1]
    count = np.bincount(second, minlength=5)[1:]
    assert second.size > 5900
    # Tables round these tiny weights to 2^-31 of a slot; far below what this can see.
    assert stats.chisquare(count, second.size * np.arange(1, 5) / 10).pvalue > RATE


def test_weighted_takes_all_positive_where_they_are_few():
    ptr, idx = star(50)
    weight = torch.zeros(50)
    weight[[4, 17, 31]] = torch.tensor([1.0, 1e-3, 5.0])
    tables = ops.alias_build(ptr, weight)
    for k in (3, 5, 50, 70):
        s = ops.neighbor_sample(ptr, idx, torch.tensor([0]), [k], alias=tables)
        assert sorted(s.e_id.tolist()) == [4, 17, 31]
    none = ops.alias_build(ptr, torch.zeros(50))
    for replace in (False, True):
        s = ops.neighbor_sample(
            ptr, idx, torch.tensor([0]), [5], alias=none, replace=replace
        )
        assert s.e_id.numel() == 0


def test_labor_keeps_each_edge_with_probability_k_over_degree():
    degree, k, times = 200, 12, 4000
    ptr, idx = star(degree)
    seed = torch.tensor([0])
    kept = np.zeros(degree)
    size = np.zeros(times)
    for t in range(times):
        s = ops.neighbor_sample(ptr, idx, seed, [k], labor=True, key=key(t))
        kept[s.e_id.numpy()] += 1
        size[t] = s.e_id.numel()
    p = k / degree
    error = (kept - times * p) / np.sqrt(times * p * (1 - p))
    # The Horvitz-Thompson mean of any feature is unbiased: no edge deviates.
    assert np.abs(error).max() < stats.norm.isf(RATE / degree / 2)
    deviation = np.sqrt(degree * p * (1 - p) / times)
    assert abs(size.mean() - k) < stats.norm.isf(RATE / 2) * deviation


def test_labor_shares_sources_between_targets():
    # 40 targets with the same 100 sources: the same 5 or so, not 40 sets of 5.
    ptr = torch.arange(0, 4001, 100)
    ptr = torch.cat([ptr, torch.full((100,), 4000)])
    idx = torch.arange(40, 140).repeat(40)
    labor = ops.neighbor_sample(ptr, idx, torch.arange(40), [5], labor=True)
    uniform = ops.neighbor_sample(ptr, idx, torch.arange(40), [5])
    assert labor.num_sampled_edges[0] == 40 * labor.num_sampled_nodes[1]
    assert labor.num_sampled_nodes[1] < 20 < uniform.num_sampled_nodes[1]


def test_keys_and_hops_differ():
    ptr, idx = star(1000)
    a, b = draws(ptr, idx, 10, 2)
    assert a.tolist() != b.tolist()
    # Two targets of one hop, and the same row in two hops.
    loop = torch.tensor([0, 1000, 2000]), torch.zeros(2000, dtype=torch.int64)
    s = ops.neighbor_sample(*loop, torch.tensor([0, 1]), [10])
    assert (s.e_id[:10] % 1000).tolist() != (s.e_id[10:] % 1000).tolist()
