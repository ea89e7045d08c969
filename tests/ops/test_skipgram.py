from __future__ import annotations

import math

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import skipgram as twin

NODES = 60

SHAPES = {
    "word2vec": {"window": 4, "negatives": 5},
    "pool": {"window": 3, "negatives": 2, "pool": 9, "shrink": True, "weight": 2.5},
    "graphvite": {
        "window": 2,
        "negatives": 1,
        "weight": 5.0,
        "forward": True,
        "decay": 0.005,
        "reference": True,
    },
    "decay": {"window": 4, "negatives": 1, "decay": 0.1},
    "no negatives": {"window": 1, "negatives": 0, "forward": True},
}


def case(seed=0, width=32, length=11, count=70, dtype=torch.int32):
    generator = torch.Generator().manual_seed(seed)
    head, tail = (torch.rand(2, NODES, width, generator=generator) - 0.5).unbind()
    walks = torch.randint(NODES, (count, length), generator=generator, dtype=dtype)
    walks[3, 4:] = -1
    walks[5, 1:] = -1
    weight = torch.rand(NODES, generator=generator)
    tables = ops.alias_build(torch.tensor([0, NODES]), weight)
    return head.clone(), tail.clone(), walks, *tables


def run_twin(head, tail, walks, threshold, alias, **change):
    s = {
        "forward": False,
        "shrink": False,
        "negatives": 5,
        "weight": 1.0,
        "pool": 0,
        "rate": 0.025,
        "rate_end": 0.025,
        "decay": 0.0,
        "reference": False,
        "threads": 1,
        "key": 0,
        "first": 0,
    } | change
    names = "window forward shrink negatives weight pool rate rate_end decay reference"
    ordered = [s[n] for n in f"{names} threads key first".split()]
    return twin.skipgram_train(head, tail, walks, threshold, alias, *ordered)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("width", [16, 48])
def test_equals_twin(name, width):
    """Same steps in the same order; single precision, so equal up to rounding."""
    change = SHAPES[name] | {"rate": 0.2, "rate_end": 0.1, "key": 5, "first": 2}
    head, tail, walks, *tables = case(width=width)
    head2, tail2 = head.clone(), tail.clone()
    ours = ops.skipgram_train(head, tail, walks, *tables, **change)
    loss, counted, pairs = run_twin(head2, tail2, walks, *tables, **change).tolist()
    torch.testing.assert_close(head, head2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tail, tail2, rtol=1e-4, atol=1e-5)
    assert ours.pairs == pairs
    assert ours.loss == pytest.approx(loss / counted, rel=1e-4)
    assert not torch.equal(head, case(width=width)[0])


def test_one_pair_is_one_gradient_step():
    """Against autograd of the objective in the docstring, in double precision."""
    head, tail, _, *tables = case()
    walks = torch.tensor([[7, 8]], dtype=torch.int32)
    h, t = head.double().requires_grad_(), tail.double().requires_grad_()
    negative = ops.negative_sample(*tables, 3, key=ops_key(11, 4))
    x = t[[8, *negative.tolist()]] @ h[7]
    weight = torch.tensor([1.0, 2, 2, 2]).double()
    loss = (
        weight * torch.nn.functional.softplus(x * torch.tensor([-1, 1, 1, 1]))
    ).sum()
    loss.backward()
    tally = ops.skipgram_train(
        head,
        tail,
        walks,
        *tables,
        window=1,
        forward=True,
        negatives=3,
        weight=2.0,
        rate=0.5,
        key=11,
        first=4,
    )
    # Three rows and the pair: a group of four that sees the same head.
    torch.testing.assert_close(
        head.double(), (h - 0.5 * h.grad).detach(), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        tail.double(), (t - 0.5 * t.grad).detach(), atol=1e-6, rtol=0
    )
    assert tally.loss == pytest.approx(loss.item(), rel=1e-5)


def ops_key(key: int, number: int) -> int:
    """The key of walk ``number``: fold(key, number) of the kernels."""
    from graphlab.ops.rng import _GOLDEN, _MASK, _mix64

    folded = _mix64(key ^ _mix64((number + _GOLDEN) & _MASK))
    return folded - (1 << 64) if folded >= 1 << 63 else folded


