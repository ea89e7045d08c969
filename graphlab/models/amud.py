"""AMUD: does the direction of a graph's edges tell anything about its nodes?

Three kinds of evidence, never one number: is the direction real or a way of storing; how
much more often than by chance do the ends of a directed pattern share a label; and does a
classifier in closed form gain from directed patterns.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check, files, sizes
from graphlab.graph.directed import PATTERNS
from graphlab.models.amud_orientation import Orientation, orientation
from graphlab.models.amud_patterns import PatternStatistic, pattern_statistics
from graphlab.models.amud_probe import Probe, probe

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

VERDICTS = ("directed", "undirected", "unhelpful", "undecided")
# What a report says of its labels where training labels were asked for and there is no split.
NO_SPLIT = "all (no split)"
# A pattern is taken to be closer than by chance below this p; with so many permutations at
# least p = 1 / (permutations + 1) can be.
_P, _LEAST_PERMUTATIONS = 0.05, 20


@dataclasses.dataclass(frozen=True)
class DirectionReport:
    r"""What is known about a graph's direction.

    Attributes:
        dataset: Its name.
        verdict: ``directed``: keep the direction; ``undirected``: make edges symmetric;
            ``unhelpful``: the graph adds nothing to the features; ``undecided``.
        reasons: Why, in words.
        labels: Which were read: ``train``, ``all`` (an oracle), ``all (no split)`` or
            ``none``.
        num_labelled: How many nodes they are of.
        orientation: Sizes, reciprocity, alarm, twins.
        patterns: Statistic of each pattern beside its permutation null.
        amud_score: :math:`d / (d + u)`: the largest :math:`|\phi|` of the directed patterns
            over its sum with that of the symmetric ones; our formula, as the paper's was not
            at hand. Above 0.5 a directed pattern is closer to the labels.
        probe: Scores of the closed-form classifiers and their paired differences; None
            where there is too little to score.
    """

    dataset: str
    verdict: str
    reasons: tuple[str, ...]
    labels: str
    num_labelled: int
    orientation: Orientation
    patterns: tuple[PatternStatistic, ...]
    amud_score: float | None
    probe: Probe | None

    @property
    def direction(self) -> str:
        """What to do: ``directed`` or ``undirected``, which is kept unless there is a gain."""
        return "directed" if self.verdict == "directed" else "undirected"

    @property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of the tables: orientation, patterns, probe."""
        facts = dataclasses.asdict(self.orientation)
        probes: list[dict[str, Any]] = []
        if self.probe is not None:
            probes = self.probe.rows()
        return {
            "orientation": [{"fact": k, "value": v} for k, v in facts.items()],
            "patterns": [dataclasses.asdict(p) for p in self.patterns],
            "probe": probes,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "dataset": self.dataset,
            "verdict": self.verdict,
            "direction": self.direction,
            "reasons": list(self.reasons),
            "labels": self.labels,
            "num_labelled": self.num_labelled,
            "amud_score": self.amud_score,
            "orientation": dataclasses.asdict(self.orientation),
            "patterns": self.tables["patterns"],
            "probe": None if self.probe is None else self.probe.to_json(),
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json` as a file."""
        files.publish_json(path, self.to_json())

    def plot(self, path: str | Path) -> Path:
        """Draw excess by pattern with its null, and the probe; PNG, PDF or SVG by suffix."""
        from graphlab.models.amud_plot import draw

        return draw(self, path)

    def __str__(self) -> str:
        score = "-" if self.amud_score is None else f"{self.amud_score:.3f}"
        lines = [f"{self.dataset}: {self.verdict} (amud_score {score})"]
        return "\n".join([*lines, *(f"- {reason}" for reason in self.reasons)])


def diagnose_direction(
    d: Dataset,
    *,
    labels: str = "train",
    run: int = 0,
    permutations: int = 32,
    repeats: int = 10,
    seed: int = 0,
    memory: int | str = "1GiB",
) -> DirectionReport:
    """Say whether to keep the direction of a graph's edges, and why.

    Args:
        d: The data set, with its edges as they were stored. Not changed.
        labels: ``train``: only those of the training split, all of them where there is no
            split; ``all``: an oracle, which has seen test labels; ``none``: features only.
        run: Split run.
        permutations: Of the labels, for the null of each pattern; where there is no probe, 20
            at least give a verdict.
        repeats: Random splits of the labelled nodes, for the probe.
        seed: Of permutations, splits and projections.
        memory: Bytes that columns beside the graph may take.

    Returns:
        The report; ``print`` it, ``plot`` it, or use ``verdict``.

    Raises:
        ValueError: options that cannot be; neither labels nor features.
        BudgetError: ``memory`` does not hold one column of the statistics.

    Cost:
        Sparse products over the edges: ``2 * (permutations + 1) * classes`` columns for the
        statistics, all features once a pattern for the probe. Memory beside the graph: its
        edges by source, by target and without direction (4 * edges indices), about as much
        again while these are made, the features once and some numbers of each node in
        float32, and ``memory``: 5.0 GB for 100 million edges, 10 million nodes and 16
        features (benchmarks/results/diagnose_scale.json).

    Source:
        The question is AMUD's (Sun et al., ICDE 2024); its release has no code for it, and
        its formula was not at hand. Statistics, null and probe are ours.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=200, num_edges=800, num_features=8)
        >>> diagnose_direction(d).verdict
        'undirected'
    """
    name = "diagnose_direction"
    check.one_of(name, "labels", labels, ("train", "all", "none"))
    check.positive(name, "permutations", permutations, least=0)
    check.positive(name, "repeats", repeats, least=2)
    limit = sizes.parse(memory)
    if d.y is None:
        labels = "none"
    if labels == "train" and "train" not in d.splits:
        labels = NO_SPLIT
    ids, y = _labelled(d, labels, run)
    if y is None and d.x is None:
        check.fail(ValueError, name, "d", "have labels or features", "neither")
    facts = orientation(d.graph, seed)
    statistics: tuple[PatternStatistic, ...] = ()
    if facts.num_edges:
        statistics = pattern_statistics(d, ids, y, permutations, seed, limit)
    tested: Probe | None = None
    if d.x is not None and not facts.undirected and not facts.alarm:
        tested = probe(d, ids, y, repeats, seed, limit)
    elif d.x is not None and facts.num_edges and y is not None:
        tested = probe(d, ids, y, repeats, seed, limit, directed=False)
    verdict, reasons = _judge(facts, statistics, tested, labels, permutations)
    return DirectionReport(
        d.name,
        verdict,
        tuple(reasons),
        labels,
        len(ids),
        facts,
        statistics,
        _score(statistics),
        tested,
    )


def _labelled(d: Dataset, labels: str, run: int) -> tuple[Tensor, Tensor | None]:
    """Nodes whose labels may be looked at, and these labels."""
    everyone = torch.arange(d.num_nodes)
    if labels == "none" or d.y is None:
        return everyone, None
    y = d.y
    if y.dim() == 2 or y.is_floating_point():
        check.fail(
            ValueError,
            "diagnose_direction",
            "d.y",
            "be [N] class ids",
            f"{list(y.shape)} {str(y.dtype).removeprefix('torch.')}",
            "pass labels='none' to look at the features alone",
        )
    ids = everyone
    if labels == "train":
        ids = d.ids("train", run)
    ids = ids[y[ids] >= 0]
    if len(ids) == 0:
        check.fail(ValueError, "diagnose_direction", "d.y", "label a node", "none")
    return ids, y[ids]


def _score(statistics: tuple[PatternStatistic, ...]) -> float | None:
    size = {s.pattern: abs(s.phi) for s in statistics if s.phi is not None}
    directed = [size[p] for p in PATTERNS if p in size]
    symmetric = [size[p] for p in ("U", "UU") if p in size]
    if not directed or not symmetric:
        return None
    total = max(directed) + max(symmetric)
    return max(directed) / total if total > 0 and math.isfinite(total) else None


def _judge(
    facts: Orientation,
    statistics: tuple[PatternStatistic, ...],
    tested: Probe | None,
    labels: str,
    permutations: int,
) -> tuple[str, list[str]]:
    """Verdict and reasons; orientation first, then the probe, then the statistics."""
    reasons: list[str] = []
    if labels == "all":
        reasons.append(
            "all labels were read, test labels too: an oracle, for study only"
        )
    if labels == NO_SPLIT:
        reasons.append("there is no training split: the labels of all nodes were read")
    if facts.num_edges == 0:
        return "unhelpful", [*reasons, "there is no edge between two nodes"]
    if facts.alarm:
        reasons.append(
            f"alarm: {facts.share_ascending:.1%} of {facts.num_edges:,} edges go from the "
            "lower to the higher id (or all the other way) and none has its reverse: this "
            "is how undirected files are stored; direction here is node numbering"
        )
    if facts.undirected:
        reasons.append("every edge has its reverse: there is no direction to keep")
    if facts.twin_share > 0.1:
        reasons.append(
            f"{facts.twin_share:.0%} of the nodes have a twin with the same neighbours in "
            "both directions: scores may come from duplicates"
        )
    if tested is not None and tested.unhelpful:
        return "unhelpful", [*reasons, tested.why_unhelpful()]
    if facts.alarm or facts.undirected:
        return "undirected", reasons
    if tested is None:
        if labels != "none":
            reasons.append("too few labelled nodes, or no features, for the probe")
        return _by_statistics(statistics, reasons, permutations)
    difference = tested.direction_gain
    text = f"{difference.first} - {difference.second} = {difference.describe()}"
    if difference.low > 0:
        return "directed", [*reasons, f"directed patterns help the probe: {text}"]
    if difference.high < 0:
        return "undirected", [*reasons, f"directed patterns hurt the probe: {text}"]
    tie = tested.margin
    if max(abs(difference.low), abs(difference.high)) <= tie:
        text += f", inside {100 * tie:.1f} points"
        return "undirected", [*reasons, f"direction makes no difference: {text}"]
    return "undecided", [*reasons, f"the probe cannot tell: {text}"]


def _by_statistics(
    statistics: tuple[PatternStatistic, ...], reasons: list[str], permutations: int
) -> tuple[str, list[str]]:
    # The smallest p is that of the labels as they are: 1 of permutations + 1.
    if permutations < _LEAST_PERMUTATIONS:
        reasons.append(
            f"{permutations} permutations cannot tell a pattern from chance: at least "
            f"{_LEAST_PERMUTATIONS} are needed for p below {_P}"
        )
        return "undecided", reasons
    clear = [s for s in statistics if s.p is not None and s.p < _P and s.excess > 0]
    if not clear:
        reasons.append("no pattern is closer to the labels or features than by chance")
        return "unhelpful", reasons
    best = max(clear, key=lambda s: s.excess)
    reasons.append(
        f"{best.pattern} has the largest excess, {100 * best.excess:+.1f} points; without "
        "the probe this is a hint, not a verdict"
    )
    return "undecided", reasons
