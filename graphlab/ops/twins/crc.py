"""Readable twin of ``crc32c``: one table look-up a byte (numba)."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
from torch import Tensor

_POLYNOMIAL = 0x82F63B78


def _make_table() -> npt.NDArray[np.uint32]:
    table: npt.NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        odd = (table & np.uint32(1)).astype(bool)
        table = (table >> np.uint32(1)) ^ odd * np.uint32(_POLYNOMIAL)
    return table


_TABLE = _make_table()


@numba.njit(cache=True, nogil=True)
def _update(
    crc: np.uint32, data: npt.NDArray[np.uint8], table: npt.NDArray[np.uint32]
) -> np.uint32:
    for byte in data:
        crc = np.uint32(table[(crc ^ byte) & np.uint32(255)] ^ (crc >> np.uint32(8)))
    return crc


def crc32c(bytes: Tensor, crc: int) -> int:
    """Checksum a buffer; see :func:`graphlab.ops.crc.crc32c`."""
    state = _update(np.uint32(crc ^ 0xFFFFFFFF), bytes.numpy(), _TABLE)
    return int(state) ^ 0xFFFFFFFF
