"""The executor of gather programmes equals its twin and plain indexing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphlab.ops import io
from graphlab.ops.twins import io as twin


def stored_rows(
    decode: str, rows: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as bytes, and the values that they decode to."""
    generator = torch.Generator().manual_seed(rows + width)
    values = torch.randn(rows, width, generator=generator)
    if decode == "copy":
        return values.view(torch.uint8).reshape(rows, 4 * width), values
    if decode == "int8":
        scale = values.abs().amax(1) / 127
        codes = (values / scale[:, None]).round().to(torch.int8)
        lead = scale[:, None].view(torch.uint8)
        return torch.cat([lead, codes.view(torch.uint8)], 1), codes * scale[:, None]
    half = values.to(getattr(torch, decode))
    return half.view(torch.uint8).reshape(rows, 2 * width), half.float()


def programme(rows: int, slots: int, packed: int, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    source = generator.integers(0, max(slots, 1), rows).astype(np.int32)
    where = generator.permutation(rows)[:packed]
    source[where] = -1 - generator.permutation(packed).astype(np.int32)
    return torch.from_numpy(source)


@pytest.mark.parametrize("decode", io.DECODES)
@pytest.mark.parametrize(
    ("rows", "packed"), [(0, 0), (1, 1), (50, 0), (50, 50), (777, 300)]
)
@pytest.mark.parametrize("width", [1, 3, 128])
def test_hits_and_rows_equal_indexing(decode, rows, packed, width):
    slots, slot_values = stored_rows(decode, 40, width)
    pack, pack_values = stored_rows(decode, packed, width)
    source = programme(rows, 40, packed)
    out, dst = torch.full((rows, width), -7.0), torch.zeros(packed, dtype=torch.int32)
    io.assemble_hits(slots, source, out, dst, decode=decode)
    half = packed // 2
    for part in (slice(0, half), slice(half, packed)):
        io.assemble_rows(pack[part].reshape(-1), dst[part], out, decode=decode)
    index = source.long()
    expected = torch.empty(rows, width)
    expected[index >= 0] = slot_values[index[index >= 0]]
    expected[index < 0] = pack_values[~index[index < 0]]
    torch.testing.assert_close(out, expected, rtol=0, atol=0)

    again, places = torch.full((rows, width), -7.0), torch.zeros_like(dst)
    twin.assemble_hits(slots, source, decode, again, places)
    twin.assemble_rows(pack.reshape(-1), None, places, decode, again)
    assert torch.equal(again, expected)
    assert torch.equal(places, dst)


def test_every_half_decodes_as_torch_does():
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        half = bits.view(dtype)
        out = torch.empty(2**16, 1)
        dst = torch.arange(2**16, dtype=torch.int32)
        name = str(dtype).removeprefix("torch.")
        io.assemble_rows(half.view(torch.uint8), dst, out, decode=name)
        # NaNs too keep their bits where torch keeps them.
        torch.testing.assert_close(
            out[:, 0], half.float(), rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("run", [io.assemble_rows, None], ids=["op", "twin"])
def test_rows_at_offsets(run):
    values = torch.randn(9, 5)
    bytes = torch.cat(
        [torch.zeros(3, dtype=torch.uint8), values.view(torch.uint8).reshape(-1)]
    )
    order = torch.tensor([8, 0, 4])
    out, dst = torch.zeros(4, 5), torch.tensor([3, 1, 0], dtype=torch.int32)
    offset = 3 + 20 * order
    if run is None:
        twin.assemble_rows(bytes, offset, dst, "copy", out)
    else:
        run(bytes, dst, out, offset=offset)
    assert torch.equal(out[[3, 1, 0]], values[order])
    assert not out[2].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("run", [io.assemble_sparse, twin.assemble_sparse])
def test_sparse_rows(dtype, run):
    dense = (torch.rand(30, 17, generator=torch.Generator().manual_seed(1)) * 9).to(
        dtype
    )
    dense[dense < 5] = 0
    dense[4] = 0
    pieces, begin, end = [], [], []
    at = 0
    for row in dense:
        columns = row.nonzero()[:, 0]
        piece = torch.cat(
            [columns.int().view(torch.uint8), row[columns].view(torch.uint8)]
        )
        pieces.append(piece)
        begin.append(at)
        at += len(piece)
        end.append(at)
    dst = torch.from_numpy(np.random.default_rng(0).permutation(30).astype(np.int32))
    out = torch.ones(30, 17, dtype=dtype)
    run(torch.cat(pieces), torch.tensor(begin), torch.tensor(end), dst, out)
    assert torch.equal(out[dst.long()], dense)


@pytest.mark.parametrize("call", ["op", "twin"])
@pytest.mark.parametrize(
    "source",
    [[0, 5], [0, -2], [-1, -1, -2], [0, 1]],
    ids=["slot", "pack", "twice", "none"],
)
def test_wrong_programmes_never_reach_past_the_end(call, source):
    slots = torch.zeros(5, 4, dtype=torch.uint8)
    source = torch.tensor(source, dtype=torch.int32)
    out = torch.zeros(len(source), 1)
    dst = torch.zeros(1 if len(source) == 2 else 3, dtype=torch.int32)
    run = {
        "op": lambda: io.assemble_hits(slots, source, out, dst),
        "twin": lambda: twin.assemble_hits(slots, source, "copy", out, dst),
    }[call]
    with pytest.raises(RuntimeError, match="`source`"):
        run()


@pytest.mark.parametrize(("offset", "dst"), [(-1, 0), (5, 0), (0, 2), (0, -1)])
def test_wrong_places_never_reach_past_the_end(offset, dst):
    bytes, out = torch.zeros(8, dtype=torch.uint8), torch.zeros(2, 1)
    where, place = torch.tensor([offset]), torch.tensor([dst], dtype=torch.int32)
    for run in (
        lambda: io.assemble_rows(bytes, place, out, offset=where),
        lambda: twin.assemble_rows(bytes, where, place, "copy", out),
    ):
        with pytest.raises(RuntimeError, match="past the end"):
            run()


@pytest.mark.parametrize(
    ("begin", "end", "column", "dst"),
    [
        (-1, 8, 0, 0),
        (0, 16, 0, 0),
        (8, 0, 0, 0),
        (0, 8, 3, 0),
        (0, 8, -1, 0),
        (0, 8, 0, 1),
    ],
)
def test_wrong_sparse_rows_never_reach_past_the_end(begin, end, column, dst):
    row = torch.tensor([column, 0], dtype=torch.int32).view(torch.uint8)
    arguments = (row, torch.tensor([begin]), torch.tensor([end]))
    place, out = torch.tensor([dst], dtype=torch.int32), torch.zeros(1, 3)
    for run in (io.assemble_sparse, twin.assemble_sparse):
        with pytest.raises(RuntimeError, match="past the end"):
            run(*arguments, place, out)


@pytest.mark.parametrize("decode", io.DECODES)
@pytest.mark.parametrize("rows", [9, 30_000])  # the latter over threads
def test_rows_are_kept_as_stored(decode, rows):
    stored, values = stored_rows(decode, rows, 16)
    generator = torch.Generator().manual_seed(0)
    dst = torch.randperm(rows, generator=generator).int()
    keep = torch.randperm(rows, generator=generator).int()
    keep[keep % 3 == 0] = -1
    found = []
    for run in (torch.ops.graphlab_io.assemble_rows, twin.assemble_rows):
        out = torch.zeros(rows, 16)
        slots = torch.zeros(rows, stored.shape[1], dtype=torch.uint8)
        run(stored.reshape(-1), None, dst, decode, out, keep, slots)
        kept = keep >= 0
        assert torch.equal(slots[keep[kept].long()], stored[kept])
        others = torch.ones(rows, dtype=torch.bool)
        others[keep[kept].long()] = False
        assert not slots[others].any()
        assert torch.equal(out[dst.long()], values)
        found.append((out, slots))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("run", [None, twin.assemble_rows], ids=["op", "twin"])
def test_a_kept_row_past_the_end(run):
    run = run or torch.ops.graphlab_io.assemble_rows
    stored, _ = stored_rows("copy", 3, 2)
    out, slots = torch.zeros(3, 2), torch.zeros(2, 8, dtype=torch.uint8)
    dst, keep = torch.arange(3).int(), torch.tensor([0, -1, 2]).int()
    with pytest.raises(RuntimeError, match="`keep`"):
        run(stored.reshape(-1), None, dst, "copy", out, keep, slots)


@pytest.mark.parametrize("threads", [1, 2])
def test_hits_do_not_depend_on_threads(threads):
    slots, values = stored_rows("copy", 500, 64)
    source = programme(40_000, 500, 9_000)
    out, dst = torch.zeros(40_000, 64), torch.zeros(9_000, dtype=torch.int32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        io.assemble_hits(slots, source, out, dst)
    finally:
        torch.set_num_threads(before)
    hit = source >= 0
    assert torch.equal(out[hit], values[source[hit].long()])
    assert torch.equal(source[dst.long()], -1 - torch.arange(9_000).int())


@pytest.mark.parametrize("split", [0, 4, 9])
def test_two_levels_are_one_table(split):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(256, (9, 5), dtype=torch.uint8, generator=generator)
    source = torch.tensor([8, -1, 0, 3, 4, 4, -5], dtype=torch.int32)
    out = torch.full((7, 5), 7, dtype=torch.uint8)
    io.gather_levels(rows[:split], rows[split:], source, out)
    expected = rows[source.clamp(min=0).long()]
    expected[source < 0] = 7
    assert torch.equal(out, expected)
    with pytest.raises(RuntimeError, match="`source`"):
        io.gather_levels(rows[:split], rows[split:], source + 1, out)
    with pytest.raises(ValueError, match="`host_rows`"):
        io.gather_levels(rows, rows[:, :4], source, out)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bytes", [1, 12, 400, 512])
def test_levels_of_a_device(bytes):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(256, (900, bytes), dtype=torch.uint8, generator=generator)
    source = torch.randint(-1, 900, (3000,), dtype=torch.int32, generator=generator)
    expected = torch.zeros(3000, bytes, dtype=torch.uint8)
    io.gather_levels(rows[:300], rows[300:], source, expected)
    out = torch.zeros(3000, bytes, dtype=torch.uint8, device="cuda")
    host = rows[300:].contiguous().pin_memory()
    io.gather_levels(rows[:300].cuda(), host, source.cuda(), out)
    assert torch.equal(out.cpu(), expected)


def test_contract():
    slots, values = stored_rows("copy", 4, 3)
    source = torch.tensor([2, -1], dtype=torch.int32)
    out, dst = torch.zeros(2, 3), torch.zeros(1, dtype=torch.int32)
    ops = torch.ops.graphlab_io
    torch.library.opcheck(ops.assemble_hits, (slots, source, "copy", out, dst))
    flat = values.view(torch.uint8).reshape(-1)
    torch.library.opcheck(ops.assemble_rows, (flat[:12], None, dst, "copy", out))
    span = torch.tensor([0])
    torch.library.opcheck(ops.assemble_sparse, (flat, span, span, dst, out))
    kept = (flat[:12], None, dst, "copy", out, dst, slots)
    torch.library.opcheck(ops.assemble_rows, kept)
    levels = (slots[:2], slots[2:], dst, slots[:1].clone())
    torch.library.opcheck(ops.gather_levels, levels)


ONE = torch.zeros(1, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: io.assemble_rows(ONE, ONE, torch.zeros(1, 1)), TypeError, "`bytes`"),
        (
            lambda: io.assemble_rows(
                torch.zeros(4, dtype=torch.uint8), ONE, torch.zeros(1, 1), decode="int4"
            ),
            ValueError,
            "one of 'copy', 'float16'",
        ),
        (
            lambda: io.assemble_hits(
                torch.zeros(1, 5, dtype=torch.uint8), ONE, torch.zeros(1, 1), ONE
            ),
            ValueError,
            "rows of 4 bytes, got 5",
        ),
        (
            lambda: io.assemble_hits(
                torch.zeros(1, 4, dtype=torch.uint8), ONE, torch.zeros(2, 1), ONE
            ),
            ValueError,
            "`source` must have 2 entries, got 1",
        ),
        (
            lambda: io.assemble_rows(
                torch.zeros(4, dtype=torch.uint8), ONE, torch.zeros(2, 2)[:, ::2]
            ),
            ValueError,
            "`out` must be contiguous",
        ),
        (
            lambda: io.assemble_sparse(
                torch.zeros(4, dtype=torch.uint8),
                torch.zeros(2, dtype=torch.int64),
                torch.zeros(1, dtype=torch.int64),
                ONE,
                torch.zeros(1, 1),
            ),
            ValueError,
            "`begin` must have 1 entries, got 2",
        ),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
