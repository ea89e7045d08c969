"""Each CUDA op against its twin on the CPU; run by `make gpu-check`."""

from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import csr as csr_twin
from graphlab.ops.twins import segment as segment_twin
from graphlab.ops.twins import spmm as spmm_twin

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
# On a device, rows of over 256 entries are cut where multiples of 256 fall.
LONG = [300, 0, 212, 256, 257, 0, 1000, 1, 2000, 300, 3]
LENGTHS = [[], [0], [0, 0, 0], [2, 0, 3, 1], [1, 5000, 0, 1], [3] * 2000, LONG]
WIDTHS = [0, 1, 5, 32, 100, 128, 129, 300]


def rows(lengths: list[int], width: int, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    ptr = torch.tensor([0, *torch.tensor(lengths, dtype=torch.int64).cumsum(0)])
    return torch.randn(int(ptr[-1]), width, dtype=dtype, generator=generator), ptr


def sparse(lengths: list[int], width: int, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    weight, ptr = rows(lengths, 1, dtype)
    idx = torch.randint(50, (len(weight),), generator=generator)
    return ptr, idx, torch.randn(50, width, dtype=dtype), weight[:, 0].contiguous()


def test_native_kernels_are_registered():
    table = ops.backends()
    names = ("csr_build", "gather_rows", "segment_reduce", "segment_softmax", "spmm")
    assert all(table[f"graphlab::{name}"]["cuda"] == "native" for name in names)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [0, 1, 7])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_segment_reduce(lengths, width, reduce):
    src, ptr = rows(lengths, width)
    expected, arg = segment_twin.segment_reduce(src, ptr, reduce)
    out, where = torch.ops.graphlab.segment_reduce(src.cuda(), ptr.cuda(), reduce)
    torch.testing.assert_close(out.cpu(), expected)
    assert torch.equal(where.cpu(), arg)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [0, 1, 7])
def test_segment_softmax(lengths, width):
    src, ptr = rows(lengths, width)
    out = ops.segment_softmax(src.cuda(), ptr.cuda())
    torch.testing.assert_close(out.cpu(), segment_twin.segment_softmax(src, ptr))


def test_segment_softmax_of_masked_scores():
    src, ptr = rows(LONG, 2)
    src[512:768, 0] = -torch.inf  # a whole piece of a long segment
    src[ptr[1:] - 1, 1] = -torch.inf  # the last of each
    out = ops.segment_softmax(src.cuda(), ptr.cuda())
    expected = segment_twin.segment_softmax(src, ptr)
    torch.testing.assert_close(out.cpu(), expected, equal_nan=True)
    assert not out[768:, 0].isnan().any()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize(
    ("num_rows", "num_cols", "count"),
    [(0, 0, 0), (5, 3, 0), (1, 9, 1000), (7, 4, 50), (50_001, 70_000, 300_000)],
)
def test_csr_build(num_rows, num_cols, count, dtype):
    row = torch.randint(max(num_rows, 1), (count,)).to(dtype)
    col = torch.randint(max(num_cols, 1), (count,)).to(dtype)
    expected = csr_twin.csr_build(row, col, num_rows, num_cols)
    ours = ops.csr_build(row.cuda(), col.cuda(), num_rows, num_cols)
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine.cpu(), theirs)


def test_csr_build_names_wrong_ids():
    wrong = torch.tensor([0, 5, 1], device="cuda")
    with pytest.raises(
        IndexError, match=r"`row` must be in \[0, 5\), got 5 at position 1"
    ):
        ops.csr_build(wrong, wrong, 5, 6)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.int64, torch.int8]
)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_gather_copies(dtype, width, index_dtype):
    source = torch.randint(-100, 100, (60, width)).to(dtype)
    ids = torch.randint(60, (500,)).to(index_dtype)
    out = ops.gather_rows(source.cuda(), ids.cuda())
    assert torch.equal(out.cpu(), source[ids.long()])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_gather_decodes_like_the_cpu(dtype):
    source, ids = (
        torch.randint(-100, 100, (60, 33)).to(dtype),
        torch.randint(60, (500,)),
    )
    scale = torch.rand(60) if dtype == torch.int8 else None
    expected = ops.gather_rows(source, ids, scale=scale, dtype=torch.float32)
    on_device = None if scale is None else scale.cuda()
    options = {"scale": on_device, "dtype": torch.float32}
    out = ops.gather_rows(source.cuda(), ids.cuda(), **options)
    assert torch.equal(out.cpu(), expected)


