"""Scores over seeds: mean, sample deviation, interval, paired difference."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

from graphlab import check
from graphlab.evaluate.stamp import Stamp


@dataclasses.dataclass(frozen=True)
class Scores:
    """One score for each seed, and the stamp that says what they measure.

    Args:
        values: One finite score for each seed.
        seeds: The seeds, in the order of ``values``.
        stamp: What was measured.

    Raises:
        ValueError: no scores, a score that is not finite, or not one for each seed.

    Example:
        >>> stamp = Stamp("cora", "public", "best validation", "accuracy")
        >>> scores = Scores((0.80, 0.82, 0.84), (0, 1, 2), stamp)
        >>> round(scores.mean, 3), round(scores.std, 3)
        (0.82, 0.02)
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...]
    stamp: Stamp

    def __post_init__(self) -> None:
        if not self.values:
            check.fail(ValueError, "Scores", "values", "hold a score", "none")
        if len(self.values) != len(self.seeds):
            need = f"hold one score for each of {len(self.seeds)} seeds"
            check.fail(ValueError, "Scores", "values", need, len(self.values))
        for seed, value in zip(self.seeds, self.values, strict=True):
            if not math.isfinite(value):
                got = f"{value} for seed {seed}"
                check.fail(ValueError, "Scores", "values", "be finite", got)

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation (ddof=1); nan for a single seed, where it has none."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the mean by Student's t; infinite for a single seed."""
        return _interval(self.mean, self.std, len(self.values), level)

    def minus(self, other: Scores, *, any_commit: bool = False) -> Difference:
        """Compare with other scores of the same stamp, seed by seed.

        Args:
            other: Scores of the same seeds, in any order.
            any_commit: See :meth:`Stamp.require_same`.

        Returns:
            The paired difference ``self - other``.

        Raises:
            StampMismatchError: the stamps differ.
            ValueError: the seeds differ.
        """
        self.stamp.require_same(other.stamp, any_commit=any_commit)
        if sorted(self.seeds) != sorted(other.seeds):
            need = f"have the seeds {sorted(self.seeds)}"
            got = sorted(other.seeds)
            check.fail(ValueError, "Scores.minus", "other", need, got)
        theirs = dict(zip(other.seeds, other.values, strict=True))
        pairs = zip(self.seeds, self.values, strict=True)
        return Difference(tuple(value - theirs[seed] for seed, value in pairs))

    def __sub__(self, other: Scores) -> Difference:
        return self.minus(other)

    def __lt__(self, other: Scores) -> bool:
        self.stamp.require_same(other.stamp)
        return self.mean < other.mean

    def __gt__(self, other: Scores) -> bool:
        self.stamp.require_same(other.stamp)
        return self.mean > other.mean

    def __str__(self) -> str:
        spread = f" ± {self.std:.4f}" if len(self.values) > 1 else ""
        return f"{self.mean:.4f}{spread}"

    def to_json(self) -> dict[str, Any]:
        """Return mean, std (null for one seed) and values."""
        std = self.std if len(self.values) > 1 else None
        return {"mean": self.mean, "std": std, "values": list(self.values)}


@dataclasses.dataclass(frozen=True)
class Difference:
    """Paired differences of two methods over the same seeds.

    Args:
        values: First minus second, for each seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean difference."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """Sample standard deviation of the differences; nan for a single seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the mean difference by Student's t."""
        return _interval(self.mean, self.std, len(self.values), level)

    @property
    def is_clear(self) -> bool:
        """Whether the 95% interval leaves out zero."""
        low, high = self.interval()
        return low > 0 or high < 0


def _interval(mean: float, std: float, count: int, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        check.fail(ValueError, "interval", "level", "be between 0 and 1", level)
    if count < 2:
        return -math.inf, math.inf
    from scipy.stats import t

    half = float(t.ppf(0.5 + level / 2, count - 1)) * std / math.sqrt(count)
    return mean - half, mean + half
