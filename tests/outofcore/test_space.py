"""Disk that windows share, and files that grow in several regions at once."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from graphlab.outofcore import layout, space
from graphlab.outofcore.space import Held, Space, can_punch, punch
from graphlab.outofcore.trace import Stop, Stopped
from graphlab.outofcore.writer import Regions, Writer


def test_who_wants_more_than_is_left_waits():
    room, stop = Space(10), Stop()
    first, second = Held(room), Held(room)
    first.take(7, stop)
    taken = threading.Event()

    def more():
        second.take(5, stop)
        taken.set()

    thread = threading.Thread(target=more)
    thread.start()
    assert not taken.wait(0.1)
    first.give(3)
    assert taken.wait(10)
    thread.join()
    assert (room.held, room.peak, first.held, second.held) == (9, 9, 4, 5)
    first.release()
    first.release()
    assert room.held == 5


def test_waiting_ends_with_the_work():
    room, stop = Space(1), Stop()
    stop.set()
    with pytest.raises(Stopped):
        room.take(2, stop)


def test_blocks_in_the_middle_are_given_back(tmp_path, monkeypatch):
    if not can_punch(tmp_path):
        pytest.skip("this file system cannot")
    path = tmp_path / "f"
    path.write_bytes(b"\1" * 2**16)
    with open(path, "rb+") as file:
        punch(file.fileno(), 2**12, 2**13)
    data = path.read_bytes()
    assert len(data) == 2**16
    assert data.count(0) == 2**13
    assert set(data[2**12 : 2**12 + 2**13]) == {0}
    with pytest.raises(OSError, match=r"\[Errno 9\]"):
        punch(-1, 0, 2**12)
    monkeypatch.setattr(space, "_fallocate", lambda: None)
    assert not can_punch(tmp_path)
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_regions_grow_at_once(tmp_path, monkeypatch, direct, whole):
    if not direct:
        opened = os.open

        def refused(path, flags, *more):
            if flags & os.O_DIRECT:
                raise OSError(22, "refused")
            return opened(path, flags, *more)

        monkeypatch.setattr(os, "open", refused)
    random = np.random.default_rng(0)
    lengths = [0, 1, 4096, 50_001, 12_288]
    starts = np.cumsum([0, *(-(-n // 4096) * 4096 for n in lengths)])
    expected = [random.integers(1, 256, n, dtype=np.uint8) for n in lengths]
    writer = Writer(tmp_path / "f", int(starts[-1]), 8192 + 4096, 3, whole=whole)
    taken = []
    needed = None if whole else lengths
    regions = Regions(writer, starts[:-1].tolist(), needed, taken.append)
    done = [0] * len(lengths)
    while done != lengths:
        region = int(random.integers(len(lengths)))
        size = min(int(random.integers(1, 8000)), lengths[region] - done[region])
        if size:
            buffer, held = regions.room(region)
            buffer[held : held + size] = expected[region][done[region] :][:size]
            regions.grow(region, buffer, size)
            done[region] += size
    regions.finish()
    writer.close()
    writer.close()
    data = np.fromfile(tmp_path / "f", dtype=np.uint8)
    for region, start in enumerate(starts[:-1]):
        got = data[start : start + lengths[region]]
        assert np.array_equal(got, expected[region])
        assert regions.crc[region] == layout.crc(expected[region])
    assert sum(taken) == (0 if whole else starts[-1])
    assert len(taken) <= len(lengths)  # far fewer than writes


def test_blocks_are_given_back(tmp_path):
    writer = Writer(tmp_path / "f", 2**20, 4096, 2, whole=False)
    writer.allocate(2**19, 2**18)
    assert 512 * os.stat(tmp_path / "f").st_blocks >= 2**18
    writer.clear()
    assert os.stat(tmp_path / "f").st_blocks == 0
    assert os.stat(tmp_path / "f").st_size == 2**20
    writer.close()


def test_a_write_that_fails_is_told(tmp_path):
    writer = Writer(tmp_path / "f", 4096, 4096, 2)
    os.close(writer._direct)
    writer._direct = os.open(tmp_path / "f", os.O_RDONLY)
    writer.put(writer.take(), 0, 4096)
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer.finish()
    writer.close()
