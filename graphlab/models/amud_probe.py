"""The probe: ridge regression on propagated features, with and without direction."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab.graph import Graph
from graphlab.graph.directed import PATTERNS, DirectedOperators
from graphlab.graph.directions import undirected_form
from graphlab.models import ridge
from graphlab.models.amud_patterns import projected
from graphlab.ops import rng

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

FEATURES, UNDIRECTED, DIRECTED = "features", "undirected", "directed"
SETS = {
    FEATURES: "X",
    UNDIRECTED: "X, UX, UUX",
    DIRECTED: "X, AX, TX, AAX, ATX, TAX, TTX",
}
# All pairs of labelled rows are held up to here; of more, so many are drawn.
_MOST_ROWS = 2000
# Wider features are projected where nodes are so many that propagating them all is slow.
_WIDTH, _MANY_NODES = 256, 20_000
_LEAST = 20
_SPLIT, _CHOOSE, _PROJECT = 81, 82, 83


@dataclasses.dataclass(frozen=True)
class Paired:
    """Mean difference of two probes over the same splits, with a 95 % interval.

    Attributes:
        first: Name of the first set of features.
        second: Name of the second.
        mean: First minus second; a share of the scored nodes.
        low: End of the interval.
        high: The other end.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float

    def describe(self) -> str:
        """In points of accuracy."""
        mean, low, high = (100 * v for v in (self.mean, self.low, self.high))
        return f"{mean:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"


@dataclasses.dataclass(frozen=True)
class Probe:
    """Scores of ridge regression on three sets of features, over the same splits.

    Attributes:
        metric: ``accuracy``; ``R2`` where features are predicted, without labels.
        scores: Set of features -> one score a split.
        test_share: Scored nodes over training nodes, which widens intervals.
        margin: Difference below which two sets are taken to be equal.
    """

    metric: str
    scores: dict[str, tuple[float, ...]]
    test_share: float
    margin: float = 0.01

    def difference(self, first: str, second: str) -> Paired:
        """Paired difference; the interval allows for splits that share training nodes."""
        from scipy.stats import t

        pairs = zip(self.scores[first], self.scores[second], strict=True)
        values = [a - b for a, b in pairs]
        mean, k = statistics.fmean(values), len(values)
        # Nadeau and Bengio, "Inference for the Generalization Error", 2003.
        variance = statistics.variance(values) * (1 / k + self.test_share)
        half = float(t.ppf(0.975, k - 1)) * variance**0.5
        return Paired(first, second, mean, mean - half, mean + half)

    @property
    def direction_gain(self) -> Paired:
        """Directed against undirected patterns."""
        return self.difference(DIRECTED, UNDIRECTED)

    @property
    def best_gain(self) -> Paired:
        """The better of the graph's sets against features alone."""
        graph = [name for name in self.scores if name != FEATURES]
        best = max(graph, key=lambda name: statistics.fmean(self.scores[name]))
        return self.difference(best, FEATURES)

    @property
    def unhelpful(self) -> bool:
        """Whether no set with the graph is better than features alone, by the margin."""
        if self.metric != "accuracy":
            return all(statistics.fmean(v) < self.margin for v in self.scores.values())
        return self.best_gain.mean <= self.margin and self.best_gain.low <= 0

    def why_unhelpful(self) -> str:
        """In words."""
        if self.metric != "accuracy":
            best = max(statistics.fmean(v) for v in self.scores.values())
            return f"neighbours tell nothing about a node's features (R2 {best:.3f})"
        gain = self.best_gain
        text = f"{gain.first} - {gain.second} = {gain.describe()}"
        return f"the probe gains nothing from the graph: {text}"

    def rows(self) -> list[dict[str, Any]]:
        """One row a set: mean, sample deviation, gain over features."""
        rows = []
        for name, values in self.scores.items():
            row: dict[str, Any] = {
                "features": SETS[name],
                "set": name,
                "mean": statistics.fmean(values),
                "std": statistics.stdev(values),
            }
            if name != FEATURES and FEATURES in self.scores:
                gain = self.difference(name, FEATURES)
                row.update(gain=gain.mean, low=gain.low, high=gain.high)
            rows.append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        out: dict[str, Any] = {"metric": self.metric, "sets": self.rows()}
        if {DIRECTED, UNDIRECTED} <= set(self.scores):
            out["direction_gain"] = dataclasses.asdict(self.direction_gain)
        return out


