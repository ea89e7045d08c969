from __future__ import annotations

import pytest

from graphlab import sizes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (5, 5),
        ("1", 1),
        ("2GiB", 2**31),
        ("32 MiB", 2**25),
        ("1.5kB", 1500),
        ("4g", 2**32),
    ],
)
def test_parse(text, expected):
    assert sizes.parse(text) == expected


@pytest.mark.parametrize("text", ["", "GiB", "2 floppies", "-1MiB", 0, "0B"])
def test_refuses_what_is_no_size(text):
    with pytest.raises(ValueError, match="`disk` must be"):
        sizes.parse(text, argument="disk")


@pytest.mark.parametrize("value", [1.5, None, True])
def test_refuses_other_types(value):
    with pytest.raises(TypeError, match="`memory` must be a number of bytes or text"):
        sizes.parse(value)


def test_show():
    assert sizes.show(2**31) == "2.0 GiB"
    assert sizes.show(12) == "12 B"
