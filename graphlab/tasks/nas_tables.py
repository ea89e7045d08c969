"""Searches on tables of known accuracies: minutes of training answered at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphlab import files, nag
from graphlab.nag import controls, tables


@dataclasses.dataclass(frozen=True)
class TableResult:
    """What a search on a table gave.

    Attributes:
        found: Architectures and their signal (validation accuracy), in order.
        truth: Test accuracy of the incumbent, in percent; read after the search.
        regret: Percentage points below the best of the table.
        relative_improvement: Over the average architecture of the table, percent.
        data: Data set.
        run_dir: Run folder, or None.
    """

    found: nag.SearchResult
    truth: float
    regret: float
    relative_improvement: float
    data: str
    run_dir: Path | None

    def lines(self) -> list[str]:
        """What to print about it."""
        return [
            f"test accuracy in the table {self.truth:.2f} %, {self.regret:.2f} below its best",
            f"{self.relative_improvement:+.1f} % over the average architecture",
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        return {
            "data": self.data,
            "truth": self.truth,
            "regret": self.regret,
            "relative_improvement": self.relative_improvement,
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
    seed: int = 0,
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
        seed: Names all draws.
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

    folder = None if run_dir is None else Path(run_dir)
    found = nag.search(
        table.space,
        nag.Evaluator(table.space, look_up, by_hash=table.by_hash),
        evaluations,
        method=method,
        denoiser=denoiser,
        seed=seed,
        niches={"params": niches(table.costs["params"].tolist())},
        cost_of=cost_of,
        **(settings or {}),
    )
    row = table.rows(table.space.encode([found.best]))
    truth = float(table.truth[row])
    result = TableResult(
        found,
        truth,
        table.best - truth,
        controls.relative_improvement(truth, float(table.truth.double().mean())),
        data,
        folder,
    )
    if folder is not None:
        files.publish_json(folder / "result.json", result.to_json())
    return result
