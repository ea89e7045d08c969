"""Whether a link split gives away what it asks for."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Leak:
    """One finding.

    Attributes:
        kind: ``target_in_graph``, ``reversed_in_graph``, ``duplicate``,
            ``reversed_duplicate``, ``in_two_splits``, ``negative_is_positive``,
            ``negative_is_edge`` or ``self_pair``.
        split: Where.
        count: Pairs concerned.
        example: One of them.
        text: The finding in words.
    """

    kind: str
    split: str
    count: int
    example: tuple[int, int]
    text: str

    def __str__(self) -> str:
        return f"{self.split}: {self.text} ({self.count:,}, such as {self.example})"


def audit_links(d: Dataset) -> list[Leak]:
    """Look for leaks between a dataset's graph and its ``edge_splits``.

    Looked for: validation or test pairs that are edges of the graph, in their own or the
    other direction; pairs twice in a split; pairs in two splits; negatives that are positives
    of any split or edges of the graph; pairs of a node with itself.

    Args:
        d: With ``edge_splits``; pairs count as unordered where its graph is undirected.

    Returns:
        Findings; an empty list says that none of these is there. Negatives of training are
        drawn by the task and not seen here.

    Raises:
        ValueError: no link split.

    Cost: a sort of all pairs and edges.

    Example:
        >>> from graphlab import Graph, datasets
        >>> ring = torch.arange(30)
        >>> d = Dataset(Graph(torch.stack([ring, ring.roll(-1)])).to_undirected())
        >>> audit_links(datasets.split_links(d))
        []
    """
    if not d.edge_splits:
        remedy = "make one with gl.datasets.split_links(d)"
        check.fail(ValueError, "audit_links", "d", "have a link split", "none", remedy)
    return list(_Audit(d).run())


class _Audit:
    def __init__(self, d: Dataset) -> None:
        self._n = d.num_nodes
        self._undirected = d.graph.is_undirected()
        self._graph = self._keys(d.graph.edge_index)
        self._pairs = {
            (split, name): pairs
            for split, parts in d.edge_splits.items()
            for name, pairs in parts.items()
            if name in ("edge", "edge_neg")
        }
        self._found: list[Leak] = []

    def run(self) -> list[Leak]:
        positive = {s: p for (s, name), p in self._pairs.items() if name == "edge"}
        negative = {s: p for (s, name), p in self._pairs.items() if name == "edge_neg"}
        for split, pairs in positive.items():
            self._alone(split, pairs)
            if split != "train":
                forward = torch.isin(self._keys(pairs), self._graph)
                self._note(
                    "target_in_graph",
                    split,
                    pairs,
                    forward,
                    "positives are edges of the graph that is given to the model",
                )
                if not self._undirected:
                    back = torch.isin(self._keys(pairs.flip(0)), self._graph) & ~forward
                    text = "positives are edges of the graph in the other direction"
                    self._note("reversed_in_graph", split, pairs, back, text)
        names = list(positive)
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                shared = torch.isin(
                    self._whole(positive[second]), self._whole(positive[first])
                )
                text = f"pairs are positives of {first} too"
                self._note("in_two_splits", second, positive[second], shared, text)
        known = torch.cat([self._whole(p) for p in positive.values()] or [self._graph])
        edges = self._graph.sort().values
        for split, pairs in negative.items():
            self._alone(split, pairs, "negatives")
            wrong = torch.isin(self._whole(pairs), known)
            text = "negatives are positives of some split"
            self._note("negative_is_positive", split, pairs, wrong, text)
            joined = torch.isin(self._keys(pairs), edges) & ~wrong
            text = "negatives are edges of the graph"
            self._note("negative_is_edge", split, pairs, joined, text)
        return self._found

    def _alone(self, split: str, pairs: Tensor, what: str = "positives") -> None:
        loops = pairs[0] == pairs[1]
        self._note("self_pair", split, pairs, loops, f"{what} join a node to itself")
        same = self._repeats(pairs[0] * self._n + pairs[1])
        self._note("duplicate", split, pairs, same, f"{what} occur more than once")
        both = self._repeats(self._whole(pairs)) & ~same
        text = f"{what} occur in both directions"
        self._note("reversed_duplicate", split, pairs, both, text)

    def _note(
        self, kind: str, split: str, pairs: Tensor, hit: Tensor, text: str
    ) -> None:
        count = int(hit.sum())
        if count:
            at = int(hit.nonzero()[0, 0])
            example = (int(pairs[0, at]), int(pairs[1, at]))
            self._found.append(Leak(kind, split, count, example, text))

    @staticmethod
    def _repeats(keys: Tensor) -> Tensor:
        """Entries that repeat an earlier one."""
        _, place, count = keys.unique(return_inverse=True, return_counts=True)
        first = torch.full((len(count),), len(keys)).scatter_reduce_(
            0, place, torch.arange(len(keys)), "amin"
        )
        repeats = torch.ones(len(keys), dtype=torch.bool)
        repeats[first] = False
        return repeats

    def _keys(self, pairs: Tensor) -> Tensor:
        return self._whole(pairs) if self._undirected else pairs[0] * self._n + pairs[1]

    def _whole(self, pairs: Tensor) -> Tensor:
        low, high = torch.minimum(pairs[0], pairs[1]), torch.maximum(pairs[0], pairs[1])
        return low * self._n + high
