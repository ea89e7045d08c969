"""The CUDA kernels against torch on the same device: CSR build, gather, spmm, segments."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from benchmarks import harness
from benchmarks.graphs import rmat
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops

GRAPH = "R-MAT, 1M nodes, 10M edges, relabelled at random"


def close(mine: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-2)


def pair(
    ours: Callable[[], Any], name: str, theirs: Callable[[], Any], size: int
) -> Trial:
    contenders = [Contender("graphlab", ours), Contender(name, theirs, ["torch"])]
    return Trial(contenders, close, bytes=size)


def build(quick: bool, seed: int) -> Trial:
    row, col, num_nodes = rmat(seed, quick=quick)
    row, col = row.cuda(), col.cuda()

    def theirs() -> torch.Tensor:
        edge_id = torch.argsort(row, stable=True)
        torch.bincount(row, minlength=num_nodes).cumsum(0)
        return col[edge_id].int()

    return pair(
        lambda: ops.csr_build(row, col, num_nodes, num_nodes)[1],
        "torch.argsort",
        theirs,
        row.numel() * 24,
    )


def gather(quick: bool, width: int, seed: int) -> Trial:
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(
        10_000 if quick else 1_000_000, width, generator=generator
    ).cuda()
    index = torch.randint(len(source), (len(source) // 5,), generator=generator).cuda()
    return pair(
        lambda: ops.gather_rows(source, index),
        "torch.index_select",
        lambda: source.index_select(0, index),
        index.numel() * width * 8,
    )


def multiply(quick: bool, width: int, seed: int) -> Trial:
    row, col, num_nodes = rmat(seed, quick=quick)
    ptr, idx, _ = ops.csr_build(row.cuda(), col.cuda(), num_nodes, num_nodes)
    x = torch.randn(num_nodes, width, device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        values = torch.ones(idx.numel(), device="cuda")
        matrix = torch.sparse_csr_tensor(ptr.int(), idx, values, (num_nodes, num_nodes))
    return pair(
        lambda: ops.spmm(ptr, idx, x),
        "torch.sparse.mm",
        lambda: torch.sparse.mm(matrix, x),
        idx.numel() * (4 * width + 4) + num_nodes * (4 * width + 8),
    )


def reduce(quick: bool, width: int, seed: int) -> Trial:
    row, col, num_nodes = rmat(seed, quick=quick)
    ptr, _, _ = ops.csr_build(row.cuda(), col.cuda(), num_nodes, num_nodes)
    src = torch.randn(row.numel(), width, device="cuda")
    return pair(
        lambda: ops.segment_reduce(src, ptr),
        "torch.segment_reduce",
        lambda: torch.segment_reduce(src, "sum", offsets=ptr, axis=0, unsafe=True),
        src.nbytes + num_nodes * (8 + 4 * width),
    )


def train(quick: bool, dtype: torch.dtype, seed: int) -> Trial:
    """Pairs at random over 10M nodes: three rows of 128 read and written for each."""
    nodes, count = (10_000, 100_000) if quick else (10_000_000, 20_000_000)
    head = torch.zeros(nodes, 128, dtype=dtype, device="cuda")
    tail = torch.zeros(nodes, 128, dtype=dtype, device="cuda")
    tables = [
        t.cuda() for t in ops.alias_build(torch.tensor([0, nodes]), torch.ones(nodes))
    ]
    generator = torch.Generator("cuda").manual_seed(seed)
    walks = torch.randint(
        nodes, (count, 2), generator=generator, dtype=torch.int32, device="cuda"
    )

    def ours() -> Any:
        return ops.skipgram_train(
            head, tail, walks, *tables, window=1, forward=True, negatives=1
        )

    note = {"pairs": count}
    return Trial(
        [Contender("graphlab", ours, notes=lambda _: note)],
        None,
        bytes=count * 3 * 128 * dtype.itemsize * 2,
    )


def cases(quick: bool) -> Iterable[Case]:
    if not torch.cuda.is_available():
        raise SystemExit("benchmark cuda: no CUDA device here")
    facts = {"graph": GRAPH, "dtype": "float32", "device": "cuda"}
    yield Case("cuda csr_build", lambda seed: build(quick, seed), facts)
    for width in (16, 64, 128, 256):
        told = facts | {"width": width}
        yield Case(
            f"cuda gather_rows width {width}",
            lambda seed, w=width: gather(quick, w, seed),
            told,
        )
        yield Case(
            f"cuda spmm width {width}",
            lambda seed, w=width: multiply(quick, w, seed),
            told,
        )
    told = facts | {"width": 16}
    yield Case(
        "cuda segment_reduce width 16", lambda seed: reduce(quick, 16, seed), told
    )
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        yield Case(
            f"cuda skipgram_train {name}",
            lambda seed, d=dtype: train(quick, d, seed),
            facts
            | {"graph": "10M nodes, pairs at random", "width": 128, "dtype": name},
            repeats=5,
        )


if __name__ == "__main__":
    harness.main("cuda", cases)