def test_gather_of_padded_rows():
    source, ids = torch.randn(60, 40, device="cuda"), torch.randint(60, (90,)).cuda()
    assert torch.equal(ops.gather_rows(source[:, 3:30], ids), source[ids, 3:30])


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_spmm(lengths, width, reduce, weighted):
    ptr, idx, x, weight = sparse(lengths, width)
    expected = spmm_twin.spmm(ptr, idx, weight if weighted else None, x, reduce)
    on_device = weight.cuda() if weighted else None
    for given in (idx.cuda(), idx.int().cuda()):
        out = ops.spmm(ptr.cuda(), given, x.cuda(), weight=on_device, reduce=reduce)
        torch.testing.assert_close(out.cpu(), expected)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_spmm_of_many_short_rows(reduce):
    """A group of lanes takes many rows at a time, long ones among them; rows of a view."""
    lengths = [*LONG, *(n % 6 for n in range(400))] * 500
    ptr, idx, _, weight = sparse(lengths, 1, torch.float32)
    whole = torch.randn(50, 300)
    for left, width in ((4, 64), (8, 256), (1, 64), (0, 17)):
        x = whole[:, left : left + width]
        for w in (None, weight):
            exact = None if w is None else w.double()
            expected = spmm_twin.spmm(ptr, idx, exact, x.double(), reduce)
            y = whole.cuda()[:, left : left + width].requires_grad_()
            v = None if w is None else w.cuda().requires_grad_()
            out = ops.spmm(ptr.cuda(), idx.cuda(), y, weight=v, reduce=reduce)
            torch.testing.assert_close(
                out.cpu().double(), expected, rtol=1e-4, atol=1e-3
            )
            if v is not None and reduce == "sum":
                (grad,) = torch.autograd.grad(out.sum(), v)
                dots = x.double().sum(1)[idx]
                torch.testing.assert_close(
                    grad.cpu().double(), dots, rtol=1e-4, atol=1e-3
                )


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_spmm_gradients(reduce):
    ptr, idx, x, weight = (part.cuda() for part in sparse([2, 0, 3, 1], 3))
    x.requires_grad_()
    weight.requires_grad_()

    def call(x, weight):
        return ops.spmm(ptr, idx, x, weight=weight, reduce=reduce)

    assert torch.autograd.gradcheck(call, (x, weight))


def test_same_bits_every_time():
    ptr, idx, x, weight = (
        p.cuda() for p in sparse([700, 3, 40_000], 65, torch.float32)
    )
    first = ops.spmm(ptr, idx, x, weight=weight)
    assert all(
        torch.equal(first, ops.spmm(ptr, idx, x, weight=weight)) for _ in range(5)
    )


@pytest.mark.parametrize(("p", "q"), [(1, 1), (4, 2), (0.25, 0.5)])
@pytest.mark.parametrize("weighted", [False, True])
def test_random_walk(p, q, weighted):
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(100, (2, 700), generator=generator)
    row, col = edges[:, torch.argsort(edges[0] * 100 + edges[1])]
    ptr = torch.bincount(row, minlength=100).cumsum(0)
    ptr = torch.cat([torch.zeros(1, dtype=torch.int64), ptr])
    idx = col.int()
    weight = torch.rand(700, generator=generator)
    slots = ops.walk_slots(ptr, idx, weight) if weighted else None
    starts = torch.arange(100).repeat(5)
    expected = ops.random_walk(ptr, idx, starts, 20, slots=slots, p=p, q=q, key=3)
    found = ops.random_walk(
        ptr.cuda(),
        idx.cuda(),
        starts.cuda(),
        20,
        slots=None if slots is None else slots.cuda(),
        p=p,
        q=q,
        key=3,
    )
    assert torch.equal(found.cpu(), expected)


def test_negative_sample():
    tables = ops.alias_build(torch.tensor([0, 50]), torch.rand(50))
    found = ops.negative_sample(*(t.cuda() for t in tables), 1000, key=7)
    assert torch.equal(found.cpu(), ops.negative_sample(*tables, 1000, key=7))


# Terms of a head come in groups of 8, 4, 2, 1 on the CPU: these divide on both.
ORDERS = [
    {"negatives": 7},
    {"negatives": 3},
    {"negatives": 3, "reference": True},
    {"negatives": 7, "pool": 7, "decay": 0.01},
    {"negatives": 3, "forward": False},
    {"negatives": 3, "window": 4},
    {"negatives": 3, "window": 4, "shrink": True, "forward": False},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [16, 128, 208, 400, 800])
