from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import traceback

import pytest

from graphlab.sample.ahead import Ahead, default_threads


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("graphlab-loader")]


def wait_until_no_threads() -> None:
    deadline = time.monotonic() + 30
    while loader_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert loader_threads() == []


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("num_threads", [1, 4])
def test_items_come_in_order(prefetch, num_threads):
    def slow_when_even(i):
        time.sleep(0.004 if i % 2 == 0 else 0)
        return i * i

    ahead = Ahead(slow_when_even, range(20), prefetch=prefetch, num_threads=num_threads)
    assert list(ahead) == [i * i for i in range(20)]
    assert list(ahead) == []
    assert loader_threads() == []
    assert ahead.stall_seconds > 0


def test_no_more_than_prefetch_items_wait():
    made = []
    ahead = Ahead(made.append, range(100), prefetch=3, num_threads=2)
    next(ahead)
    time.sleep(0.1)
    assert len(made) <= 1 + 3 * 2
    ahead.close()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_comes_at_its_place_with_its_traceback(prefetch):
    def fails_at_three(i):
        if i == 3:
            raise OSError("disk on fire")
        return i

    ahead = Ahead(fails_at_three, range(10), prefetch=prefetch)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="disk on fire") as caught:
        next(ahead)
    frames = [f.name for f in traceback.extract_tb(caught.value.__traceback__)]
    assert "fails_at_three" in frames
    wait_until_no_threads()
    assert list(ahead) == []


@pytest.mark.parametrize("prefetch", [0, 2])
def test_stop_iteration_inside_is_an_error_and_not_the_end(prefetch):
    ahead = Ahead(lambda i: next(iter(())), range(3), prefetch=prefetch)
    with pytest.raises(RuntimeError, match="making a batch raised StopIteration"):
        next(ahead)


def test_a_dropped_iterator_leaves_no_thread():
    ahead = Ahead(lambda i: time.sleep(0.01), range(10_000), prefetch=4, num_threads=3)
    next(ahead)
    assert loader_threads()
    del ahead
    gc.collect()
    wait_until_no_threads()


def test_an_interrupt_stops_at_once():
    # A real process and a real signal: the worker is busy, the main thread waits for it.
    script = """
import os, signal, threading, time
from graphlab.sample.ahead import Ahead
started = threading.Event()
def make(i):
    started.set()
    if i: time.sleep(1.0)
    return i
ahead = Ahead(make, range(1000), prefetch=2)
next(ahead)
threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    for _ in ahead: pass
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "interrupted\n", done.stderr
    assert done.returncode == 0


def test_default_threads():
    assert [default_threads(n) for n in (1, 2, 4, 64)] == [1, 1, 2, 8]
