"""Reads past the page cache: any offset, short reads, refused O_DIRECT, damaged ends."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from graphlab.errors import StoreError
from graphlab.ops import io
from graphlab.ops.uring import Uring
from graphlab.outofcore import layout, reader
from graphlab.outofcore.calibrate import calibrate
from graphlab.outofcore.reader import (
    ALIGN,
    DirectFile,
    Request,
    Ring,
    allocate,
    cut,
    span,
)


@pytest.fixture
def data(tmp_path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, 300_001, dtype=np.uint8)
    values.tofile(tmp_path / "data")
    return values


def refuse_direct(monkeypatch) -> None:
    opener = os.open

    def refused(path, flags, *more):
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return opener(path, flags, *more)

    monkeypatch.setattr(os, "open", refused)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("length", [0, 1, 511, 4096, 100_000])
@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 200_001])
def test_any_span(data, tmp_path, monkeypatch, direct, length, offset):
    if not direct:
        refuse_direct(monkeypatch)
    file = DirectFile(tmp_path / "data")
    assert file.direct is direct
    buffer = allocate(span(offset, length))
    got = file.read(offset, length, buffer)
    assert np.array_equal(got, data[offset : offset + length])
    assert file.device_bytes >= length
    assert file.device_bytes <= span(offset, length)
    file.close()
    file.close()


@pytest.mark.parametrize("limit", [4096, 5000, 8192 + 7])
@pytest.mark.parametrize("direct", [True, False])
def test_short_reads_are_resumed(data, tmp_path, monkeypatch, limit, direct):
    if not direct:
        refuse_direct(monkeypatch)
    file = DirectFile(tmp_path / "data")
    full = os.preadv

    def short(descriptor, buffers, offset):
        # A direct read stops at a block; a buffered one anywhere.
        size = limit // ALIGN * ALIGN if direct else limit
        return full(descriptor, [memoryview(buffers[0])[:size]], offset)

    monkeypatch.setattr(os, "preadv", short)
    got = file.read(1000, 290_000, allocate(span(1000, 290_000)))
    assert np.array_equal(got, data[1000:291_000])


def test_direct_refused_at_the_first_read(data, tmp_path, monkeypatch):
    file = DirectFile(tmp_path / "data")
    full, calls = os.preadv, []

    def refuse_once(descriptor, buffers, offset):
        calls.append(offset)
        if len(calls) == 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        return full(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", refuse_once)
    got = file.read(5, 100, allocate(ALIGN))
    assert np.array_equal(got, data[5:105])
    assert not file.direct


def test_end_of_file_and_device_errors_are_named(data, tmp_path, monkeypatch):
    file = DirectFile(tmp_path / "data")
    with pytest.raises(StoreError, match=r"data at byte 300001: .*truncated"):
        file.read(300_000, 2, allocate(2 * ALIGN))
    with pytest.raises(StoreError, match=r"expected 300002 bytes, found 300001"):
        DirectFile(tmp_path / "data", 300_002)
    with pytest.raises(StoreError, match="expected a file, found none"):
        DirectFile(tmp_path / "nothing")

    def broken(descriptor, buffers, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(StoreError, match=r"at byte 8192: .*Input/output error"):
        file.read(8200, 5, allocate(ALIGN))


@pytest.fixture(params=["io_uring", "threads"])
def threads(request) -> bool:
    """Whether to read with threads; skips where there is no io_uring."""
    if request.param == "io_uring" and Ring(1, ALIGN).engine == "threads":
        pytest.skip("io_uring is not compiled in, or not allowed here")
    return request.param == "threads"


@pytest.mark.parametrize("segment", [8192, 65536])
def test_ring_delivers_in_order(data, tmp_path, segment, threads):
    file = DirectFile(tmp_path / "data")
    ring = Ring(3, segment, threads=threads)
    for _ in range(2):
        pieces = []
        for request, got in ring.stream(cut(file, 77, 290_000, segment, "tag")):
            assert request.tag == ("tag", sum(map(len, pieces)))
            pieces.append(got.copy())
        assert np.array_equal(np.concatenate(pieces), data[77:290_077])
    assert list(ring.stream(iter([]))) == []
    ring.close()


def test_ring_survives_an_abandoned_stream_and_an_error(data, tmp_path, threads):
    file, ring = DirectFile(tmp_path / "data"), Ring(4, 8192, threads=threads)
    stream = ring.stream(cut(file, 0, 290_000, 8192))
    next(stream)
    stream.close()
    beyond = ring.stream(cut(file, 290_000, 20_000, 8192))
    with pytest.raises(StoreError, match="truncated"):
        list(beyond)
    whole = [got.copy() for _, got in ring.stream(cut(file, 0, 100_000, 8192))]
    assert np.array_equal(np.concatenate(whole), data[:100_000])
    ring.close()


def test_what_a_queue_leaves_out_is_read_again(data, tmp_path, monkeypatch, threads):
    if threads:
        pytest.skip("threads resume by themselves: see above")
    file, ring = DirectFile(tmp_path / "data"), Ring(3, 16384)
    following, seen = Uring.next, []

    def short(self):
        found = following(self)
        if found is None:
            return None
        place, got = found
        # Cut short, failed, refused: all are taken up.
        wrong = (got // 2, -errno.EIO, -errno.EAGAIN, -errno.EINVAL, 0)
        seen.append(got)
        return place, wrong[len(seen) % len(wrong)]

    monkeypatch.setattr(Uring, "next", short)
    pieces = [got.copy() for _, got in ring.stream(cut(file, 5, 290_000, 16384))]
    assert np.array_equal(np.concatenate(pieces), data[5:290_005])
    assert len(seen) == len(pieces)


def test_rows_are_put_in_their_places_as_they_arrive(data, tmp_path, threads):
    file, ring = DirectFile(tmp_path / "data"), Ring(3, 8192, threads=threads)
    values = torch.from_numpy(data[: 4000 * 70]).view(torch.float32).view(-1, 25)
    rows, each = len(values), 8192 // 100 // 2
    requests = [
        Request(file, 100 * r, 100 * min(each, rows - r), r)
        for r in range(0, rows, each)
    ]
    dst = torch.randperm(rows, generator=torch.Generator().manual_seed(0)).int()
    keep = torch.where(dst % 3 == 0, dst, -1)
    for crc in (None, 0):
        out, slots = torch.zeros(rows, 25), torch.zeros(rows, 100, dtype=torch.uint8)
        stream, done, found = ring.stream(requests), 0, crc
        while done < rows:
            told = stream.assemble(
                5,
                dst[done:],
                out,
                decode="copy",
                keep=keep[done:],
                slots=slots,
                crc=found,
            )
            assert threads or told.pieces == min(5, -(-(rows - done) // each))
            if not told.pieces:  # threads hand over one by one
                request, got = next(stream)
                assert request.tag == done
                io.assemble_rows(
                    torch.from_numpy(got),
                    dst[done : done + len(got) // 100],
                    out,
                    keep=keep[done : done + len(got) // 100],
                    slots=slots,
                )
                done += len(got) // 100
                found = None if crc is None else layout.crc(got, told.crc)
            else:
                done += told.rows
                found = None if crc is None else told.crc
        stored = values.view(torch.uint8).view(rows, 100)
        assert torch.equal(out[dst.long()].view(torch.uint8), stored)
        kept = keep >= 0
        assert torch.equal(slots[keep[kept].long()], stored[kept])
        if crc is not None:
            assert found == layout.crc(data[: 100 * rows])
    ring.close()


def test_rows_of_a_piece_that_ends_short_are_left_to_the_caller(tmp_path, threads):
    if threads:
        pytest.skip("threads hand over one by one")
    (tmp_path / "f").write_bytes(bytes(range(100)) * 30)
    file, ring = DirectFile(tmp_path / "f"), Ring(2, 8192)
    stream = ring.stream([Request(file, 0, 3000, 0), Request(file, 2500, 3000, 1)])
    out, dst = torch.zeros(60, 100, dtype=torch.uint8), torch.arange(60).int()
    told = stream.assemble(2, dst, out, decode="copy", keep=None, slots=None, crc=None)
    assert (told.pieces, told.rows) == (1, 30)
    with pytest.raises(StoreError, match="truncated"):
        next(stream)
    ring.close()


def test_a_refused_queue_means_threads(data, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "open_uring", lambda *sizes: None)
    ring = Ring(2, 8192)
    assert ring.engine == "threads"
    file = DirectFile(tmp_path / "data")
    got = [piece.copy() for _, piece in ring.stream(cut(file, 0, 100_000, 8192))]
    assert np.array_equal(np.concatenate(got), data[:100_000])


def test_buffered_files_go_through_the_queue_too(data, tmp_path, monkeypatch, threads):
    refuse_direct(monkeypatch)
    file, ring = DirectFile(tmp_path / "data"), Ring(3, 8192, threads=threads)
    got = [piece.copy() for _, piece in ring.stream(cut(file, 9, 299_000, 8192))]
    assert np.array_equal(np.concatenate(got), data[9:299_009])


def test_buffers_are_aligned_and_private():
    buffer = allocate(5000)
    assert len(buffer) == 8192
    assert buffer.ctypes.data % ALIGN == 0
    assert not buffer.any()
    assert reader.align_up(0) == 0
    assert (span(4095, 2), span(0, 0), span(4096, 1)) == (8192, 0, 4096)


def test_calibration_tells_rates(data, tmp_path):
    found = calibrate(tmp_path / "data", depth=2, segment=65536, seconds=0.02)
    assert found.sequential > 1000
    assert found.random > 1
    assert ALIGN <= found.gap <= 2**18
