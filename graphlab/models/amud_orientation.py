"""Whether the direction of edges is real, or a way of storing undirected ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from graphlab.graph import Graph
from graphlab.graph.directions import both_directions, reciprocated
from graphlab.ops import rng

# With so many edges, all one way by chance has a probability below 2e-6.
_LEAST_EDGES = 20
_ONE_WAY = 0.999
# Above this, components cost more memory than the rest of the diagnosis.
_COMPONENT_EDGES = 20_000_000
_SLICE = 2**24


@dataclasses.dataclass(frozen=True)
class Orientation:
    """Facts about the direction of edges; self loops and parallel edges left out.

    Attributes:
        num_nodes: Nodes.
        num_edges: Distinct edges between two nodes.
        self_loops: Edges from a node to itself, as stored.
        parallel: Further edges between the same two nodes, as stored.
        share_ascending: Edges that go from a lower to a higher id.
        reciprocity: Edges whose reverse is an edge too.
        undirected: Whether all are.
        no_source: Nodes that no edge ends at.
        no_target: Nodes that no edge starts at.
        largest_component: Share of nodes in the largest strongly connected component; None
            where it was not computed.
        acyclic: Whether no edge is on a cycle; None as above.
        twin_share: Share of the nodes with edges that have exactly the neighbours of
            another, in both directions.
        alarm: Whether edges look like an undirected file: all one way by id, none
            reciprocated.
    """

    num_nodes: int
    num_edges: int
    self_loops: int
    parallel: int
    share_ascending: float
    reciprocity: float
    undirected: bool
    no_source: int
    no_target: int
    largest_component: float | None
    acyclic: bool | None
    twin_share: float
    alarm: bool


def orientation(graph: Graph, seed: int = 0) -> Orientation:
    """Look at the direction of a graph's edges. O(E + N)."""
    by_source, by_target = both_directions(graph)
    n, m = graph.num_nodes, len(by_source[1])
    ptr, idx, _ = graph.csc()
    loops = sum(int((_owners(ptr, part) == idx[part]).sum()) for part in _slices(idx))
    ascending = sum(
        int((_owners(by_source[0], part) < by_source[1][part]).sum())
        for part in _slices(by_source[1])
    )
    both = float(reciprocated(by_source, by_target, n).sum())
    share, mutual = (ascending / m, both / m) if m else (0.5, 0.0)
    one_way = max(share, 1 - share) >= _ONE_WAY
    component, acyclic = _components(by_source, n)
    return Orientation(
        num_nodes=n,
        num_edges=m,
        self_loops=loops,
        parallel=graph.num_edges - loops - m,
        share_ascending=share,
        reciprocity=mutual,
        undirected=m > 0 and both == m,
        no_source=int((by_target[0].diff() == 0).sum()),
        no_target=int((by_source[0].diff() == 0).sum()),
        largest_component=component,
        acyclic=acyclic,
        twin_share=_twins(by_source, by_target, n, seed),
        alarm=m >= _LEAST_EDGES and one_way and mutual == 0.0,
    )


def _slices(idx: Tensor) -> list[slice]:
    return [slice(i, i + _SLICE) for i in range(0, len(idx), _SLICE)]


def _owners(ptr: Tensor, part: slice) -> Tensor:
    """Rows of the entries of a slice."""
    entries = torch.arange(part.start, min(part.stop, int(ptr[-1])))
    return torch.searchsorted(ptr, entries, right=True) - 1


def _twins(
    by_source: tuple[Tensor, Tensor],
    by_target: tuple[Tensor, Tensor],
    num_nodes: int,
    seed: int,
) -> float:
    """Compare sums of random 64-bit names of the neighbours, sources and targets apart."""
    code = torch.zeros(num_nodes, dtype=torch.int64)
    for place, (ptr, idx) in enumerate((by_source, by_target)):
        bits = rng.bits(rng.key(seed, 77, place), num_nodes)
        names = torch.from_numpy(bits.view(np.int64))
        for part in _slices(idx):
            # Sums wrap around; two different sets meet with probability 2^-64.
            code.index_add_(0, _owners(ptr, part), names[idx[part].long()])
    held = (by_source[0].diff() + by_target[0].diff()) > 0
    code = code[held]
    if len(code) == 0:
        return 0.0
    _, times = torch.unique(code, return_counts=True)
    return float(times[times > 1].sum()) / len(code)


def _components(
    by_source: tuple[Tensor, Tensor], num_nodes: int
) -> tuple[float | None, bool | None]:
    ptr, idx = by_source
    if len(idx) > _COMPONENT_EDGES:
        return None, None
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    data = np.ones(len(idx), dtype=np.int8)
    matrix = csr_matrix((data, idx.numpy(), ptr.numpy()), (num_nodes, num_nodes))
    count, label = connected_components(matrix, directed=True, connection="strong")
    return float(np.bincount(label).max()) / num_nodes, count == num_nodes
