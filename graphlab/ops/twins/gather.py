"""Readable twin of ``gather_rows``: plain torch."""

from __future__ import annotations

from torch import Tensor


def gather_rows(
    source: Tensor, index: Tensor, scale: Tensor | None, out: Tensor
) -> None:
    """Copy or decode rows into ``out``; see :func:`graphlab.ops.gather_rows`."""
    index = index.long()
    rows = source.index_select(0, index).to(out.dtype)
    if scale is not None:
        rows *= scale[index].reshape(-1, *[1] * (rows.dim() - 1))
    out.copy_(rows)
