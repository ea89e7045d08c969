"""A user's own space: nodes with operations, edges that are fixed, optional or templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.interop import networkx
from graphlab.nag.space import Cell, SearchSpace, closure

Edge = tuple[str, str]
_NO, _YES = "absent", "present"


class DAG(SearchSpace):
    """A DAG of one's own; what may vary are operations, optional edges, or the whole wiring.

    Args:
        nodes: Name -> operations that it may take; one operation fixes it. In topological
            order.
        edges: Edges that are always there.
        optional: Edges that may be there; each becomes a node ``a->b`` of the space.
        templates: Name -> further edges; with more than one the wiring is generated too.
        costs: Name of a cost -> operation -> amount; the cost of an architecture is the sum.
        name: Of the space.
        identity: Operations that pass on the sum of what they get: the hash contracts them
            where they have one input.

    Raises:
        ValueError: an edge between nodes that do not exist, or against their order.

    Example:
        >>> space = DAG({"in": ["in"], "a": ["x", "y"], "b": ["x", "y"]},
        ...     edges=[("in", "a"), ("in", "b")], optional=[("a", "b")])
        >>> space.size
        8
        >>> x = space.from_string("in|x|y|absent")
        >>> y = space.from_string("in|y|x|absent")
        >>> space.canonical_hash(x) == space.canonical_hash(y)
        True
    """

    def __init__(
        self,
        nodes: Mapping[str, Sequence[str]],
        edges: Sequence[Edge] = (),
        optional: Sequence[Edge] = (),
        templates: Mapping[str, Sequence[Edge]] | None = None,
        costs: Mapping[str, Mapping[str, float]] | None = None,
        name: str = "dag",
        identity: Sequence[str] = (),
    ) -> None:
        self.nodes = {str(n): tuple(str(o) for o in ops) for n, ops in nodes.items()}
        place = {n: i for i, n in enumerate(self.nodes)}
        self.templates = {
            t: _placed(es, place) for t, es in (templates or {"": ()}).items()
        }
        self.edges = _placed(edges, place)
        self.optional = _placed(optional, place)
        self.identity = frozenset(identity)
        several = len(self.templates) > 1
        ops = list(dict.fromkeys(o for allowed in self.nodes.values() for o in allowed))
        labels = [*ops]
        labels += [_NO, _YES] if self.optional else []
        labels += list(self.templates) if several else []
        if len(set(labels)) != len(labels):
            need = f"not share names with {_NO!r}, {_YES!r} or templates"
            check.fail(ValueError, "DAG", "nodes", need, sorted(labels))
        count = len(self.nodes)
        total = count + len(self.optional) + several
        allowed = torch.zeros(total, len(labels), dtype=torch.bool)
        for i, choices in enumerate(self.nodes.values()):
            allowed[i, [ops.index(o) for o in choices]] = True
        for i in range(len(self.optional)):
            allowed[count + i, [labels.index(_NO), labels.index(_YES)]] = True
        if several:
            allowed[-1, [labels.index(t) for t in self.templates]] = True
        reach = torch.zeros(count, count, dtype=torch.bool)
        every = [*self.edges, *self.optional]
        every += [e for es in self.templates.values() for e in es]
        for u, v in every:
            reach[u, v] = True
        attention = torch.ones(total, total, dtype=torch.bool)
        attention[:count, :count] = closure(reach)
        texts = list(self.nodes)
        names = [*texts, *(f"{texts[u]}->{texts[v]}" for u, v in self.optional)]
        names += ["template"] if several else []
        table = torch.zeros(len(costs or {}), len(labels))
        for row, amounts in enumerate((costs or {}).values()):
            for op, amount in amounts.items():
                if op not in ops:
                    check.fail(ValueError, "DAG", "costs", "name operations", repr(op))
                table[row, labels.index(op)] = float(amount)
        self._cost_names, self._cost_table = tuple(costs or {}), table
        super().__init__(name, labels, allowed, attention, names)

    def costs(self, one_hot: Tensor) -> dict[str, Tensor]:
        """Sums of the costs of all operations."""
        total = one_hot[:, : len(self.nodes)].sum(1) @ self._cost_table.T
        return {name: total[:, i] for i, name in enumerate(self._cost_names)}

    def cell(self, x: Tensor) -> Cell:
        """Nodes and the edges that are there; identities with one input contracted."""
        edges = list(self.edges)
        count = len(self.nodes)
        for i, edge in enumerate(self.optional):
            if self.labels[int(x[count + i])] == _YES:
                edges.append(edge)
        (chosen, *more) = self.templates
        edges += self.templates[self.labels[int(x[-1])] if more else chosen]
        edges = list(dict.fromkeys(edges))
        labels = [self.labels[int(i)] for i in x[:count]]
        for v in range(count):
            into = [u for u, w in edges if w == v]
            if labels[v] in self.identity and len(into) == 1:
                edges = [(into[0] if u == v else u, w) for u, w in edges if w != v]
                labels[v] = ""
        kept = [v for v in range(count) if labels[v]]
        place = {v: i for i, v in enumerate(kept)}
        shown = [(place[u], place[v]) for u, v in dict.fromkeys(edges)]
        return Cell(tuple(labels[v] for v in kept), tuple(shown))


def from_json(source: str | Path | Mapping[str, Any]) -> DAG:
    """Read a space from a JSON file, its text, or the object in it.

    Keys: ``nodes`` (list of ``{"name", "ops"}``, in topological order), ``edges`` and
    ``optional`` (lists of pairs of names), ``templates`` (name -> list of pairs), ``costs``
    (cost -> operation -> amount), ``identity`` (list), ``name``.

    Raises:
        ValueError: not JSON, an unknown key, or nodes and edges that do not fit.

    Example:
        >>> space = from_json({"nodes": [{"name": "a", "ops": ["x", "y"]},
        ...     {"name": "b", "ops": ["x", "y"]}], "edges": [["a", "b"]]})
        >>> space.size
        4
    """
    tree = _tree(source)
    known = ("name", "nodes", "edges", "optional", "templates", "costs", "identity")
    for key in tree:
        check.one_of("from_json", "key", key, known)
    try:
        nodes = {str(n["name"]): [str(o) for o in n["ops"]] for n in tree["nodes"]}
        return DAG(
            nodes,
            [(str(a), str(b)) for a, b in tree.get("edges", ())],
            [(str(a), str(b)) for a, b in tree.get("optional", ())],
            {
                str(t): [(str(a), str(b)) for a, b in es]
                for t, es in tree.get("templates", {}).items()
            }
            or None,
            tree.get("costs"),
            str(tree.get("name", "dag")),
            tree.get("identity", ()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        need = "hold nodes as [{name, ops}] and edges as [[from, to]]"
        check.fail(ValueError, "from_json", "source", need, f"{error!r}")


def from_networkx(graph: Any, name: str = "dag") -> DAG:
    """Take a networkx DiGraph whose nodes have ``ops``; edges with ``optional=True`` vary.

    Raises:
        TypeError: not a directed graph.
        ValueError: a node without ``ops``, or a cycle.

    Example:
        >>> from networkx import DiGraph
        >>> graph = DiGraph([("a", "b")])
        >>> graph.add_nodes_from(["a", "b"], ops=["x", "y"])
        >>> from_networkx(graph).size
        4
    """
    nodes, fixed, optional = networkx.read_choices(graph)
    return DAG(nodes, fixed, optional, name=name)


def _tree(source: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    text = str(source)
    if isinstance(source, Path) or not text.lstrip().startswith("{"):
        text = Path(source).read_text()
    try:
        tree = json.loads(text)
    except ValueError as error:
        check.fail(ValueError, "from_json", "source", "be JSON", str(error))
    if not isinstance(tree, dict):
        got = type(tree).__name__
        check.fail(ValueError, "from_json", "source", "be a JSON object", got)
    return tree


def _placed(edges: Sequence[Edge], place: Mapping[str, int]) -> list[tuple[int, int]]:
    found = []
    for u, v in edges:
        if u not in place or v not in place:
            check.fail(ValueError, "DAG", "edges", "join nodes", f"{u} -> {v}")
        if place[u] >= place[v]:
            need = "follow the order of the nodes"
            check.fail(ValueError, "DAG", "edges", need, f"{u} -> {v}")
        found.append((place[u], place[v]))
    return found
