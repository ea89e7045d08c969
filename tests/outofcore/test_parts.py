"""Ledger, pool, records, the choice of residents: each part by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphlab import ops
from graphlab.errors import BudgetError
from graphlab.outofcore import layout, pool, schedule
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.hot import rows_per_request
from graphlab.outofcore.loader import replay_order
from graphlab.outofcore.pool import Pool
from graphlab.outofcore.sizing import ring_sizes


def test_ledger_counts_and_refuses():
    ledger = Ledger(100, "plan")
    ledger.take("a", 60)
    with ledger.hold("b", 40):
        assert (ledger.held, ledger.free, ledger.peak) == (100, 0, 100)
    with pytest.raises(
        BudgetError, match=r"plan: `memory` must be at least 110 B .*a 60 B"
    ):
        ledger.take("c", 50, "halve the batch")
    assert (ledger.held, ledger.peak, ledger.parts["b"]) == (60, 100, 0)
    ledger.give("a", 60)
    assert ledger.held == 0


def test_ledger_is_freed_when_a_block_fails():
    ledger = Ledger(10, "plan")
    with pytest.raises(ZeroDivisionError), ledger.hold("a", 10):
        _ = 1 / 0
    assert ledger.held == 0


def test_pool_uses_a_buffer_again_only_when_nobody_holds_it(monkeypatch):
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.01)
    buffers = Pool(2, 8192)

    def make() -> torch.Tensor:
        return buffers.acquire().take((10, 10), torch.float32).fill_(1.0)

    first = make()
    place = first.data_ptr()
    view = first[3:].t()
    del first
    second = make()
    assert second.data_ptr() != place  # a view holds the first buffer
    del view
    third = make()
    assert third.data_ptr() == place
    # Saved by autograd only.
    weight = torch.ones(10, 10, requires_grad=True)
    loss = (third @ weight).sum()
    del third, second
    others = {make().data_ptr() for _ in range(5)}
    assert place not in others
    loss.backward()
    assert torch.equal(weight.grad, torch.full((10, 10), 10.0))
    del loss
    assert place in {t.data_ptr() for t in [make(), make()]}


def test_pool_gives_kept_buffers_away(monkeypatch):
    monkeypatch.setattr(pool, "PATIENCE_SECONDS", 0.01)
    buffers = Pool(2, 4096)
    kept = [buffers.acquire().take((4,), torch.int64).fill_(i) for i in range(6)]
    assert [t.tolist() for t in kept] == [[i] * 4 for i in range(6)]
    assert buffers.nbytes == 8192


def test_block_refuses_what_does_not_fit():
    block = Pool(1, 4096).acquire()
    assert block.take((0, 7), torch.bfloat16).shape == (0, 7)
    with pytest.raises(RuntimeError, match="outgrew its buffer of 4096 bytes"):
        block.take((1025,), torch.float32)


def make_sample(disjoint: bool, big: bool):
    edges = 5000 if big else 40
    generator = np.random.default_rng(1)
    row = generator.integers(0, 60, edges)
    col = np.full(edges, 3) if big else generator.integers(0, 60, edges)
    ptr, idx, edge_id = ops.csr_build(
        torch.from_numpy(col), torch.from_numpy(row), 60, 60
    )
    seeds = torch.tensor([3, 9, 11])
    return ops.neighbor_sample(
        ptr, idx, seeds, [-1, 2], edge_id=edge_id, disjoint=disjoint, key=5
    )


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_record_round_trip(disjoint, big, wide):
    sample = make_sample(disjoint, big)
    limit = 2**40 if wide else 60
    input_id = torch.tensor([7, 0, 2])
    data = layout.encode_sample(
        sample, input_id, epoch=1, batch=2, num_nodes=limit, num_edges=limit
    )
    record = layout.decode_sample(data)
    degree = record.degree.astype(np.int64)
    assert np.array_equal(np.repeat(np.arange(len(degree)), degree), sample.col)
    assert np.array_equal(record.n_id, sample.n_id)
    assert np.array_equal(record.row, sample.row)
    assert np.array_equal(record.e_id, sample.e_id)
    assert np.array_equal(record.input_id, input_id)
    assert record.nodes == sample.num_sampled_nodes
    assert record.edges == sample.num_sampled_edges
    assert len(record.tree) == (len(sample.n_id) if disjoint else 0)
    assert record.n_id.itemsize == (8 if wide else 4)
    assert record.degree.itemsize == (2 if big else 1)


def test_programme_round_trip():
    source = np.array([4, -1, 0, -2], dtype=np.int32)
    data = layout.encode_programme(source, epoch=0, batch=1)
    assert np.array_equal(layout.decode_programme(data).source, source)
    assert len(layout.decode_programme(data).keep) == 0
    keep = np.array([-1, 5], dtype=np.int32)
    data = layout.encode_programme(source, keep, epoch=0, batch=1)
    assert np.array_equal(layout.decode_programme(data).source, source)
    assert np.array_equal(layout.decode_programme(data).keep, keep)


class _Rows:
    """Rows of given sizes."""

    kind = "dense"

    def __init__(self, sizes: np.ndarray) -> None:
        self.sizes = sizes

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        return self.sizes[ids]


@pytest.mark.parametrize("seed", range(20))
def test_hottest_equals_brute_force(seed, monkeypatch):
    monkeypatch.setattr(schedule, "_SLICE", 7)
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 4, 50).astype(np.uint32)
    sizes = np.full(50, 8) if seed % 2 else generator.integers(1, 20, 50)
    room = int(generator.integers(0, 500))
    found = schedule.hottest(counts, [_Rows(sizes)], room, Ledger(2**20, "plan"))
    expected, left = [], room
    for node in sorted(range(50), key=lambda n: (-int(counts[n]), n)):
        if counts[node] == 0 or sizes[node] > left:
            break
        expected.append(node)
        left -= int(sizes[node])
    assert found.tolist() == sorted(expected)


def test_hottest_of_nothing():
    none = schedule.hottest(np.zeros(5, np.uint32), [], 100, Ledger(2**20, "plan"))
    assert none.tolist() == []


@pytest.mark.parametrize(
    "row_bytes", [1, 3, 400, 512, 3072, 4096, 5732, 33_660, 70_000]
)
def test_requests_fit_their_buffers(row_bytes):
    depth, segment = ring_sizes(2**20, row_bytes)
    rows = rows_per_request(row_bytes, segment)
    assert rows >= 1
    assert depth >= 2
    first = 4095 - 4095 % row_bytes if row_bytes < 4096 else 0
    aligned = rows * row_bytes % 4096 == 0
    need = rows * row_bytes if aligned else first + rows * row_bytes + 4096
    assert need <= segment


def test_replay_order_is_a_permutation_of_its_epoch():
    for epoch in range(6):
        first = epoch % 2 * 5
        order = replay_order(epoch, 2, 5, seed=1)
        assert sorted(order.tolist()) == list(range(first, first + 5))
