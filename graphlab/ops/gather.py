"""Rows of a matrix by id: copied, or decoded from a smaller dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

declare(
    "gather_rows(Tensor source, Tensor index, Tensor? scale, Tensor(a!) out) -> ()",
    twin="graphlab.ops.twins.gather:gather_rows",
    fake=lambda source, index, scale, out: None,
    twin_on_cuda=True,
)

CODED_DTYPES = (torch.float16, torch.bfloat16, torch.int8)


def gather_rows(
    source: Tensor,
    index: Tensor,
    *,
    scale: Tensor | None = None,
    out: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Copy rows of ``source``, or decode them to float32.

    ``out[i] = source[index[i]]``, times ``scale[index[i]]`` where a scale is given.

    Args:
        source: [rows, ...], any dtype. It may lie over a memory-mapped file, also one that
            is read-only (:func:`tensor_over`). A row must be contiguous; rows may be padded.
        index: [count], int32 or int64, same device.
        scale: [rows], float32; for int8 rows.
        out: [count, ...], contiguous; written and returned. Made when absent.
        dtype: Dtype of the result: that of ``source``, or float32 to decode float16,
            bfloat16 or int8. Taken from ``out``, else float32 with a ``scale``, else copied.

    Returns:
        [count, ...]. Not differentiable: this moves data, ``index_select`` moves activations.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape or device, rows that are not contiguous, or a source that
            requires a gradient.
        IndexError: an id out of range. ``out`` may then be partly written.

    Cost:
        count * row bytes read and written, parallel, later rows prefetched; results beyond
        16 MiB are written past the caches. No temporary. The same bits for any threads.

    Example:
        >>> rows = torch.tensor([[1, 2], [3, 4]], dtype=torch.int8)
        >>> gather_rows(rows, torch.tensor([1, 0]), scale=torch.tensor([1.0, 0.5]))
        tensor([[1.5000, 2.0000],
                [1.0000, 2.0000]])
    """
    name = "gather_rows"
    check.tensor(name, "source", source)
    check.tensor(name, "index", index, dtypes=check.INDEX_DTYPES, ndim=1)
    check.same_device(name, ("source", source), index=index)
    if source.dim() == 0:
        check.fail(ValueError, name, "source", "have rows", "a scalar")
    if source.requires_grad:
        remedy = "use torch.index_select, which has a gradient"
        check.fail(ValueError, name, "source", "not require a gradient", "one", remedy)
    if source.stride()[1:] != _dense_strides(source.shape[1:]) and source.numel():
        remedy = "call .contiguous() on it once"
        got = f"strides {source.stride()}"
        check.fail(ValueError, name, "source", "have contiguous rows", got, remedy)
    if out is not None and dtype is None:
        dtype = out.dtype
    if dtype is None:
        dtype = source.dtype if scale is None else torch.float32
    _check_decoding(name, source, scale, dtype)
    shape = (index.shape[0], *source.shape[1:])
    if out is None:
        out = source.new_empty(shape, dtype=dtype)
    else:
        _check_out(name, out, shape, dtype, source)
    try:
        torch.ops.graphlab.gather_rows(source, index.contiguous(), scale, out)
    except (RuntimeError, IndexError):
        # The kernel meets wrong ids as it copies; only then do they cost a pass here.
        check.ids_in_range(name, "index", index, source.shape[0])
        raise
    return out


def tensor_over(array: npt.NDArray[Any]) -> Tensor:
    """A tensor over the memory of an array, which may be read-only; no copy, no warning.

    Nothing may write to the tensor where the array is read-only: with a memory-mapped file
    that would end the process.

    Example:
        >>> array = np.arange(3)
        >>> array.setflags(write=False)
        >>> tensor_over(array)
        tensor([0, 1, 2])
    """
    if array.flags.writeable or array.size == 0:
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    return torch.from_numpy(np.asarray(_Writable(array)))


class _Writable:
    """Lends the memory of an array as writable, and keeps the array alive."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = array.__array_interface__ | {
            "data": (address, False)
        }


def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return tuple(strides[: len(shape)])


def _check_decoding(
    name: str, source: Tensor, scale: Tensor | None, dtype: torch.dtype
) -> None:
    if dtype not in (source.dtype, torch.float32):
        requirement = f"be float32 or the dtype of `source` ({source.dtype})"
        check.fail(TypeError, name, "dtype", requirement, dtype)
    if dtype != source.dtype and source.dtype not in CODED_DTYPES:
        requirement = "be float16, bfloat16 or int8 to be decoded to float32"
        check.fail(TypeError, name, "source", requirement, source.dtype)
    if scale is None:
        return
    check.tensor(name, "scale", scale, dtypes=(torch.float32,), ndim=1)
    check.same_device(name, ("source", source), scale=scale)
    if source.dtype != torch.int8 or dtype != torch.float32:
        requirement = "come with int8 rows and a float32 result"
        check.fail(TypeError, name, "scale", requirement, f"{source.dtype} to {dtype}")
    if scale.shape[0] != source.shape[0]:
        requirement = f"have a value for each of {source.shape[0]} rows"
        check.fail(ValueError, name, "scale", requirement, scale.shape[0])


def _check_out(
    name: str, out: object, shape: tuple[int, ...], dtype: torch.dtype, source: Tensor
) -> None:
    out = check.tensor(name, "out", out, dtypes=(dtype,))
    check.same_device(name, ("source", source), out=out)
    if tuple(out.shape) != shape:
        check.fail(
            ValueError, name, "out", f"have shape {list(shape)}", list(out.shape)
        )
    if not out.is_contiguous():
        check.fail(ValueError, name, "out", "be contiguous", f"strides {out.stride()}")
