"""spmm against torch.sparse (CSR, MKL) and scipy: the forward product, float32."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import scipy.sparse
import torch

from benchmarks import harness
from benchmarks.graphs import cora_size, rmat
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops


def setup(graph: str, width: int, weighted: bool, quick: bool, seed: int) -> Trial:
    row, col, num_nodes = (
        cora_size(seed) if graph == "cora" else rmat(seed, quick=quick)
    )
    ptr, idx, _ = ops.csr_build(row, col, num_nodes, num_nodes)
    num_edges = idx.numel()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_nodes, width, generator=generator)
    weight = torch.rand(num_edges, generator=generator) if weighted else None
    # The peers have no product without weights: theirs are ones.
    values = torch.ones(num_edges) if weight is None else weight
    shape = (num_nodes, num_nodes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # MKL takes int32 indices without a copy.
        theirs = torch.sparse_csr_tensor(ptr.int(), idx, values, shape)
    parts = values.numpy(), idx.numpy(), ptr.int().numpy()
    matrix = scipy.sparse.csr_matrix(parts, shape=shape)
    dense = x.numpy()

    def agree(mine: object, expected: torch.Tensor) -> None:
        torch.testing.assert_close(
            torch.as_tensor(mine, dtype=torch.float64), expected, rtol=1e-4, atol=1e-2
        )

    def reference() -> torch.Tensor:
        exact = scipy.sparse.csr_matrix(
            (parts[0].astype(np.float64), *parts[1:]), shape=shape
        )
        return torch.from_numpy(exact @ dense.astype(np.float64))

    return Trial(
        [
            Contender("graphlab", lambda: ops.spmm(ptr, idx, x, weight=weight)),
            Contender("torch.sparse.mm", lambda: torch.sparse.mm(theirs, x), ["torch"]),
            Contender("scipy", lambda: matrix @ dense, ["scipy"]),
        ],
        agree,
        reference,
        # A row of x for each edge, an index (and weight), and the result once.
        bytes=num_edges * (4 * width + 4 + 4 * weighted) + num_nodes * (4 * width + 8),
        ops=num_edges * width * (2 if weighted else 1),
    )


def cases(quick: bool) -> Iterable[Case]:
    for graph in ("rmat",) if quick else ("rmat", "cora"):
        for width in (16,) if quick else (16, 64, 128, 256):
            for weighted in (False, True):
                kind = "weighted" if weighted else "plain"
                yield Case(
                    f"{graph} width {width} {kind}",
                    lambda seed, g=graph, w=width, k=weighted: setup(
                        g, w, k, quick, seed
                    ),
                    {
                        "graph": {
                            "rmat": "R-MAT, 1M nodes, 10M edges, relabelled at random",
                            "cora": "uniform, 2,708 nodes, 10,556 edges",
                        }[graph],
                        "width": width,
                        "dtype": "float32",
                        "weighted": weighted,
                    },
                    loops=1 if quick or graph != "cora" else 100,
                )


if __name__ == "__main__":
    harness.main("spmm", cases)
