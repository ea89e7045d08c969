"""Argument checks whose messages name function, argument, requirement and value.

Message form: ``function: `argument` must <requirement>, got <value>; <what to do>``.
TypeError for type and dtype, ValueError for value, shape and device, IndexError for ids.
All checks here are O(1) unless their name says ``ids``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import torch
from torch import Tensor

INDEX_DTYPES = (torch.int32, torch.int64)
FLOAT_DTYPES = (torch.float32, torch.float64)


def fail(
    error: type[Exception],
    function: str,
    argument: str,
    requirement: str,
    got: object,
    remedy: str = "",
) -> NoReturn:
    """Raise ``error`` with the house's message form."""
    what_to_do = f"; {remedy}" if remedy else ""
    raise error(f"{function}: `{argument}` must {requirement}, got {got}{what_to_do}")


def tensor(
    function: str,
    argument: str,
    value: object,
    *,
    dtypes: Iterable[torch.dtype] | None = None,
    ndim: int | None = None,
) -> Tensor:
    """Require a tensor of given dtypes and rank, and return it."""
    if not isinstance(value, Tensor):
        fail(TypeError, function, argument, "be a tensor", type(value).__name__)
    if dtypes is not None and value.dtype not in tuple(dtypes):
        names = " or ".join(str(d).removeprefix("torch.") for d in dtypes)
        got = str(value.dtype).removeprefix("torch.")
        fail(TypeError, function, argument, f"be {names}", got)
    if ndim is not None and value.dim() != ndim:
        shape = list(value.shape)
        fail(ValueError, function, argument, f"have {ndim} dimension(s)", shape)
    return value


def same_device(function: str, first: tuple[str, Tensor], **others: Tensor) -> None:
    """Require that all tensors live on the device of the first."""
    name, reference = first
    for argument, value in others.items():
        if value.device != reference.device:
            fail(
                ValueError,
                function,
                argument,
                f"be on the device of `{name}` ({reference.device})",
                value.device,
            )


def offsets(
    function: str,
    argument: str,
    ptr: object,
    *,
    end: int | None,
    values: bool = True,
) -> Tensor:
    """Require int64 offsets [n + 1] that start at 0 and end at ``end``.

    ``values=False`` leaves the two entries to the kernel, for calls where the microseconds
    of reading them count.
    """
    ptr = tensor(function, argument, ptr, dtypes=(torch.int64,), ndim=1)
    if ptr.numel() == 0:
        fail(ValueError, function, argument, "have at least one entry", "none")
    if values and ptr.device.type == "cpu" and not _traced(ptr):
        if int(ptr[0]) != 0:
            fail(ValueError, function, argument, "start at 0", int(ptr[0]))
        if end is not None and int(ptr[-1]) != end:
            fail(ValueError, function, argument, f"end at {end}", int(ptr[-1]))
    return ptr


def ids_in_range(function: str, argument: str, ids: Tensor, size: int) -> None:
    """Require 0 <= ids < size. O(len(ids)); the message shows the first offender."""
    if ids.numel() == 0 or _traced(ids):
        return
    low, high = (int(v) for v in torch.aminmax(ids))
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        position = int((ids == wrong).nonzero()[0, 0]) if ids.dim() == 1 else -1
        at = f" at position {position}" if position >= 0 else ""
        fail(IndexError, function, argument, f"be in [0, {size})", f"{wrong}{at}")


def positive(function: str, argument: str, value: object, *, least: int = 1) -> int:
    """Require an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        fail(TypeError, function, argument, "be an int", type(value).__name__)
    if value < least:
        fail(ValueError, function, argument, f"be at least {least}", value)
    return value


def one_of(function: str, argument: str, value: object, choices: Iterable[str]) -> str:
    """Require one of a few names; the message lists them."""
    choices = list(choices)
    if value not in choices:
        names = ", ".join(repr(c) for c in choices)
        fail(ValueError, function, argument, f"be one of {names}", repr(value))
    return str(value)


def _traced(value: Tensor) -> bool:
    """Whether values are unknown: under torch.compile or with a fake tensor."""
    return torch.compiler.is_compiling() or type(value).__name__ == "FakeTensor"
