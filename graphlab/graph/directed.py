"""Directed operators: products of a graph's adjacency and its transpose, never built."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph.directions import both_directions, reciprocated
from graphlab.graph.graph import Graph

PATTERNS = ("A", "T", "AA", "AT", "TA", "TT")
"""The patterns of order one and two, in the order of ADPA's release."""

# Columns of one stacked block: 3 patterns of 64 columns keep a row of every neighbour in
# few cache lines; wider blocks gain nothing and take memory.
_COLUMNS = 64
_HALVES = {"A": 0, "T": 1}
_FLIP = str.maketrans("AT", "TA")


class Cost(NamedTuple):
    """What one step of all operators costs.

    Attributes:
        multiply_adds: For each column, as they are applied here: edges times products.
        entries_if_built: Upper bound of the entries of the operators of order two and more,
            were they built: paths counted with their multiplicity.
    """

    multiply_adds: int
    entries_if_built: int


def patterns_of_order(order: int) -> tuple[str, ...]:
    """All patterns up to an order: words over ``A`` and ``T``.

    Example:
        >>> patterns_of_order(2)
        ('A', 'T', 'AA', 'AT', 'TA', 'TT')
    """
    check.positive("patterns_of_order", "order", order)
    return tuple(
        "".join(letters)
        for k in range(1, order + 1)
        for letters in itertools.product("AT", repeat=k)
    )


