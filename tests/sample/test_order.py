from __future__ import annotations

import pytest
import torch

from graphlab.ops import rng
from graphlab.sample import num_batches, seed_batches


@pytest.mark.parametrize("num_inputs", [0, 1, 4, 5, 8, 1001])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
def test_each_position_once_and_length_as_told(num_inputs, shuffle, drop_last):
    batches = seed_batches(
        num_inputs, 4, seed=1, epoch=2, shuffle=shuffle, drop_last=drop_last
    )
    assert len(batches) == num_batches(num_inputs, 4, drop_last=drop_last)
    seen = torch.cat([torch.empty(0, dtype=torch.int64), *batches]).tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(num_inputs))
    assert len(seen) == (num_inputs // 4 * 4 if drop_last else num_inputs)
    assert all(len(b) == 4 for b in batches[:-1])
    if not shuffle:
        assert seen == sorted(seen)


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        batches = seed_batches(100, 100, seed=seed, epoch=epoch, shuffle=True)
        return tuple(batches[0].tolist())

    assert order(0, 0) == order(0, 0)
    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1)}) == 4


def test_order_stream_is_not_a_batch_stream():
    first = rng.permutation(rng.key(3, 0, 0), 50).tolist()
    ordered = seed_batches(50, 50, seed=3, epoch=0, shuffle=True)[0].tolist()
    assert ordered != first


@pytest.mark.parametrize(
    ("argument", "value", "error", "match"),
    [
        ("num_inputs", -1, ValueError, "`num_inputs` must be at least 0, got -1"),
        ("batch_size", 0, ValueError, "`batch_size` must be at least 1, got 0"),
        ("batch_size", 2.0, TypeError, "`batch_size` must be an int, got float"),
        ("epoch", -1, ValueError, "`epoch` must be at least 0, got -1"),
    ],
)
def test_bad_arguments(argument, value, error, match):
    arguments = {"num_inputs": 3, "batch_size": 2, "epoch": 0, argument: value}
    with pytest.raises(error, match=f"seed_batches: {match}"):
        seed_batches(**arguments, seed=0, shuffle=True)
