"""Plots of runs as matplotlib figures (Agg), and as SVG text for a page.

Colours are mid tones that read on white and on black. Text and axes are drawn in a marker
colour that :func:`svg` turns into ``currentColor``, so that a plot follows its page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphlab.report.record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#3d85c6", "#e07b39", "#3a9d6e", "#b565a7", "#c94c4c", "#8a8f3c", "#7f8c9b")
_INK = "#010203"
STYLE: Any = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#888888",
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
_MIB = 2**20


def _figure(panels: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make a figure outside pyplot: no global state, no backend to choose."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _styled(draw: Any) -> Any:
    import functools

    @functools.wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawn


@_styled
def curves(runs: Sequence[RunRecord]) -> Figure | None:
    """Draw training loss and validation score by epoch: thin lines seeds, thick their mean.

    Returns:
        None when no run has an epoch line.
    """
    if not any(run.epochs(seed) for run in runs for seed in run.seeds):
        return None
    figure, axes = _figure(2, width=8.4, height=3.0)
    for axis, key in zip(axes, ("loss", "valid"), strict=True):
        for position, run in enumerate(runs):
            _curve(
                axis, run, key, PALETTE[position % len(PALETTE)], dashed=position > 0
            )
        axis.set_xlabel("epoch")
        axis.margins(x=0.01)
        _whole_numbers(axis)
    axes[0].set_title("training loss")
    axes[1].set_title(f"validation {runs[0].metric} (%)")
    if len(runs) > 1:
        axes[0].legend()
    return figure


def _curve(axis: Axes, run: RunRecord, key: str, color: str, *, dashed: bool) -> None:
    by_epoch: dict[int, list[float]] = {}
    scale = 100.0 if key == "valid" else 1.0
    for seed in run.seeds:
        points = [
            (int(line["epoch"]) + 1, scale * float(line[key]))
            for line in run.epochs(seed)
            if line.get(key) is not None
        ]
        for epoch, value in points:
            by_epoch.setdefault(epoch, []).append(value)
        if len(run.seeds) > 1:
            axis.plot(*_columns(points), color=color, linewidth=0.6, alpha=0.35)
    # The mean stops where the first seed stopped: beyond, it would be of other seeds.
    shared = [
        (epoch, sum(values) / len(values))
        for epoch, values in sorted(by_epoch.items())
        if len(values) == len(run.seeds)
    ]
    style = (0, (4, 2)) if dashed else "solid"
    marker = "o" if len(shared) == 1 else None
    axis.plot(
        *_columns(shared),
        color=color,
        linewidth=1.8,
        linestyle=style,
        marker=marker,
        label=run.label,
    )


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [p[0] for p in points], [p[1] for p in points]


@_styled
def timeline(run: RunRecord) -> Figure | None:
    """Draw, epoch by epoch of all seeds, bytes read and the time spent waiting for them.

    Returns:
        None when the run has no loader statistics.
    """
    lines = [
        line["loader"]
        for seed in run.seeds
        for line in run.epochs(seed)
        if line.get("loader")
    ]
    if not lines:
        return None
    figure, (left, right) = _figure(2, width=8.4, height=2.8)
    device = [line.get("device_bytes", 0) / _MIB for line in lines]
    useful = [line.get("useful_bytes", 0) / _MIB for line in lines]
    _steps(left, useful, PALETTE[0], 0.3, "rows in batches")
    _steps(left, device, PALETTE[0], 1.0, "read from the device")
    left.set_title("MiB an epoch")
    total = [line.get("seconds", 0.0) for line in lines]
    stall = [line.get("stall_seconds", 0.0) for line in lines]
    _steps(right, total, PALETTE[2], 0.45, "epoch")
    _steps(right, stall, PALETTE[4], 1.0, "waiting for data")
    limit = [line.get("limit_seconds") or 0.0 for line in lines]
    if any(limit):
        right.stairs(limit, _edges(limit), color=_INK, baseline=None, label="limit")
    right.set_title("seconds an epoch")
    for axis in (left, right):
        axis.set_xlabel(
            "epoch, seeds one after another" if len(run.seeds) > 1 else "epoch"
        )
        _whole_numbers(axis)
        axis.set_ylim(bottom=0, top=1.3 * max(axis.get_ylim()[1], 1e-6))
        axis.legend(loc="upper right", ncols=3, columnspacing=1.2, handlelength=1.4)
    return figure


def _whole_numbers(axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def _steps(
    axis: Axes, values: Sequence[float], color: str, alpha: float, label: str
) -> None:
    axis.stairs(
        values, _edges(values), fill=True, color=color, alpha=alpha, label=label
    )


def _edges(values: Sequence[float]) -> list[float]:
    """Borders of one cell an epoch, epochs counted from 1."""
    return [0.5 + position for position in range(len(values) + 1)]


@_styled
def memory(runs: Sequence[RunRecord]) -> Figure | None:
    """Draw peak memory for data as bars, with each run's declared budget as a mark.

    Returns:
        None when no run recorded its memory.
    """
    found = [(run, loader) for run in runs if (loader := run.loader()) is not None]
    found = [(run, loader) for run, loader in found if loader.peak_memory_bytes > 0]
    if not found:
        return None
    figure, (axis,) = _figure(1, width=8.4, height=0.9 + 0.42 * len(found))
    labels = []
    for row, (run, loader) in enumerate(found):
        peak, budget = (
            loader.peak_memory_bytes / _MIB,
            loader.declared_memory_bytes / _MIB,
        )
        color = PALETTE[2] if loader.kept else PALETTE[4]
        axis.barh(row, peak, height=0.55, color=color, alpha=0.8)
        text = f"{peak:,.1f} MiB"
        if budget:
            axis.plot([budget, budget], [row - 0.4, row + 0.4], color=_INK, linewidth=2)
            text += f" of {budget:,.1f} MiB declared"
        place = (max(peak, budget), row)
        axis.annotate(text, place, (7, 0), textcoords="offset points", va="center")
        labels.append(run.label)
    axis.set_yticks(range(len(found)), labels)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.45 * axis.get_xlim()[1])
    axis.grid(axis="y", visible=False)
    axis.set_title("peak memory for data (MiB); the mark is the declared budget")
    return figure


def svg(figure: Figure, *, name: str) -> str:
    """Write a figure as SVG text that inherits the page's text colour.

    Args:
        figure: From one of the functions above.
        name: Unique on the page: ids inside the SVG derive from it.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids such as figure_1 repeat in every SVG; a page needs them once.
    text = re.sub(r'id="([a-z]+_\d+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace(_INK, "currentColor")


def save_all(runs: Sequence[RunRecord], folder: str | Path) -> dict[str, Path]:
    """Save every plot that the runs allow as PNG on white, for papers and slides.

    Returns:
        Name of each plot -> its file.
    """
    drawn = {"curves": curves(runs), "memory": memory(runs)}
    drawn |= {f"timeline-{run.label}": timeline(run) for run in runs}
    folder, written = Path(folder), {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        if figure is not None:
            written[name] = folder / f"{name}.png"
            figure.savefig(written[name], dpi=160, facecolor="white")
    return written
