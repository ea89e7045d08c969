from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from graphlab import ops
from graphlab.ops import rng
from graphlab.ops.twins import norm_dropout_relu as twin

OPS = torch.ops.graphlab


def make(rows: int, width: int, norm: bool, dtype=torch.float64):
    x = torch.randn(rows, width, dtype=dtype)
    weight, bias = torch.randn(2, width, dtype=dtype)
    return (x, weight, bias) if norm else (x, None, None)


@pytest.mark.parametrize("rows", [0, 1, 3, 700])
@pytest.mark.parametrize("width", [2, 7, 64, 300])
@pytest.mark.parametrize("norm", [True, False])
def test_equals_twin_with_its_gradient(rows, width, norm, threads):
    given = make(rows, width, norm)
    grad = torch.randn(rows, width, dtype=torch.float64)
    for p in (0.0, 0.3):
        for relu in (True, False):
            rest = (1e-5, p, 12345, relu)
            out = OPS.norm_dropout_relu(*given, *rest)
            expected = twin.norm_dropout_relu(*given, *rest)
            torch.testing.assert_close(out, expected)
            x, weight, _ = given
            mine = OPS.norm_dropout_relu_backward(grad, x, out, weight, *rest)
            theirs = twin.norm_dropout_relu_backward(grad, x, out, weight, *rest)
            for a, b in zip(mine, theirs, strict=True):
                torch.testing.assert_close(a, b)


def test_a_wide_row_equals_twin(threads):
    x = torch.randn(1, 100_003)
    out = ops.norm_dropout_relu(x, p=0.4, key=7, relu=False)
    assert torch.equal(out, twin.norm_dropout_relu(x, None, None, 0, 0.4, 7, False))


def test_without_dropout_it_is_torchs():
    x, weight, bias = make(50, 64, True, torch.float32)
    exact = F.layer_norm(x.double(), (64,), weight.double(), bias.double()).relu()
    theirs = F.layer_norm(x, (64,), weight, bias).relu()
    ours = ops.norm_dropout_relu(x, weight, bias)
    budget = 2 * (theirs - exact).abs().max() + 1e-7
    assert (ours - exact).abs().max() <= budget


def test_bits_are_those_of_the_stream():
    # One draw serves four columns, low bits first; a row starts a draw of its own.
    drawn = [int(word) for word in rng.bits(99, 4)]
    p = 0.5
    kept = ops.norm_dropout_relu(torch.ones(2, 5), p=p, key=99) > 0
    for row in range(2):
        for column in range(5):
            word = drawn[2 * row + column // 4]
            low = word >> 16 * (column % 4) & 0xFFFF
            assert bool(kept[row, column]) == (low >= 32768)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_keeps_its_share_and_its_mean(p):
    # False alarms: 1e-6 each.
    out = ops.norm_dropout_relu(torch.ones(2000, 50), p=p, key=3, relu=False)
    count, dropped = out.numel(), int((out == 0).sum())
    share = twin.threshold(p) / 65536
    assert stats.binomtest(dropped, count, share).pvalue > 1e-6
    assert abs(share - p) <= 2**-17
    assert torch.equal(out.unique(), torch.tensor([0.0, 1 / (1 - share)]))


def test_gradients_and_contract():
    x, weight, bias = (t.requires_grad_() for t in make(4, 6, True))
    for relu in (True, False):

        def call(x, weight, bias, relu=relu):
            return ops.norm_dropout_relu(x, weight, bias, p=0.3, key=1, relu=relu)

        assert torch.autograd.gradcheck(call, (x, weight, bias))
    plain = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: ops.norm_dropout_relu(v, p=0.3, key=1, relu=False), plain
    )
    # Gradients of gradients are not made.
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    torch.library.opcheck(
        OPS.norm_dropout_relu, (x, weight, bias, 1e-5, 0.3, 1, True), test_utils=tests
    )


def test_same_bits_for_any_thread_count():
    x, weight, bias = make(3000, 48, True, torch.float32)
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        leaf = weight.clone().requires_grad_()
        out = ops.norm_dropout_relu(x, leaf, bias, p=0.2, key=5)
        out.square().sum().backward()
        results.append((out.detach(), leaf.grad))
    torch.set_num_threads(2)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_nan_stays():
    x = torch.tensor([[float("nan"), -1.0]])
    assert ops.norm_dropout_relu(x).isnan().tolist() == [[True, False]]


def test_dropout_keeps_shape_and_draws_from_torch():
    x = torch.ones(3, 4, 5)
    torch.manual_seed(1)
    first = ops.dropout(x, 0.5)
    second = ops.dropout(x, 0.5)
    torch.manual_seed(1)
    assert first.shape == x.shape
    assert torch.equal(first, ops.dropout(x, 0.5))
    assert not torch.equal(first, second)
    assert ops.dropout(x, 0.5, training=False) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_cuts_at_zero_in_the_same_pass(training, dtype):
    x = torch.randn(40, 8, dtype=dtype)
    torch.manual_seed(1)
    expected = ops.dropout(x, 0.5, training).relu()
    torch.manual_seed(1)
    assert torch.equal(ops.dropout(x, 0.5, training, relu=True), expected)


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "`x` must be a tensor"),
        (torch.ones(()), {}, ValueError, "`x` must have rows"),
        (torch.ones(2).int(), {}, TypeError, "got int32"),
        (torch.ones(2, 2), {"p": 1.0}, ValueError, r"`p` must be in \[0, 1\)"),
        (torch.ones(2, 2), {"weight": torch.ones(2)}, ValueError, "with `bias`"),
        (
            torch.ones(2, 2),
            {"weight": torch.ones(3), "bias": torch.ones(3)},
            ValueError,
            "each of 2 columns, got 3",
        ),
    ],
)
def test_errors_name_the_argument(given, options, error, message):
    with pytest.raises(error, match=message):
        ops.norm_dropout_relu(given, **options)


@pytest.mark.parametrize("shape", [(0,), (0, 1), (3, 0), (400, 1), (200, 3)])
def test_dropout_of_narrow_rows_and_of_nothing(shape):
    x = torch.ones(*shape)
    out = ops.dropout(x, 0.5)
    assert out.shape == x.shape
    assert set(out.unique().tolist()) <= {0.0, 2.0}
    if x.numel():
        assert 0.3 < float((out > 0).float().mean()) < 0.7
