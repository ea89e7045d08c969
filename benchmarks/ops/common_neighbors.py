"""Overlaps of neighbourhoods, with sums of features, against NCN's formulation in torch.

The graphs are Chung-Lu graphs with the numbers of nodes and edges of OGB's sets, not the sets
themselves; `facts` say how long the rows are that the pairs meet. Edge pairs are drawn from
the edges, so they meet hubs; random pairs are uniform.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.graphs import chung_lu
from benchmarks.harness import Case, Contender, Trial
from graphlab import ops

# nodes, undirected edges, decay of the weights, pairs of a batch, width of the features
SIZES = {
    "collab-like": (235_868, 1_179_052, 0.55, 65_536, 64),
    "ppa-like": (576_289, 21_231_931, 0.62, 16_384, 64),
    "ddi-like": (4_267, 1_067_911, 0.35, 24_576, 224),
}
# Rounds: the peers take seconds a round where rows are long.
REPEATS = {"collab-like": 9, "ppa-like": 3, "ddi-like": 5}
QUICK = (2_000, 10_000, 0.5, 500, 16)


def by_search(ptr: Tensor, idx: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The release: rows as packed keys, the shorter list searched in the longer one."""
    lists = []
    for node in pairs:
        start, count = ptr[node], ptr[node + 1] - ptr[node]
        pair = torch.repeat_interleave(torch.arange(len(node)), count)
        offset = torch.arange(len(pair)) - (count.cumsum(0) - count)[pair]
        lists.append((pair << 32) | idx[start[pair] + offset].long())
    shorter, longer = sorted(lists, key=len)
    if len(longer) == 0:
        return shorter, shorter
    place = torch.searchsorted(longer[:-1], shorter)
    hits = shorter[longer[place] == shorter]
    return hits >> 32, hits & 0xFFFFFFFF


def release_count(ptr: Tensor, idx: Tensor, pairs: Tensor) -> Tensor:
    row, _ = by_search(ptr, idx, pairs)
    return torch.bincount(row, minlength=pairs.shape[1])


def release_pool(ptr: Tensor, idx: Tensor, pairs: Tensor, x: Tensor) -> Tensor:
    """Its sparse matrix [pairs, nodes] of ones, times the features."""
    row, col = by_search(ptr, idx, pairs)
    counts = torch.bincount(row, minlength=pairs.shape[1])
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    shape = (pairs.shape[1], x.shape[0])
    ones = torch.ones(len(col))
    matrix = torch.sparse_csr_tensor(ends, col, ones, shape, check_invariants=False)
    return matrix @ x


def scatter_pool(ptr: Tensor, idx: Tensor, pairs: Tensor, x: Tensor) -> Tensor:
    """The same without the sparse matrix."""
    row, col = by_search(ptr, idx, pairs)
    return x.new_zeros(pairs.shape[1], x.shape[1]).index_add_(0, row, x[col])


@functools.lru_cache(maxsize=1)
def graph(name: str, quick: bool) -> tuple[Tensor, Tensor]:
    num_nodes, num_edges, decay, *_ = QUICK if quick else SIZES[name]
    return chung_lu(num_nodes, num_edges, decay, seed=0)


def draw(name: str, kind: str, quick: bool, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    ptr, idx = graph(name, quick)
    count = (QUICK if quick else SIZES[name])[3]
    generator = torch.Generator().manual_seed(seed)
    if kind == "random":
        pairs = torch.randint(len(ptr) - 1, (2, count), generator=generator)
    else:
        edge = torch.randint(len(idx), (count,), generator=generator)
        source = torch.searchsorted(ptr, edge, right=True) - 1
        pairs = torch.stack([source, idx[edge].long()])
    return ptr, idx, pairs[:, pairs[0] != pairs[1]].contiguous()


def setup(name: str, kind: str, what: str, quick: bool, seed: int) -> Trial:
    ptr, idx, pairs = draw(name, kind, quick, seed)
    width = (QUICK if quick else SIZES[name])[4]
    x = torch.randn(len(ptr) - 1, width, generator=torch.Generator().manual_seed(seed))
    lengths = (ptr[pairs + 1] - ptr[pairs]).sum(0)
    counts = ops.common_neighbors(ptr, idx, pairs)
    notes = {
        "mean_degree_sum": float(lengths.double().mean()),
        "mean_common": float(counts.double().mean()),
    }
    # What is read more than once may come from a cache.
    lists = 4 * min(int(lengths.sum()), len(idx))
    call: Callable[..., Any]
    if what == "count":
        call = functools.partial(ops.common_neighbors, ptr, idx, pairs)
        peers = {"release in torch": lambda: release_count(ptr, idx, pairs)}
        moved = lists + 24 * pairs.shape[1]
    else:
        call = functools.partial(ops.common_neighbors_pool, ptr, idx, pairs, x)
        peers = {
            "release in torch": lambda: release_pool(ptr, idx, pairs, x),
            "release in torch, index_add": lambda: scatter_pool(ptr, idx, pairs, x),
        }
        rows = min(int(counts.sum()), x.shape[0])
        moved = lists + 16 * pairs.shape[1] + 4 * width * (rows + pairs.shape[1])
    agree = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-3)
    return Trial(
        [
            Contender("graphlab", call, notes=lambda _: notes),
            *(Contender(name, run, ["torch"]) for name, run in peers.items()),
        ],
        agree,
        bytes=moved,
    )


def cases(quick: bool) -> Iterable[Case]:
    for name in ("collab-like",) if quick else SIZES:
        for kind in ("edge", "random"):
            for what in ("pool", "count"):
                yield Case(
                    f"{what}, {name}, {kind} pairs",
                    lambda seed, n=name, k=kind, w=what: setup(n, k, w, quick, seed),
                    facts_of(name, quick),
                    repeats=REPEATS[name],
                )


def facts_of(name: str, quick: bool) -> dict[str, Any]:
    num_nodes, num_edges, decay, count, width = QUICK if quick else SIZES[name]
    return {
        "graph": f"Chung-Lu, {num_nodes:,} nodes, {num_edges:,} undirected edges drawn, "
        f"weights (rank + 10)^-{decay}",
        "pairs": count,
        "width": width,
        "dtype": "float32",
    }


if __name__ == "__main__":
    # torch says that its sparse rows are in beta.
    warnings.simplefilter("ignore")
    harness.main("common_neighbors", cases)
