"""gather_rows against torch: rows copied into a result held ready, and rows decoded."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops


def setup(
    width: int, dtype: torch.dtype, num_rows: int, count: int, seed: int
) -> Trial:
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(num_rows, (count,), generator=generator)
    out = torch.empty(count, width)
    scale = None
    if dtype == torch.int8:
        shape = (num_rows, width)
        source = torch.randint(-127, 128, shape, dtype=dtype, generator=generator)
        scale = torch.rand(num_rows, generator=generator)
    else:
        source = torch.randn(num_rows, width, generator=generator).to(dtype)

    def theirs() -> torch.Tensor:
        if dtype == torch.float32:
            return torch.index_select(source, 0, index, out=out)
        rows = torch.index_select(source, 0, index)
        if scale is None:
            return out.copy_(rows)
        # In place, so that torch makes no more temporaries than it must.
        return out.copy_(rows).mul_(scale.index_select(0, index)[:, None])

    def same(mine: torch.Tensor, expected: torch.Tensor) -> None:
        assert torch.equal(mine, expected)

    return Trial(
        [
            Contender(
                "graphlab",
                lambda: ops.gather_rows(source, index, scale=scale, out=out),
            ),
            Contender("torch.index_select", theirs, ["torch"]),
        ],
        same,
        reference=lambda: theirs().clone(),
        bytes=count * (width * (source.element_size() + 4) + 8),
    )


def cases(quick: bool) -> Iterable[Case]:
    num_rows, count = (10_000, 1_000) if quick else (1_000_000, 200_000)
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int8):
        for width in (16,) if quick else (16, 128, 600):
            name = str(dtype).removeprefix("torch.")
            yield Case(
                f"{count:,} of {num_rows:,} rows, {name} x {width} to float32",
                lambda seed, w=width, d=dtype: setup(w, d, num_rows, count, seed),
                {"num_rows": num_rows, "count": count, "width": width, "dtype": name},
            )


if __name__ == "__main__":
    harness.main("gather_rows", cases)
