"""Rows of a table put into another order in the memory where they are."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
from torch import Tensor


def reorder(table: Tensor, rank: Tensor, dim: int) -> Tensor:
    """Bring row ``rank[i]`` of a table to place i, in place, and drop the padding.

    Args:
        table: [N, stride], float32, contiguous, on the CPU; its content is gone afterwards.
        rank: [N], int64: a permutation.
        dim: Columns to keep.

    Returns:
        [N, dim], contiguous, in the memory of ``table``.

    Cost:
        Reads and writes each row twice at most; a byte a row beside the table.

    Example:
        >>> import torch
        >>> table = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]])
        >>> reorder(table, torch.tensor([1, 0]), 2)
        tensor([[3., 4.],
                [1., 2.]])
    """
    _follow_cycles(table.numpy(), rank.numpy())
    flat = table.view(-1)
    if dim < table.shape[1]:
        _pack(flat.numpy(), len(rank), table.shape[1], dim)
    return flat[: len(rank) * dim].view(len(rank), dim)


@numba.njit(cache=True, nogil=True)
def _follow_cycles(table: npt.NDArray[np.float32], rank: npt.NDArray[np.int64]) -> None:
    done = np.zeros(len(rank), np.bool_)
    for start in range(len(rank)):
        if done[start]:
            continue
        kept = table[start].copy()
        place = start
        while True:
            done[place] = True
            source = rank[place]
            if source == start:
                table[place] = kept
                break
            table[place] = table[source]
            place = source


@numba.njit(cache=True, nogil=True)
def _pack(flat: npt.NDArray[np.float32], rows: int, stride: int, dim: int) -> None:
    for row in range(1, rows):
        for k in range(dim):
            flat[row * dim + k] = flat[row * stride + k]
