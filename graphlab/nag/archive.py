"""MAP-Elites: the best architecture found at every cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from graphlab import check


@dataclasses.dataclass(frozen=True)
class Elite:
    """An architecture that leads its niche."""

    architecture: str
    score: float
    costs: dict[str, float]


class Archive:
    """Keeps one elite for each niche of cost.

    Args:
        edges: Cost name -> increasing borders of its niches; outside them are two more.

    Source:
        Mouret and Clune, "Illuminating search spaces by mapping elites", 2015.

    Example:
        >>> archive = Archive({"params": [0.5, 1.0]})
        >>> archive.add("small", 0.7, {"params": 0.1}), archive.add("b", 0.9, {"params": 2.0})
        (True, True)
        >>> archive.add("worse", 0.6, {"params": 0.2})
        False
        >>> [e.architecture for e in archive.front("params")]
        ['small', 'b']
    """

    def __init__(self, edges: Mapping[str, Sequence[float]]) -> None:
        if not edges:
            check.fail(ValueError, "Archive", "edges", "name a cost", "none")
        self.edges = {name: tuple(float(v) for v in e) for name, e in edges.items()}
        self.elites: dict[tuple[int, ...], Elite] = {}

    def niche(self, costs: Mapping[str, float]) -> tuple[int, ...]:
        """Which niche costs belong to."""
        return tuple(
            sum(costs[name] > edge for edge in edges)
            for name, edges in self.edges.items()
        )

    def add(self, architecture: str, score: float, costs: Mapping[str, float]) -> bool:
        """Offer an architecture; whether it leads its niche now.

        Of equal scores the one leads that costs less, in one cost at least and more in none.
        """
        place = self.niche(costs)
        fresh = Elite(architecture, score, dict(costs))
        holder = self.elites.get(place)
        if holder is not None and not self._leads(fresh, holder):
            return False
        self.elites[place] = fresh
        return True

    def _leads(self, fresh: Elite, holder: Elite) -> bool:
        if fresh.score != holder.score:
            return fresh.score > holder.score
        saved = [holder.costs[name] - fresh.costs[name] for name in self.edges]
        return min(saved) >= 0 and max(saved) > 0

    @property
    def coverage(self) -> float:
        """Share of niches that hold an elite."""
        total = 1
        for edges in self.edges.values():
            total *= len(edges) + 1
        return len(self.elites) / total

    def front(self, cost: str) -> list[Elite]:
        """Elites that no cheaper one beats, by rising cost."""
        check.one_of("Archive.front", "cost", cost, self.edges)
        best, kept = float("-inf"), []
        for elite in sorted(
            self.elites.values(), key=lambda e: (e.costs[cost], -e.score)
        ):
            if elite.score > best:
                best = elite.score
                kept.append(elite)
        return kept

    def to_json(self) -> list[dict[str, Any]]:
        """All elites, by rising first cost."""
        first = next(iter(self.edges))
        ordered = sorted(self.elites.values(), key=lambda e: e.costs[first])
        return [dataclasses.asdict(elite) for elite in ordered]
