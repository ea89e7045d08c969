"""Checksums of regions that several processes wrote, from those of their pieces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Crc = npt.NDArray[np.uint32]

# CRC32C (Castagnoli), bits reversed.
_POLYNOMIAL = 0x82F63B78


def joined(first: Crc, second: Crc, length: npt.NDArray[np.int64]) -> Crc:
    """CRC32C of ``a + b`` from those of a and b, and the bytes of b.

    Args:
        first, second: [n], checksums of a and b.
        length: [n], bytes of each b.

    Source:
        Appending zeros is linear over GF(2), as in zlib's crc32_combine.

    Example:
        >>> from graphlab.outofcore.layout import crc
        >>> data = np.arange(10, dtype=np.uint8)
        >>> parts = [np.array([crc(d)], np.uint32) for d in (data[:4], data[4:])]
        >>> int(joined(*parts, np.array([6]))[0]) == crc(data)
        True
    """
    result = first.astype(np.uint32)
    # What one more zero bit does to each bit of a checksum; squared: two bits, four, ...
    step = np.array([_POLYNOMIAL, *(1 << np.arange(31))], dtype=np.uint32)
    left = 8 * length.astype(np.int64)
    while bool((left > 0).any()):
        odd = (left & 1).astype(bool)
        result[odd] = _times(step, result[odd])
        step = _times(step, step)
        left >>= 1
    return result ^ second.astype(np.uint32)


def _times(matrix: Crc, values: Crc) -> Crc:
    """A 32 x 32 matrix over GF(2), by columns, times each value."""
    found = np.zeros_like(values)
    for bit in range(32):
        found ^= np.where(
            (values >> np.uint32(bit)) & np.uint32(1), matrix[bit], 0
        ).astype(np.uint32)
    return found
