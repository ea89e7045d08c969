"""Declaration of ops: one schema, one twin, one fake kernel; native kernels if built.

An op is declared once, here in Python. The compiled library registers CPU and CUDA kernels
under the same name; where it has none, the twin is registered instead. Autograd formulas are
registered beside the declaration with ``torch.library.register_autograd``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from graphlab import native

_LIBRARIES = {
    "graphlab": torch.library.Library("graphlab", "DEF"),
    "graphlab_io": torch.library.Library("graphlab_io", "DEF"),
}
_TWINS: dict[str, str] = {}
_NATIVE: dict[str, set[str]] = {}


def declare(
    schema: str,
    *,
    twin: str,
    fake: Callable[..., Any] | None = None,
    twin_on_cuda: bool = False,
    namespace: str = "graphlab",
) -> None:
    """Declare an op and register its twin where no compiled kernel is.

    Args:
        schema: ``name(arguments) -> results`` in torch's schema language.
        twin: ``module:function`` of the readable twin; imported at its first call.
        fake: Shape function for tracing; None only for ops that mutate and return nothing.
        twin_on_cuda: Whether the twin is plain torch and so also right on CUDA tensors.
        namespace: ``graphlab`` for graph ops, ``graphlab_io`` for the disk engine.
    """
    native.load()
    library = _LIBRARIES[namespace]
    name = schema.split("(", 1)[0]
    qualified = f"{namespace}::{name}"
    library.define(schema)
    _TWINS[qualified] = twin

    def call_twin(*args: Any, **kwargs: Any) -> Any:
        return load_twin(qualified)(*args, **kwargs)

    native_on = {d for d in ("CPU", "CUDA") if has_kernel(qualified, d)}
    _NATIVE[qualified] = native_on
    if "CPU" not in native_on:
        library.impl(name, call_twin, "CPU")
    if twin_on_cuda and "CUDA" not in native_on:
        library.impl(name, call_twin, "CUDA")
    if fake is not None:
        torch.library.register_fake(qualified, fake, lib=library)


def without_autograd(*inputs: Tensor | None) -> AbstractContextManager[object]:
    """Skip the Python layer of autograd, 6 us a call, where no gradient is asked for.

    Args:
        inputs: What the op is differentiable in.
    """
    wanted = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in inputs
    )
    if wanted or torch.compiler.is_compiling():
        return nullcontext()
    return torch._C._AutoDispatchBelowAutograd()


def has_kernel(qualified: str, device: str) -> bool:
    """Whether a kernel is registered for an op (``"graphlab::spmm"``) on a device type."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(qualified, device))


def load_twin(qualified: str) -> Callable[..., Any]:
    """Return the readable twin of an op, importing it if needed."""
    module, function = _TWINS[qualified].split(":")
    return getattr(importlib.import_module(module), function)


def backends() -> dict[str, dict[str, str]]:
    """Tell for each declared op what runs on each device: native, twin or none."""
    table = {}
    for qualified in sorted(_TWINS):
        row = {}
        for device in ("CPU", "CUDA"):
            if device in _NATIVE[qualified]:
                row[device.lower()] = "native"
            else:
                row[device.lower()] = (
                    "twin" if has_kernel(qualified, device) else "none"
                )
        table[qualified] = row
    return table
