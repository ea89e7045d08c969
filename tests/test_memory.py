from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from graphlab import memory
from graphlab.errors import BudgetError


def test_available_is_a_sane_number():
    assert 2**20 < memory.available() < 2**63 - 1


def test_require_refuses_what_no_machine_has():
    memory.require("f", "a little", 2**10)
    memory.require("f", "a little more", 2**26)
    message = r"f: the table needs 4.0 TiB of memory and .* are free; use less"
    with pytest.raises(BudgetError, match=message):
        memory.require("f", "the table", 2**42, "use less")


FAULTS = """
import ctypes, resource, sys
from graphlab import memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults(size=32 * 2**20, rounds=4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = faults()
with memory.keep_freed() as kept:
    with memory.keep_freed():
        first = faults(rounds=1)
    again, held = faults(), memory.resident()
    for _ in range(4):
        kept.settle()
after, left = faults(), memory.resident()
print(plain, first, again, after, held > left + 16 * 2**20)
"""


def faults(**environment):
    command = [sys.executable, "-c", FAULTS]
    env = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    env |= environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    *counts, released = done.stdout.split()
    return [int(c) for c in counts], released == "True"


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="keep_freed acts on glibc alone"
)
def test_freed_memory_is_touched_for_the_first_time_once():
    (plain, first, again, after), released = faults()
    pages = plain / 4
    assert first > pages / 2
    assert again < pages / 8
    assert after > pages
    assert released


def test_who_configures_malloc_keeps_their_settings():
    (plain, _, again, _), _ = faults(MALLOC_ARENA_MAX="8")
    assert again > plain / 2


def test_holes_are_given_back_when_they_have_grown(monkeypatch):
    sizes, trims = iter([10, 100, 100, 140, 160, 100]), []
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))
    libc = SimpleNamespace(malloc_trim=trims.append)
    monkeypatch.setattr(memory._Allocator, "libc", libc)
    kept = memory.KeptMemory()
    counts = []
    for _ in range(6):
        kept.settle()
        counts.append(len(trims))
    assert counts == [0, 0, 0, 0, 1, 1]


def test_freed_memory_is_given_back_where_little_is_left(monkeypatch):
    clock, free, trims = iter([0.0, 0.1, 1.0, 2.0]), iter([99, 11, 13]), []
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(memory, "available", lambda: next(free))
    monkeypatch.setattr(memory, "resident", lambda: 100)
    libc = SimpleNamespace(malloc_trim=trims.append)
    monkeypatch.setattr(memory._Allocator, "libc", libc)
    kept = memory.KeptMemory()
    counts = []
    for _ in range(4):
        kept.relieve()
        counts.append(len(trims))
    # The second look comes too soon.
    assert counts == [0, 0, 1, 1]
