from __future__ import annotations

import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import crc as twin

# RFC 3720, appendix B.4, and the check value of the CRC catalogue.
KNOWN = {
    "empty": (b"", 0),
    "check": (b"123456789", 0xE3069283),
    "zeros": (bytes(32), 0x8A9136AA),
    "ones": (b"\xff" * 32, 0x62A8AB43),
    "ascending": (bytes(range(32)), 0x46DD794E),
    "descending": (bytes(range(31, -1, -1)), 0x113FDB5C),
}


def random_bytes(size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 256, (size,), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("text", "expected"), KNOWN.values(), ids=KNOWN.keys())
def test_known_values(text, expected):
    data = torch.tensor(list(text), dtype=torch.uint8)
    assert ops.crc32c(data) == expected
    assert twin.crc32c(data, 0) == expected


# Around the block sizes of the kernel: 8, 3 * 256, 3 * 8192 bytes.
@pytest.mark.parametrize(
    "size", [1, 7, 8, 9, 767, 768, 777, 24575, 24576, 25344, 99991]
)
def test_equals_twin_at_any_size_and_alignment(size):
    data = random_bytes(size + 8)
    for start in (0, 1, 5):
        part = data[start : start + size]
        assert ops.crc32c(part, 12345) == twin.crc32c(part, 12345)


def test_continues_over_any_cut():
    data = random_bytes(60_000)
    whole = ops.crc32c(data)
    for cut in (0, 1, 768, 24_576, 59_999, 60_000):
        assert ops.crc32c(data[cut:], ops.crc32c(data[:cut])) == whole


def test_sees_every_flipped_bit():
    data = random_bytes(30_000)
    whole = ops.crc32c(data)
    for position in range(0, 30_000, 997):
        for bit in range(8):
            data[position] ^= 1 << bit
            assert ops.crc32c(data) != whole
            data[position] ^= 1 << bit
    assert ops.crc32c(data) == whole


def test_contract():
    arguments = (random_bytes(100), 0)
    torch.library.opcheck(
        torch.ops.graphlab_io.crc32c, arguments, test_utils="test_schema"
    )


@pytest.mark.parametrize(
    ("data", "crc", "error", "message"),
    [
        (b"ab", 0, TypeError, "`bytes` must be a tensor, got bytes"),
        (torch.zeros(2), 0, TypeError, "`bytes` must be uint8, got float32"),
        (torch.zeros(2, 2).byte(), 0, ValueError, "1 dimension"),
        (torch.zeros(4).byte()[::2], 0, ValueError, "be contiguous"),
        (torch.zeros(2).byte(), 2**32, ValueError, r"`crc` must be in \[0, 2\^32\)"),
    ],
)
def test_errors_name_the_argument(data, crc, error, message):
    with pytest.raises(error, match=message):
        ops.crc32c(data, crc)
