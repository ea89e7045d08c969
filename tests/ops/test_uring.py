"""The queue itself: tags, errors, limits."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from graphlab.ops.twins import uring as twin
from graphlab.ops.uring import Uring, open_uring


@pytest.fixture
def buffer() -> torch.Tensor:
    return torch.zeros(64, dtype=torch.uint8)


@pytest.fixture
def queue(buffer):
    found = open_uring(buffer, 4)
    if found is None:
        pytest.skip("io_uring is not compiled in, or not allowed here")
    yield found
    found.close()


def collect(queue, count: int) -> dict[int, int]:
    done: dict[int, int] = {}
    while len(done) < count:
        done |= dict(queue.wait())
    return done


def test_tags_come_back_with_what_was_read(tmp_path, buffer, queue):
    (tmp_path / "f").write_bytes(bytes(range(100)))
    file = os.open(tmp_path / "f", os.O_RDONLY)
    for tag in range(4):
        queue.read(file, 10 * tag, 16 * tag, 16, tag=tag)
    assert collect(queue, 4) == dict.fromkeys(range(4), 16)
    for tag in range(4):
        got = buffer[16 * tag : 16 * tag + 16].tolist()
        assert got == list(range(10 * tag, 10 * tag + 16))
    queue.read(file, 90, 0, 16, tag=9)
    assert collect(queue, 1) == {9: 10}  # short: the file ends
    os.close(file)
    queue.read(file, 0, 0, 16, tag=5)
    assert collect(queue, 1) == {5: -errno.EBADF}
    assert queue.wait() == []


def test_limits(tmp_path, buffer, queue):
    (tmp_path / "f").write_bytes(bytes(100))
    file = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(RuntimeError, match="past the end of `buffer`"):
        queue.read(file, 0, 60, 5, tag=0)
    for tag in range(4):
        queue.read(file, 0, 0, 4, tag=tag)
    with pytest.raises(RuntimeError, match="more reads than the ring is deep"):
        queue.read(file, 0, 0, 4, tag=4)
    collect(queue, 4)
    queue.close()
    queue.close()
    os.close(file)


def test_arguments(buffer):
    with pytest.raises(TypeError, match="`buffer`"):
        Uring(torch.zeros(4), 1)
    with pytest.raises(ValueError, match="`depth` must be at least 1"):
        Uring(buffer, 0)


def test_the_twin_tells_that_there_is_none(buffer):
    assert twin.uring_open(buffer, 3) == -errno.ENOSYS
    assert twin.uring_read(buffer, 0, 0, 0, 0, 0, 0) == -errno.ENOSYS
    assert twin.uring_wait(buffer, 0) == -errno.ENOSYS
    assert twin.uring_close(buffer, 0) is None
