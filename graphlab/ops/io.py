"""The executor of gather programmes: a batch's rows from slots in memory and from packs.

A programme tells for each row of a batch where its bytes are: a slot in memory, or the
r-th row of the batch's pack. The loader calls :func:`assemble_hits` once a batch and
:func:`assemble_rows` (or :func:`assemble_sparse`) for each piece of the pack that arrives,
which also puts what later batches want into slots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

DECODES = ("copy", "float16", "bfloat16", "int8")

_TWIN = "graphlab.ops.twins.io"
declare(
    "assemble_hits(Tensor slots, Tensor source, str decode, Tensor(a!) out, "
    "Tensor(b!) dst) -> ()",
    twin=f"{_TWIN}:assemble_hits",
    fake=lambda slots, source, decode, out, dst: None,
    namespace="graphlab_io",
)
declare(
    "assemble_rows(Tensor bytes, Tensor? offset, Tensor dst, str decode, "
    "Tensor(a!) out, Tensor? keep=None, Tensor(b!)? slots=None) -> ()",
    twin=f"{_TWIN}:assemble_rows",
    fake=lambda bytes, offset, dst, decode, out, keep=None, slots=None: None,
    namespace="graphlab_io",
)
declare(
    "assemble_sparse(Tensor bytes, Tensor begin, Tensor end, Tensor dst, "
    "Tensor(a!) out) -> ()",
    twin=f"{_TWIN}:assemble_sparse",
    fake=lambda bytes, begin, end, dst, out: None,
    namespace="graphlab_io",
)
declare(
    "gather_levels(Tensor device_rows, Tensor host_rows, Tensor source, "
    "Tensor(a!) out) -> ()",
    twin=f"{_TWIN}:gather_levels",
    fake=lambda device_rows, host_rows, source, out: None,
    namespace="graphlab_io",
)


def stored_bytes(width: int, itemsize: int, decode: str) -> int:
    """Bytes of one stored row of ``width`` output values.

    Example:
        >>> stored_bytes(128, 4, "copy"), stored_bytes(128, 4, "int8")
        (512, 132)
    """
    if decode == "copy":
        return width * itemsize
    return width + 4 if decode == "int8" else 2 * width


def assemble_hits(
    slots: Tensor, source: Tensor, out: Tensor, dst: Tensor, *, decode: str = "copy"
) -> None:
    """Copy the rows that are in memory; note where the others belong.

    ``out[i] = decode(slots[source[i]])`` where ``source[i] >= 0``; else
    ``dst[-1 - source[i]] = i``.

    Args:
        slots: [num_slots, row_bytes], uint8: stored rows.
        source: [rows], int32: the programme. A slot, or ``-1 - r`` for pack row ``r``.
        out: [rows, width], written; float32 unless ``decode="copy"``.
        dst: [number of pack rows], int32, written.
        decode: How bytes become values: ``copy``, ``float16``, ``bfloat16``, or ``int8``
            (rows begin with their float32 scale).

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape, or an unknown ``decode``.
        RuntimeError: the programme names a slot or pack row that does not exist, or leaves
            one out.

    Cost:
        One copy of the hits over torch's threads; no allocation; releases the GIL.

    Example:
        >>> slots = torch.tensor([[1.0], [2.0]]).view(torch.uint8)
        >>> out, dst = torch.zeros(3, 1), torch.zeros(1, dtype=torch.int32)
        >>> assemble_hits(slots, torch.tensor([1, -1, 0], dtype=torch.int32), out, dst)
        >>> out.flatten().tolist(), dst.tolist()
        ([2.0, 0.0, 1.0], [1])
    """
    name = "assemble_hits"
    width = _check_out(name, out, decode)
    check.tensor(name, "slots", slots, dtypes=(torch.uint8,), ndim=2)
    if slots.shape[1] != width:
        check.fail(
            ValueError, name, "slots", f"have rows of {width} bytes", slots.shape[1]
        )
    check.tensor(name, "source", source, dtypes=(torch.int32,), ndim=1)
    check.tensor(name, "dst", dst, dtypes=(torch.int32,), ndim=1)
    if len(source) != len(out):
        check.fail(ValueError, name, "source", f"have {len(out)} entries", len(source))
    torch.ops.graphlab_io.assemble_hits(slots, source, decode, out, dst)


def assemble_rows(
    bytes: Tensor,
    dst: Tensor,
    out: Tensor,
    *,
    offset: Tensor | None = None,
    decode: str = "copy",
    keep: Tensor | None = None,
    slots: Tensor | None = None,
) -> None:
    """Copy stored rows out of what was read: ``out[dst[i]] = decode(row at offset[i])``.

    Rows that later batches want go into slots besides, as they are stored:
    ``slots[keep[i]] = row at offset[i]``. Call it after :func:`assemble_hits` of the batch: a
    slot may be given to another row by the batch that reads it last.

    Args:
        bytes: [n], uint8: what was read.
        dst: [count], int32: where each row belongs.
        out: [rows, width], written; float32 unless ``decode="copy"``.
        offset: [count], int64: where each row begins in ``bytes``; None: back to back.
        decode: As in :func:`assemble_hits`.
        keep: [count], int32: the slot that takes each row; -1: none. None: none is kept.
        slots: [num_slots, row_bytes], uint8, written; given with ``keep``.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape, or an unknown ``decode``.
        RuntimeError: a row begins, belongs or is kept past the end.

    Cost:
        One copy, and one of the kept rows, over torch's threads; no allocation; releases
        the GIL.

    Example:
        >>> out, bytes = torch.zeros(2, 1), torch.tensor([1.0, 2.0]).view(torch.uint8)
        >>> slots = torch.zeros(1, 4, dtype=torch.uint8)
        >>> dst, keep = torch.tensor([1, 0]).int(), torch.tensor([-1, 0]).int()
        >>> assemble_rows(bytes, dst, out, keep=keep, slots=slots)
        >>> out.flatten().tolist(), slots.view(torch.float32).tolist()
        ([2.0, 1.0], [[2.0]])
    """
    name = "assemble_rows"
    _check_out(name, out, decode)
    check.tensor(name, "bytes", bytes, dtypes=(torch.uint8,), ndim=1)
    check.tensor(name, "dst", dst, dtypes=(torch.int32,), ndim=1)
    if offset is not None:
        check.tensor(name, "offset", offset, dtypes=(torch.int64,), ndim=1)
        if len(offset) != len(dst):
            check.fail(
                ValueError, name, "offset", f"have {len(dst)} entries", len(offset)
            )
    if keep is not None:
        _check_keep(name, keep, slots, len(dst))
    torch.ops.graphlab_io.assemble_rows(bytes, offset, dst, decode, out, keep, slots)


def gather_levels(
    device_rows: Tensor, host_rows: Tensor, source: Tensor, out: Tensor
) -> None:
    """Copy rows from two levels of memory in one launch.

    ``out[i]`` is ``device_rows[s]`` for ``s = source[i]`` below their number, else
    ``host_rows[s - len(device_rows)]``; where ``s`` is negative it is left alone.

    Args:
        device_rows: [d, row_bytes], uint8.
        host_rows: [h, row_bytes], uint8, in pinned memory where ``device_rows`` are on CUDA.
        source: [rows], int32, on the device of ``device_rows``.
        out: [rows, row_bytes], uint8, likewise, written.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape.
        RuntimeError: a row that does not exist; host rows that are not pinned.

    Cost:
        One copy. The CUDA kernel reads host rows across the bus, a warp a row.

    Source:
        DiskGNN's two resident levels, gathered from unified addresses.

    Example:
        >>> device, host = torch.tensor([[1]]).byte(), torch.tensor([[2], [3]]).byte()
        >>> out = torch.zeros(3, 1, dtype=torch.uint8)
        >>> gather_levels(device, host, torch.tensor([2, -1, 0], dtype=torch.int32), out)
        >>> out.flatten().tolist()
        [3, 0, 1]
    """
    name = "gather_levels"
    named = (("device_rows", device_rows), ("host_rows", host_rows), ("out", out))
    for argument, value in named:
        check.tensor(name, argument, value, dtypes=(torch.uint8,), ndim=2)
        if value.shape[1] != out.shape[1] or not value.is_contiguous():
            need = f"be contiguous, with rows of {out.shape[1]} bytes"
            check.fail(ValueError, name, argument, need, list(value.shape))
    check.tensor(name, "source", source, dtypes=(torch.int32,), ndim=1)
    if len(source) != len(out):
        check.fail(ValueError, name, "source", f"have {len(out)} entries", len(source))
    torch.ops.graphlab_io.gather_levels(device_rows, host_rows, source, out)


def assemble_sparse(
    bytes: Tensor, begin: Tensor, end: Tensor, dst: Tensor, out: Tensor
) -> None:
    """Expand packed sparse rows: zeros, then ``out[dst[i], column] = value``.

    A packed row is its columns (int32 each), then its values, without padding.

    Args:
        bytes: [n], uint8: what was read.
        begin, end: [count], int64: the span of each row in ``bytes``.
        dst: [count], int32: where each row belongs.
        out: [rows, width], written; its dtype is that of the values.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape.
        RuntimeError: a row or a column reaches past the end.

    Cost:
        One write of the output rows by the calling thread; releases the GIL.

    Example:
        >>> row = torch.cat([torch.tensor([2], dtype=torch.int32).view(torch.uint8),
        ...                  torch.tensor([7.0]).view(torch.uint8)])
        >>> out = torch.ones(1, 3)
        >>> assemble_sparse(row, torch.tensor([0]), torch.tensor([8]),
        ...                 torch.tensor([0], dtype=torch.int32), out)
        >>> out.tolist()
        [[0.0, 0.0, 7.0]]
    """
    name = "assemble_sparse"
    _check_out(name, out, "copy")
    check.tensor(name, "bytes", bytes, dtypes=(torch.uint8,), ndim=1)
    check.tensor(name, "dst", dst, dtypes=(torch.int32,), ndim=1)
    for argument, value in (("begin", begin), ("end", end)):
        check.tensor(name, argument, value, dtypes=(torch.int64,), ndim=1)
        if len(value) != len(dst):
            check.fail(
                ValueError, name, argument, f"have {len(dst)} entries", len(value)
            )
    torch.ops.graphlab_io.assemble_sparse(bytes, begin, end, dst, out)


def _check_keep(name: str, keep: Tensor, slots: Tensor | None, count: int) -> None:
    check.tensor(name, "keep", keep, dtypes=(torch.int32,), ndim=1)
    if len(keep) != count:
        check.fail(ValueError, name, "keep", f"have {count} entries", len(keep))
    if slots is None:
        check.fail(ValueError, name, "slots", "be given with keep", None)
    check.tensor(name, "slots", slots, dtypes=(torch.uint8,), ndim=2)
    if not slots.is_contiguous():
        check.fail(
            ValueError, name, "slots", "be contiguous", f"strides {slots.stride()}"
        )


def _check_out(name: str, out: Tensor, decode: str) -> int:
    """Check the output; return the bytes of a stored row."""
    check.one_of(name, "decode", decode, DECODES)
    check.tensor(name, "out", out, ndim=2)
    if decode != "copy":
        check.tensor(name, "out", out, dtypes=(torch.float32,))
    if not out.is_contiguous():
        check.fail(ValueError, name, "out", "be contiguous", f"strides {out.stride()}")
    return stored_bytes(out.shape[1], out.element_size(), decode)
