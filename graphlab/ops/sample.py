"""Neighbour sampling: all hops of one batch, relabelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare


def _fake(
    ptr: Tensor,
    idx: Tensor,
    edge_id: Tensor | None,
    seeds: Tensor,
    num_neighbors: list[int],
    replace: bool,
    threshold: Tensor | None,
    alias: Tensor | None,
    disjoint: bool,
    labor: bool,
    key: int,
    rows: Tensor | None = None,
    sources: Tensor | None = None,
) -> tuple[Tensor, ...]:
    context = torch.library.get_ctx()
    edges, nodes = context.new_dynamic_size(), context.new_dynamic_size()
    hops = len(num_neighbors)
    return (
        ptr.new_empty(edges),
        ptr.new_empty(edges),
        ptr.new_empty(nodes),
        ptr.new_empty(edges),
        ptr.new_empty(nodes if disjoint else 0),
        torch.empty(hops + 1, dtype=torch.int64),
        torch.empty(hops, dtype=torch.int64),
    )


# num_nodes[0] = -1 - i in place of a result: the seed at place i repeats an earlier one.
declare(
    "neighbor_sample(Tensor ptr, Tensor idx, Tensor? edge_id, Tensor seeds, "
    "int[] num_neighbors, bool replace, Tensor? threshold, Tensor? alias, bool disjoint, "
    "bool labor, int key, Tensor? rows=None, Tensor? sources=None) -> "
    "(Tensor row, Tensor col, Tensor n_id, Tensor e_id, Tensor batch, Tensor num_nodes, "
    "Tensor num_edges)",
    twin="graphlab.ops.twins.sample:neighbor_sample",
    fake=_fake,
)


class NeighborSample(NamedTuple):
    """A sampled, relabelled subgraph; see :func:`neighbor_sample`.

    Attributes:
        row: [edges], int64, local id of each edge's source.
        col: [edges], int64, local id of its target; never falls.
        n_id: [nodes], int64, node of each local id: the seeds, then hop by hop the new
            nodes in order of discovery.
        e_id: [edges], int64, id of each edge.
        batch: [nodes], int64, place in ``seeds`` of each node's tree; None unless disjoint.
        num_sampled_nodes: Seeds, then new nodes of each hop; hops + 1 entries.
        num_sampled_edges: Edges of each hop.
    """

    row: Tensor
    col: Tensor
    n_id: Tensor
    e_id: Tensor
    batch: Tensor | None
    num_sampled_nodes: list[int]
    num_sampled_edges: list[int]


def neighbor_sample(
    ptr: Tensor,
    idx: Tensor,
    seeds: Tensor,
    num_neighbors: Sequence[int],
    *,
    edge_id: Tensor | None = None,
    replace: bool = False,
    alias: tuple[Tensor, Tensor] | None = None,
    disjoint: bool = False,
    labor: bool = False,
    key: int = 0,
    read: tuple[Tensor, Tensor] | None = None,
) -> NeighborSample:
    """Sample in-neighbours of ``seeds`` over several hops and relabel them.

    Hop h samples ``num_neighbors[h]`` sources for each node that was first met in hop h - 1
    (for the seeds, if h = 0). With k = ``num_neighbors[h]`` and d the degree of the target:

    - by default k distinct edges, each set equally likely; all of them if d <= k;
    - ``replace``: k independent draws, if d > 0;
    - ``alias``: draws proportional to weight. With ``replace`` they are independent; else
      successive: each proportional among the edges left, until k are there or only zero
      weights are left. Zero weights are never drawn;
    - ``labor``: LABOR-0, see Source. Source s keeps its edge to t if its number r_s, the
      same for all targets of a hop, is below k / d; all edges if d <= k. So every edge is
      kept with probability k / d (rounded up to a multiple of 2^-32) and a target keeps k
      on average, not exactly; targets share sources, and batches hold fewer nodes. Parallel
      edges are kept together;
    - k = -1: every edge, zero weights too; k = 0: none.

    Args:
        ptr: [N + 1], int64: in-edges of node v are at ``ptr[v]`` to ``ptr[v + 1] - 1``.
        idx: [E], int32 or int64: source of each edge. Like all graph tensors it may be a
            read-only memory-mapped file, of which only the touched pages are read.
        seeds: [B], int32 or int64, same device. Distinct, unless ``disjoint``.
        num_neighbors: One int >= -1 for each hop.
        edge_id: [E], int32 or int64, ids to return in place of positions in ``idx``.
        replace: Draw with replacement.
        alias: ``(threshold, alias)`` of :func:`alias_build`.
        disjoint: Grow one tree for each seed: nodes are (seed, node) pairs and trees share
            none; ``batch`` tells the tree.
        labor: Layer-neighbour sampling; neither with ``replace`` nor with ``alias``.
        key: Key of the random stream, of :func:`graphlab.ops.rng.key`.
        read: ``(rows, sources)`` that were read from a graph on disk, in place of ``ptr`` and
            ``idx``, of which then only lengths and dtype count. ``rows`` [targets, 2], int64:
            first edge and degree of each target in local order; ``sources``, like ``idx``:
            source of each edge in the order drawn. Where these end before the last hop, its
            edges are drawn with ``row`` -1 and ``e_id`` the positions to read next, so that
            a batch can be sampled hop by hop. CPU, uniform draws, no ``edge_id``.

    Returns:
        A :class:`NeighborSample`. An edge is listed once for each time it is drawn.

    Raises:
        TypeError: wrong dtype; a number of neighbours that is no int.
        ValueError: repeated seeds that are not ``disjoint``; a number of neighbours below
            -1; wrong rank, length or device; ``labor`` with ``replace`` or ``alias``.
        IndexError: a seed that is no node.

    Cost:
        O(edges drawn), not of degrees, with two exceptions: ``labor`` reads whole rows, and
        weighted draws without replacement fall back to the whole row where they repeat too
        often (after 8 k + 32 draws). One cache line of ``ptr`` a node, of ``idx`` (and
        ``edge_id``) a draw, of the node map an edge, all prefetched. One call runs on one
        thread and holds no Python lock: run batches on several threads. A draw is a
        function of (key, hop, place in the hop, slot), so samples do not depend on threads.
        A thread that samples keeps its node map from call to call: 4 N bytes up to N = 2^24
        nodes; beyond, and for ``disjoint``, a hash table of 32 to 64 bytes a sampled node.
        It also keeps lists, at most twice as large as its largest result. Hash table and
        lists above 64 MiB each are given back after the call. CUDA: the same samples bit for
        bit; two waits for the device a hop; all memory is torch's.

    Source:
        Order and counts as in PyG's ``NeighborLoader``. Distinct draws: Floyd's method
        (Bentley and Floyd 1987). LABOR-0: Balin and Catalyurek, "Layer-Neighbor Sampling -
        Defusing Neighborhood Explosion in GNNs", NeurIPS 2023, with unit importance; its
        random numbers are keyed by source and hop.

    Example:
        >>> ptr, idx = torch.tensor([0, 2, 3, 3]), torch.tensor([1, 2, 2])
        >>> sample = neighbor_sample(ptr, idx, torch.tensor([1, 0]), [-1])
        >>> sample.n_id.tolist(), sample.row.tolist(), sample.col.tolist()
        ([1, 0, 2], [2, 0, 2], [0, 1, 1])
    """
    name = "neighbor_sample"
    idx = check.tensor(name, "idx", idx, dtypes=check.INDEX_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=idx.shape[0])
    seeds = check.tensor(name, "seeds", seeds, dtypes=check.INDEX_DTYPES, ndim=1)
    check.same_device(name, ("idx", idx), ptr=ptr, seeds=seeds)
    fanouts = _fanouts(name, num_neighbors)
    if edge_id is not None:
        _edge_tensor(name, "edge_id", edge_id, idx, check.INDEX_DTYPES)
    threshold = other = None
    if alias is not None:
        threshold, other = alias
        _edge_tensor(name, "alias[0]", threshold, idx, (torch.int32,))
        _edge_tensor(name, "alias[1]", other, idx, (torch.int32,))
    if labor and (replace or alias is not None):
        got = "replace=True" if replace else "alias tables"
        check.fail(ValueError, name, "labor", "stand alone", got, "drop one of them")
    rows = sources = None
    if read is not None:
        rows, sources = read
        check.tensor(name, "read[0]", rows, dtypes=(torch.int64,), ndim=2)
        check.tensor(name, "read[1]", sources, dtypes=(idx.dtype,), ndim=1)
        others = {"alias": alias, "edge_id": edge_id, "labor": labor or None}
        for argument, value in others.items():
            if value is not None:
                got = type(value).__name__
                check.fail(ValueError, name, argument, "be left out with read", got)
    check.ids_in_range(name, "seeds", seeds, ptr.shape[0] - 1)
    row, col, n_id, e_id, batch, num_nodes, num_edges = (
        torch.ops.graphlab.neighbor_sample(
            ptr.contiguous(),
            idx.contiguous(),
            None if edge_id is None else edge_id.contiguous(),
            seeds.long().contiguous(),
            fanouts,
            replace,
            threshold,
            other,
            disjoint,
            labor,
            key,
            rows,
            sources,
        )
    )
    nodes: list[int] = num_nodes.tolist()
    if nodes[0] < 0:
        place = -1 - nodes[0]
        check.fail(
            ValueError,
            name,
            "seeds",
            "be distinct",
            f"{int(seeds[place])} again at position {place}",
            "drop repeats or pass disjoint=True",
        )
    return NeighborSample(
        row, col, n_id, e_id, batch if disjoint else None, nodes, num_edges.tolist()
    )


def _fanouts(name: str, num_neighbors: object) -> list[int]:
    if not isinstance(num_neighbors, Sequence):
        got = type(num_neighbors).__name__
        check.fail(TypeError, name, "num_neighbors", "be a list of ints", got)
    for hop, k in enumerate(num_neighbors):
        check.positive(name, f"num_neighbors[{hop}]", k, least=-1)
        if k >= 2**31:
            check.fail(ValueError, name, f"num_neighbors[{hop}]", "be below 2^31", k)
    return list(num_neighbors)


def _edge_tensor(
    name: str,
    argument: str,
    value: Tensor,
    idx: Tensor,
    dtypes: tuple[torch.dtype, ...],
) -> None:
    check.tensor(name, argument, value, dtypes=dtypes, ndim=1)
    check.same_device(name, ("idx", idx), **{argument: value})
    if value.shape[0] != idx.shape[0]:
        requirement = f"have one entry for each of the {idx.shape[0]} edges"
        check.fail(ValueError, name, argument, requirement, value.shape[0])
