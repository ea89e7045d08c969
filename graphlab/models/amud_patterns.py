"""How much more often than by chance the ends of a directed pattern are alike.

No product of adjacencies is built: with one-hot labels Y (zero rows where they may not be
looked at), the same-label paths of AA, AT and TA are <TY, AY>, |TY|^2 and |AY|^2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from graphlab import ops, sizes
from graphlab.datasets.column import gather
from graphlab.errors import BudgetError
from graphlab.graph.directions import both_directions, reciprocated
from graphlab.ops import rng

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

# The second-order patterns that differ: labels are alike both ways, so AA = TT and A = T.
NAMES = ("A", "AA", "AT", "TA", "U", "UU")
# Random directions that features are projected on, and those that estimate |P|^2.
_WIDTH, _LEAST_WIDTH, _PROBES, _ROWS = 64, 8, 32, 2**18
_PERMUTE, _PROJECT, _SQUARE = 71, 72, 73


@dataclasses.dataclass(frozen=True)
class PatternStatistic:
    """One pattern's statistic; pairs are paths, from a node to itself left out.

    Attributes:
        pattern: ``A`` (= T), ``AA`` (= TT), ``AT``, ``TA``; ``U`` = A + T and ``UU``.
        pairs: Paths between two nodes that may be looked at.
        alike: Share of them with one label; without labels: mean cosine of features.
        chance: Mean of the same over permutations of the labels.
        excess: ``alike - chance``.
        null_low: Lowest excess of the middle 95 % of permutations.
        null_high: Highest one.
        p: Two-sided permutation p-value.
        phi: Correlation of path counts and likeness over all ordered pairs (binary Pearson
            for ``A`` without parallel edges).
    """

    pattern: str
    pairs: float
    alike: float
    chance: float
    excess: float
    null_low: float | None
    null_high: float | None
    p: float | None
    phi: float | None


def pattern_statistics(
    d: Dataset,
    ids: Tensor,
    y: Tensor | None,
    permutations: int,
    seed: int,
    memory: int,
) -> tuple[PatternStatistic, ...]:
    """Statistics of :data:`NAMES` over the nodes ``ids``.

    Args:
        d: The data set.
        ids: [n], nodes that may be looked at.
        y: [n], their class ids; None: features.
        permutations: Of the likeness, for the null.
        seed: Of permutations and projections.
        memory: Bytes that stacked columns may take.

    Raises:
        BudgetError: ``memory`` does not hold one column; says what would.
    """
    each = _column_bytes(d.num_nodes, len(ids))
    _require_memory(d, y, each, memory)
    table = _Table(d, ids)
    if y is not None:
        names, place = torch.unique(y, return_inverse=True)
        likeness, width, held = _likeness_of_labels(place), len(names), 0
        columns = _one_hot(place)
    else:
        rows = _directions(d, seed, memory)[ids]
        likeness, width, held = _likeness(rows), rows.shape[1], rows.nbytes
        columns = _rows_in_order(rows)
    step = (memory - held) // each
    at_once = max(1, step // width)
    counts = []
    for first in range(0, permutations + 1, at_once):
        orders = [
            _order(seed, number, len(ids))
            for number in range(first, min(first + at_once, permutations + 1))
        ]
        count = torch.zeros(len(NAMES), len(orders), dtype=torch.float64)
        for start in range(0, width, step):
            end = min(start + step, width)
            blocks = [columns(order, start, end) for order in orders]
            count += table.alike(torch.cat(blocks, 1), end - start)
        counts.append(count)
    alike = torch.cat(counts, 1)
    pairs = table.alike(torch.ones(len(ids), 1), 1)[:, 0]
    square = table.squares(seed, step)
    out = []
    for i, name in enumerate(NAMES):
        total = float(pairs[i])
        if total <= 0:
            continue
        share = alike[i] / total
        observed, null = float(share[0]), share[1:]
        chance = float(null.mean()) if len(null) else likeness[0]
        excess = observed - chance
        spread = (null - chance).numpy()
        low = high = p = None
        if len(spread):
            low, high = (float(q) for q in np.quantile(spread, (0.025, 0.975)))
            beyond = int((np.abs(spread) >= abs(excess) - 1e-12).sum())
            p = (1 + beyond) / (1 + len(spread))
        n = len(ids) * (len(ids) - 1)
        phi = _correlation(n, total, float(square[i]), float(alike[i][0]), likeness)
        out.append(
            PatternStatistic(name, total, observed, chance, excess, low, high, p, phi)
        )
    return tuple(out)


class _Table:
    """Sums over pairs of nodes for each pattern, by products with a few columns."""

    def __init__(self, d: Dataset, ids: Tensor) -> None:
        self._halves = both_directions(d.graph)
        self._ids, self._n = ids, d.num_nodes
        out, into = (ptr.diff()[ids].float() for ptr, _ in self._halves)
        mutual = reciprocated(*self._halves, self._n)[ids].float()
        # Paths of two steps from a node to itself.
        self._self = {"AA": mutual, "AT": out, "TA": into}

    def _products(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.zeros(self._n, rows.shape[1])
        y[self._ids] = rows
        forward, backward = (ops.spmm(ptr, idx, y) for ptr, idx in self._halves)
        return forward, backward

    def alike(self, rows: Tensor, width: int) -> Tensor:
        """Sum of P_ij <row_i, row_j> for blocks of ``width`` columns. [NAMES, blocks]."""
        forward, backward = self._products(rows)

        def blocks(x: Tensor) -> Tensor:
            return x.double().view(-1, width).sum(1)

        first = blocks(_dots(rows, forward[self._ids]))
        own = (rows * rows).view(len(rows), -1, width).sum(2).double()
        two = {
            "AA": _dots(backward, forward),
            "AT": _dots(backward, backward),
            "TA": _dots(forward, forward),
        }
        second = {
            name: blocks(total) - (self._self[name].double()[:, None] * own).sum(0)
            for name, total in two.items()
        }
        every = 2 * second["AA"] + second["AT"] + second["TA"]
        return torch.stack(
            [first, second["AA"], second["AT"], second["TA"], 2 * first, every]
        )

    def squares(self, seed: int, step: int = _PROBES) -> Tensor:
        """Sum of P_ij^2 over pairs, by 32 random signs, few at a time; exact for A. [NAMES]."""
        ones = torch.ones(len(self._ids), 1)
        edges = float((ones * self._products(ones)[0][self._ids]).sum())
        total = torch.zeros(len(NAMES) - 1, dtype=torch.float64)
        for start in range(0, _PROBES, step):
            g = _signs(seed, len(self._ids), start, min(start + step, _PROBES))
            total += self._squares_of(g)
        return torch.tensor([edges, *(total / _PROBES).tolist()])

    def _squares_of(self, g: Tensor) -> Tensor:
        """Sum of squares of each pattern's product with g, for NAMES but the first."""
        forward, backward = self._products(g)
        found = {"U": _square((forward + backward)[self._ids])}
        every = torch.zeros_like(g)
        for name, half, inner in (
            ("AA", 0, forward),
            ("AT", 0, backward),
            ("TA", 1, forward),
            ("TT", 1, backward),
        ):
            ptr, idx = self._halves[half]
            diagonal = self._self["AA" if name == "TT" else name][:, None]
            twice = ops.spmm(ptr, idx, inner)[self._ids]
            twice -= diagonal * g
            found[name] = _square(twice)
            every += twice
        found["UU"] = _square(every)
        return torch.tensor([found[n] for n in NAMES[1:]], dtype=torch.float64)


