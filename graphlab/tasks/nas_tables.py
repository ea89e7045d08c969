"""Searches on tables of known accuracies: minutes of training answered at once."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import files, nag, progress
from graphlab.nag import controls, tables
from graphlab.nag.loop import default_denoiser
from graphlab.tasks import calling


@dataclasses.dataclass(frozen=True)
class TableResult:
    """What searches on a table gave, one a seed.

    Attributes:
        searches: Architectures and their signal (validation accuracy), in order.
        truth: Of each search, test accuracy of the incumbent after each evaluation, in
            percent; read when the searches are over.
        table_best: Best test accuracy of the table.
        table_mean: That of the average architecture.
        data: Data set.
        run_dir: Run folder, or None.
    """

    searches: list[nag.SearchResult]
    truth: list[list[float]]
    table_best: float
    table_mean: float
    data: str
    run_dir: Path | None

    @property
    def found(self) -> nag.SearchResult:
        """The search with the best signal."""
        return max(self.searches, key=lambda search: max(search.scores))

    @property
    def regret(self) -> list[list[float]]:
        """Percentage points below the best of the table, of each search."""
        return [[self.table_best - t for t in run] for run in self.truth]

    @property
    def relative_improvement(self) -> list[float]:
        """Of each search's last incumbent over the average architecture, percent."""
        return [
            controls.relative_improvement(run[-1], self.table_mean)
            for run in self.truth
        ]

    def lines(self) -> list[str]:
        """What to print about it."""
        last = [run[-1] for run in self.regret]
        count = len(last)
        return [
            f"regret {statistics.fmean(last):.2f} points of test accuracy below the table's "
            f"best, mean of {count} search{'es' if count > 1 else ''}",
            f"{statistics.fmean(self.relative_improvement):+.1f} % over the average "
            "architecture",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        return {
            "data": self.data,
            "regret": [run[-1] for run in self.regret],
            "relative_improvement": self.relative_improvement,
            "table": {"best": self.table_best, "mean": self.table_mean},
            "search": self.found.to_json(),
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }


def niches(costs: Sequence[float], count: int = 8) -> list[float]:
    """Borders of niches that hold about equally many of the given costs.

    Example:
        >>> niches(range(9), count=2)
        [4.0]
    """
    inner = np.linspace(0, 1, count + 1)[1:-1]
    return sorted({float(q) for q in np.quantile(np.asarray(costs, float), inner)})


def search_table(
    space: str,
    data: str,
    *,
    evaluations: int = 100,
    method: str = "bayesian",
    denoiser: nag.Denoiser | None = None,
    seeds: Iterable[int] = (0,),
    root: str | None = None,
    run_dir: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> TableResult:
    """Search a table by its validation accuracies; the test column judges at the end.

    Args:
        space: ``nb201`` or ``nas_bench_graph``.
        data: One of its data sets.
        evaluations: How many.
        method: See :func:`graphlab.nag.search`.
        denoiser: See there.
        seeds: Each searches once.
        root: Folder of the table; default GRAPHLAB_DATA.
        run_dir: Folder for the result.
        settings: More arguments of :class:`graphlab.nag.Bayesian`.

    Raises:
        DatasetNotFoundError: the table is not there.
    """
    table = tables.load(space, data, root)
    signal = dict(
        zip(
            table.space.decode(table.architectures),
            table.signal.tolist(),
            strict=True,
        )
    )

    def look_up(text: str) -> float:
        if text in signal:
            return float(signal[text])
        return table.evaluate(table.space.encode([text]))[0]

    def cost_of(text: str) -> dict[str, float]:
        row = table.rows(table.space.encode([text]))
        return {name: float(value[row]) for name, value in table.costs.items()}

    if method == "bayesian" and denoiser is None:
        denoiser = default_denoiser(table.space)
    borders = {name: niches(value.tolist()) for name, value in table.costs.items()}
    searches, truth = [], []
    wanted = calling.require_seeds("nas.search_table", seeds)
    with progress.track("searches", len(wanted) * evaluations, "evaluations") as bar:
        for seed in wanted:
            found = nag.search(
                table.space,
                nag.Evaluator(table.space, look_up, by_hash=table.by_hash),
                evaluations,
                method=method,
                denoiser=denoiser,
                seed=seed,
                niches=borders,
                cost_of=cost_of,
                on_score=lambda text, value: bar.advance(),
                **(settings or {}),
            )
            searches.append(found)
    for found in searches:
        rows = table.rows(table.space.encode(found.architectures))
        best, run = 0, []
        for place, score in enumerate(found.scores):
            best = place if score > found.scores[best] else best
            run.append(float(table.truth[rows[best]]))
        truth.append(run)
    result = TableResult(
        searches,
        truth,
        table.best,
        float(table.truth.double().mean()),
        data,
        None if run_dir is None else Path(run_dir),
    )
    if result.run_dir is not None:
        config = {
            "task": "nas",
            "space": space,
            "data": data,
            "method": method,
            "evaluations": evaluations,
            "seeds": wanted,
            "settings": dict(settings or {}),
        }
        files.publish_json(result.run_dir / "config.json", config)
        files.publish_json(result.run_dir / "result.json", result.to_json())
    return result
