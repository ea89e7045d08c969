"""Plots of architecture search: regret bands, cells as graphs, fronts over costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from graphlab import check
from graphlab.report import plots

if TYPE_CHECKING:
    from graphlab.nag import Archive
    from graphlab.nag.space import Cell

_SHORT = {"nor_conv_3x3": "conv 3x3", "nor_conv_1x1": "conv 1x1"}
_SHORT |= {"avg_pool_3x3": "pool 3x3", "skip_connect": "skip"}


@plots._styled
def regret(
    runs: Mapping[str, Sequence[Sequence[float]]],
    *,
    title: str = "",
    ylabel: str = "regret",
    log: bool = True,
) -> Figure:
    """Draw mean regret by evaluations for each method, with a band of two standard errors.

    Args:
        runs: Method -> regret after each evaluation, one sequence a seed.
        title: Of the plot.
        ylabel: Of the axis.
        log: Logarithmic axis, where every mean is above zero.
    """
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axis = figure.subplots()
    positive = True
    for place, (name, values) in enumerate(runs.items()):
        table = np.asarray(values, dtype=np.float64)
        if table.ndim != 2 or table.size == 0:
            need = "hold one sequence of equal length a seed"
            check.fail(ValueError, "regret", "runs", need, f"{table.shape} of {name}")
        mean = table.mean(0)
        error = (
            2 * table.std(0, ddof=1) / len(table) ** 0.5
            if len(table) > 1
            else np.zeros_like(mean)
        )
        at = np.arange(1, table.shape[1] + 1)
        color = plots.PALETTE[place % len(plots.PALETTE)]
        axis.plot(at, mean, color=color, linewidth=1.6, label=name)
        low = np.maximum(mean - error, 0.02 * mean) if log else mean - error
        axis.fill_between(at, low, mean + error, color=color, alpha=0.18, linewidth=0)
        positive = positive and bool((mean > 0).all())
    if log and positive:
        axis.set_yscale("log")
        for which in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_xlabel("evaluations")
    axis.set_ylabel(ylabel)
    axis.set_title(title)
    axis.margins(x=0.01)
    axis.legend()
    return figure


@plots._styled
def cells(found: Sequence[Cell], titles: Sequence[str] = ()) -> Figure:
    """Draw architectures as graphs, from input (left) to output.

    Args:
        found: Cells, as :meth:`graphlab.nag.SearchSpace.cell` gives them.
        titles: One each; none by default.
    """
    if not found:
        check.fail(ValueError, "cells", "found", "hold a cell", "none")
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    tallest = max(_layers(cell)[1] for cell in found)
    figure = Figure(
        figsize=(4.6 * columns, (0.75 + 0.42 * tallest) * rows), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    labels = sorted({label for cell in found for label in map(_kind, cell.labels)})
    colour = {
        label: plots.PALETTE[i % len(plots.PALETTE)] for i, label in enumerate(labels)
    }
    for axis in axes:
        axis.set_axis_off()
    for i, (axis, cell) in enumerate(zip(axes, found, strict=False)):
        _draw(axis, cell, colour)
        if i < len(titles):
            axis.set_title(titles[i], fontsize=8)
    return figure


def _layers(cell: Cell) -> tuple[dict[int, tuple[int, int]], int]:
    """Column (longest path from the start) and row of each vertex; the tallest column."""
    count = len(cell.labels)
    column = [0] * count
    for _ in range(count):
        for u, v in cell.edges:
            column[v] = max(column[v], column[u] + 1)
    last = max(column)
    for v, label in enumerate(cell.labels):
        column[v] = last if label == "output" else column[v]
    taken: dict[int, int] = {}
    place = {}
    for v in sorted(range(count), key=lambda v: (column[v], v)):
        place[v] = (column[v], taken.get(column[v], 0))
        taken[column[v]] = taken.get(column[v], 0) + 1
    return place, max(taken.values())


def _draw(axis: Any, cell: Cell, colour: Mapping[str, str]) -> None:
    place, _ = _layers(cell)
    sizes: dict[int, int] = {}
    for c, _row in place.values():
        sizes[c] = sizes.get(c, 0) + 1
    # Long chains turn into lines of eight, so that the words stay readable.
    wide = max(c for c, _ in place.values()) + 1
    if wide > 8 and max(sizes.values()) == 1:
        spot = {v: (float(c % 8), -1.6 * (c // 8)) for v, (c, _) in place.items()}
    else:
        spot = {
            v: (float(c), (sizes[c] - 1) / 2 - row) for v, (c, row) in place.items()
        }
    for u, v in cell.edges:
        (x0, y0), (x1, y1) = spot[u], spot[v]
        # An edge that skips a column bends, so that it does not run through vertices.
        bend = 0.0 if abs(x1 - x0) <= 1 or y0 != y1 else 0.28
        axis.annotate(
            "",
            (x1, y1),
            (x0, y0),
            arrowprops={
                "arrowstyle": "-|>",
                "color": "#888888",
                "lw": 1.0,
                "shrinkA": 15,
                "shrinkB": 15,
                "connectionstyle": f"arc3,rad={-bend}",
            },
        )
    for v, label in enumerate(cell.labels):
        axis.annotate(
            _SHORT.get(label, label),
            spot[v],
            ha="center",
            va="center",
            fontsize=7,
            color="white",
            bbox={
                "boxstyle": "round,pad=0.35",
                "facecolor": colour[_kind(label)],
                "edgecolor": "none",
            },
        )
    xs, ys = zip(*spot.values(), strict=True)
    axis.set_xlim(min(xs) - 0.55, max(xs) + 0.55)
    axis.set_ylim(min(ys) - 0.75, max(ys) + 0.75)


def _kind(label: str) -> str:
    """What colours a vertex: its operation without the stage."""
    return label.rpartition(":")[2].partition("-")[0]


@plots._styled
def front(archive: Archive, labels: Mapping[str, str] | None = None) -> Figure:
    """Draw the best architecture found at every cost, a panel for each cost.

    Args:
        archive: Elites of a search.
        labels: Cost name -> label of its axis; default the name.
    """
    costs = list(archive.edges)
    figure = Figure(figsize=(0.6 + 4.4 * len(costs), 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(costs), sharey=True))
    elites = list(archive.elites.values())
    for axis, cost in zip(panels, costs, strict=True):
        axis.scatter(
            [e.costs[cost] for e in elites],
            [e.score for e in elites],
            s=22,
            color=plots.PALETTE[0],
            label="elite of its niche",
        )
        best = archive.front(cost)
        axis.step(
            [e.costs[cost] for e in best],
            [e.score for e in best],
            where="post",
            marker="o",
            markersize=3,
            color=plots.PALETTE[1],
            label="front",
        )
        axis.set_xlabel((labels or {}).get(cost, cost))
    panels[0].set_ylabel("score")
    panels[-1].legend()
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure on white: .png, .pdf or .svg."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")
    return path