class DirectedOperators:
    r"""Normalised products of :math:`A` and :math:`A^\top`, applied without being built.

    :math:`\hat{P} = D_r^{r-1} P D_c^{-r}` with :math:`P` a pattern such as ``AT`` =
    :math:`A A^\top` (rows: nodes; :math:`A_{ij} = 1` for an edge from i to j, so ``A`` sums
    over a node's targets), :math:`D_r` the row sums of :math:`P`, :math:`D_c` its column
    sums. A node with no path keeps zeros.

    Args:
        graph: The graph; parallel edges count once, self loops and weights do not count.
        patterns: Words over ``A`` and ``T`` of any length.
        r: Exponent: 0 averages over paths, 1 scales columns only, 0.5 is between.
        self_loops: ``first`` adds the identity to patterns of order one, ``all`` to every
            pattern, ``none`` to none.
        degree: ``in_out`` as above; ``row`` scales columns by row sums too, as ADPA's
            release does: a node without row sum is then heard by nobody, unless r = 0.
        drop_diagonal: Take paths from a node to itself out of patterns of order two.
        device: Where they are applied; they are prepared on the CPU.

    Raises:
        ValueError: unknown patterns or options; ``drop_diagonal`` with order above two.

    Cost:
        :meth:`step`: ``2 * order`` sparse products, in which the columns of all patterns
        stand side by side; memory of the stacked columns, blocks of 64 a pattern. Two
        adjacencies are held: 2 * edges indices.

    Source:
        Sun et al., "Breaking the Entanglement of Homophily and Heterophily", ICDE 2024
        (ADPA's operators). Its release builds the products; these give the same numbers.

    Example:
        >>> ops = DirectedOperators(Graph(torch.tensor([[0, 1], [2, 2]])), ["AT"], r=0.0)
        >>> ops.step(torch.eye(3))[0]
        tensor([[0.5000, 0.5000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """

    def __init__(
        self,
        graph: Graph,
        patterns: Sequence[str] = PATTERNS,
        *,
        r: float = 0.5,
        self_loops: str = "first",
        degree: str = "in_out",
        drop_diagonal: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        name = "DirectedOperators"
        self.patterns = require_patterns(name, patterns)
        check.one_of(name, "self_loops", self_loops, ("first", "all", "none"))
        check.one_of(name, "degree", degree, ("in_out", "row"))
        if not 0 <= r <= 1:
            check.fail(ValueError, name, "r", "be in [0, 1]", r)
        if drop_diagonal and max(map(len, self.patterns)) > 2:
            need = "be used with patterns of order one and two only"
            check.fail(ValueError, name, "drop_diagonal", need, list(self.patterns))
        self.num_nodes = graph.num_nodes
        self._halves = both_directions(graph)
        loops = {"first": (1,), "all": range(1, 99), "none": ()}[self_loops]
        self._loops = torch.tensor([float(len(p) in loops) for p in self.patterns])
        self._diagonal = [
            self._paths_to_self(p) if drop_diagonal and len(p) == 2 else None
            for p in self.patterns
        ]
        self._r = r
        paths = self._count_paths()
        self._built = sum(int(paths[p].sum()) for p in self.patterns if len(p) > 1)
        self._row = self._sums(paths)
        self._column: list[Tensor] | None = None
        if r:  # the power 0 scales nothing
            rows = degree == "row"
            self._column = self._row if rows else self._sums(paths, transposed=True)
        self.options: dict[str, Any] = {
            "r": r,
            "self_loops": self_loops,
            "degree": degree,
            "drop_diagonal": drop_diagonal,
        }
        self._move(torch.device(device))
        self._scales: tuple[torch.dtype, list[Tensor], list[Tensor] | None] | None = (
            None
        )

    @property
    def num_edges(self) -> int:
        """Edges that count: distinct ones between two nodes."""
        return len(self._halves[0][1])

    def step(
        self, x: Tensor | Sequence[Tensor], out: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Apply every operator once.

        Args:
            x: [N, F], the same for all; or one for each pattern.
            out: Where to write, one [N, F] for each pattern; rows may be parts of wider ones.

        Returns:
            One [N, F] for each pattern; differentiable in x where ``out`` is not given.
        """
        given = [x] * len(self.patterns) if isinstance(x, Tensor) else list(x)
        name = "DirectedOperators.step"
        if len(given) != len(self.patterns):
            need = f"be one matrix, or one for each of {len(self.patterns)} patterns"
            check.fail(ValueError, name, "x", need, len(given))
        for matrix in given:
            check.tensor(name, "x", matrix, dtypes=check.FLOAT_DTYPES, ndim=2)
            if matrix.shape[0] != self.num_nodes:
                need = f"have {self.num_nodes:,} rows"
                check.fail(ValueError, name, "x", need, matrix.shape[0])
        if (
            out is None
            and torch.is_grad_enabled()
            and any(m.requires_grad for m in given)
        ):
            return self._block(given)
        if out is None:
            out = [torch.empty_like(matrix) for matrix in given]
        for start in range(0, given[0].shape[1], _COLUMNS):
            part = slice(start, start + _COLUMNS)
            made = self._block([m[:, part] for m in given])
            for place, matrix in zip(out, made, strict=True):
                place[:, part] = matrix
        return list(out)

    def walk(
        self, x: Tensor | Sequence[Tensor], hops: int, *, decay: str = "none"
    ) -> list[list[Tensor]]:
        """The hops 1 .. K, each one matrix a pattern; differentiable; see :meth:`propagate`."""
        check.one_of("DirectedOperators", "decay", decay, ("none", "reference"))
        at: Tensor | Sequence[Tensor] = x
        found = []
        for hop in range(1, hops + 1):
            c = _damping(hop) if decay == "reference" else 1.0
            if c != 1.0:
                at = at * c if isinstance(at, Tensor) else [m * c for m in at]
            found.append(self.step(at))
            at = found[-1]
        return found

    def propagate(self, x: Tensor, hops: int, *, decay: str = "none") -> Tensor:
        r"""The rows that decoupled models train on: :math:`X` and :math:`\hat{P}^l X`.

        Args:
            x: [N, F].
            hops: K.
            decay: ``none``, or ``reference``: before step l multiply by
                ``ln(1/l) + 1 + 1e-6``, as ADPA's release does (negative from l = 3).

        Returns:
            [N, 1 + patterns * K, F]: x, then the hops 1 .. K of each pattern in turn.
        """
        check.positive("DirectedOperators.propagate", "hops", hops)
        slots = 1 + len(self.patterns) * hops
        rows = x.new_empty(self.num_nodes, slots, x.shape[1])
        rows[:, 0] = x
        self.propagate_into(rows, hops, decay=decay)
        return rows

    def propagate_into(self, rows: Tensor, hops: int, *, decay: str = "none") -> None:
        """As :meth:`propagate`, into ``rows`` [N, slots, F], whose slot 0 holds x."""
        check.one_of("DirectedOperators", "decay", decay, ("none", "reference"))
        at: Tensor | Sequence[Tensor] = rows[:, 0]
        for hop in range(1, hops + 1):
            places = [
                rows[:, 1 + p * hops + hop - 1] for p in range(len(self.patterns))
            ]
            c = _damping(hop) if decay == "reference" else 1.0
            if c != 1.0:
                at = at * c if isinstance(at, Tensor) else [m * c for m in at]
            at = self.step(at, places)

    def cost(self) -> Cost:
        """What a step costs here, and what the operators would take if they were built."""
        products = sum(map(len, self.patterns))
        return Cost(products * self.num_edges, self._built)

    def __repr__(self) -> str:
        return (
            f"DirectedOperators({', '.join(self.patterns)}; {self.num_nodes:,} nodes, "
            f"{self.num_edges:,} edges)"
        )

    def _block(self, x: list[Tensor]) -> list[Tensor]:
        """One step on few columns: letters from the right, one product a letter and level."""
        dtype, width = x[0].dtype, x[0].shape[1]
        left, right = self._scaled(dtype)
        at = list(x)
        if right is not None:
            at = [m * d for m, d in zip(x, right, strict=True)]
        # Only what is added or taken off at the end is held till then.
        alone = {
            p: m
            for p, m in enumerate(at)
            if self._loops[p] or self._diagonal[p] is not None
        }
        for level in range(max(map(len, self.patterns))):
            for letter, half in _HALVES.items():
                chosen = [
                    p
                    for p, word in enumerate(self.patterns)
                    if level < len(word) and word[-1 - level] == letter
                ]
                if not chosen:
                    continue
                stacked = torch.cat([at[p] for p in chosen], dim=1)
                product = _Product.apply(  # type: ignore[no-untyped-call]
                    stacked, *self._halves[half], *self._halves[1 - half]
                )
                parts = product.split(width, dim=1)
                for p, part in zip(chosen, parts, strict=True):
                    at[p] = part
        out = []
        for p, total in enumerate(at):
            diagonal = self._diagonal[p]
            if diagonal is not None:
                total = total - diagonal.to(dtype) * alone[p]
            if self._loops[p]:
                total = total + alone[p]
            out.append(total * left[p])
        return out

    def _scaled(self, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor] | None]:
        """Scales of rows and of columns [N, 1] in a dtype; those of the last one are kept."""
        if self._scales is None or self._scales[0] != dtype:
            left = [_power(d, self._r - 1.0).to(dtype) for d in self._row]
            right = None
            if self._column is not None:
                right = [_power(d, -self._r).to(dtype) for d in self._column]
            self._scales = (dtype, left, right)
        return self._scales[1:]

    def _sums(self, paths: dict[str, Tensor], transposed: bool = False) -> list[Tensor]:
        """Row sums [N, 1] of each pattern (column sums: of its transpose), float64."""
        sums = []
        for p, word in enumerate(self.patterns):
            word = word[::-1].translate(_FLIP) if transposed else word
            total = paths[word][:, None] + float(self._loops[p])
            diagonal = self._diagonal[p]
            sums.append(total if diagonal is None else total - diagonal)
        return sums

    def _move(self, device: torch.device) -> None:
        """Hold what a step reads on a device."""
        out, into = ((ptr.to(device), idx.to(device)) for ptr, idx in self._halves)
        self._halves = (out, into)
        self._row = [d.to(device) for d in self._row]
        self._diagonal = [None if d is None else d.to(device) for d in self._diagonal]
        if self._column is not None:
            self._column = [d.to(device) for d in self._column]

    def _count_paths(self) -> dict[str, Tensor]:
        """Paths from each node along each pattern and its transpose. [N], float64."""
        found = {"": torch.ones(self.num_nodes, dtype=torch.float64)}
        for letter, half in _HALVES.items():
            found[letter] = self._halves[half][0].diff().double()
        wanted = {
            w[i:]
            for p in self.patterns
            for w in (p, p[::-1].translate(_FLIP))
            for i in range(len(w))
        }
        for length in range(2, 1 + max(map(len, wanted))):
            for letter, half in _HALVES.items():
                words = sorted(w for w in wanted if len(w) == length and w[0] == letter)
                if words:
                    rests = torch.stack([found[w[1:]] for w in words], dim=1)
                    product = ops.spmm(*self._halves[half], rests)
                    found.update(zip(words, product.unbind(1), strict=True))
        return found

    def _paths_to_self(self, word: str) -> Tensor:
        """Diagonal of a pattern of order two. [N, 1], float64."""
        if word in ("AT", "TA"):
            ptr, _ = self._halves[_HALVES[word[0]]]
            return ptr.diff().double()[:, None]
        return reciprocated(*self._halves, self.num_nodes)[:, None]


class _Product(torch.autograd.Function):
    """Sparse product whose gradient is the product with the transpose, at hand already."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, ptr: Tensor, idx: Tensor, t_ptr: Tensor, t_idx: Tensor
    ) -> Tensor:
        ctx.save_for_backward(t_ptr, t_idx)
        return ops.spmm(ptr, idx, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        t_ptr, t_idx = ctx.saved_tensors
        return ops.spmm(t_ptr, t_idx, grads[0].contiguous()), None, None, None, None


def _damping(hop: int) -> float:
    """ADPA's release multiplies by this before hop ``hop``; negative from the third on."""
    return math.log(1.0 / hop) + 1 + 1e-6


def require_patterns(function: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Require words over A and T, at least one, each once."""
    words = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    sound = all(isinstance(w, str) and w and set(w) <= {"A", "T"} for w in words)
    if not words or not sound or len(set(words)) != len(words):
        need = "be different words over A and T, such as 'A', 'AT'"
        check.fail(ValueError, function, "patterns", need, list(words))
    return words


def _power(degree: Tensor, exponent: float) -> Tensor:
    """``degree ** exponent``, 0 where the degree is 0."""
    return degree.pow(exponent).masked_fill_(degree <= 0, 0.0)
