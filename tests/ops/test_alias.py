from __future__ import annotations

import numpy as np
import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import alias as twin

ONE = 2**31


def random_rows(lengths, dtype=torch.float64, seed=0):
    generator = np.random.default_rng(seed)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    weight = generator.random(int(ptr[-1])) ** 4
    weight[generator.random(weight.size) < 0.2] = 0
    return ptr, torch.from_numpy(weight).to(dtype)


def probability(threshold: torch.Tensor, alias: torch.Tensor) -> np.ndarray:
    """What one row of tables stands for; a slot that is its own alias is whole."""
    kept = threshold.numpy().astype(np.int64)
    mass = kept.copy()
    np.add.at(mass, alias.numpy(), ONE - kept)
    return mass / (ONE * kept.size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_twin(dtype, threads):
    for seed in range(20):
        ptr, weight = random_rows([3, 0, 1, 2, 700, 0, 41] * 8, dtype, seed)
        ours, expected = ops.alias_build(ptr, weight), twin.alias_build(ptr, weight)
        assert torch.equal(ours.threshold, expected[0])
        assert torch.equal(ours.alias, expected[1])


@pytest.mark.cuda
def test_cuda_equals_cpu():
    ptr, weight = random_rows([3, 0, 1, 2, 700, 0, 41] * 8)
    ours = ops.alias_build(ptr.cuda(), weight.cuda())
    expected = ops.alias_build(ptr, weight)
    assert torch.equal(ours.threshold.cpu(), expected.threshold)
    assert torch.equal(ours.alias.cpu(), expected.alias)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000, 30_000])
def test_tables_reproduce_weights(size):
    ptr, weight = random_rows([size], seed=size)
    weight[0] += 0.5
    tables = ops.alias_build(ptr, weight)
    expected = (weight / weight.sum()).numpy()
    found = probability(*tables)
    assert np.abs(found - expected).max() <= 2.0**-30
    assert np.array_equal(found > 0, expected > 0)
    assert tables.threshold.min() >= 0
    assert tables.alias.min() >= 0
    assert tables.alias.max() < size


def test_extreme_weights_keep_positive_apart_from_zero():
    rows = [1e308, 1e308, 0.0, 1e-308, 5e-324, 1.0]
    weight = torch.tensor(rows, dtype=torch.float64)
    found = probability(*ops.alias_build(torch.tensor([0, 6]), weight))
    assert (found > 0).tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(found[:2], 0.5, atol=2**-30)


def test_equal_weights_are_certain_and_zero_rows_are_marked():
    ptr = torch.tensor([0, 4, 4, 7])
    weight = torch.tensor([2.0, 2, 2, 2, 0, 0, 0])
    tables = ops.alias_build(ptr, weight)
    assert tables.threshold.tolist() == [ONE - 1] * 4 + [0] * 3
    assert tables.alias.tolist() == [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("ptr", [[0], [0, 0, 0]], ids=["no rows", "empty rows"])
def test_no_edges(ptr):
    tables = ops.alias_build(torch.tensor(ptr), torch.empty(0))
    assert tables.threshold.shape == tables.alias.shape == (0,)


def test_contract():
    ptr, weight = random_rows([3, 0, 5])
    torch.library.opcheck(torch.ops.graphlab.alias_build, (ptr, weight))


@pytest.mark.parametrize(
    ("ptr", "weight", "error", "message"),
    [
        ([0, 1], [1.0], TypeError, "`weight` must be a tensor, got list"),
        ([0, 1], torch.ones(1).int(), TypeError, "`weight` must be float32 or float64"),
        ([0, 2], torch.ones(1), ValueError, "`ptr` must end at 1, got 2"),
        ([0, 1], torch.ones(1, 1), ValueError, r"`weight` must have 1 dimension"),
        ([0, 1], torch.tensor([-1.0]), ValueError, "finite and not negative, got -1.0"),
        ([0, 1], torch.tensor([float("nan")]), ValueError, "finite .* got nan"),
        ([0, 1], torch.tensor([float("inf")]), ValueError, "finite .* got inf"),
    ],
)
def test_errors_name_the_argument(ptr, weight, error, message):
    with pytest.raises(error, match=message):
        ops.alias_build(torch.tensor(ptr), weight)
