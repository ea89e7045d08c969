"""Which devices an embedding trains on."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from graphlab import check
from graphlab.ops.registry import has_kernel


def resolve(name: str, device: str, argument: str = "device") -> str:
    """The device to train on; ``auto`` is a GPU only where the kernel is built."""
    built = has_kernel("graphlab::skipgram_train", "CUDA")
    usable = built and torch.cuda.is_available()
    if device == "auto" and argument == "device":
        return "cuda" if usable else "cpu"
    if device == "cpu" or (device.partition(":")[0] == "cuda" and usable):
        return device
    auto = "auto, " if argument == "device" else ""
    need = f"be {auto}cpu, or cuda where its kernels are built and a GPU is"
    check.fail(ValueError, name, argument, need, repr(device))


def resolve_list(name: str, devices: Sequence[str] | None) -> tuple[str, ...]:
    """The devices of a grid; none given: none."""
    if devices is None:
        return ()
    if isinstance(devices, str) or not all(isinstance(d, str) for d in devices):
        need = 'be a list of names, such as ["cuda:0", "cuda:1"]'
        check.fail(TypeError, name, "devices", need, repr(devices))
    if len(devices) == 0:
        check.fail(ValueError, name, "devices", "name a device", "none")
    return tuple(resolve(name, d, "devices") for d in devices)
