"""How numbers of a column are stored: as they are, in half the bytes, or in a quarter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check

# bfloat16 has no numpy dtype: its bits travel as int16.
NUMPY_DTYPES: dict[str, npt.DTypeLike] = {
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
    "bfloat16": "<i2",
    "int64": "<i8",
    "int32": "<i4",
    "int16": "<i2",
    "uint16": "<u2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "?",
}
TORCH_DTYPES = {name: getattr(torch, name) for name in NUMPY_DTYPES}
Array = np.ndarray[Any, Any]
CHOICES = ("source", "float32", "float16", "bfloat16", "int8")


def name_of(dtype: torch.dtype) -> str:
    """The manifest's name of a dtype, such as ``float32``."""
    return str(dtype).removeprefix("torch.")


def storable(function: str, name: str, dtype: torch.dtype) -> torch.dtype:
    """Require a dtype that the format has."""
    if name_of(dtype) not in TORCH_DTYPES:
        names = ", ".join(TORCH_DTYPES)
        check.fail(TypeError, function, name, f"have one of the dtypes {names}", dtype)
    return dtype


def choose(dtype: torch.dtype, choice: str) -> tuple[torch.dtype, torch.dtype]:
    """What reading a column gives, and what its file holds, for a ``dtype=`` argument.

    Only floating-point columns are converted. A column that is made smaller reads as
    float32; ``source`` and ``float32`` read as what they hold.
    """
    if choice == "source" or not dtype.is_floating_point:
        return dtype, dtype
    stored = TORCH_DTYPES[choice]
    if stored == dtype:
        return dtype, dtype
    return torch.float32, stored


def encode(rows: Tensor, stored: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Encode rows for their file.

    int8 keeps ``round(x / scale)`` with ``scale = max|x| / 127`` for each row: the error is
    at most ``scale / 2``. A row of zeros has scale 0.

    Args:
        rows: [n, ...], any storable dtype, finite where ``stored`` is int8.
        stored: Dtype of the file.

    Returns:
        Values [n, ...] of dtype ``stored``; scales [n] float32 where the file is int8 and
        the source floating point, else None.

    Raises:
        ValueError: values that ``stored`` cannot hold.

    Example:
        >>> values, scale = encode(torch.tensor([[0.5, -1.0]]), torch.int8)
        >>> values.tolist(), round(float(scale[0]) * 127, 6)
        ([[64, -127]], 1.0)
    """
    if rows.dtype == stored:
        return rows, None
    if stored != torch.int8:
        values = rows.to(stored)
        if stored == torch.float16 and bool((values.isinf() & ~rows.isinf()).any()):
            requirement = "be within 65,504 of 0 to be stored as float16"
            remedy = "use bfloat16 or int8, or scale the column"
            got = f"{float(rows.abs().max()):g}"
            check.fail(ValueError, "encode", "rows", requirement, got, remedy)
        return values, None
    flat = rows.to(torch.float32).reshape(rows.shape[0], -1)
    if flat.shape[1]:
        scale = flat.abs().amax(dim=1) / 127
    else:
        scale = flat.new_zeros(rows.shape[0])
    if not bool(torch.isfinite(scale).all()):
        requirement = "be finite to be stored as int8"
        check.fail(ValueError, "encode", "rows", requirement, "NaN or infinity")
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale))
    values = (flat / divisor[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return values.reshape(rows.shape), scale


def map_array(path: str | Path, dtype: str, shape: tuple[int, ...]) -> Array:
    """An array over a file; see :func:`map_file`."""
    if 0 in shape:
        return np.empty(shape, dtype=NUMPY_DTYPES[dtype])
    return np.memmap(path, dtype=NUMPY_DTYPES[dtype], mode="c", shape=shape)


def map_file(path: str | Path, dtype: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor over a file: pages are read when touched; writes stay in this process.

    A private (copy-on-write) map, because torch warns of tensors over read-only memory.
    """
    if 0 in shape:
        return torch.empty(shape, dtype=TORCH_DTYPES[dtype])
    array = map_array(path, dtype, shape)
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
