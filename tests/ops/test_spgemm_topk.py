from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab import ops
from graphlab.ops.twins import spgemm_topk as twin


def random_matrix(rows, cols, density, seed, dtype=torch.float32, index=torch.int32):
    random = np.random.default_rng(seed)
    csr = scipy.sparse.random(rows, cols, density, "csr", rng=random)
    return (
        torch.from_numpy(csr.indptr).long(),
        torch.from_numpy(csr.indices).to(index),
        torch.from_numpy(csr.data).to(dtype),
    )


def dense(matrix, cols):
    ptr, idx, val = (part.numpy() for part in matrix)
    return scipy.sparse.csr_matrix((val, idx, ptr), (len(ptr) - 1, cols)).toarray()


def brute_force(a, b, cols, k, plus):
    product = dense(a, len(b[0]) - 1).astype(np.float64) @ dense(b, cols)
    product = product if plus is None else product + dense(plus, cols)
    kept = np.zeros_like(product)
    for row in range(len(product)):
        order = np.lexsort((np.arange(cols), -product[row]))
        chosen = order[:k] if k else order
        kept[row, chosen] = product[row, chosen]
    return kept


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 12),
    middle=st.integers(1, 12),
    cols=st.integers(1, 15),
    density=st.floats(0, 1),
    k=st.none() | st.integers(1, 16),
    seed=st.integers(0, 1000),
    with_plus=st.booleans(),
)
def test_equals_brute_force_and_twin(rows, middle, cols, density, k, seed, with_plus):
    a = random_matrix(rows, middle, density, seed, torch.float64)
    b = random_matrix(middle, cols, density, seed + 1, torch.float64)
    plus = random_matrix(rows, cols, density, seed + 2, torch.float64)
    plus = plus if with_plus else None
    ours = ops.spgemm_topk(a, b, cols, k=k, plus=plus)
    np.testing.assert_allclose(dense(ours, cols), brute_force(a, b, cols, k, plus))
    c = (None, None, None) if plus is None else plus
    expected = twin.spgemm_topk(*a, *b, *c, cols, k or 0)
    assert all(torch.equal(x, y) for x, y in zip(ours, expected, strict=True))
    for row in range(rows):
        columns = ours[1][ours[0][row] : ours[0][row + 1]]
        assert bool((columns.diff() > 0).all())


@pytest.mark.parametrize("index", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_for_any_thread_count_and_as_the_twin(dtype, index):
    a = random_matrix(3000, 500, 0.01, 0, dtype, index)
    b = random_matrix(500, 4000, 0.01, 1, dtype, index)
    results = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        results.append(ops.spgemm_topk(a, b, 4000, k=20))
    torch.set_num_threads(2)
    results.append(twin.spgemm_topk(*a, *b, None, None, None, 4000, 20))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))
    assert results[0][1].dtype == index


def test_of_equal_values_the_smaller_columns_stay():
    a = torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1)
    b = torch.tensor([0, 5]), torch.tensor([4, 2, 0, 3, 1]), torch.ones(5)
    assert ops.spgemm_topk(a, b, 5, k=2)[1].tolist() == [0, 1]


def test_contract():
    a, b = random_matrix(5, 6, 0.5, 0), random_matrix(6, 7, 0.5, 1)
    op = torch.ops.graphlab.spgemm_topk
    torch.library.opcheck(op, (*a, *b, None, None, None, 7, 3))


M = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.ones(2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"a": M[:2]}, TypeError, r"`a` must be \(ptr, idx, val\), got tuple"),
        ({"b": (M[0], M[1].int(), M[2])}, TypeError, "`b` must be int64, got int32"),
        ({"b": (M[0], M[1], M[2].double())}, TypeError, "float32, got float64"),
        ({"b": (M[0], M[1], M[2][:1])}, ValueError, "each of 2 entries, got 1"),
        ({"plus": (M[0][:2], M[1][:1], M[2][:1])}, ValueError, "2 rows of `a`, got 1"),
        ({"k": 0}, ValueError, "`k` must be at least 1, got 0"),
        ({"num_cols": 1}, IndexError, r"`b` must be in \[0, 1\), got 1"),
        ({"b": (M[0][:2], M[1][:1], M[2][:1])}, IndexError, r"`a` must be in \[0, 1\)"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    call = {"a": M, "b": M, "num_cols": 2} | change
    with pytest.raises(error, match=message):
        ops.spgemm_topk(call.pop("a"), call.pop("b"), call.pop("num_cols"), **call)


@pytest.mark.parametrize("k", [None, 5])
def test_few_and_many_columns_give_the_same(k):
    # Few columns have a place each, many are hashed.
    cols, apart = 300, 4_000
    a = random_matrix(40, 60, 0.2, 0)
    ptr, idx, val = random_matrix(60, cols, 0.2, 1)
    near = ops.spgemm_topk(a, (ptr, idx, val), cols, k=k)
    far = ops.spgemm_topk(a, (ptr, idx * apart, val), cols * apart, k=k)
    assert torch.equal(near[0], far[0])
    assert torch.equal(near[1] * apart, far[1])
    assert torch.equal(near[2], far[2])