def probe(
    d: Dataset,
    ids: Tensor,
    y: Tensor | None,
    repeats: int,
    seed: int,
    memory: int,
    *,
    directed: bool = True,
) -> Probe | None:
    """Score the sets of features over random splits of the nodes ``ids``.

    In each split 60 % of the nodes train, 20 % choose the penalty, 20 % are scored.

    Args:
        d: The data set.
        ids: [n], nodes that may be looked at.
        y: [n], their classes; None: predict the features of a node from others'.
        repeats: Splits.
        seed: Of splits and projections.
        memory: Bytes that columns may take.
        directed: Whether to score directed patterns too.

    Returns:
        The scores; None with fewer than 20 nodes.
    """
    if len(ids) > _MOST_ROWS:
        order = rng.permutation(rng.key(seed, _CHOOSE), len(ids))[:_MOST_ROWS]
        chosen = torch.from_numpy(order).sort().values
        ids, y = ids[chosen], None if y is None else y[chosen]
    if len(ids) < _LEAST:
        return None
    wide = d.num_nodes > _MANY_NODES and d.num_features > _WIDTH
    width = _WIDTH if wide or y is None else d.num_features
    # Half the memory for what is propagated, half for the columns at work.
    width = min(width, max(8, memory // (8 * d.num_nodes)))
    x = projected(d, width, rng.key(seed, _PROJECT))
    names = [UNDIRECTED, *([DIRECTED] if directed else [])]
    if y is not None:
        names.insert(0, FEATURES)
        _, place = torch.unique(y, return_inverse=True)
        targets = ridge.one_hot(place, int(place.max()) + 1)
    else:
        targets = x[ids].double()
    grams = {}
    for name in names:
        gram = ridge.Gram(len(ids))
        for rows in _columns(d.graph, x, name, ids, memory, own=y is not None):
            gram.add(rows)
        grams[name] = gram.matrix
    splits = [_split(len(ids), seed, number) for number in range(repeats)]
    scores = {
        name: tuple(_score(gram, targets, split, y is not None) for split in splits)
        for name, gram in grams.items()
    }
    train, _, test = splits[0]
    metric = "accuracy" if y is not None else "R2"
    return Probe(metric, scores, len(test) / len(train))


def _columns(
    graph: Graph, x: Tensor, name: str, ids: Tensor, memory: int, *, own: bool
) -> Iterator[Tensor]:
    """Columns of a set of features, of the nodes ``ids``; rows of a block have length one.

    Without ``own`` a node's features are left out, and paths from it to itself.
    """
    options: dict[str, Any] = {"r": 0.0, "self_loops": "none"}
    if not own:
        options["drop_diagonal"] = True
    if name == FEATURES:
        yield x[ids]
        return
    if name == UNDIRECTED:
        graph = undirected_form(graph)
        patterns: tuple[str, ...] = ("A", "AA")
    else:
        patterns = PATTERNS
    operators = DirectedOperators(graph, patterns, **options)
    if own:
        yield x[ids]
    # Columns in, stacked, and out, for each pattern, of both levels.
    step = max(1, memory // (4 * len(x) * 5 * len(patterns)))
    kept: list[list[Tensor]] = [[] for _ in patterns]
    for start in range(0, x.shape[1], step):
        for place, rows in enumerate(operators.step(x[:, start : start + step])):
            kept[place].append(rows[ids])
    for parts in kept:
        yield torch.nn.functional.normalize(torch.cat(parts, 1), dim=1)


def _split(count: int, seed: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    order = torch.from_numpy(rng.permutation(rng.key(seed, _SPLIT, number), count))
    train, val = int(0.6 * count), int(0.2 * count)
    return order[:train], order[train : train + val], order[train + val :]


def _score(
    gram: Tensor,
    targets: Tensor,
    split: tuple[Tensor, Tensor, Tensor],
    classes: bool,
) -> float:
    train, val, test = split
    found = ridge.fit_predict(gram, train, targets[train], torch.cat([val, test]))
    measured = []
    for predicted in found:
        parts = predicted.split([len(val), len(test)])
        measured.append(
            [
                _measure(part, targets[nodes], classes)
                for part, nodes in zip(parts, (val, test), strict=True)
            ]
        )
    # Of equal validation scores the larger penalty, which comes last, counts.
    best = max(range(len(measured)), key=lambda i: (measured[i][0], i))
    return measured[best][1]


def _measure(predicted: Tensor, targets: Tensor, classes: bool) -> float:
    if classes:
        return float((predicted.argmax(1) == targets.argmax(1)).double().mean())
    left = float(((predicted - targets) ** 2).sum())
    return 1 - left / float(((targets - targets.mean(0)) ** 2).sum())