@pytest.mark.parametrize("name", SHAPES)
def test_one_thread_repeats_to_the_bit_and_parts_add_up(name):
    tables = []
    for split in (70, 23):
        head, tail, walks, *draws = case()
        for begin in range(0, 70, split):
            part = walks[begin : begin + split]
            ops.skipgram_train(
                head, tail, part, *draws, key=1, first=begin, **SHAPES[name]
            )
        tables.append((head, tail))
    assert torch.equal(tables[0][0], tables[1][0])
    assert torch.equal(tables[0][1], tables[1][1])


def test_counts_pairs():
    head, tail, _, *tables = case()
    walks = torch.tensor([[0, 1, 2, 3], [4, 5, -1, -1], [6, -1, -1, -1]]).int()
    count = lambda **c: ops.skipgram_train(head, tail, walks, *tables, **c).pairs  # noqa: E731
    assert count(window=1) == 6 + 2
    assert count(window=1, forward=True) == 3 + 1
    assert count(window=9) == 12 + 2
    assert count(window=2, forward=True) == 5 + 1


def test_padding_stays_zero_and_shared_tables_work():
    head, _, walks, *tables = case(width=32)
    head[:, 20:] = 0
    ops.skipgram_train(head, head, walks, *tables, window=2)
    assert bool((head[:, 20:] == 0).all())
    assert bool(head.isfinite().all())


def test_int64_walks_are_the_same():
    results = []
    for dtype in (torch.int32, torch.int64):
        head, tail, walks, *tables = case(dtype=dtype)
        ops.skipgram_train(head, tail, walks, *tables, window=2)
        results.append(head)
    assert torch.equal(*results)


def test_loss_falls_and_threads_agree_on_it():
    losses = []
    for threads in (1, 2):
        head, tail, walks, *tables = case(count=400)
        walks = (walks // 10 * 10 + torch.arange(11) % 10).int()  # ten at a time
        for epoch in range(30):
            tally = ops.skipgram_train(
                head,
                tail,
                walks,
                *tables,
                window=2,
                rate=0.05,
                threads=threads,
                first=epoch * 400,
            )
            losses.append(tally.loss)
    assert losses[29] < 0.9 * losses[0]
    assert losses[59] == pytest.approx(losses[29], rel=0.05)


def test_contract():
    head, tail, walks, *tables = case()
    arguments = (head, tail, walks, *tables, 2, False, False, 2, 1.0, 4)
    arguments = (*arguments, 0.1, 0.1, 0.0, False, 1, 0, 0)
    op = torch.ops.graphlab.skipgram_train
    torch.library.opcheck(op, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"head": torch.zeros(3, 16).double()}, TypeError, "`head` must be float32"),
        (
            {"tail": torch.zeros(60, 17)},
            ValueError,
            "`tail` must be contiguous with row",
        ),
        ({"tail": torch.zeros(60, 16)}, ValueError, "`tail` must have rows of 32"),
        ({"tail": torch.zeros(5, 32)}, ValueError, r"`alias` must be at most .* \(5\)"),
        ({"walks": torch.zeros(3, 2)}, TypeError, "`walks` must be int32 or int64"),
        ({"walks": torch.zeros(3, 0).int()}, ValueError, "`walks` must hold nodes"),
        ({"window": 0}, ValueError, "`window` must be at least 1, got 0"),
        ({"pool": 2}, ValueError, "`pool` must be 0 or at least 5, got 2"),
        ({"walks": torch.full((1, 3), 60).int()}, RuntimeError, "`walks`"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    head, tail, walks, threshold, alias = case()
    arguments = {
        "head": head,
        "tail": tail,
        "walks": walks,
        "threshold": threshold,
        "alias": alias,
        "window": 2,
    } | change
    with pytest.raises(error, match=message):
        ops.skipgram_train(**arguments)


def test_no_pairs_no_loss():
    head, tail, _, *tables = case()
    walks = torch.zeros(4, 1, dtype=torch.int32)
    tally = ops.skipgram_train(head, tail, walks, *tables, window=1)
    assert tally.pairs == 0
    assert math.isnan(tally.loss)
