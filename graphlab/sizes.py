"""Sizes in bytes, as people write them: ``parse("2GiB")`` and ``show(2**31)``."""

from __future__ import annotations

import re

_UNITS = {
    "": 1,
    "B": 1,
    "K": 2**10,
    "KIB": 2**10,
    "M": 2**20,
    "MIB": 2**20,
    "G": 2**30,
    "GIB": 2**30,
    "T": 2**40,
    "TIB": 2**40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_PATTERN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse(size: int | str, *, argument: str = "memory") -> int:
    """Return a size in bytes.

    Args:
        size: Bytes, or text such as ``"32MiB"``, ``"1.5 GB"``. KiB, MiB, GiB, TiB (and
            K, M, G, T) are powers of 1024; kB, MB, GB, TB powers of 1000.
        argument: Name of the argument, for the error message.

    Raises:
        TypeError: neither an int nor a str.
        ValueError: not a positive size.

    Example:
        >>> parse("2GiB")
        2147483648
    """
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(
            f"`{argument}` must be a number of bytes or text such as '2GiB', "
            f"got {type(size).__name__}"
        )
    if isinstance(size, int):
        value = size
    else:
        match = _PATTERN.fullmatch(size)
        if match is None or match.group(2).upper() not in _UNITS:
            raise ValueError(
                f"`{argument}` must be a size such as '512MiB' or '2GB', got {size!r}"
            )
        value = int(float(match.group(1)) * _UNITS[match.group(2).upper()])
    if value <= 0:
        raise ValueError(f"`{argument}` must be positive, got {size!r}")
    return value


def show(size: float) -> str:
    """Write a number of bytes for people, in powers of 1024.

    Example:
        >>> show(33_554_432)
        '32.0 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
