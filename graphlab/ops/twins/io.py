"""Readable twins of the executor of gather programmes: numpy, and the tests' oracle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def decode_rows(stored: npt.NDArray[np.uint8], decode: str) -> Tensor:
    """Turn stored rows, uint8 [rows, bytes], into values of the output.

    ``copy`` leaves bytes; ``int8`` rows begin with their float32 scale.
    """
    stored = np.ascontiguousarray(stored)
    if decode == "copy":
        return torch.from_numpy(stored)
    if decode == "int8":
        scale = np.ascontiguousarray(stored[:, :4]).view(np.float32)
        return torch.from_numpy(stored[:, 4:].view(np.int8).astype(np.float32) * scale)
    if decode == "float16":
        return torch.from_numpy(stored.view(np.float16).astype(np.float32))
    # A bfloat16 is the upper half of a float32.
    upper = stored.view(np.uint16).astype(np.uint32) << 16
    return torch.from_numpy(upper.view(np.float32))


def _write(
    out: Tensor, rows: npt.NDArray[np.intp], values: Tensor, decode: str
) -> None:
    target = out.view(torch.uint8) if decode == "copy" else out
    target[torch.from_numpy(rows)] = values


def assemble_hits(
    slots: Tensor, source: Tensor, decode: str, out: Tensor, dst: Tensor
) -> None:
    """Copy hits and note the places of misses; see :func:`graphlab.ops.assemble_hits`."""
    where = source.numpy()
    packed = ~where[where < 0]
    full = np.sort(packed).tolist() == list(range(dst.numel()))
    if (where >= slots.shape[0]).any() or (packed >= dst.numel()).any() or not full:
        raise RuntimeError("`source` names a slot or a pack row that does not exist")
    hits = np.flatnonzero(where >= 0)
    if out.numel():
        _write(out, hits, decode_rows(slots.numpy()[where[hits]], decode), decode)
    dst.numpy()[packed] = np.flatnonzero(where < 0)


def assemble_rows(
    bytes: Tensor,
    offset: Tensor | None,
    dst: Tensor,
    decode: str,
    out: Tensor,
    keep: Tensor | None = None,
    slots: Tensor | None = None,
) -> None:
    """Copy rows of a read to their places; see :func:`graphlab.ops.assemble_rows`."""
    width, item = out.shape[1], out.element_size()
    row_bytes = {"copy": width * item, "int8": width + 4}.get(decode, 2 * width)
    count = dst.numel()
    starts = np.arange(count) * row_bytes if offset is None else offset.numpy()
    most = -1
    if keep is not None and slots is not None and count:
        most = int(keep.max()) - slots.shape[0]
    beyond = ((starts < 0) | (starts > bytes.numel() - row_bytes)).any()
    if beyond or ((dst < 0) | (dst >= out.shape[0])).any() or most >= 0:
        raise RuntimeError("`offset`, `dst` or `keep` reaches past the end")
    if not count or not row_bytes:
        return
    windows = np.lib.stride_tricks.sliding_window_view(bytes.numpy(), row_bytes)
    stored = windows[starts]
    _write(out, dst.numpy().astype(np.intp), decode_rows(stored, decode), decode)
    if keep is not None and slots is not None:
        wanted = (keep >= 0).numpy()
        slots.numpy()[keep.numpy()[wanted]] = stored[wanted]


def gather_levels(
    device_rows: Tensor, host_rows: Tensor, source: Tensor, out: Tensor
) -> None:
    """Copy rows from two levels; see :func:`graphlab.ops.io.gather_levels`."""
    wanted, split = source >= 0, len(device_rows)
    if (source >= split + len(host_rows)).any():
        raise RuntimeError("`source` names a row that does not exist")
    fast = wanted & (source < split)
    slow = source >= split
    out[fast] = device_rows[source[fast].long()]
    out[slow] = host_rows[source[slow].long() - split]


def assemble_sparse(
    bytes: Tensor, begin: Tensor, end: Tensor, dst: Tensor, out: Tensor
) -> None:
    """Expand packed CSR rows; see :func:`graphlab.ops.assemble_sparse`."""
    data, width, item = bytes.numpy(), out.shape[1], out.element_size()
    target = out.view(torch.uint8).numpy().reshape(out.shape[0], width, item)
    spans = zip(begin.tolist(), end.tolist(), dst.tolist(), strict=True)
    for first, last, row in spans:
        if not 0 <= first <= last <= len(data) or not 0 <= row < out.shape[0]:
            raise RuntimeError("a sparse row reaches past the end")
        entries = (last - first) // (4 + item)
        middle = first + 4 * entries
        columns = data[first:middle].copy().view(np.int32)
        if entries and not 0 <= columns.min() <= columns.max() < width:
            raise RuntimeError("a sparse row reaches past the end")
        target[row] = 0
        values = data[middle : middle + item * entries]
        target[row, columns] = values.reshape(entries, item)
