"""NAS-Bench-201: six edges of a cell with four nodes, five operations each."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.canonical import digest
from graphlab.nag.space import Cell, SearchSpace, closure

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# Cell edges (from, to) in the order of the string; each is a node of our graph.
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
# Its line graph between an input (0) and an output (7): successors of each node.
_LINE = ((1, 2, 3), (4, 5), (6,), (7,), (6,), (7,), (7,), ())
# params(M), FLOPs(M) = base + coefficient * count; exact, from the README of the table.
_PARAMS = {"nor_conv_3x3": 0.24304, "nor_conv_1x1": 0.02800}
_FLOPS = {"nor_conv_3x3": 35.81952, "nor_conv_1x1": 4.36224, "avg_pool_3x3": 1.29024}
_BASE = {
    "cifar10": (0.073306, 7.943872, 1.0),
    "cifar100": (0.079156, 7.949632, 1.0),
    "ImageNet16-120": (0.080456, 1.993792, 0.25),
}


class NB201(SearchSpace):
    """The cells of NAS-Bench-201: 15,625 strings, 6,466 functions.

    Eight nodes [input, e0 .. e5, output]; e0 .. e5 are the cell's edges in the order of its
    string. The canonical hash is functional: cells that compute the same share it.

    Args:
        dataset: Whose closed-form costs :meth:`costs` gives.

    Source:
        Dong and Yang, "NAS-Bench-201", ICLR 2020; the hash follows NATS-Bench's unique
        string with zeros considered.

    Example:
        >>> space = NB201()
        >>> x = space.sample(1, seed=3)
        >>> space.from_string(space.to_string(x[0])).equal(x[0])
        True
    """

    adjacency: Tensor

    def __init__(self, dataset: str = "cifar10") -> None:
        labels = ("input", "output", *OPS)
        allowed = torch.zeros(8, 7, dtype=torch.bool)
        allowed[0, 0] = allowed[7, 1] = True
        allowed[1:7, 2:] = True
        self.adjacency = torch.zeros(8, 8, dtype=torch.bool)
        for u, targets in enumerate(_LINE):
            self.adjacency[u, list(targets)] = True
        names = ("input", *(f"{b}<-{a}" for a, b in EDGES), "output")
        super().__init__("nb201", labels, allowed, closure(self.adjacency), names)
        self.dataset = check.one_of("NB201", "dataset", dataset, _BASE)

    def costs(self, one_hot: Tensor) -> dict[str, Tensor]:
        """``params`` and ``flops`` in millions; exact closed forms."""
        count = one_hot[:, 1:7].sum(1)
        params, flops, scale = _BASE[self.dataset]
        at = {label: count[:, i] for i, label in enumerate(self.labels)}
        zero = torch.zeros_like(count[:, 0])
        p = sum((c * at[op] for op, c in _PARAMS.items()), zero)
        f = sum((scale * c * at[op] for op, c in _FLOPS.items()), zero)
        return {"params": params + p, "flops": flops + f}

    def to_string(self, x: Tensor) -> str:
        """Write the benchmark's string."""
        ops = [self.labels[int(i)] for i in x[1:7]]
        named = [f"{op}~{a}" for op, (a, _) in zip(ops, EDGES, strict=True)]
        return (
            f"|{named[0]}|+|{named[1]}|{named[2]}|+|{named[3]}|{named[4]}|{named[5]}|"
        )

    def from_string(self, text: str) -> Tensor:
        """Read the benchmark's string."""
        found = re.findall(r"([a-z0-9_]+)~(\d)", text)
        if [int(a) for _, a in found] != [a for a, _ in EDGES]:
            self._refuse(text, f"edges {[a for _, a in found]}")
        ops = [self._label(op, text) for op, _ in found]
        x = torch.tensor([0, *ops, 1])
        if self.to_string(x) != text:
            self._refuse(text, "text around the operations")
        return x

    def cell(self, x: Tensor) -> Cell:
        """The cell's nodes are vertices here, its edges' operations vertices between."""
        labels = ["input", *(self.labels[int(i)] for i in x[1:7]), "output"]
        edges = [(u, v) for u, targets in enumerate(_LINE) for v in targets]
        kept = [i for i, label in enumerate(labels) if label != "none"]
        place = {v: i for i, v in enumerate(kept)}
        shown = [(place[u], place[v]) for u, v in edges if u in place and v in place]
        return Cell(tuple(labels[i] for i in kept), tuple(shown))

    def canonical_hash(self, x: Tensor) -> str:
        """Functional hash: 6,466 classes over the whole space."""
        ops = [self.labels[int(i)] for i in x[1:7]]
        value: list[str] = ["x"]
        for node in (1, 2, 3):
            terms = []
            for op, (a, b) in zip(ops, EDGES, strict=True):
                if b != node:
                    continue
                if op == "none" or value[a] == "#":
                    terms.append("#")
                elif op == "skip_connect":
                    terms.append(value[a])
                else:
                    terms.append(f"({value[a]})@{op}")
            # A sum of zeros beside others is kept, as NATS-Bench does: 6,466 classes.
            value.append("+".join(sorted(terms)))
        return digest(value[3])
