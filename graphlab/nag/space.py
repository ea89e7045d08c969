"""A search space: nodes that each take one label out of those allowed to them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.canonical import canonical_form, digest

# A space up to this size is listed rather than drawn from.
LISTED = 100_000
# Hashes kept by a space: some 200 bytes each.
_REMEMBERED = 200_000


class Cell(NamedTuple):
    """An architecture as a labelled DAG, to draw and to compare.

    Attributes:
        labels: Operation of each vertex.
        edges: Pairs (from, to).
    """

    labels: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]


class SearchSpace:
    """Architectures as assignments of labels to nodes: int64 [V], a batch [B, V].

    Most nodes are operations of a DAG. A *wiring* node's label is one of several DAGs, or
    whether an edge is there: to generate it is to generate the DAG. Which labels a node may
    take can depend on one wiring node.

    Args:
        name: Name of the space.
        labels: The vocabulary, F labels.
        allowed: bool [V, F], labels that each node may take; [T, V, F] where they depend on
            the T labels of the node ``wiring`` (in the order of the vocabulary).
        attention: bool [V, V]: true where node j can be reached from node i; what the
            denoiser attends along, in both directions.
        names: Name of each node; default ``x0 ..``.
        wiring: The node that the masks depend on.

    Raises:
        ValueError: a node without a label, or shapes that do not fit.

    Example:
        >>> allowed = torch.tensor([[True, True, False], [False, True, True]])
        >>> space = SearchSpace("toy", ("a", "b", "c"), allowed)
        >>> space.size, space.decode(space.enumerate())
        (4, ['a|b', 'a|c', 'b|b', 'b|c'])
        >>> space.encode(["b|c"]).tolist()
        [[1, 2]]
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        allowed: Tensor,
        attention: Tensor | None = None,
        names: Sequence[str] | None = None,
        wiring: int | None = None,
    ) -> None:
        allowed = check.tensor("SearchSpace", "allowed", allowed, dtypes=[torch.bool])
        by_wiring = allowed if allowed.dim() == 3 else allowed[None]
        self.name, self.labels = name, tuple(labels)
        self.by_wiring, self.wiring = by_wiring, wiring
        self.allowed = by_wiring.any(0)
        self.num_nodes, self.num_labels = self.allowed.shape
        self.names = tuple(names or (f"x{i}" for i in range(self.num_nodes)))
        self._ids = {label: i for i, label in enumerate(self.labels)}
        if self.num_labels != len(self.labels) or len(self.names) != self.num_nodes:
            need = f"have shape [{len(self.names)}, {len(self.labels)}]"
            check.fail(ValueError, "SearchSpace", "allowed", need, list(allowed.shape))
        if not by_wiring.any(-1).all():
            i = int((~by_wiring.any(-1)).nonzero()[0, -1])
            need, got = "give every node a label", f"none for {self.names[i]!r}"
            check.fail(ValueError, "SearchSpace", "allowed", need, got)
        if attention is None:
            attention = torch.ones(self.num_nodes, self.num_nodes, dtype=torch.bool)
        self.attention = attention
        self._hashes: dict[tuple[int, ...], str] = {}
        self._kinds: Tensor | None = None
        if wiring is not None:
            self._kinds = torch.full((self.num_labels,), -1)
            kinds = self.allowed[wiring].nonzero()[:, 0]
            self._kinds[kinds] = torch.arange(len(kinds))
            if len(kinds) != len(by_wiring):
                need = f"have one mask for each of {len(kinds)} wirings"
                check.fail(ValueError, "SearchSpace", "allowed", need, len(by_wiring))
            if len(kinds) == 1:  # nothing to choose, and nothing depends on it
                self.wiring, self._kinds = None, None
        self.free = tuple(int(i) for i in (self.allowed.sum(1) > 1).nonzero()[:, 0])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size:.4g})"

    @property
    def size(self) -> int:
        """Number of assignments; several may be one architecture (see hashes)."""
        return sum(
            math.prod(int(c) for c in self._choices(t).sum(1))
            for t in range(len(self.by_wiring))
        )

    def _choices(self, kind: int) -> Tensor:
        """[V, F]: what is allowed under one wiring, the wiring node fixed to it."""
        mask = self.by_wiring[kind].clone()
        if self.wiring is not None and self._kinds is not None:
            mask[self.wiring] = self._kinds == kind
        return mask

    def masks(self, x: Tensor) -> Tensor:
        """Labels that each node may take, given the wiring of ``x``: bool [B, V, F].

        Args:
            x: int64 [B, V]; only the wiring node is read. A label that is no wiring
                (such as a mask token) leaves everything that some wiring allows.
        """
        if self.wiring is None or self._kinds is None:
            return self.allowed.expand(len(x), -1, -1)
        given = x[:, self.wiring]
        known = (given >= 0) & (given < self.num_labels)
        kind = self._kinds[given.clamp(0, self.num_labels - 1)]
        known &= kind >= 0
        return torch.where(
            known[:, None, None], self.by_wiring[kind.clamp(min=0)], self.allowed
        )

    def is_valid(self, x: Tensor) -> Tensor:
        """Whether assignments are architectures of the space: bool [B]."""
        inside = ((x >= 0) & (x < self.num_labels)).all(1)
        fits = self.masks(x).gather(2, x.clamp(0, self.num_labels - 1)[..., None])
        return inside & fits[..., 0].all(1)

    def canonical(self, x: Tensor) -> Tensor:
        """The same architectures with labels that do not matter set to one value."""
        return x

    def sample(
        self, count: int, seed: int = 0, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw assignments uniformly: int64 [count, V]."""
        draw = generator or torch.Generator().manual_seed(seed)
        sizes = torch.tensor(
            [
                math.prod(float(c) for c in self._choices(t).sum(1))
                for t in range(len(self.by_wiring))
            ],
            dtype=torch.float64,
        )
        kind = torch.multinomial(sizes, count, replacement=True, generator=draw)
        masks = torch.stack([self._choices(t) for t in range(len(self.by_wiring))])
        weights = masks[kind].reshape(-1, self.num_labels).float()
        x = torch.multinomial(weights, 1, generator=draw).view(count, self.num_nodes)
        return self.canonical(x)

    def enumerate(self, limit: int = 2_000_000) -> Tensor:
        """List every assignment: int64 [size, V].

        Raises:
            ValueError: there are more than ``limit``.
        """
        if self.size > limit:
            need = f"hold at most {limit:,} architectures to be listed"
            check.fail(ValueError, "enumerate", "space", need, f"{self.size:.3g}")
        parts = []
        for kind in range(len(self.by_wiring)):
            sets = [row.nonzero()[:, 0] for row in self._choices(kind)]
            grid = torch.meshgrid(*sets, indexing="ij")
            parts.append(torch.stack([g.reshape(-1) for g in grid], 1))
        return torch.cat(parts)

    def neighbours(self, x: Tensor) -> Tensor:
        """All valid assignments that differ from ``x`` [V] in one node: int64 [n, V]."""
        found = []
        mask = self.masks(x[None])[0]
        for node in self.free:
            labels = self.allowed[node] if node == self.wiring else mask[node]
            for label in labels.nonzero()[:, 0].tolist():
                if label != int(x[node]):
                    other = x.clone()
                    other[node] = label
                    found.append(other)
        if not found:
            return x.new_empty(0, self.num_nodes)
        near = torch.stack(found)
        near = near[self.is_valid(near)]
        same = (self.canonical(near) == x).all(1)
        return self.canonical(near)[~same].unique(dim=0)

    def one_hot(self, x: Tensor) -> Tensor:
        """Float [B, V, F]."""
        return torch.nn.functional.one_hot(x, self.num_labels).float()

    def costs(self, one_hot: Tensor) -> dict[str, Tensor]:
        """Closed-form costs, differentiable in a relaxed [B, V, F]: name -> [B]."""
        return {}

    def to_string(self, x: Tensor) -> str:
        """Write one architecture [V] as text."""
        return "|".join(self.labels[int(i)] for i in x)

    def from_string(self, text: str) -> Tensor:
        """Read what :meth:`to_string` wrote: int64 [V].

        Raises:
            ValueError: not an architecture of this space.
        """
        parts = text.split("|")
        if len(parts) != self.num_nodes:
            self._refuse(text, f"{len(parts)} labels")
        return torch.tensor([self._label(p, text) for p in parts])

    def _label(self, label: str, text: str) -> int:
        if label not in self._ids:
            self._refuse(text, f"the label {label!r}")
        return self._ids[label]

    def _refuse(self, text: str, got: str) -> None:
        need = f"be an architecture of {self.name}"
        check.fail(ValueError, "from_string", "text", need, f"{got} in {text!r}")

    def encode(self, texts: Iterable[str]) -> Tensor:
        """Read many strings: int64 [B, V].

        Raises:
            ValueError: one of them is not an architecture of this space.
        """
        given = list(texts)
        if not given:
            return torch.empty(0, self.num_nodes, dtype=torch.int64)
        x = torch.stack([self.from_string(text) for text in given])
        good = self.is_valid(x)
        if not bool(good.all()):
            self._refuse(given[int((~good).nonzero()[0, 0])], "labels not allowed")
        return x

    def decode(self, x: Tensor) -> list[str]:
        """Write a batch [B, V] as strings."""
        return [self.to_string(row) for row in x]

    def cell(self, x: Tensor) -> Cell:
        """The DAG of one architecture [V]; here the nodes along ``attention``."""
        edges = [
            (i, j) for i, j in self.attention.nonzero().tolist() if i != j and i < j
        ]
        return Cell(tuple(self.labels[int(i)] for i in x), tuple(edges))

    def canonical_hash(self, x: Tensor) -> str:
        """Hash that isomorphic architectures share, and others do not: 16 hex digits."""
        return digest(canonical_form(*self.cell(x)))

    def hashes(self, x: Tensor) -> list[str]:
        """Hash of each architecture of a batch; those met before are remembered."""
        known, found = self._hashes, []
        for row, key in zip(x, map(tuple, x.tolist()), strict=True):
            if key not in known:
                if len(known) >= _REMEMBERED:
                    known.clear()
                known[key] = self.canonical_hash(row)
            found.append(known[key])
        return found


def closure(adjacency: Tensor) -> Tensor:
    """Which node can be reached from which: transitive closure, bool [V, V].

    Example:
        >>> chain = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]]).bool()
        >>> closure(chain)[0].tolist()
        [False, True, True]
    """
    reach = adjacency.clone()
    for k in range(len(reach)):
        reach |= reach[:, k, None] & reach[None, k]
    return reach
