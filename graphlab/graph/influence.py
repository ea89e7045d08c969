"""Influence of nodes on each other over several hops: powers of the averaging matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.graph.adjacency import owners, pairs, sort_pairs
from graphlab.graph.graph import Graph
from graphlab.ops import spgemm_topk


def influence(
    graph: Graph, order: int = 1, *, topk: int | None = None, powers: str = "sum"
) -> Graph:
    r"""Weigh the nodes within ``order`` hops by how much they reach each node.

    With :math:`P = D^{-1}(A + I)`, the average over a node and its in-neighbours,
    :math:`W = P + P^2 + \dots + P^R` for ``powers="sum"`` and :math:`W = P^R` for
    ``"last"``. Parallel edges and weights count once and as one.

    Args:
        graph: The graph; make it undirected first where direction means nothing.
        order: R, the number of hops.
        topk: Entries that each row keeps, the largest; None: all. Powers on the way keep
            twice as many.
        powers: ``sum`` or ``last``.

    Returns:
        A graph whose edge j -> i has the weight :math:`W_{ij}`, float32, grouped by target.
        Weights into a node sum to R (to 1 for ``last``), less what ``topk`` left out.

    Raises:
        TypeError, ValueError: no Graph, an ``order`` or ``topk`` below 1, unknown ``powers``.

    Cost:
        For each power, the entries of the one before times the average degree; never dense.
        Parallel over nodes.

    Source: Kulatilleke et al., arXiv 2209.14067 and 2204.12656 (release gayanku/PAMC,
        ``--influence``); ``topk`` is ours: at order 4 their W of a 3-NN graph of 9,298 nodes
        has 1.3 million entries, of which the 64 largest a row hold 97.8 % of the weight.

    Example:
        >>> w = influence(Graph(torch.tensor([[0, 1], [1, 0]])), order=2)
        >>> w.edge_weight
        tensor([1., 1., 1., 1.])
    """
    name = "influence"
    if not isinstance(graph, Graph):
        check.fail(TypeError, name, "graph", "be a Graph", type(graph).__name__)
    check.positive(name, "order", order)
    if topk is not None:
        check.positive(name, "topk", topk)
    check.one_of(name, "powers", powers, ("sum", "last"))
    step = averaging(graph)
    num_nodes = graph.num_nodes
    wide = None if topk is None else 2 * topk
    result = step
    for power in range(2, order + 1):
        result = spgemm_topk(
            result,
            step,
            num_nodes,
            k=topk if power == order else wide,
            plus=step if powers == "sum" else None,
        )
    if order == 1 and topk is not None:
        nothing = step[0].new_zeros(num_nodes + 1), step[1][:0], step[2][:0]
        result = spgemm_topk(nothing, step, num_nodes, k=topk, plus=step)
    ptr, idx, weight = result
    return Graph.from_csc(ptr, idx, None, weight)


def averaging(graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of ``D^-1 (A + I)``, by target: ``(ptr, idx, value)``, values float32."""
    target, source = pairs(graph.csc())
    loops = torch.arange(graph.num_nodes, dtype=source.dtype)
    target, source = torch.cat([target, loops]), torch.cat([source, loops])
    ptr, idx, _ = sort_pairs(target, source, graph.num_nodes)
    row = owners(ptr)
    first = torch.ones(len(idx), dtype=torch.bool)
    first[1:] = (idx[1:] != idx[:-1]) | (row[1:] != row[:-1])
    count = torch.bincount(row[first], minlength=graph.num_nodes)
    ptr = torch.cat([ptr.new_zeros(1), count.cumsum(0)])
    value = (1.0 / count.double()).float()
    return ptr, idx[first], torch.repeat_interleave(value, count)
