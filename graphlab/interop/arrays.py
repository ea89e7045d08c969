"""numpy arrays as tensors, without copies and without warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from graphlab.ops.gather import tensor_over

Array = np.ndarray[Any, Any]

_TORCH_DTYPES = {
    "bool": torch.bool,
    "uint8": torch.uint8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}
# torch computes little with these; the next wider signed type holds every value
# (of uint64, all but those that no id reaches).
_WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """The dtype that :func:`as_tensor` gives an array of ``dtype``.

    Raises:
        TypeError: strings, objects, complex numbers, dates.

    Example:
        >>> torch_dtype(np.dtype("uint16"))
        torch.int32
    """
    name = dtype.name
    name = _WIDER.get(name, name)
    if name not in _TORCH_DTYPES:
        raise TypeError(
            f"as_tensor: `array` must hold numbers or bools of at most 64 bits, got {dtype}; "
            "map strings to numbers first"
        )
    return _TORCH_DTYPES[name]


def as_tensor(array: Array) -> Tensor:
    """View an array as a tensor; copies only other byte orders, strides and odd widths.

    A read-only array (such as a memory-mapped file) gives a tensor that must not be written:
    torch cannot know, and the process would end.

    Args:
        array: Numbers or bools. uint16 and uint32 become the next wider signed type.

    Example:
        >>> as_tensor(np.arange(3, dtype=np.int32))
        tensor([0, 1, 2], dtype=torch.int32)
    """
    wanted = torch_dtype(array.dtype)
    if array.dtype.name in _WIDER:
        array = array.astype(_WIDER[array.dtype.name])
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if array.size == 0 or array.ndim == 0:
        return torch.tensor(array.tolist(), dtype=wanted).reshape(array.shape)
    return tensor_over(array)


class EdgeArrays(NamedTuple):
    """What a foreign graph is made of."""

    edge_index: Tensor
    """[2, E], integers: row 0 sources, row 1 targets."""
    num_nodes: int | None = None
    edge_weight: Tensor | None = None
    node_names: Array | None = None
    """Names of nodes by id, where they are not 0, 1, 2, ..."""


@dataclass
class DatasetArrays:
    """What a foreign graph with data is made of; columns are arrays of any kind."""

    edges: EdgeArrays
    y: Any = None
    columns: dict[str, Any] = field(default_factory=dict)
    edge_columns: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, Any] = field(default_factory=dict)
    edge_splits: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
