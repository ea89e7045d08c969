from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, random_array

from graphlab.datasets import Column, MemmapColumn, SparseColumn, gather

IDS = torch.tensor([3, 0, 3, 5])


def sparse(data_dtype=np.float32, idx_dtype=np.uint16):
    matrix = random_array(
        (6, 9), density=0.3, format="csr", rng=np.random.default_rng(0)
    )
    idx = matrix.indices.astype(idx_dtype)
    data = (matrix.data * 100).astype(data_dtype)
    return SparseColumn(matrix.indptr, idx, data, (6, 9))


def columns(tmp_path):
    dense = sparse().to_dense()
    np.save(tmp_path / "x.npy", dense.numpy())
    return {
        "tensor": dense,
        "sparse": sparse(),
        "memmap": MemmapColumn(tmp_path / "x.npy"),
        "array": MemmapColumn(dense.numpy()),
    }


@pytest.mark.parametrize("kind", ["tensor", "sparse", "memmap", "array"])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_gather_copies_rows(kind, dtype, tmp_path):
    column = columns(tmp_path)[kind]
    expected = sparse().to_dense()[IDS]
    assert torch.equal(gather(column, IDS.to(dtype)), expected)
    out = torch.full((4, 9), float("nan"))
    assert gather(column, IDS.to(dtype), out) is out
    assert torch.equal(out, expected)
    wide = torch.full((4, 18), float("nan"))
    gather(column, IDS.to(dtype), wide[:, :9])
    assert torch.equal(wide[:, :9], expected)
    assert gather(column, torch.empty(0, dtype=dtype)).shape == (0, 9)


@pytest.mark.parametrize("kind", ["tensor", "sparse", "memmap"])
@pytest.mark.parametrize(
    ("ids", "out", "error", "message"),
    [
        (torch.tensor([0, 6]), None, IndexError, r"in \[0, 6\), got 6 at position 1"),
        (torch.tensor([-1]), None, IndexError, "got -1 at position 0"),
        (torch.ones(6).bool(), None, TypeError, r"got a mask; use mask.nonzero"),
        (torch.ones(6), None, TypeError, "int32 or int64, got float32"),
        ([1], None, TypeError, "`ids` must be a tensor"),
        (
            torch.tensor([0]),
            torch.empty(2, 9),
            ValueError,
            r"shape \[1, 9\], got \[2, 9\]",
        ),
        (
            torch.tensor([0]),
            torch.empty(1, 9).int(),
            TypeError,
            "be float32, got int32",
        ),
    ],
)
def test_gather_refuses_with_words(kind, ids, out, error, message, tmp_path):
    with pytest.raises(error, match=message):
        gather(columns(tmp_path)[kind], ids, out)


@pytest.mark.parametrize("data_dtype", [np.uint8, np.float32, np.float64, bool])
@pytest.mark.parametrize("idx_dtype", [np.uint16, np.int32, np.int64])
def test_sparse_equals_scipy(data_dtype, idx_dtype):
    column = sparse(data_dtype, idx_dtype)
    reference = csr_matrix(
        (column.data, column.idx, column.ptr), shape=(6, 9)
    ).toarray()
    assert column.dtype == (
        torch.float64 if data_dtype == np.float64 else torch.float32
    )
    assert np.array_equal(column.to_dense().numpy(), reference)
    assert np.array_equal(column.to_scipy().toarray(), reference)
    again = SparseColumn.from_scipy(column.to_scipy())
    assert torch.equal(again.to_dense(), column.to_dense())


def test_sparse_holds_its_own_bytes_only():
    column = SparseColumn(
        np.array([0, 1, 3], np.int32),
        np.array([2, 0, 1], np.uint16),
        np.ones(1, np.uint8),
        (2, 3),
    )
    assert column.nbytes == 12 + 6 + 1
    assert column.dense_nbytes == 24
    assert column.shape == (2, 3)
    assert column.to_dense().tolist() == [[0, 0, 1], [1, 1, 0]]
    assert column.to_scipy().toarray().tolist() == [[0, 0, 1], [1, 1, 0]]
    assert repr(column) == "SparseColumn(shape=[2, 3], nnz=3)"


def test_scipy_duplicates_are_summed():
    matrix = csr_matrix((np.ones(3), [1, 1, 0], [0, 2, 3]), shape=(2, 2))
    assert SparseColumn.from_scipy(matrix).to_dense().tolist() == [[0, 2], [1, 0]]


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (([0, 1], [3], [1], (1, 3)), IndexError, r"`idx` must be in \[0, 3\), got 3"),
        (([0, 1], [0], [1], (2, 3)), ValueError, r"`ptr` must have shape .*\[3\]"),
        (([0, 2, 1], [0], [1], (2, 3)), ValueError, "`ptr` must start at 0"),
        (([0, 2], [0], [1], (1, 3)), ValueError, r"`idx` must have shape"),
        (
            ([0, 3], [0, 1, 2], [1, 1], (1, 3)),
            ValueError,
            r"`data` must have shape \[3\]",
        ),
        (
            ([0, 1], [0.5], [1], (1, 3)),
            TypeError,
            "`idx` must hold integers, got float64",
        ),
        (([0, 1], [0], ["a"], (1, 3)), TypeError, "`data` must hold real numbers"),
    ],
)
def test_sparse_parts_are_checked(parts, error, message):
    with pytest.raises(error, match=message):
        SparseColumn(*parts)


def test_memmap_counts_no_memory_and_maps_widths(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12, dtype=np.uint16).reshape(6, 2))
    column = MemmapColumn(tmp_path / "x.npy")
    assert column.nbytes == 0
    assert column.dtype == torch.int32
    assert gather(column, torch.tensor([5])).tolist() == [[10, 11]]
    assert MemmapColumn(np.zeros((2, 2))).nbytes == 32
    assert "shape=[6, 2]" in repr(column)
    with pytest.raises(TypeError, match="`array` must be an array or path, got list"):
        MemmapColumn([1])
    with pytest.raises(ValueError, match="have rows, got a scalar"):
        MemmapColumn(np.array(1))
    with pytest.raises(TypeError, match="numbers or bools"):
        MemmapColumn(np.array(["a"]))


def test_columns_satisfy_the_protocol(tmp_path):
    assert all(isinstance(column, Column) for column in columns(tmp_path).values())
    assert not isinstance(np.zeros(3), Column)
