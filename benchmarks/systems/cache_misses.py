"""Rows that miss memory in one epoch, by cache policy: a count, exact on any machine.

The trace is an epoch of NeighborLoader; memory holds a share of all rows. Every policy
pays for what it loads before the first batch: the static one for all its rows. Belady starts
empty, so its first uses are among its misses. The time of a contender is that of compiling
the schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from benchmarks import graphs, harness
from benchmarks.harness import Case, Contender, Trial
from graphlab.ops.schedule import Slots, next_use
from graphlab.outofcore.policy import LRU, Belady, Policy

BATCH = 1024
# The heap of the lower bound holds an object for each access.
LEAST_ACCESSES = 10_000_000
SHAPES = {"skewed": (0.57, 0.19, 0.19), "flat": (0.45, 0.22, 0.22)}


def graph_of(name: str, seed: int, quick: bool) -> Any:
    import graphlab as gl

    if name == "web_notredame":
        d = gl.datasets.load("web_notredame")
        order = torch.from_numpy(np.random.default_rng(seed).permutation(d.num_nodes))
        return gl.Graph(order[d.graph.edge_index], d.num_nodes).to_undirected()
    row, col, num_nodes = graphs.rmat(seed, quick=quick, shape=SHAPES[name])
    return gl.Graph(torch.stack([row, col]), num_nodes)


def trace_of(graph: Any, fanout: list[int], share: float, seed: int) -> list[Any]:
    import graphlab as gl

    count = int(share * graph.num_nodes)
    seeds = np.random.default_rng(seed).permutation(graph.num_nodes)[:count]
    loader = gl.sample.NeighborLoader(
        gl.Dataset(graph), fanout, BATCH, torch.from_numpy(np.sort(seeds)), seed=seed
    )
    return [batch.n_id.int() for batch in loader]


def play(trace: list[Any], num_nodes: int, capacity: int, policy: Policy) -> int:
    """Misses of a policy that starts with empty slots."""
    later = _next_uses(trace, num_nodes) if isinstance(policy, Belady) else None
    slots = Slots(num_nodes, capacity, len(trace))
    misses = 0
    for number, n_id in enumerate(trace):
        ids = n_id.long()
        following = np.empty(len(ids), np.int32) if later is None else later[number]
        keys = policy.keys(number, len(trace), ids.numpy(), following)
        slots.step(ids, torch.from_numpy(keys))
        misses += slots.misses
    return misses


def _next_uses(trace: list[Any], num_nodes: int) -> list[Any]:
    last = torch.full((num_nodes,), -1, dtype=torch.int32)
    found = []
    for number in range(len(trace) - 1, -1, -1):
        next = torch.empty(len(trace[number]), dtype=torch.int32)
        next_use(trace[number].long(), number, last, next)
        found.append(next.numpy())
    return found[::-1]


def least(trace: list[Any], num_nodes: int, capacity: int) -> int:
    """Misses of the best choice there is, by a heap and nothing of ours: the lower bound.

    After each batch, of the rows in memory and of the batch those stay that are used first.
    """
    later = [[0]] * len(trace)
    last = np.full(num_nodes, len(trace))
    for number in range(len(trace) - 1, -1, -1):
        later[number] = last[trace[number].numpy()].tolist()
        last[trace[number].numpy()] = number
    held: dict[int, int] = {}  # node -> its next use
    farthest: list[tuple[int, int]] = []
    misses = 0
    for n_id, following in zip(trace, later, strict=True):
        for node, use in zip(n_id.tolist(), following, strict=True):
            misses += held.pop(node, None) is None
            if use < len(trace):
                held[node] = use
                heapq.heappush(farthest, (-use, node))
        while len(held) > capacity:
            use, node = heapq.heappop(farthest)
            if held.get(node) == -use:
                del held[node]
    return misses


def static(trace: list[Any], num_nodes: int, capacity: int) -> int:
    """Misses, and the rows loaded once, with the most used rows in memory."""
    counts = torch.zeros(num_nodes, dtype=torch.int64)
    for n_id in trace:
        counts[n_id.long()] += 1
    best = counts.sort(descending=True).values[:capacity]
    return int(counts.sum() - best.sum()) + int((best > 0).sum())


def setup(
    name: str, fanout: list[int], share: float, memory: float, quick: bool, seed: int
) -> Trial:
    graph = graph_of(name, seed, quick)
    trace = trace_of(graph, fanout, share, seed)
    num_nodes = graph.num_nodes
    capacity = int(memory * num_nodes)
    accesses = sum(map(len, trace))
    used = torch.zeros(num_nodes, dtype=torch.bool)
    for n_id in trace:
        used[n_id.long()] = True
    distinct = int(used.sum())
    base = static(trace, num_nodes, capacity)

    def contender(name: str, run: Any) -> Contender:
        def notes(misses: int) -> dict[str, Any]:
            return {
                "misses": misses,
                "of_static": round(misses / base, 4),
                "accesses": accesses,
                "distinct_rows": distinct,
                "batches": len(trace),
                "rows_in_memory": capacity,
            }

        return Contender(name, run, notes=notes)

    contenders = [
        contender("belady", lambda: play(trace, num_nodes, capacity, Belady())),
        contender("static", lambda: static(trace, num_nodes, capacity)),
        contender("lru", lambda: play(trace, num_nodes, capacity, LRU())),
    ]
    if accesses < LEAST_ACCESSES:
        contenders.append(
            contender("lower bound", lambda: least(trace, num_nodes, capacity))
        )
    return Trial(contenders, None)


def cases(quick: bool) -> Iterable[Case]:
    memory = 0.1
    fanout = [10, 5] if quick else [15, 10]
    for name in ("skewed", "flat") if quick else ("skewed", "flat", "web_notredame"):
        for share in (0.5,) if quick else (1.0, 0.5, 0.1):
            facts = {
                "graph": name if name == "web_notredame" else f"rmat {SHAPES[name]}",
                "fanout": fanout,
                "seed_share": share,
                "batch_size": BATCH,
                "memory_share": memory,
                "relabelled": True,
            }
            yield Case(
                f"{name}, {100 * share:.0f} % seeds, {100 * memory:.0f} % memory",
                lambda seed, n=name, s=share: setup(n, fanout, s, memory, quick, seed),
                facts,
                repeats=1,
                warmups=0,
            )


if __name__ == "__main__":
    harness.main("cache_misses", cases, repeats=1)
