"""Directed propagation against operators that are built first, as ADPA's release does.

The unit of work begins with the graph's edges and ends with 128 feature columns propagated
once by A + I, T + I, AA, AT, TA and TT, float32. The peers build the products with scipy,
scale them, and multiply with torch's sparse CSR (MKL), or with its sparse COO as the release
does. A second line leaves the building out. Agreement: the norm of the difference from the
same in float64 is below 1e-6 of the norm.

    python -m benchmarks.models.directed_propagation
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import Graph, datasets
from graphlab.graph import DirectedOperators

COLUMNS = 128


def tolokers_size(seed: int) -> Graph:
    """11,758 nodes and 519,000 edges with degrees as uneven as tolokers': generated."""
    draws = np.random.default_rng(seed)
    weight = draws.lognormal(0.0, 1.25, 11_758)
    share = weight / weight.sum()
    pairs = draws.choice(11_758, (2, 600_000), p=share)
    low, high = pairs.min(0), pairs.max(0)
    keys = np.unique((low * 11_758 + high)[low != high])
    keys = draws.permutation(keys)[:519_000]
    return Graph(np.stack([keys // 11_758, keys % 11_758]), num_nodes=11_758)


def graph_of(name: str, seed: int) -> Graph:
    if name == "squirrel":
        return datasets.load("squirrel").graph
    if name == "tolokers-size":
        return tolokers_size(seed)
    draws = np.random.default_rng(seed)
    return Graph(draws.integers(0, 500, (2, 4000)), num_nodes=500)


def built(a: Any, dtype: Any) -> list[Any]:
    """The six operators as matrices, r = 0.5, scaled by row and by column sums."""
    a = a.astype(dtype)
    t = a.T.tocsr()
    identity = scipy.sparse.identity(a.shape[0], dtype=dtype, format="csr")
    products = [a + identity, t + identity, a @ a, a @ t, t @ a, t @ t]
    scaled = []
    for p in products:
        row = np.asarray(p.sum(1)).ravel()
        column = np.asarray(p.sum(0)).ravel()
        left, right = (_inverse_root(d) for d in (row, column))
        scaled.append(
            (scipy.sparse.diags(left) @ p @ scipy.sparse.diags(right)).tocsr()
        )
    return scaled


def _inverse_root(d: Any) -> Any:
    with np.errstate(divide="ignore"):
        return np.where(d > 0, d**-0.5, 0.0).astype(d.dtype)


def as_torch(matrix: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        parts = (matrix.indptr, matrix.indices, matrix.data)
        return torch.sparse_csr_tensor(
            *(torch.from_numpy(p) for p in parts), size=matrix.shape
        )


def setup(name: str, whole: bool, seed: int) -> Trial:
    graph = graph_of(name, seed)
    n = graph.num_nodes
    source, target = graph.edge_index.numpy()
    keep = source != target
    a = scipy.sparse.csr_matrix(
        (np.ones(keep.sum(), np.float32), (source[keep], target[keep])), shape=(n, n)
    )
    a.data[:] = 1
    x = torch.randn(n, COLUMNS, generator=torch.Generator().manual_seed(seed))

    def ours() -> Tensor:
        # A new Graph: nothing may be left from the round before.
        operators = DirectedOperators(Graph(graph.edge_index, num_nodes=n))
        return torch.stack(operators.step(x))

    def theirs() -> Tensor:
        return torch.stack([as_torch(p) @ x for p in built(a, np.float32)])

    def as_released() -> Tensor:
        matrices = [as_torch(p).to_sparse_coo() for p in built(a, np.float32)]
        return torch.stack([torch.sparse.mm(m, x) for m in matrices])

    run: Callable[[], Tensor] = ours
    peer: Callable[[], Tensor] = theirs
    release: Callable[[], Tensor] = as_released
    if not whole:
        operators = DirectedOperators(graph)
        matrices = [as_torch(p) for p in built(a, np.float32)]

        def run() -> Tensor:
            return torch.stack(operators.step(x))

        def peer() -> Tensor:
            return torch.stack([m @ x for m in matrices])

        coo = [m.to_sparse_coo() for m in matrices]

        def release() -> Tensor:
            return torch.stack([torch.sparse.mm(m, x) for m in coo])

    def reference() -> Tensor:
        """In float64, by products with vectors only: building takes minutes and gigabytes."""
        exact = DirectedOperators(graph)
        return torch.stack(exact.step(x.double()))

    def agree(mine: Any, expected: Tensor) -> None:
        difference = (mine.double() - expected).norm() / expected.norm()
        assert difference < 1e-6, f"relative error {difference}"

    edges = int(a.nnz)
    return Trial(
        [
            Contender("graphlab", run),
            Contender("built, CSR", peer, ["scipy", "torch"]),
            Contender("built, COO", release, ["scipy", "torch"]),
        ],
        agree,
        reference,
        # Ten products: a row of x an edge; six results.
        bytes=10 * edges * (4 * COLUMNS + 4) + 6 * n * 4 * COLUMNS,
        ops=10 * edges * COLUMNS,
    )


def cases(quick: bool) -> Iterable[Case]:
    names = ("small",) if quick else ("squirrel", "tolokers-size")
    for name in names:
        for whole in (True, False):
            what = "from edges" if whole else "operators ready"
            long = name == "tolokers-size"
            if long and not whole:  # building alone is minutes
                continue
            yield Case(
                f"{name}, {what}",
                lambda seed, n=name, w=whole: setup(n, w, seed),
                {
                    "graph": {
                        "squirrel": "squirrel (real), 5,201 nodes, 217,073 directed edges",
                        "tolokers-size": "generated: 11,758 nodes, 519,000 edges, "
                        "log-normal degrees",
                        "small": "generated: 500 nodes, 4,000 edges",
                    }[name],
                    "columns": COLUMNS,
                    "dtype": "float32",
                    "operators": "A+I, T+I, AA, AT, TA, TT, r = 0.5",
                },
                repeats=2 if long else 20,
                warmups=0 if long else 1,
            )


if __name__ == "__main__":
    harness.main("directed_propagation", cases)
