from __future__ import annotations

import numpy as np
import pytest

from graphlab.graph.distinct import distinct


@pytest.mark.parametrize("values", [[], [5], [3, 1, 3, 3, -2, 1]])
def test_equals_numpy(values):
    given = np.array(values, np.int64)
    assert distinct(given).tolist() == sorted(set(values))
    assert given.tolist() == values
