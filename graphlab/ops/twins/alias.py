"""Readable twin of ``alias_build``: numba, bit for bit."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

CERTAIN = 2**31 - 1


def alias_build(ptr: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Build alias tables; see :func:`graphlab.ops.alias_build`."""
    threshold = np.empty(weight.shape[0], dtype=np.int32)
    alias = np.empty(weight.shape[0], dtype=np.int32)
    _build(ptr.numpy(), weight.double().numpy(), threshold, alias)
    return torch.from_numpy(threshold), torch.from_numpy(alias)


@numba.njit(cache=True)
def _build(ptr, weight, threshold, alias):  # type: ignore[no-untyped-def]
    for row in range(ptr.size - 1):
        begin, end = ptr[row], ptr[row + 1]
        _build_row(weight[begin:end], threshold[begin:end], alias[begin:end])


@numba.njit(cache=True)
def _build_row(weight, threshold, alias):  # type: ignore[no-untyped-def]
    """Vose's method; sums and stacks in the order of the kernel."""
    size = weight.size
    top = 0.0
    for i in range(size):
        top = max(top, weight[i])
    if not top > 0.0:
        for i in range(size):
            threshold[i], alias[i] = 0, i
        return
    share = weight / top
    total = 0.0
    for i in range(size):
        total += share[i]
    share *= size / total
    work = np.empty(size, dtype=np.int64)
    small, large = 0, size
    for i in range(size):
        threshold[i], alias[i] = CERTAIN, i
        if share[i] < 1.0:
            work[small] = i
            small += 1
        else:
            large -= 1
            work[large] = i
    while small > 0 and large < size:
        small -= 1
        low, high = work[small], work[large]
        part = np.floor(share[low] * 2147483648.0 + 0.5)
        if weight[low] > 0.0:
            part = max(part, 1.0)
        threshold[low] = np.int32(min(part, float(CERTAIN)))
        alias[low] = high
        share[high] = (share[high] + share[low]) - 1.0
        if share[high] < 1.0:
            large += 1
            work[small] = high
            small += 1
    for i in range(small):
        if weight[work[i]] <= 0.0:
            threshold[work[i]] = 0
            alias[work[i]] = np.argmax(weight)
