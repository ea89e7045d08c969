from __future__ import annotations

import gc

import numpy as np
import pytest
import torch

from graphlab import ops
from graphlab.ops.twins import gather as twin

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]


def matrix(rows: int, *shape: int, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-100, 100, (rows, *shape), generator=generator)
    return values.to(dtype)


def some_ids(rows: int, count: int, dtype=torch.int64):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(rows, (count,), generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (128,), (4, 5)])
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
def test_copies_rows(dtype, shape, index_dtype):
    source, ids = matrix(50, *shape, dtype=dtype), some_ids(50, 200, index_dtype)
    out = ops.gather_rows(source, ids)
    assert out.dtype == dtype
    assert torch.equal(out, source[ids.long()])


@pytest.mark.parametrize("width", [1, 17, 128, 1433, 8415])
def test_any_row_width_on_the_parallel_path(width, threads):
    count = (
        5_000_000 // width
    )  # beyond 16 MiB: widths of whole cache lines are streamed
    source, ids = matrix(100, width), some_ids(100, count)
    assert torch.equal(ops.gather_rows(source, ids), source[ids])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_decodes_every_16_bit_pattern(dtype, threads):
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    source = patterns.view(dtype).reshape(-1, 8)
    out = ops.gather_rows(source, torch.arange(2**13), dtype=torch.float32)
    torch.testing.assert_close(out, source.float(), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(out.signbit(), source.float().signbit())


def test_decodes_int8_with_and_without_scale(threads):
    source, ids = matrix(300, 33, dtype=torch.int8), some_ids(300, 4000)
    scale = torch.linspace(0.001, 2.0, 300)
    scaled = ops.gather_rows(source, ids, scale=scale)
    assert torch.equal(scaled, source[ids].float() * scale[ids, None])
    plain = ops.gather_rows(source, ids, dtype=torch.float32)
    assert torch.equal(plain, source[ids].float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_native_equals_twin(dtype):
    source, ids = matrix(20, 7, dtype=dtype), some_ids(20, 90)
    scale = torch.rand(20) if dtype == torch.int8 else None
    expected = torch.empty(90, 7)
    twin.gather_rows(source, ids, scale, expected)
    ours = ops.gather_rows(source, ids, scale=scale, dtype=torch.float32)
    assert torch.equal(ours, expected)


def test_out_is_written_and_sets_the_dtype():
    source, ids = matrix(9, 4, dtype=torch.float16), some_ids(9, 6)
    out = torch.full((6, 4), float("nan"))
    assert ops.gather_rows(source, ids, out=out) is out
    assert torch.equal(out, source[ids].float())


def test_padded_rows_and_strided_index():
    padded, ids = matrix(30, 24), some_ids(30, 40)[::2]
    assert torch.equal(ops.gather_rows(padded[:, 3:20], ids), padded[ids, 3:20])
    assert torch.equal(ops.gather_rows(padded[::3], ids % 10), padded[::3][ids % 10])


def test_read_only_memory_map_without_warning(tmp_path):
    # Warnings are errors here, so torch's one about read-only arrays would fail the test.
    stored = np.arange(600, dtype=np.float32).reshape(100, 6)
    np.save(tmp_path / "x.npy", stored)
    mapped = ops.tensor_over(np.load(tmp_path / "x.npy", mmap_mode="r"))
    gc.collect()
    ids = some_ids(100, 30)
    assert torch.equal(ops.gather_rows(mapped, ids), torch.from_numpy(stored)[ids])


def test_tensor_over_shares_memory():
    array = np.zeros(3)
    assert ops.tensor_over(array).data_ptr() == array.ctypes.data
    view = array[1:]
    view.setflags(write=False)
    tensor = ops.tensor_over(view)
    array[1] = 7
    assert tensor.tolist() == [7.0, 0.0]
    empty = np.zeros((0, 4), np.int8)
    empty.setflags(write=False)
    assert ops.tensor_over(empty).shape == (0, 4)


def test_no_rows_and_no_ids():
    nothing = torch.zeros(0, dtype=torch.int64)
    assert ops.gather_rows(torch.zeros(0, 5), nothing).shape == (0, 5)
    assert ops.gather_rows(torch.zeros(4, 5), nothing).shape == (0, 5)


def test_contract():
    for source, scale in [
        (matrix(9, 4), None),
        (matrix(9, 4, dtype=torch.int8), torch.rand(9)),
    ]:
        given = (source, some_ids(9, 6), scale, torch.zeros(6, 4))
        torch.library.opcheck(torch.ops.graphlab.gather_rows, given)


@pytest.mark.parametrize("wrong", [-1, 8, 2**31 - 1])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_ids_out_of_range(wrong, dtype):
    ids = torch.tensor([0, 3, wrong, 1]).to(dtype)
    message = rf"gather_rows: `index` must be in \[0, 8\), got {wrong} at position 2"
    with pytest.raises(IndexError, match=message):
        ops.gather_rows(matrix(8, 3), ids)


X, IDS, CODES = matrix(8, 3), torch.tensor([1, 2]), matrix(8, 3, dtype=torch.int8)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "`source` must be a tensor, got list"),
        (torch.tensor(1.0), {}, ValueError, "`source` must have rows, got a scalar"),
        (X, {"index": IDS.float()}, TypeError, "`index` must be int32 or int64, got f"),
        (X.T, {}, ValueError, r"contiguous rows, got strides .*call .contiguous\(\)"),
        (
            X,
            {"dtype": torch.float64},
            TypeError,
            "`dtype` must be float32 or the dtype",
        ),
        (X.long(), {"dtype": torch.float32}, TypeError, "be float16, bfloat16 or int8"),
        (X, {"scale": torch.ones(8)}, TypeError, "`scale` must come with int8 rows"),
        (CODES, {"scale": torch.ones(7)}, ValueError, "for each of 8 rows, got 7"),
        (CODES, {"scale": torch.ones(8).half()}, TypeError, "`scale` must be float32"),
        (X, {"out": torch.ones(2, 4)}, ValueError, r"shape \[2, 3\], got \[2, 4\]"),
        (X, {"out": torch.ones(3, 2).T}, ValueError, "`out` must be contiguous"),
        (X.clone().requires_grad_(), {}, ValueError, "use torch.index_select"),
    ],
)
def test_errors_name_the_argument(source, options, error, message):
    with pytest.raises(error, match=message):
        ops.gather_rows(source, **({"index": IDS} | options))
