"""segment_reduce and segment_softmax against torch and PyG, float32."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.graphs import cora_size, rmat
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops


def setup(graph: str, how: str, width: int, quick: bool, seed: int) -> Trial:
    from torch_geometric.utils import softmax

    row, col, num_nodes = (
        cora_size(seed) if graph == "cora" else rmat(seed, quick=quick)
    )
    ptr, _, _ = ops.csr_build(row, col, num_nodes, num_nodes)
    generator = torch.Generator().manual_seed(seed)
    src = torch.randn(row.numel(), width, generator=generator)
    owner = torch.repeat_interleave(torch.arange(num_nodes), ptr.diff())
    index = owner[:, None].expand(-1, width)

    def by_scatter() -> Tensor:
        name = {"sum": "sum", "mean": "mean", "max": "amax"}[how]
        out = src.new_zeros(num_nodes, width)
        return out.scatter_reduce_(0, index, src, name, include_self=False)

    peers: list[tuple[str, Callable[[], Tensor], str]]
    if how == "softmax":
        ours: Callable[[], Tensor] = lambda: ops.segment_softmax(src, ptr)  # noqa: E731
        peers = [
            (
                "PyG softmax(ptr)",
                lambda: softmax(src, ptr=ptr, num_nodes=num_nodes),
                "torch-geometric",
            ),
            (
                "PyG softmax(index)",
                lambda: softmax(src, owner, num_nodes=num_nodes),
                "torch-geometric",
            ),
        ]
    else:
        ours = lambda: ops.segment_reduce(src, ptr, how)  # noqa: E731
        peers = [
            (
                "torch.segment_reduce",
                lambda: (
                    torch.segment_reduce(
                        src, how, offsets=ptr, axis=0, unsafe=True, initial=0
                    )
                    if how != "max"
                    else torch.segment_reduce(
                        src, how, offsets=ptr, axis=0, unsafe=True
                    )
                ),
                "torch",
            ),
            ("torch scatter_reduce", by_scatter, "torch"),
        ]

    def agree(mine: Tensor, expected: Tensor) -> None:
        # torch.segment_reduce gives -inf where a segment is empty; ours gives 0.
        full = ptr.diff() > 0
        if how != "softmax":
            mine, expected = mine[full], expected[full]
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-3)

    return Trial(
        [
            Contender("graphlab", ours),
            *(Contender(name, call, [package]) for name, call, package in peers),
        ],
        agree,
        reference=peers[-1][1],
        bytes=src.nbytes * (2 if how == "softmax" else 1) + num_nodes * (8 + 4 * width),
    )


def cases(quick: bool) -> Iterable[Case]:
    for graph in ("rmat",) if quick else ("rmat", "cora"):
        for how, width in (("sum", 16), ("mean", 16), ("max", 16), ("softmax", 4)):
            yield Case(
                f"{how}, {graph}, width {width}",
                lambda seed, g=graph, h=how, w=width: setup(g, h, w, quick, seed),
                {
                    "graph": {
                        "rmat": "R-MAT, 1M nodes, 10M edges, relabelled at random",
                        "cora": "uniform, 2,708 nodes, 10,556 edges",
                    }[graph],
                    "width": width,
                    "dtype": "float32",
                },
                loops=1 if quick or graph != "cora" else 100,
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    harness.main("segment", cases)
