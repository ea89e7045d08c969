from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import segment as twin

CASES = {
    "no segments": [],
    "one empty": [0],
    "all empty": [0, 0, 0],
    "mixed": [2, 0, 3, 1],
    "one huge": [1, 5000, 1],
    "many": [3] * 2000,
}


def make(lengths: list[int], width: int, dtype=torch.float64):
    ptr = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0)])
    generator = torch.Generator().manual_seed(0)
    return torch.randn(int(ptr[-1]), width, dtype=dtype, generator=generator), ptr


@pytest.mark.parametrize("lengths", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("width", [0, 1, 7])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_reduce_equals_twin(lengths, width, reduce, threads):
    src, ptr = make(lengths, width)
    expected, _ = twin.segment_reduce(src, ptr, reduce)
    torch.testing.assert_close(ops.segment_reduce(src, ptr, reduce), expected)


@pytest.mark.parametrize("lengths", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("width", [0, 1, 7])
def test_softmax_equals_twin(lengths, width, threads):
    src, ptr = make(lengths, width)
    torch.testing.assert_close(
        ops.segment_softmax(src, ptr), twin.segment_softmax(src, ptr)
    )


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_float32_error_is_at_most_twice_torchs(reduce):
    src, ptr = make([1, 700, 0, 5000], 16)
    exact, _ = twin.segment_reduce(src, ptr, reduce)
    theirs, _ = twin.segment_reduce(src.float(), ptr, reduce)
    ours = ops.segment_reduce(src.float(), ptr, reduce)
    budget = 2 * (theirs - exact).abs().max() + 1e-7
    assert (ours - exact).abs().max() <= budget


def test_max_with_nan_and_ties():
    nan = float("nan")
    src = torch.tensor([[1.0, nan], [1.0, 3.0], [nan, 2.0]], requires_grad=True)
    out = ops.segment_reduce(src, torch.tensor([0, 2, 3]), "max")
    expected = torch.tensor([[1.0, nan], [nan, 2.0]])
    torch.testing.assert_close(out, expected, equal_nan=True)
    out.sum().backward()
    assert src.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_gradients_and_contract(reduce):
    src, ptr = make([2, 0, 3], 4)
    src.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ops.segment_reduce(s, ptr, reduce), src)
    torch.library.opcheck(torch.ops.graphlab.segment_reduce, (src, ptr, reduce))


def test_softmax_gradients_and_contract():
    src, ptr = make([2, 0, 3], 4)
    src.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: ops.segment_softmax(s, ptr), src)
    torch.library.opcheck(torch.ops.graphlab.segment_softmax, (src, ptr))


def test_softmax_sums_to_one_and_is_shift_invariant():
    src, ptr = make([4, 1, 9], 3)
    out = ops.segment_softmax(src, ptr)
    total = ops.segment_reduce(out, ptr)
    torch.testing.assert_close(total, torch.ones_like(total))
    torch.testing.assert_close(ops.segment_softmax(src + 1000, ptr), out)


def test_same_bits_for_any_thread_count():
    src, ptr = make([700] * 40, 33, torch.float32)
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(ops.segment_reduce(src, ptr))
    torch.set_num_threads(2)
    assert torch.equal(*results)


def test_strided_input_and_vector_softmax():
    src, ptr = make([2, 3], 6)
    torch.testing.assert_close(
        ops.segment_reduce(src[:, ::2], ptr), ops.segment_reduce(src, ptr)[:, ::2]
    )
    torch.testing.assert_close(
        ops.segment_softmax(src[:, 0], ptr), ops.segment_softmax(src, ptr)[:, 0]
    )


@pytest.mark.parametrize(
    ("src", "ptr", "reduce", "error", "message"),
    [
        ([1.0], [0, 1], "sum", TypeError, "`src` must be a tensor, got list"),
        (torch.ones(1), torch.tensor([0, 1]), "sum", ValueError, "2 dimension"),
        (torch.ones(1, 1).int(), torch.tensor([0, 1]), "sum", TypeError, "got int32"),
        (torch.ones(2, 1), torch.tensor([0, 1]), "sum", ValueError, "end at 2, got 1"),
        (torch.ones(1, 1), torch.tensor([1, 1]), "sum", ValueError, "start at 0"),
        (torch.ones(1, 1), torch.tensor([0, 1]), "min", ValueError, "'sum', 'mean'"),
    ],
)
def test_errors_name_the_argument(src, ptr, reduce, error, message):
    with pytest.raises(error, match=message):
        ops.segment_reduce(src, ptr, reduce)


def test_falling_offsets_never_crash():
    with pytest.raises(RuntimeError, match=r"never fall|repeat"):
        ops.segment_reduce(torch.ones(3, 1), torch.tensor([0, 5, 2, 3]))