def _column_bytes(num_nodes: int, count: int) -> int:
    """What a column takes at work, of ``count`` nodes that may be looked at.

    Both products and what they multiply; the rows, twice, and what is made of them; pieces of
    these in float64.
    """
    return 4 * (3 * num_nodes + 5 * count + 4 * min(count, _ROWS))


def _require_memory(d: Dataset, y: Tensor | None, each: int, memory: int) -> None:
    least = each
    if y is None:
        # Features are held in few columns at least, twice while these are made.
        least += 8 * d.num_nodes * min(_LEAST_WIDTH, d.num_features)
    if memory < least:
        raise BudgetError(
            f"diagnose_direction: `memory` must be at least {least} bytes "
            f"({sizes.show(least)}) to hold one column of {d.num_nodes:,} nodes, got "
            f"{sizes.show(memory)}"
        )


def _signs(seed: int, count: int, start: int, end: int) -> Tensor:
    """Columns ``start`` to ``end`` of [count, 32] random signs, drawn row after row."""
    key = rng.key(seed, _SQUARE)
    out = torch.empty(count, end - start)
    step = max(1, count // 64)  # draws are wide: few rows of them at a time
    for first in range(0, count, step):
        last = min(first + step, count)
        bits = rng.bits(key, (last - first) * _PROBES, first * _PROBES)
        signs = torch.from_numpy((bits >> np.uint64(63)).astype(np.float32) * 2 - 1)
        out[first:last] = signs.view(-1, _PROBES)[:, start:end]
    return out


def _order(seed: int, number: int, count: int) -> Tensor | None:
    """A permutation by its number; None: the first, which leaves all in place."""
    if number == 0:
        return None
    return torch.from_numpy(rng.permutation(rng.key(seed, _PERMUTE, number), count))


def _square(x: Tensor) -> float:
    """Sum of squares, in float64, some rows at a time."""
    return sum(float((part.double() ** 2).sum()) for part in x.split(_ROWS // 4))


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Inner products of columns, in float64, some rows at a time. [columns]."""
    total = torch.zeros(a.shape[1], dtype=torch.float64)
    for x, z in zip(a.split(_ROWS), b.split(_ROWS), strict=True):
        total += (x * z).sum(0, dtype=torch.float64)
    return total


def _likeness(rows: Tensor) -> tuple[float, float]:
    """Mean and variance of the likeness over ordered pairs of different nodes."""
    n = len(rows)
    pairs = max(n * (n - 1), 1)
    total = rows.double().sum(0)
    own = (rows.double() ** 2).sum(1)
    mean = float((total @ total - own.sum()) / pairs)
    inner = rows.double().t() @ rows.double()
    square = float((inner**2).sum() - (own**2).sum()) / pairs
    return mean, max(square - mean**2, 0.0)


def _likeness_of_labels(place: Tensor) -> tuple[float, float]:
    """The same of one-hot rows, whose likeness is zero or one."""
    n = len(place)
    count = torch.bincount(place).double()
    mean = float((count @ count - n) / max(n * (n - 1), 1))
    return mean, mean * (1 - mean)


def _correlation(
    n: int, total: float, square: float, alike: float, likeness: tuple[float, float]
) -> float | None:
    if n <= 0:
        return None
    mean = total / n
    variance = square / n - mean**2
    if variance <= 0 or likeness[1] <= 0:
        return None
    return float((alike / n - mean * likeness[0]) / (variance * likeness[1]) ** 0.5)


# Columns ``start`` to ``end`` of the nodes' rows, in an order.
Columns = Callable[[Tensor | None, int, int], Tensor]


def _one_hot(place: Tensor) -> Columns:
    def columns(order: Tensor | None, start: int, end: int) -> Tensor:
        chosen = place if order is None else place[order]
        return (chosen[:, None] == torch.arange(start, end)).float()

    return columns


def _rows_in_order(rows: Tensor) -> Columns:
    def columns(order: Tensor | None, start: int, end: int) -> Tensor:
        part = rows[:, start:end]
        return part if order is None else part[order]

    return columns


def _directions(d: Dataset, seed: int, memory: int) -> Tensor:
    """Features of length one, projected on random signs where they are wide. [N, width]."""
    width = min(_WIDTH, max(_LEAST_WIDTH, memory // (8 * d.num_nodes)))
    return projected(d, width, rng.key(seed, _PROJECT))


def projected(d: Dataset, width: int, key: int, step: int = 16384) -> Tensor:
    """Features divided by their length, on at most ``width`` random directions. [N, width].

    Inner products keep their expected values.
    """
    wide = d.num_features
    matrix = None
    if wide > width:
        bits = rng.bits(key, wide * width)
        signs = (bits >> np.uint64(63)).astype(np.float32) * 2 - 1
        matrix = torch.from_numpy(signs).view(wide, width) / width**0.5
    parts = []
    for start in range(0, d.num_nodes, step):
        ids = torch.arange(start, min(start + step, d.num_nodes))
        x = torch.nn.functional.normalize(gather(d.x, ids).float().flatten(1), dim=1)
        parts.append(x if matrix is None else x @ matrix)
    return torch.cat(parts)
