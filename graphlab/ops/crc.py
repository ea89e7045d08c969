"""CRC32C, the checksum of every file that graphlab writes."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

# No fake kernel: a checksum depends on the bytes, and the disk engine is never traced.
declare(
    "crc32c(Tensor bytes, int crc) -> int",
    twin="graphlab.ops.twins.crc:crc32c",
    namespace="graphlab_io",
)


def crc32c(bytes: Tensor, crc: int = 0) -> int:
    """Checksum a buffer with CRC32C (Castagnoli).

    Args:
        bytes: [n], uint8, on the CPU, contiguous.
        crc: Checksum of what came before, so that
            ``crc32c(b, crc32c(a)) == crc32c(torch.cat([a, b]))``.

    Returns:
        The checksum, in [0, 2^32).

    Raises:
        TypeError: ``bytes`` is not a uint8 tensor.
        ValueError: ``bytes`` is not a contiguous vector; ``crc`` is not a checksum.

    Cost:
        One pass. Three interleaved streams of the SSE4.2 instruction where the processor
        has it, else eight table look-ups for 8 bytes.

    Source:
        RFC 3720, appendix B.4.

    Example:
        >>> hex(crc32c(torch.tensor(list(b"123456789"), dtype=torch.uint8)))
        '0xe3069283'
    """
    name = "crc32c"
    check.tensor(name, "bytes", bytes, dtypes=(torch.uint8,), ndim=1)
    if not bytes.is_contiguous():
        check.fail(
            ValueError, name, "bytes", "be contiguous", f"strides {bytes.stride()}"
        )
    if not 0 <= crc < 2**32:
        check.fail(ValueError, name, "crc", "be in [0, 2^32)", crc)
    return torch.ops.graphlab_io.crc32c(bytes, crc)
