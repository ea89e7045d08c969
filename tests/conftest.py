"""Shared fixtures: real data, thread counts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch


def pytest_configure() -> None:
    """Tests of Ctrl-C work from shells that start background jobs deaf to it, too."""
    deaf = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if deaf and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real graphs; tests that use it are marked ``data``."""
    root = os.environ.get("GRAPHLAB_DATA", "")
    if not root or not Path(root).is_dir():
        pytest.skip("set GRAPHLAB_DATA to a folder of real graphs to run this test")
    return Path(root)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, whichever tests run before it."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(params=[1, 2], ids=["1-thread", "2-threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run the test with one and with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; run by `make gpu-check`")
