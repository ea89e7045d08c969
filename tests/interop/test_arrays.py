from __future__ import annotations

import numpy as np
import pytest

from graphlab.interop import as_tensor
from graphlab.interop.arrays import torch_dtype

KINDS = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"


@pytest.mark.parametrize("name", KINDS.split())
def test_values_survive(name):
    array = np.array([[0, 1], [1, 0]]).astype(name)
    tensor = as_tensor(array)
    assert tensor.dtype == torch_dtype(array.dtype)
    assert np.array_equal(tensor.numpy(), array)
    assert np.array_equal(as_tensor(array.T).numpy(), array.T)
    swapped = array.astype(array.dtype.newbyteorder(">"))
    assert np.array_equal(as_tensor(swapped).numpy(), array)
    assert as_tensor(array[:0]).shape == (0, 2)


def test_memory_is_shared_also_where_it_is_read_only():
    array = np.arange(4)
    array.flags.writeable = False
    tensor = as_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
    del array
    assert tensor.tolist() == [0, 1, 2, 3]


def test_scalars():
    assert as_tensor(np.array(3)).item() == 3


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match=r"must hold numbers or bools .* got <U1"):
        as_tensor(np.array(["a"]))
    with pytest.raises(TypeError, match="got complex128"):
        as_tensor(np.ones(1, complex))
