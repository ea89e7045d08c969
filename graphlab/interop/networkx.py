"""networkx: for small graphs; a million edges take about a gigabyte there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphlab import check
from graphlab.interop.arrays import EdgeArrays


def read(graph: Any, weight: str = "weight") -> EdgeArrays:
    """Take a graph apart; an undirected edge becomes both directions, a self loop one.

    Args:
        graph: Any networkx graph; nodes get ids in its order, and their names are kept
            unless they are 0, 1, 2, ...
        weight: Edge attribute of weights; used where every edge has it.
    """
    if not hasattr(graph, "is_multigraph") or not hasattr(graph, "edges"):
        got = type(graph).__name__
        check.fail(TypeError, "from_networkx", "graph", "be a networkx graph", got)
    names = list(graph.nodes)
    ids = {name: i for i, name in enumerate(names)}
    sources, targets, weights = [], [], []
    for u, v, value in graph.edges(data=weight):
        sources.append(ids[u])
        targets.append(ids[v])
        weights.append(value)
        if not graph.is_directed() and u != v:
            sources.append(ids[v])
            targets.append(ids[u])
            weights.append(value)
    edge_index = torch.tensor([sources, targets], dtype=torch.int64)
    known = bool(weights) and None not in weights
    edge_weight = torch.tensor(weights, dtype=torch.float32) if known else None
    node_names = None
    if names != list(range(len(names))):
        node_names = np.empty(len(names), dtype=object)
        node_names[:] = names
        if all(isinstance(n, str) for n in names):
            node_names = node_names.astype(str)
    return EdgeArrays(edge_index, len(names), edge_weight, node_names)


Choices = tuple[dict[str, list[str]], list[tuple[str, str]], list[tuple[str, str]]]


def read_choices(graph: Any) -> Choices:
    """Take a DAG of choices apart: operations by node, fixed and optional edges.

    Args:
        graph: A DiGraph without cycles; each node has a list ``ops``, an edge with
            ``optional=True`` may be left out.

    Returns:
        Nodes in topological order with their operations; fixed edges; optional edges.

    Raises:
        TypeError: not a directed networkx graph.
        ValueError: a node without ``ops``, or a cycle.
    """
    if not hasattr(graph, "is_directed") or not graph.is_directed():
        got = type(graph).__name__
        check.fail(TypeError, "from_networkx", "graph", "be a networkx DiGraph", got)
    import networkx

    if not networkx.is_directed_acyclic_graph(graph):
        check.fail(ValueError, "from_networkx", "graph", "have no cycle", "one")
    nodes: dict[str, list[str]] = {}
    for node in networkx.lexicographical_topological_sort(graph, key=str):
        ops = graph.nodes[node].get("ops")
        if not ops or isinstance(ops, str):
            need = f"give node {node!r} a list `ops`"
            check.fail(ValueError, "from_networkx", "graph", need, repr(ops))
        nodes[str(node)] = list(ops)
    fixed: list[tuple[str, str]] = []
    optional: list[tuple[str, str]] = []
    for u, v, given in graph.edges(data=True):
        (optional if given.get("optional") else fixed).append((str(u), str(v)))
    return nodes, fixed, optional


def write(edges: EdgeArrays) -> Any:
    """A ``MultiDiGraph`` (parallel edges stay) with names where the graph has them."""
    import networkx

    graph = networkx.MultiDiGraph()
    names = (
        range(edges.num_nodes or 0) if edges.node_names is None else edges.node_names
    )
    nodes = [n.item() if isinstance(n, np.generic) else n for n in names]
    graph.add_nodes_from(nodes)
    pairs = edges.edge_index.t().tolist()
    if edges.edge_weight is None:
        graph.add_edges_from((nodes[u], nodes[v]) for u, v in pairs)
    else:
        weights = edges.edge_weight.tolist()
        for (u, v), w in zip(pairs, weights, strict=True):
            graph.add_edge(nodes[u], nodes[v], weight=w)
    return graph
