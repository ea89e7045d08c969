"""csr_build against scipy: pointers, columns and the edge-id permutation as data."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.sparse import _sparsetools

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops


def setup(num_nodes: int, num_edges: int, seed: int) -> Trial:
    row, col = np.random.default_rng(seed).integers(0, num_nodes, (2, num_edges))
    ours = torch.from_numpy(row), torch.from_numpy(col)
    # What scipy works on: int32 indices, the edge ids as data. We start from int64.
    edge_id = np.arange(num_edges, dtype=np.int32)
    narrow = row.astype(np.int32), col.astype(np.int32)

    def scipy_build() -> tuple[np.ndarray, ...]:
        ptr = np.empty(num_nodes + 1, np.int32)
        idx, perm = np.empty_like(edge_id), np.empty_like(edge_id)
        # coo_matrix.tocsr would also sum duplicates, which is more work than ours.
        _sparsetools.coo_tocsr(
            num_nodes, num_nodes, num_edges, *narrow, edge_id, ptr, idx, perm
        )
        return ptr, idx, perm

    def agree(mine: tuple[torch.Tensor, ...], theirs: tuple[np.ndarray, ...]) -> None:
        for a, b in zip(mine, theirs, strict=True):
            assert np.array_equal(a.numpy(), b)

    return Trial(
        [
            Contender("graphlab", lambda: ops.csr_build(*ours, num_nodes, num_nodes)),
            Contender("scipy coo_tocsr", scipy_build, ["scipy"]),
        ],
        agree,
        # Read rows twice and columns once, int64; write columns and ids, int32.
        bytes=num_edges * (3 * 8 + 2 * 4) + num_nodes * 8,
    )


def cases(quick: bool) -> Iterable[Case]:
    sizes = [(2_708, 10_556), (1_000_000, 10_000_000), (10_000_000, 100_000_000)]
    for num_nodes, num_edges in [(2_708, 10_556)] if quick else sizes:
        yield Case(
            f"uniform {num_nodes:,} nodes, {num_edges:,} edges",
            lambda seed, n=num_nodes, e=num_edges: setup(n, e, seed),
            {"graph": "uniform", "num_nodes": num_nodes, "num_edges": num_edges},
            loops=1 if quick or num_edges > 100_000 else 100,
        )


if __name__ == "__main__":
    harness.main("csr_build", cases)
