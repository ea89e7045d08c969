from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import spmm as twin

# Lengths of rows.
CASES = {
    "no rows": [],
    "one empty": [0],
    "all empty": [0, 0, 0],
    "mixed": [2, 0, 3, 1],
    "one huge": [1, 5000, 0, 1],
    "many": [3] * 2000,
}
# Every block size of the kernel, alone and together, and what is left over.
WIDTHS = [0, 1, 5, 16, 23, 64, 128, 256, 300]


def make(lengths: list[int], width: int, dtype=torch.float64, num_x: int = 50):
    generator = torch.Generator().manual_seed(0)
    ptr = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0)])
    idx = torch.randint(num_x, (int(ptr[-1]),), generator=generator)
    x = torch.randn(num_x, width, dtype=dtype, generator=generator)
    weight = torch.randn(idx.numel(), dtype=dtype, generator=generator)
    return ptr, idx, x, weight


@pytest.mark.parametrize("lengths", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_twin(lengths, width, reduce, weighted, threads):
    ptr, idx, x, weight = make(lengths, width)
    weight = weight if weighted else None
    expected = twin.spmm(ptr, idx, weight, x, reduce)
    for given in (idx, idx.int()):
        ours = ops.spmm(ptr, given, x, weight=weight, reduce=reduce)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_edge_dot_equals_twin(width, threads):
    ptr, idx, x, _ = make([2, 0, 900, 1], width)
    grad = torch.randn(4, width, dtype=x.dtype)
    ours = torch.ops.graphlab.spmm_edge_dot(ptr, idx, grad, x)
    torch.testing.assert_close(ours, twin.spmm_edge_dot(ptr, idx, grad, x))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_float32_error_is_at_most_twice_torchs(reduce):
    ptr, idx, x, weight = make([1, 700, 0, 5000], 24)
    matrix = torch.sparse_csr_tensor(
        ptr, idx, weight.float(), (4, 50), check_invariants=False
    )
    theirs = matrix @ x.float()
    exact = twin.spmm(ptr, idx, weight.float().double(), x.float().double(), "sum")
    ours = ops.spmm(ptr, idx, x.float(), weight=weight.float(), reduce=reduce)
    if reduce == "mean":
        count = ptr.diff().clamp(min=1)[:, None]
        theirs, exact = theirs / count, exact / count
    budget = 2 * (theirs - exact).abs().max() + 1e-7
    assert (ours - exact).abs().max() <= budget


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("given_transpose", [False, True])
def test_gradients(reduce, given_transpose):
    ptr, idx, x, weight = make([2, 0, 3, 1], 3, num_x=5)
    transpose = ops.csr_transpose(ptr, idx, 5) if given_transpose else None

    def call(x, weight=None):
        return ops.spmm(ptr, idx, x, weight=weight, reduce=reduce, transpose=transpose)

    x.requires_grad_()
    weight.requires_grad_()
    assert torch.autograd.gradcheck(call, x)
    assert torch.autograd.gradcheck(call, (x, weight))
    assert torch.autograd.gradcheck(lambda w: call(x.detach(), w), weight)
    assert torch.autograd.gradgradcheck(call, (x, weight))


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_contract(reduce):
    ptr, idx, x, weight = make([2, 0, 3, 1], 3, num_x=5)
    transpose = ops.csr_transpose(ptr, idx, 5)
    x.requires_grad_()
    weight.requires_grad_()
    op = torch.ops.graphlab.spmm
    torch.library.opcheck(op, (ptr, idx, weight, x, reduce, *transpose))
    torch.library.opcheck(op, (ptr, idx, None, x, reduce, None, None, None))
    grad = torch.randn(4, 3, dtype=x.dtype)
    torch.library.opcheck(torch.ops.graphlab.spmm_edge_dot, (ptr, idx, grad, x))


def test_laws():
    ptr, idx, x, weight = make([3, 0, 40, 7], 20)
    other = torch.randn_like(x)
    both = ops.spmm(ptr, idx, x + 2 * other, weight=weight)
    apart = ops.spmm(ptr, idx, x, weight=weight)
    apart += 2 * ops.spmm(ptr, idx, other, weight=weight)
    torch.testing.assert_close(both, apart)
    # A mean of equal rows is that row; the transpose of the transpose is the matrix.
    equal = ops.spmm(ptr, idx, x[:1].expand(50, -1), reduce="mean")
    torch.testing.assert_close(equal[[0, 2, 3]], x[:1].expand(3, -1))
    t_ptr, t_idx, t_perm = ops.csr_transpose(ptr, idx, 50)
    left = torch.randn(4, 20, dtype=x.dtype)
    there = (left * ops.spmm(ptr, idx, x, weight=weight)).sum()
    back = (x * ops.spmm(t_ptr, t_idx, left, weight=weight[t_perm.long()])).sum()
    torch.testing.assert_close(there, back)


def test_csr_transpose_of_the_transpose(threads):
    ptr, idx, _, _ = make([3] * 30_000, 1)
    t_ptr, t_idx, t_perm = ops.csr_transpose(ptr, idx, 50)
    assert torch.equal(torch.bincount(idx, minlength=50), t_ptr.diff())
    assert torch.equal(idx[t_perm.long()], twin.owners(t_ptr))
    again_ptr, again_idx, perm = ops.csr_transpose(t_ptr, t_idx, 30_000)
    assert torch.equal(again_ptr, ptr)
    assert torch.equal(idx.sort().values, twin.owners(t_ptr))
    assert torch.equal(t_idx[perm.long()].long(), twin.owners(ptr))
    rows = [idx[ptr[r] : ptr[r + 1]].sort().values for r in range(0, 30_000, 997)]
    mine = [again_idx[ptr[r] : ptr[r + 1]] for r in range(0, 30_000, 997)]
    assert all(torch.equal(a, b.long()) for a, b in zip(rows, mine, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_thread_count(dtype):
    ptr, idx, x, weight = make([700, 3, 0, 40_000] * 10, 33, dtype)
    x.requires_grad_()
    weight.requires_grad_()
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        out = ops.spmm(ptr, idx, x, weight=weight, reduce="mean")
        grads = torch.autograd.grad(out.square().sum(), (x, weight))
        results.append((out, *grads))
    torch.set_num_threads(2)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_vectors_and_strided_input():
    ptr, idx, x, weight = make([2, 3], 6)
    torch.testing.assert_close(
        ops.spmm(ptr, idx, x[:, 2], weight=weight),
        ops.spmm(ptr, idx, x, weight=weight)[:, 2],
    )
    # Part of wider rows (not copied), and other strides (copied).
    assert torch.equal(ops.spmm(ptr, idx, x[:, 1:4]), ops.spmm(ptr, idx, x)[:, 1:4])
    assert torch.equal(ops.spmm(ptr, idx, x[:, ::2]), ops.spmm(ptr, idx, x)[:, ::2])
    every = torch.stack([weight, weight], 1)[:, 0]
    assert torch.equal(
        ops.spmm(ptr, idx, x, weight=every), ops.spmm(ptr, idx, x, weight=weight)
    )


@pytest.mark.slow
def test_compiles_without_graph_breaks():
    ptr, idx, x, weight = make([2, 0, 3, 1], 3, torch.float32, num_x=5)
    compiled = torch.compile(
        lambda x, w: ops.spmm(ptr, idx, x.relu(), weight=w).square(),
        fullgraph=True,
        backend="aot_eager",  # traced as a whole; Inductor itself warns of torch.jit
    )
    x.requires_grad_()
    expected = ops.spmm(ptr, idx, x.relu(), weight=weight).square()
    torch.testing.assert_close(compiled(x, weight), expected)


@pytest.mark.parametrize("wrong", [-1, 50, 2**31 - 1])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_out_of_range(wrong, dtype):
    ptr, idx, x, weight = make([2, 300], 20)
    idx = idx.to(dtype)
    idx[7] = wrong
    for width in (3, 20):
        message = rf"spmm: `idx` must be in \[0, 50\), got {wrong} at position 7"
        with pytest.raises(IndexError, match=message):
            ops.spmm(ptr, idx, x[:, :width], weight=weight)


PTR, IDX, X = torch.tensor([0, 2]), torch.tensor([0, 1]), torch.ones(3, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": [1.0]}, TypeError, "`x` must be a tensor, got list"),
        ({"x": X.int()}, TypeError, "`x` must be float32 or float64, got int32"),
        ({"x": X[None]}, ValueError, "`x` must have 2 dimension"),
        ({"idx": IDX.float()}, TypeError, "`idx` must be int32 or int64, got float32"),
        ({"ptr": PTR.int()}, TypeError, "`ptr` must be int64, got int32"),
        ({"ptr": torch.tensor([0, 3])}, ValueError, "`ptr` must end at 2, got 3"),
        ({"weight": torch.ones(2).double()}, TypeError, "`weight` must be float32"),
        ({"weight": torch.ones(3)}, ValueError, "value for each of 2 edges, got 3"),
        ({"reduce": "max"}, ValueError, "'sum', 'mean', got 'max'"),
        ({"transpose": (PTR, IDX)}, TypeError, r"be \(ptr, idx, perm\), got tuple"),
        ({"transpose": (PTR, IDX, IDX)}, ValueError, "each of 3 rows of `x`, got 1"),
        ({"transpose": (PTR, IDX, IDX[:1])}, ValueError, "have 2 entries, got 1"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    given = {"ptr": PTR, "idx": IDX, "x": X} | change
    with pytest.raises(error, match=message):
        ops.spmm(**given)


def test_falling_offsets_never_crash():
    with pytest.raises(RuntimeError, match=r"never fall|repeat"):
        ops.spmm(torch.tensor([0, 5, 1, 2]), IDX, X)
