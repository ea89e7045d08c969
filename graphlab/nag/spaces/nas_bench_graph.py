"""NAS-Bench-Graph: GNNs of four computing nodes, nine wirings, nine operations."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from graphlab.nag.canonical import digest
from graphlab.nag.space import Cell, SearchSpace

OPS = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
# Parent of each computing node: 0 is the input, k the k-th computing node.
LINKS = (
    (0, 0, 0, 0),
    (0, 0, 0, 1),
    (0, 0, 1, 1),
    (0, 0, 1, 2),
    (0, 0, 1, 3),
    (0, 1, 1, 1),
    (0, 1, 1, 2),
    (0, 1, 2, 2),
    (0, 1, 2, 3),
)


class NASBenchGraph(SearchSpace):
    """GNN architectures whose DAG varies: a wiring node and four operation nodes.

    A node takes the output of its parent; what no node takes goes to the output. ``skip``
    passes on what it gets, so it stands for a missing node; right behind the input it is not
    allowed, so that the raw input never reaches the output. The canonical hash is that of
    the function: skips contracted, branches in any order.

    Args:
        settings: More decisions that do not touch the DAG, name -> choices, such as
            ``{"hidden": ("64", "128")}``.
        more_operations: Beside the table's nine.

    Source:
        Qin et al., "NAS-Bench-Graph", NeurIPS 2022 datasets and benchmarks. The table has
        26,206 rows, of which 23,822 differ as functions.

    Example:
        >>> space = NASBenchGraph()
        >>> x = space.encode(["0,1,2,3|gcn,gat,skip,fc"])
        >>> space.canonical_hash(x[0]) == space.canonical_hash(
        ...     space.encode(["0,1,2,3|gcn,gat,fc,skip"])[0])
        True
    """

    def __init__(
        self,
        settings: dict[str, tuple[str, ...]] | None = None,
        more_operations: tuple[str, ...] = (),
    ) -> None:
        operations = (*OPS, *more_operations)
        self.settings = dict(settings or {})
        wirings = tuple(",".join(str(p) for p in link) for link in LINKS)
        more = [f"{n}={c}" for n, choices in self.settings.items() for c in choices]
        labels = (*wirings, *operations, *more)
        count = 5 + len(self.settings)
        allowed = torch.zeros(len(LINKS), count, len(labels), dtype=torch.bool)
        allowed[:, 0, : len(LINKS)] = True
        start = len(LINKS) + len(operations)
        allowed[:, 1:5, len(LINKS) : start] = True
        for node, choices in enumerate(self.settings.values(), 5):
            allowed[:, node, start : start + len(choices)] = True
            start += len(choices)
        skip = labels.index("skip")
        for kind, link in enumerate(LINKS):
            for node, parent in enumerate(link, 1):
                allowed[kind, node, skip] = parent != 0
        # An operation can reach any later one under some wiring; all see the wiring.
        attention = torch.zeros(count, count, dtype=torch.bool)
        for a, b in itertools.combinations(range(1, 5), 2):
            attention[a, b] = any(_reaches(link, a, b) for link in LINKS)
        attention[0], attention[:, 0] = True, True
        attention[5:], attention[:, 5:] = True, True
        names = ("wiring", "op1", "op2", "op3", "op4", *self.settings)
        super().__init__(
            "gnn" if self.settings else "nas_bench_graph",
            labels,
            allowed,
            attention,
            names,
            wiring=0,
        )

    def to_string(self, x: Tensor) -> str:
        """Write ``parents|operations``, then ``|name=choice`` for each setting."""
        words = [self.labels[int(i)] for i in x]
        return "|".join([words[0], ",".join(words[1:5]), *words[5:]])

    def from_string(self, text: str) -> Tensor:
        """Read what :meth:`to_string` wrote."""
        parts = text.split("|")
        words = [parts[0], *(parts[1].split(",") if len(parts) > 1 else []), *parts[2:]]
        if len(words) != self.num_nodes:
            self._refuse(text, f"{len(words)} labels")
        return torch.tensor([self._label(word, text) for word in words])

    def cell(self, x: Tensor) -> Cell:
        """Input, what is computed (skips contracted) and the output."""
        link = LINKS[int(x[0])]
        vertex, labels, edges = [0], ["input"], []
        for parent, op in zip(link, x[1:5], strict=True):
            label = self.labels[int(op)]
            if label == "skip":
                vertex.append(vertex[parent])
                continue
            labels.append(label)
            edges.append((vertex[parent], len(labels) - 1))
            vertex.append(len(labels) - 1)
        leaves = [vertex[k] for k in range(1, 5) if k not in link]
        labels.append("output")
        edges += [(leaf, len(labels) - 1) for leaf in leaves]
        return Cell(tuple(labels), tuple(edges))

    def canonical_hash(self, x: Tensor) -> str:
        """Functional hash: the same for architectures that compute the same."""
        link, value = LINKS[int(x[0])], ["x"]
        for parent, op in zip(link, x[1:5], strict=True):
            label = self.labels[int(op)]
            value.append(
                value[parent] if label == "skip" else f"{label}({value[parent]})"
            )
        leaves = sorted(value[k] for k in range(1, 5) if k not in link)
        return digest((leaves, [self.labels[int(i)] for i in x[5:]]))


def _reaches(link: tuple[int, ...], start: int, end: int) -> bool:
    while end > start:
        end = link[end - 1]
    return end == start
