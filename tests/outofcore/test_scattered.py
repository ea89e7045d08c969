"""Rows that lie apart: any gap, any dtype, through the queue and with threads, and damage."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from graphlab.errors import StoreError
from graphlab.ops.uring import Uring
from graphlab.outofcore.reader import Ring
from graphlab.outofcore.scattered import RowFile, Target, _cut

WIDTH = 25  # rows of 100 bytes straddle blocks


@pytest.fixture
def rows(tmp_path) -> torch.Tensor:
    found = torch.from_numpy(np.random.default_rng(0).random((5000, WIDTH), np.float32))
    found.numpy().tofile(tmp_path / "rows")
    return found


@pytest.fixture(params=["io_uring", "threads"])
def ring(request):
    found = Ring(4, 16384, threads=request.param == "threads")
    if request.param == "io_uring" and found.queue is None:
        pytest.skip("io_uring is not compiled in, or not allowed here")
    yield found
    found.close()


@pytest.mark.parametrize("gap", [0, 500, 10**6])
def test_rows_go_to_their_places_and_slots(rows, tmp_path, ring, gap):
    generator = np.random.default_rng(gap)
    wanted = np.sort(generator.choice(5000, 700, replace=False)).astype(np.int64)
    dst = torch.from_numpy(generator.permutation(700).astype(np.int32))
    keep = torch.full((700,), -1, dtype=torch.int32)
    keep[::3] = torch.arange(len(keep[::3]), dtype=torch.int32)
    out, slots = torch.zeros(700, WIDTH), torch.zeros(300, 4 * WIDTH).byte()
    file = RowFile(tmp_path / "rows", 4 * WIDTH, "copy")
    file.read(wanted, ring, gap, Target(out, dst, slots, keep))
    assert torch.equal(out[dst.long()], rows[wanted])
    kept = rows[wanted[::3]].view(torch.uint8)
    assert torch.equal(slots[: len(kept)], kept)
    assert file.device_bytes >= 700 * 4 * WIDTH
    file.read(wanted[:0], ring, gap, Target(out, dst[:0]))
    file.close()


def test_scales_come_from_elsewhere(tmp_path, ring):
    generator = np.random.default_rng(0)
    stored = generator.integers(-127, 128, (900, 31), dtype=np.int8)
    stored.tofile(tmp_path / "rows")
    scale = torch.from_numpy(generator.random(900, np.float32))
    wanted = np.arange(5, 900, 7)
    count = len(wanted)
    out, dst = torch.zeros(count, 31), torch.arange(count, dtype=torch.int32)
    slots = torch.zeros(count, 35, dtype=torch.uint8)
    file = RowFile(tmp_path / "rows", 31, "int8", scale)
    file.read(wanted, ring, 64, Target(out, dst, slots, dst))
    expected = torch.from_numpy(stored[wanted].astype(np.float32)) * scale[wanted, None]
    assert torch.equal(out, expected)
    assert torch.equal(
        slots[:, :4].contiguous().view(torch.float32)[:, 0], scale[wanted]
    )
    assert torch.equal(slots[:, 4:].view(torch.int8), torch.from_numpy(stored[wanted]))
    file.close()


def test_what_the_queue_leaves_out_is_read_again(rows, tmp_path, monkeypatch):
    ring = Ring(4, 16384)
    if ring.queue is None:
        pytest.skip("io_uring is not compiled in, or not allowed here")
    full = Uring.rows

    def lossy(self, file, requests, begin, dst, out, **more):
        moved, failed = full(self, file, requests, begin, dst, out, **more)
        out.zero_()
        return moved, torch.ones_like(failed)

    monkeypatch.setattr(Uring, "rows", lossy)
    wanted, out = np.arange(0, 5000, 50), torch.zeros(100, WIDTH)
    file = RowFile(tmp_path / "rows", 4 * WIDTH, "copy")
    file.read(wanted, ring, 0, Target(out, torch.arange(100, dtype=torch.int32)))
    assert torch.equal(out, rows[wanted])
    ring.close()


def test_a_truncated_file_is_named(rows, tmp_path, ring):
    file = RowFile(tmp_path / "rows", 4 * WIDTH, "copy")
    os.truncate(tmp_path / "rows", 4000)
    out, dst = torch.zeros(2, WIDTH), torch.arange(2, dtype=torch.int32)
    with pytest.raises(StoreError, match="truncated"):
        file.read(np.array([0, 4000]), ring, 0, Target(out, dst))
    with pytest.raises(StoreError, match="expected 9999 bytes"):
        RowFile(tmp_path / "rows", 4 * WIDTH, "copy", expected=9999)
    file.close()


def test_the_op_checks_its_places(rows, tmp_path):
    ring = Ring(4, 16384)
    if ring.queue is None:
        pytest.skip("io_uring is not compiled in, or not allowed here")
    file = os.open(tmp_path / "rows", os.O_RDONLY)
    requests = torch.tensor([[0, 4096, 0]])
    begin, dst = torch.tensor([0]), torch.tensor([0], dtype=torch.int32)
    out = torch.zeros(1, WIDTH)
    moved, failed = ring.queue.rows(file, requests, begin, dst, out)
    assert (moved, failed.tolist()) == (4096, [False])
    assert torch.equal(out[0], rows[0])
    with pytest.raises(RuntimeError, match="reaches past the end"):
        ring.queue.rows(file, requests, begin, dst + 1, out)
    with pytest.raises(RuntimeError, match="not in its request"):
        ring.queue.rows(file, requests, begin + 4090, dst, out)
    with pytest.raises(RuntimeError, match="longer than the buffer"):
        ring.queue.rows(file, torch.tensor([[0, 2**20, 0]]), begin, dst, out)
    os.close(file)
    assert ring.queue.rows(file, requests, begin, dst, out)[1].tolist() == [True]
    ring.close()


@pytest.mark.parametrize("gap", [0, 300, 5000, 10**6])
@pytest.mark.parametrize("stride", [1, 100, 5000])
def test_requests_hold_their_rows(stride, gap):
    generator = np.random.default_rng(stride)
    wanted = np.unique(generator.integers(0, 20_000, 3000))
    begin, piece = wanted * stride, stride + 16384
    first = _cut(begin, stride, gap, piece)
    last = np.append(first[1:], len(wanted))
    length = begin[last - 1] + stride - begin[first]
    assert first[0] == 0
    assert (np.diff(first) > 0).all()
    assert (length <= piece - 8192).all()  # aligned at both ends it fits
    for low, high in zip(first, last, strict=True):
        assert (np.diff(begin[low:high]) <= gap + stride).all()