@pytest.mark.parametrize("nodes", [3, 40])
@pytest.mark.parametrize("order", ORDERS, ids=range(len(ORDERS)))
def test_skipgram_train_of_one_walk(order, nodes, width, dtype):
    """One walk is one warp, so the order of steps is fixed; of 3 nodes, terms repeat."""
    given = {"window": 1, "forward": True, "rate": 0.1} | order
    if width > 256 and not order.get("reference"):  # one, or four rows at a time
        given |= {"negatives": 0, "window": 1, "forward": True, "shrink": False}
    generator = torch.Generator().manual_seed(0)
    head, tail = (torch.rand(2, nodes, width, generator=generator) - 0.5).unbind()
    head, tail = head / width**0.5, tail.clone()
    tables = ops.alias_build(torch.tensor([0, nodes]), torch.ones(nodes))
    index = torch.int64 if width == 16 else torch.int32
    walks = torch.randint(nodes, (1, 41), generator=generator, dtype=index)
    walks[0, 37:] = -1
    h, t = (x.to("cuda", dtype, copy=True) for x in (head, tail))
    found = ops.skipgram_train(h, t, walks.cuda(), *(x.cuda() for x in tables), **given)
    expected = ops.skipgram_train(head, tail, walks, *tables, **given)
    for ours, exact in ((h, head), (t, tail)):
        if dtype == torch.float32:
            torch.testing.assert_close(ours.cpu(), exact, atol=1e-4, rtol=0)
        else:  # each of some hundred steps rounds to 8 bits
            assert (ours.float().cpu() - exact).norm() < 0.06 * exact.norm()
    assert found.pairs == expected.pairs
    assert found.loss == pytest.approx(expected.loss, rel=2e-2)


@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_common_neighbors(excluding, dtype):
    generator = torch.Generator().manual_seed(2)
    edges = torch.randint(300, (2, 4000), generator=generator)
    both = torch.cat([edges, edges.flip(0)], 1).unique(dim=1)
    ptr, idx, _ = ops.csr_build(*both, 300, 300)
    idx, pairs = idx.to(dtype), torch.randint(300, (2, 900), generator=generator)
    exclude = edges[:, :500].contiguous() if excluding else None
    there = None if exclude is None else exclude.cuda()
    graph = (ptr.cuda(), idx.cuda(), pairs.cuda())
    expected = ops.common_neighbors_sets(ptr, idx, pairs, exclude=exclude)
    found = ops.common_neighbors_sets(*graph, exclude=there)
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
    counts = ops.common_neighbors(*graph, exclude=there)
    assert torch.equal(counts.cpu(), expected.ptr.diff())
    x = torch.randn(300, 70, dtype=torch.float64, requires_grad=True)
    y = x.detach().cuda().requires_grad_()
    out = ops.common_neighbors_pool(ptr, idx, pairs, x, exclude=exclude)
    there_out = ops.common_neighbors_pool(*graph, y, exclude=there)
    torch.testing.assert_close(there_out.cpu(), out)
    out.sum().backward(), there_out.sum().backward()
    torch.testing.assert_close(y.grad.cpu(), x.grad)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [1, 8, 37, 128])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sddmm_exp_sum(lengths, width, skip, dtype):
    generator = torch.Generator().manual_seed(0)
    u, ptr = rows([1] * max(len(lengths), 1), width, dtype)
    weight, ptr = rows(lengths or [0], 1, dtype)
    u, weight = u / width**0.5, weight[:, 0].abs().contiguous()
    v = torch.randn(len(u), width, dtype=dtype, generator=generator)
    idx = torch.randint(len(u), (len(weight),), generator=generator)
    for given in (idx, idx.int()):
        results = []
        for device in ("cpu", "cuda"):
            p, i, a, b, w = (
                t.to(device, copy=True) for t in (ptr, given, u, v, weight)
            )
            for t in (a, b, w):
                t.requires_grad_()
            out = ops.sddmm_exp_sum(p, i, a, b, weight=w, tau=0.7, skip_diagonal=skip)
            (out[0].square().sum() + out[1].sum()).backward()
            results.append([t.cpu() for t in (*out, a.grad, b.grad, w.grad)])
        for expected, ours in zip(*results, strict=True):
            rtol = 1e-4 if dtype == torch.float32 else 1e-7
            torch.testing.assert_close(ours, expected, rtol=rtol, atol=rtol)


def test_segment_gradients():
    src, ptr = (part.cuda() for part in rows([2, 0, 3, 1], 3))
    src.requires_grad_()
    for reduce in ("sum", "mean", "max"):
        assert torch.autograd.gradcheck(
            lambda s, r=reduce: ops.segment_reduce(s, ptr, r), (src,)
        )
    assert torch.autograd.gradcheck(lambda s: ops.segment_softmax(s, ptr), (src,))
