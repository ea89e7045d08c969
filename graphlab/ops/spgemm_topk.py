"""Sparse times sparse, of which each row keeps its largest entries."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

Matrix = tuple[Tensor, Tensor, Tensor]


def _fake(a_ptr: Tensor, a_idx: Tensor, a_val: Tensor, *rest: object) -> Matrix:
    entries = torch.library.get_ctx().new_dynamic_size()
    return torch.empty_like(a_ptr), a_idx.new_empty(entries), a_val.new_empty(entries)


declare(
    "spgemm_topk(Tensor a_ptr, Tensor a_idx, Tensor a_val, Tensor b_ptr, Tensor b_idx,"
    " Tensor b_val, Tensor? c_ptr, Tensor? c_idx, Tensor? c_val, int num_cols, int k)"
    " -> (Tensor, Tensor, Tensor)",
    twin="graphlab.ops.twins.spgemm_topk:spgemm_topk",
    fake=_fake,
)


def spgemm_topk(
    a: Matrix,
    b: Matrix,
    num_cols: int,
    *,
    k: int | None = None,
    plus: Matrix | None = None,
) -> Matrix:
    """Multiply two sparse matrices, add a third, and keep the largest entries of each row.

    Row i of the result holds the ``k`` largest entries of row i of ``A B + C``; of equal
    values those with smaller columns. Matrices are compressed rows ``(ptr, idx, val)``.

    Args:
        a: A [n, m]: ``ptr`` [n + 1] int64, ``idx`` int32 or int64, ``val`` float32 or float64.
        b: B [m, num_cols], dtypes of ``a``.
        num_cols: Columns of the result.
        k: Entries that a row keeps; None: all.
        plus: C [n, num_cols], dtypes of ``a``.

    Returns:
        ``(ptr, idx, val)``, dtypes of ``a``, columns ascending inside a row. No gradient.

    Raises:
        TypeError: wrong or differing dtypes.
        ValueError: wrong rank, length or device; not on the CPU.
        IndexError: a column out of range.

    Cost:
        One table access for each of the products that make up the result, and a selection
        over a row's distinct columns. Memory: the result twice, and for each thread a table
        of the widest row; never a dense row. Parallel over rows; sums in float64 in the
        order of the entries, so the same bits for any thread count.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 3]), torch.tensor([0, 1, 0])
        >>> p = (ptr, idx, torch.tensor([0.5, 0.5, 1.0]))
        >>> [part.tolist() for part in spgemm_topk(p, p, 2, k=1)]
        [[0, 1, 2], [0, 0], [0.75, 0.5]]
    """
    name = "spgemm_topk"
    _check(name, "a", a, a)
    _check(name, "b", b, a)
    if plus is not None:
        _check(name, "plus", plus, a)
        if len(plus[0]) != len(a[0]):
            requirement = f"have the {len(a[0]) - 1} rows of `a`"
            check.fail(ValueError, name, "plus", requirement, len(plus[0]) - 1)
    check.positive(name, "num_cols", num_cols, least=0)
    if k is not None:
        check.positive(name, "k", k)
    c = (None, None, None) if plus is None else _contiguous(plus)
    try:
        return torch.ops.graphlab.spgemm_topk(
            *_contiguous(a), *_contiguous(b), *c, num_cols, k or 0
        )
    except RuntimeError:
        # The kernel meets wrong ids as it adds; only then do they cost a pass here.
        check.ids_in_range(name, "a", a[1], len(b[0]) - 1)
        check.ids_in_range(name, "b", b[1], num_cols)
        if plus is not None:
            check.ids_in_range(name, "plus", plus[1], num_cols)
        raise


def _contiguous(matrix: Matrix) -> Matrix:
    ptr, idx, val = matrix
    return ptr.contiguous(), idx.contiguous(), val.contiguous()


def _check(name: str, argument: str, matrix: object, like: Matrix) -> None:
    if not isinstance(matrix, tuple) or len(matrix) != 3:
        got = type(matrix).__name__
        check.fail(TypeError, name, argument, "be (ptr, idx, val)", got)
    ptr, idx, val = matrix
    is_first = matrix is like
    indices = check.INDEX_DTYPES if is_first else (like[1].dtype,)
    values = check.FLOAT_DTYPES if is_first else (like[2].dtype,)
    check.tensor(name, argument, idx, dtypes=indices, ndim=1)
    check.tensor(name, argument, val, dtypes=values, ndim=1)
    check.offsets(name, argument, ptr, end=len(idx))
    if len(val) != len(idx):
        requirement = f"have a value for each of {len(idx)} entries"
        check.fail(ValueError, name, argument, requirement, len(val))
    for part in matrix:
        if part.device.type != "cpu":
            check.fail(ValueError, name, argument, "be on the CPU", part.device)
