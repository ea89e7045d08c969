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
    found = open_uring(buffer, 4, 16)
    if found is None:
        pytest.skip("io_uring is not compiled in, or not allowed here")
    yield found
    found.close()


def test_pieces_come_in_the_order_in_which_they_were_asked_for(tmp_path, buffer, queue):
    (tmp_path / "f").write_bytes(bytes(range(100)))
    file = os.open(tmp_path / "f", os.O_RDONLY)
    # More than there are segments.
    queue.ask(torch.tensor([[file, 10 * k, 16, 2, 12] for k in range(8)]))
    for k in range(8):
        place, got = queue.next()
        assert queue.next() == (place, got)  # until it is released
        assert got == 16
        piece = buffer[16 * place : 16 * place + 16].tolist()
        assert piece == list(range(10 * k, 10 * k + 16))
        queue.release()
    assert queue.next() is None
    queue.ask(torch.tensor([[file, 90, 16, 0, 16]]))
    assert queue.next()[1] == 10  # short: the file ends
    queue.release()
    os.close(file)
    queue.ask(torch.tensor([[file, 0, 16, 0, 16]]))
    assert queue.next()[1] == -errno.EBADF
    queue.drain()
    assert queue.next() is None


def test_what_was_asked_for_can_be_forgotten(tmp_path, buffer, queue):
    (tmp_path / "f").write_bytes(bytes(range(100)))
    with open(tmp_path / "f", "rb") as file:
        queue.ask(torch.tensor([[file.fileno(), 0, 16, 0, 16]] * 9))
        queue.next()
        queue.drain()
        assert queue.next() is None
        queue.ask(torch.tensor([[file.fileno(), 50, 16, 0, 16]]))
        place, _ = queue.next()
        assert buffer[16 * place].item() == 50
        queue.drain()


def test_limits(tmp_path, buffer, queue):
    (tmp_path / "f").write_bytes(bytes(100))
    with open(tmp_path / "f", "rb") as file:
        for wrong in ([0, 17, 0, 17], [0, 16, 8, 9], [-1, 16, 0, 16], [0, 16, -1, 4]):
            with pytest.raises(RuntimeError, match="does not fit a segment"):
                queue.ask(torch.tensor([[file.fileno(), *wrong]]))
    with pytest.raises(RuntimeError, match="no piece"):
        queue.release()
    queue.close()
    queue.close()


def test_arguments(buffer):
    with pytest.raises(TypeError, match="`buffer`"):
        Uring(torch.zeros(4), 1)
    with pytest.raises(ValueError, match="`depth` must be at least 1"):
        Uring(buffer, 0)
    with pytest.raises(ValueError, match="`segment` must be at least 1"):
        Uring(buffer, 1, 0)


def test_the_twin_tells_that_there_is_none(buffer):
    assert twin.uring_open(buffer, 3, 8) == -errno.ENOSYS
    assert twin.uring_ask(buffer, 0, buffer) == -errno.ENOSYS
    assert twin.uring_next(buffer, 0, buffer) == -errno.ENOSYS
    assert twin.uring_release(buffer, 0) == -errno.ENOSYS
    assert twin.uring_drain(buffer, 0) is None
    assert twin.uring_close(buffer, 0) is None
