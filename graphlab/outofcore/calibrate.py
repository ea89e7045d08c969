"""A short measurement of the disk, so that a plan can tell seconds from bytes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphlab.outofcore.reader import ALIGN, DirectFile, Ring, allocate, cut

_SECONDS = 0.3
_THREADS = 16


class Calibration(NamedTuple):
    """Measured rates of a device.

    Attributes:
        sequential: Bytes a second, 1 MiB reads in order, several in flight.
        random: Reads of 4 KiB a second, 16 in flight.
        direct: Whether reads bypassed the page cache.
    """

    sequential: float
    random: float
    direct: bool

    @property
    def gap(self) -> int:
        """Bytes that are cheaper to read through than to skip with another request."""
        return int(min(max(self.sequential / self.random, ALIGN), 2**18))


def calibrate(
    path: Path, depth: int = 8, segment: int = 2**20, seconds: float = _SECONDS
) -> Calibration:
    """Read parts of a file for at most ``2 * seconds``; holds a ring of the given sizes.

    A file of a few MiB is read once: then the figures are rough, and so is what they cost.
    """
    file = DirectFile(path)
    ring = Ring(depth, segment)
    try:
        start, done = time.perf_counter(), 0
        for request, _ in ring.stream(cut(file, 0, file.size, ring.segment)):
            done += request.length
            if time.perf_counter() - start > seconds:
                break
        sequential = done / max(time.perf_counter() - start, 1e-6)
        pages = max(1, file.size // ALIGN)
        order = np.random.default_rng(0).permutation(min(pages, 2**20))
        places = (order * (pages // len(order)) * ALIGN).tolist()[: 2**16]
        end = time.perf_counter() + seconds

        def read(some: list[int]) -> int:
            buffer, count = allocate(ALIGN), 0
            for place in some:
                file.read(place, min(ALIGN, file.size - place), buffer)
                count += 1
                if time.perf_counter() > end:
                    break
            return count

        start = time.perf_counter()
        with ThreadPoolExecutor(_THREADS) as pool:
            shares = [places[i::_THREADS] for i in range(_THREADS)]
            reads = sum(pool.map(read, shares)) if file.size else 0
        random = reads / max(time.perf_counter() - start, 1e-6)
        return Calibration(max(sequential, 1.0), max(random, 1.0), file.direct)
    finally:
        ring.close()
        file.close()
