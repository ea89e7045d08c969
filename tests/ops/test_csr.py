from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab import ops
from graphlab.ops.twins import csr as twin


def edges(num_rows: int, num_cols: int, count: int, dtype=torch.int64, *, hub=False):
    generator = torch.Generator().manual_seed(count)
    row = torch.randint(max(num_rows, 1), (count,), generator=generator)
    if hub:
        row[::2] = num_rows // 2
    col = torch.randint(max(num_cols, 1), (count,), generator=generator)
    return row.to(dtype), col.to(dtype)


# The large ones take the two-level path: with one row, few rows, many rows, a hub, and
# buckets that span more than 65,536 rows.
CASES = {
    "no rows": (0, 0, 0, False),
    "no edges": (5, 3, 0, False),
    "small": (7, 4, 50, False),
    "one row": (1, 9, 40_000, False),
    "few rows": (3, 1000, 200_000, False),
    "many rows": (50_001, 70_000, 300_000, False),
    "hub": (50_001, 70_000, 300_000, True),
    "mostly empty rows": (1_000_000, 10, 200_000, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_equals_twin(case, dtype, threads):
    num_rows, num_cols, count, hub = case
    row, col = edges(num_rows, num_cols, count, dtype, hub=hub)
    ours = ops.csr_build(row, col, num_rows, num_cols)
    for mine, expected in zip(
        ours, twin.csr_build(row, col, num_rows, num_cols), strict=True
    ):
        assert mine.dtype == expected.dtype
        assert torch.equal(mine, expected)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30
        ).map(lambda pairs: (n, pairs))
    )
)
@settings(deadline=None)
def test_laws_on_any_small_graph(case):
    size, pairs = case
    row, col = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    ptr, idx, edge_id = ops.csr_build(row, col, size, size)
    assert (int(ptr[0]), int(ptr[-1])) == (0, len(pairs))
    assert torch.equal(ptr.diff(), torch.bincount(row, minlength=size))
    assert sorted(edge_id.tolist()) == list(range(len(pairs)))
    assert torch.equal(col[edge_id.long()], idx.long())
    for r in range(size):
        span = edge_id[ptr[r] : ptr[r + 1]].tolist()
        assert span == sorted(span)
        assert all(pairs[e][0] == r for e in span)


def test_int64_columns_where_they_do_not_fit_int32():
    col = torch.tensor([2**31 + 5, 7, 2**40 - 1])
    ptr, idx, edge_id = ops.csr_build(torch.tensor([1, 0, 1]), col, 2, 2**40)
    assert idx.dtype == torch.int64
    assert idx.tolist() == [7, 2**31 + 5, 2**40 - 1]
    assert (ptr.tolist(), edge_id.tolist()) == ([0, 1, 3], [1, 0, 2])


def test_wide_columns_on_the_large_path(threads):
    row, col = edges(5000, 2**40, 100_000)
    ours = ops.csr_build(row, col, 5000, 2**40)
    expected = twin.csr_build(row, col, 5000, 2**40)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))


def test_strided_input():
    row, col = torch.tensor([[2, 0], [0, 1], [2, 1]]).T
    ptr, idx, _ = ops.csr_build(row, col, 3, 2)
    assert (ptr.tolist(), idx.tolist()) == ([0, 1, 1, 3], [1, 0, 1])


def test_contract():
    row, col = edges(9, 4, 30)
    torch.library.opcheck(torch.ops.graphlab.csr_build, (row, col, 9, 4))


@pytest.mark.parametrize("count", [100, 200_000])
@pytest.mark.parametrize("argument", ["row", "col"])
@pytest.mark.parametrize("wrong", [-1, 50, 2**31 - 1])
def test_ids_out_of_range(count, argument, wrong):
    given = dict(zip(("row", "col"), edges(50, 50, count, torch.int32), strict=True))
    given[argument][count // 2] = wrong
    message = rf"csr_build: `{argument}` must be in \[0, 50\), got {wrong} at"
    with pytest.raises(IndexError, match=message):
        ops.csr_build(**given, num_rows=50, num_cols=50)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"row": [0]}, TypeError, "`row` must be a tensor, got list"),
        ({"row": torch.ones(2)}, TypeError, "`row` must be int32 or int64, got float"),
        ({"col": torch.ones(2).int()}, TypeError, "`col` must be int64, got int32"),
        ({"row": torch.zeros(2, 1).long()}, ValueError, "`row` must have 1 dimension"),
        ({"col": torch.zeros(3).long()}, ValueError, r"length of `row` \(2\), got 3"),
        ({"num_rows": -1}, ValueError, "`num_rows` must be at least 0, got -1"),
        ({"num_cols": 2.0}, TypeError, "`num_cols` must be an int, got float"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    zero = torch.zeros(2, dtype=torch.int64)
    given = {"row": zero, "col": zero, "num_rows": 2, "num_cols": 2} | change
    with pytest.raises(error, match=message):
        ops.csr_build(**given)
