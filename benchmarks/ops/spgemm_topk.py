"""spgemm_topk against scipy's product: the square of a graph's averaging matrix, float32.

scipy keeps every entry; where ours keeps the 32 largest of a row, scipy's time is that of the
product alone, without any selection.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse
import torch

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops
from graphlab.graph import Graph
from graphlab.graph.influence import averaging


def uniform(num_nodes: int, degree: int, seed: int) -> Graph:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(num_nodes, (2, num_nodes * degree // 2), generator=generator)
    return Graph(edges, num_nodes).to_undirected()


def setup(num_nodes: int, k: int | None, seed: int) -> Trial:
    matrix = averaging(uniform(num_nodes, 10, seed))
    ptr, idx, val = (part.numpy() for part in matrix)
    shape = (num_nodes, num_nodes)
    theirs = scipy.sparse.csr_matrix((val, idx, ptr.astype(np.int32)), shape)

    def agree(mine: object, expected: object) -> None:
        if not isinstance(mine, tuple):
            return
        m_ptr, m_idx, m_val = (part.numpy() for part in mine)
        ours = scipy.sparse.csr_matrix((m_val, m_idx, m_ptr), shape)
        whole = theirs @ theirs
        if k is None:
            gap = abs(ours - whole)
            assert ours.nnz == whole.nnz
            assert gap.max() < 1e-5
        else:
            assert int(np.diff(m_ptr).max()) <= k
            assert abs(ours - whole.multiply(ours > 0)).max() < 1e-5

    products = int(np.diff(ptr)[idx].sum())
    return Trial(
        [
            Contender(
                "graphlab", lambda: ops.spgemm_topk(matrix, matrix, num_nodes, k=k)
            ),
            Contender("scipy", lambda: theirs @ theirs, ["scipy"]),
        ],
        agree,
        lambda: None,
        # An index and a value for each product.
        bytes=8 * products,
        ops=2 * products,
    )


def cases(quick: bool) -> Iterable[Case]:
    num_nodes = 2_000 if quick else 300_000
    for k in (None, 32):
        kept = "all entries" if k is None else f"{k} a row"
        yield Case(
            f"square, {kept}",
            lambda seed, k=k: setup(num_nodes, k, seed),
            {
                "graph": f"uniform, {num_nodes:,} nodes, average degree 10",
                "dtype": "float32",
            },
            repeats=5,
        )


if __name__ == "__main__":
    harness.main("spgemm_topk", cases)
