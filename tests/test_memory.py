from __future__ import annotations

import pytest

from graphlab import memory
from graphlab.errors import BudgetError


def test_available_is_a_sane_number():
    assert 2**20 < memory.available() < 2**63 - 1


def test_require_refuses_what_no_machine_has():
    memory.require("f", "a little", 2**10)
    memory.require("f", "a little more", 2**26)
    message = r"f: the table needs 4.0 TiB of memory and .* are free; use less"
    with pytest.raises(BudgetError, match=message):
        memory.require("f", "the table", 2**42, "use less")
