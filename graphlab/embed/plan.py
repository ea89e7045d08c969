"""What an embedding will hold in memory, told before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphlab import sizes
from graphlab.errors import BudgetError
from graphlab.ops.skipgram import LANES

# Most bytes of walks, pairs and their sorting, beside tables and graph.
BUFFERS = 64 * 2**20
# Least of them: below this, calls cost more than their work.
_LEAST_BUFFERS = 2**19
_MOST_PARTS = 256


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of an embedding by what they are for.

    Attributes:
        nodes: Rows of a table.
        stride: Floats of a row, padding included.
        tables: Number of tables: 2, or 1 where heads and contexts are the same.
        graph: Bytes of the copy of the graph that walks read.
        buffers: Bytes of walks and pairs.
        parts: Parts of the nodes.
        streamed: Whether tables lie on disk and only the parts in use in memory.
        workers: Blocks trained at the same time.
        prepare: Bytes while edges are renumbered and sorted, before there are tables.
    """

    nodes: int
    stride: int
    tables: int
    graph: int
    buffers: int
    parts: int
    streamed: bool
    workers: int
    prepare: int = 0

    @property
    def table_bytes(self) -> int:
        """Bytes of all tables, in memory or on disk."""
        return self.nodes * self.stride * 4 * self.tables

    @property
    def resident_bytes(self) -> int:
        """Bytes of tables that are in memory at a time."""
        if not self.streamed:
            return self.table_bytes
        part = math.ceil(self.nodes / self.parts) * self.stride * 4
        return 2 * part * self.workers

    @property
    def total(self) -> int:
        """Most bytes held at a time."""
        return max(self.resident_bytes + self.graph + self.buffers, self.prepare)

    def __str__(self) -> str:
        show = sizes.show
        where = ""
        if self.streamed:
            where = f" of {show(self.table_bytes)} on disk, in {self.parts} parts"
        elif self.parts > 1:
            where = f" in {self.parts} parts"
        training = self.resident_bytes + self.graph + self.buffers
        first = f"; sorting edges before that: {show(self.prepare)}"
        return (
            f"memory: {show(training)} = tables {show(self.resident_bytes)}{where} + "
            f"graph {show(self.graph)} + buffers {show(self.buffers)}"
            f"{first if self.prepare > training else ''}"
        )


def graph_bytes(nodes: int, edges: int, weighted: bool, degree: bool) -> int:
    """Bytes of the walker: rows, neighbours, alias slots, departures, negatives."""
    index = 4 if nodes < 2**31 else 8
    per_edge = index + (16 if weighted else 0)
    # Offsets, strengths, two orders of departure, rank and node; alias tables of 8 bytes.
    return edges * per_edge + nodes * (48 + 8 + (8 if degree else 0))


def preparation_bytes(nodes: int, edges: int, weighted: bool, ordered: bool) -> int:
    """Bytes while the walker's copy is made: renumbered edges, their sorting, weights.

    Measured at 4M edges: 26, 64, 84 and 112 bytes an edge.
    """
    per_edge = {
        (False, False): 28,
        (False, True): 68,
        (True, False): 88,
        (True, True): 118,
    }
    return edges * per_edge[weighted, ordered] + nodes * 32


def plan(
    nodes: int,
    dim: int,
    tables: int,
    graph: int,
    *,
    memory: int | None,
    parts: int | None,
    workers: int,
    prepare: int = 0,
) -> MemoryPlan:
    """Choose parts and buffers for a budget.

    Args:
        nodes: Nodes.
        dim: Width of a vector.
        tables: 1 or 2.
        graph: Bytes of :func:`graph_bytes`.
        memory: Budget for everything here, or None.
        parts: Wanted parts, or None: one, or as many as the budget asks for.
        workers: Blocks trained at the same time where there are parts.
        prepare: Bytes of :func:`preparation_bytes`.

    Raises:
        BudgetError: no number of parts fits.
    """
    stride = -(-dim // LANES) * LANES
    whole = nodes * stride * 4 * tables
    if memory is not None and prepare > memory:
        raise BudgetError(
            f"NodeEmbedding: `memory` must be at least {sizes.show(prepare)}, which sorting "
            f"the edges for walks takes, got {sizes.show(memory)}"
        )
    if memory is None or graph + whole + BUFFERS <= memory:
        return MemoryPlan(
            nodes, stride, tables, graph, BUFFERS, parts or 1, False, workers, prepare
        )
    left = memory - graph
    smaller = min(BUFFERS, left - whole)
    if smaller >= _LEAST_BUFFERS:
        return MemoryPlan(
            nodes, stride, tables, graph, smaller, parts or 1, False, workers, prepare
        )
    buffers = min(BUFFERS, max(_LEAST_BUFFERS, left // 3))
    wanted = parts or 2
    while wanted <= min(nodes, _MOST_PARTS):
        chosen = MemoryPlan(
            nodes, stride, tables, graph, buffers, wanted, True, 1, prepare
        )
        if chosen.total <= memory:
            return chosen
        if parts is not None:
            break
        wanted += 1
    most = parts or min(nodes, _MOST_PARTS)
    least = MemoryPlan(nodes, stride, tables, graph, _LEAST_BUFFERS, most, True, 1)
    raise BudgetError(
        f"NodeEmbedding: `memory` must be at least {sizes.show(least.total)} for "
        f"{most} parts, got {sizes.show(memory)}; the graph alone takes "
        f"{sizes.show(graph)}"
    )
