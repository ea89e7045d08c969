"""Compressed rows from an edge list."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare
from graphlab.ops.twins.csr import index_dtype

declare(
    "csr_build(Tensor row, Tensor col, int num_rows, int num_cols)"
    " -> (Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.csr:csr_build",
    fake=lambda row, col, num_rows, num_cols: (
        row.new_empty(num_rows + 1, dtype=torch.int64),
        col.new_empty(col.shape, dtype=index_dtype(num_cols)),
        row.new_empty(row.shape, dtype=_traced_index_dtype(row.shape[0])),
    ),
    twin_on_cuda=True,
)


def _traced_index_dtype(edges: int | torch.SymInt) -> torch.dtype:
    """As ``index_dtype``; a number of edges that only the data tell is taken to be small."""
    if isinstance(edges, torch.SymInt):
        from torch.fx.experimental.symbolic_shapes import guard_or_true

        return torch.int32 if guard_or_true(edges < 2**31) else torch.int64
    return index_dtype(edges)


def csr_build(
    row: Tensor, col: Tensor, num_rows: int, num_cols: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sort an edge list by row into compressed rows (CSR), keeping edge ids.

    ``idx[ptr[r] : ptr[r + 1]]`` are the columns of row ``r`` in the order of the list, and
    ``idx[p] = col[edge_id[p]]``. With targets as rows the result is the CSC of a graph.

    Args:
        row: [edges], int32 or int64. Strided input is copied once.
        col: [edges], dtype and device of ``row``.
        num_rows: Number of rows; ids in ``row`` are below it.
        num_cols: Number of columns; ids in ``col`` are below it.

    Returns:
        ``ptr`` [num_rows + 1], int64; ``idx`` [edges], int32 where ``num_cols < 2**31``,
        else int64; ``edge_id`` [edges], int32 where ``edges < 2**31``, else int64.
        Edge ids ascend inside a row.

    Raises:
        TypeError: not tensors of int32 or int64, or of two dtypes.
        ValueError: wrong rank, lengths or device.
        IndexError: an id out of range.

    Cost:
        CPU: counting sort in two levels, parallel, edges + num_rows operations. Beside the
        result it holds 2 bytes per edge (4 where buckets span more than 65,536 rows), and
        per thread a copy of one bucket, about 256 KiB unless one bucket holds a hub.
        The same result for any thread count.

    Example:
        >>> row, col = torch.tensor([[1, 0, 1], [2, 1, 0]])
        >>> ptr, idx, edge_id = csr_build(row, col, 2, 3)
        >>> ptr.tolist(), idx.tolist(), edge_id.tolist()
        ([0, 1, 3], [1, 2, 0], [1, 0, 2])
    """
    name = "csr_build"
    check.tensor(name, "row", row, dtypes=check.INDEX_DTYPES, ndim=1)
    check.tensor(name, "col", col, dtypes=(row.dtype,), ndim=1)
    check.same_device(name, ("row", row), col=col)
    if row.shape != col.shape:
        check.fail(
            ValueError, name, "col", f"have the length of `row` ({len(row)})", len(col)
        )
    check.positive(name, "num_rows", num_rows, least=0)
    check.positive(name, "num_cols", num_cols, least=0)
    try:
        return torch.ops.graphlab.csr_build(
            row.contiguous(), col.contiguous(), num_rows, num_cols
        )
    except RuntimeError:
        # The kernel meets wrong ids while it counts; only then do they cost a pass here.
        check.ids_in_range(name, "row", row, num_rows)
        check.ids_in_range(name, "col", col, num_cols)
        raise


def csr_transpose(
    ptr: Tensor, idx: Tensor, num_cols: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Transpose compressed rows, keeping where each entry came from.

    Args:
        ptr: [rows + 1], int64; starts at 0, ends at ``edges``, never falls.
        idx: [edges], int32 or int64.
        num_cols: Number of columns, the rows of the result.

    Returns:
        ``(t_ptr, t_idx, t_perm)``: compressed rows of the transpose; entry ``p`` of it is
        entry ``t_perm[p]`` of ``idx``. What :func:`spmm` takes as ``transpose``.

    Raises:
        TypeError, ValueError, IndexError: as :func:`csr_build`.

    Cost:
        One :func:`csr_build`, and a row id for each edge beside it.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 3]), torch.tensor([0, 2, 2])
        >>> [part.tolist() for part in csr_transpose(ptr, idx, 3)]
        [[0, 1, 1, 3], [0, 0, 1], [0, 1, 2]]
    """
    name = "csr_transpose"
    check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=idx.shape[0])
    check.same_device(name, ("idx", idx), ptr=ptr)
    nodes = torch.arange(ptr.shape[0] - 1, dtype=idx.dtype, device=idx.device)
    row = torch.repeat_interleave(nodes, ptr.diff(), output_size=idx.shape[0])
    return csr_build(idx, row, num_cols, ptr.shape[0] - 1)
