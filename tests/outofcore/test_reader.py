"""Reads past the page cache: any offset, short reads, refused O_DIRECT, damaged ends."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from graphlab.errors import StoreError
from graphlab.ops.uring import Uring
from graphlab.outofcore import reader
from graphlab.outofcore.calibrate import calibrate
from graphlab.outofcore.reader import ALIGN, DirectFile, Ring, allocate, cut, span


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
    wait, seen = Uring.wait, []

    def short(self):
        done = wait(self)
        found = []
        for tag, got in done:
            # Cut short, failed, refused: all are taken up.
            wrong = (got // 2, -errno.EIO, -errno.EAGAIN, -errno.EINVAL, 0)
            found.append((tag, wrong[len(seen) % len(wrong)]))
            seen.append(got)
        return found

    monkeypatch.setattr(Uring, "wait", short)
    pieces = [got.copy() for _, got in ring.stream(cut(file, 5, 290_000, 16384))]
    assert np.array_equal(np.concatenate(pieces), data[5:290_005])
    assert len(seen) == len(pieces)


def test_a_refused_queue_means_threads(data, tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "open_uring", lambda buffer, depth: None)
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
