from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import sddmm_exp_sum as twin

CASES = {
    "no rows": [],
    "all empty": [0, 0, 0],
    "mixed": [2, 0, 3, 1],
    "one huge": [1, 1500, 0, 1],
    "many": [3] * 1000,
}


def make(lengths: list[int], width: int, dtype=torch.float64, num_v: int | None = None):
    generator = torch.Generator().manual_seed(0)
    rows = len(lengths)
    num_v = max(rows, 1) if num_v is None else num_v
    ptr = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0)])
    idx = torch.randint(num_v, (int(ptr[-1]),), generator=generator)
    u = (
        torch.randn(rows, width, dtype=dtype, generator=generator)
        / max(width, 1) ** 0.5
    )
    v = torch.randn(num_v, width, dtype=dtype, generator=generator)
    weight = torch.rand(idx.numel(), dtype=dtype, generator=generator)
    return ptr, idx, u, v, weight


@pytest.mark.parametrize("lengths", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("width", [0, 1, 8, 10, 16, 37])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_twin(lengths, width, skip, dtype, threads):
    ptr, idx, u, v, weight = make(lengths, width, dtype)
    for w in (None, weight):
        expected = twin.sddmm_exp_sum(ptr, idx, w, u, v, 0.7, skip)
        for given in (idx, idx.int()):
            ours = ops.sddmm_exp_sum(
                ptr, given, u, v, weight=w, tau=0.7, skip_diagonal=skip
            )
            torch.testing.assert_close(ours, expected[:2])
        g, h = torch.randn(2, len(u), dtype=dtype)
        arguments = ptr, idx, w, expected[2], g, h, 0.7, skip
        torch.testing.assert_close(
            torch.ops.graphlab.sddmm_exp_sum_factors(*arguments),
            twin.sddmm_exp_sum_factors(*arguments),
        )


def test_equals_a_dense_formula():
    ptr, idx, u, _, weight = make([2, 3, 1], 5)
    dense = torch.zeros(3, 3, dtype=u.dtype)
    ones = torch.zeros_like(dense)
    for row in range(3):
        for e in range(int(ptr[row]), int(ptr[row + 1])):
            dense[row, idx[e]] += weight[e]
            ones[row, idx[e]] += 1
    products = torch.exp(0.5 * (u @ u.t()).fill_diagonal_(0))
    weighted, plain = ops.sddmm_exp_sum(
        ptr, idx, u, weight=weight, tau=0.5, skip_diagonal=True
    )
    torch.testing.assert_close(weighted, (dense * products).sum(1))
    torch.testing.assert_close(plain, (ones * products).sum(1))


def test_exponential_over_the_whole_range_of_float32():
    x = torch.cat(
        [torch.linspace(-110, 95, 20001), torch.tensor([0.0, -0.0, 88.7, 89])]
    )
    x = torch.cat([x, torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30, -1e30])])
    ptr, idx = torch.arange(len(x) + 1), torch.zeros(len(x), dtype=torch.int64)
    ours, _ = ops.sddmm_exp_sum(ptr, idx, x[:, None], torch.ones(1, 1))
    exact = torch.exp(x.double())
    # Rounded to float32 it may be infinite or subnormal, whose spacing is 2^-149.
    torch.testing.assert_close(
        ours, exact.float(), rtol=3e-7, atol=2**-148, equal_nan=True
    )


def test_float32_error_is_at_most_twice_torchs():
    ptr, idx, u, v, weight = make([1, 700, 0, 1500], 16, torch.float32)
    exact = twin.sddmm_exp_sum(
        ptr, idx, weight.double(), u.double(), v.double(), 0.5, False
    )[0]
    rows = torch.repeat_interleave(torch.arange(4), ptr.diff())
    each = weight * torch.exp(0.5 * (u[rows] * v[idx]).sum(1))
    theirs = torch.zeros(4).index_add(0, rows, each)
    ours = ops.sddmm_exp_sum(ptr, idx, u, v, weight=weight, tau=0.5)[0]
    budget = 2 * (theirs - exact).abs().max() + 1e-6
    assert (ours - exact).abs().max() <= budget


@pytest.mark.parametrize("given_transpose", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_gradients(given_transpose, skip):
    ptr, idx, u, v, weight = make([2, 0, 3, 1], 3, num_v=5)
    transpose = ops.csr_transpose(ptr, idx, 5) if given_transpose else None
    inputs = u.requires_grad_(), v.requires_grad_(), weight.requires_grad_()

    def call(u, v, weight=None):
        return ops.sddmm_exp_sum(
            ptr,
            idx,
            u,
            v,
            weight=weight,
            tau=0.7,
            skip_diagonal=skip,
            transpose=transpose,
        )

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradcheck(lambda u, v: call(u, v)[0], (u, v))
    assert torch.autograd.gradcheck(lambda u, v, w: call(u, v, w)[1], inputs)


def test_gradient_where_both_sides_are_one_tensor():
    ptr, idx, u, _, weight = make([2, 1, 3, 1], 3)
    assert torch.autograd.gradcheck(
        lambda u: ops.sddmm_exp_sum(ptr, idx, u, weight=weight, skip_diagonal=True),
        u.requires_grad_(),
    )


def test_contract():
    ptr, idx, u, v, weight = make([2, 0, 3, 1], 3, num_v=5)
    transpose = ops.csr_transpose(ptr, idx, 5)
    leaves = weight.requires_grad_(), u.requires_grad_(), v.requires_grad_()
    op = torch.ops.graphlab.sddmm_exp_sum
    torch.library.opcheck(op, (ptr, idx, *leaves, 0.7, True, *transpose))
    torch.library.opcheck(op, (ptr, idx, None, u, v, 0.7, False, None, None, None))
    each, g, h = torch.rand(6), torch.rand(4), torch.rand(4)
    torch.library.opcheck(
        torch.ops.graphlab.sddmm_exp_sum_factors,
        (ptr, idx, None, each, g, h, 0.7, True),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_thread_count(dtype):
    ptr, idx, u, _, weight = make([700, 3, 0, 4000] * 10, 16, dtype)
    u.requires_grad_()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        out, plain = ops.sddmm_exp_sum(ptr, idx, u, weight=weight, tau=0.1)
        grad = torch.autograd.grad(out.square().sum(), u)
        results.append((out, plain, *grad))
    torch.set_num_threads(2)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


PTR, IDX, U = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.ones(2, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"u": [1.0]}, TypeError, "`u` must be a tensor, got list"),
        ({"u": U.int()}, TypeError, "`u` must be float32 or float64, got int32"),
        ({"v": U.double()}, TypeError, "`v` must be float32, got float64"),
        ({"v": U[:, :3]}, ValueError, r"width of `u` \(4\), got 3"),
        ({"ptr": PTR[1:] - 1}, ValueError, "end at 2, got 1"),
        ({"ptr": torch.tensor([0, 2])}, ValueError, "each of 2 rows of `u`, got 1"),
        ({"weight": torch.ones(3)}, ValueError, "each of 2 edges, got 3"),
        ({"transpose": (PTR, IDX)}, TypeError, r"be \(ptr, idx, perm\), got tuple"),
        (
            {"idx": torch.tensor([0, 2])},
            IndexError,
            r"`idx` must be in \[0, 2\), got 2",
        ),
    ],
)
def test_errors_name_the_argument(change, error, message):
    given = {"ptr": PTR, "idx": IDX, "u": U} | change
    with pytest.raises(error, match=message):
        ops.sddmm_exp_sum(**given)
