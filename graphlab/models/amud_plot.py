"""Plot of a direction report: excess by pattern with its null, and the probe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphlab.models.amud import DirectionReport


def draw(report: DirectionReport, path: str | Path) -> Path:
    """Draw a report; PNG, PDF or SVG by the suffix of ``path``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.set_title("Alike beyond chance, by pattern", loc="left")
    names = [s.pattern for s in report.patterns]
    places = range(len(names))
    excess = [100 * s.excess for s in report.patterns]
    colours = ["#3d85c6" if "U" not in name else "#7f8c9b" for name in names]
    left.bar(places, excess, color=colours, width=0.6)
    labelled = False
    for place, s in zip(places, report.patterns, strict=True):
        if s.null_low is None or s.null_high is None:
            continue
        left.fill_between(
            [place - 0.4, place + 0.4],
            100 * s.null_low,
            100 * s.null_high,
            color="#e07b39",
            alpha=0.5,
            label=None if labelled else "95 % of permutations",
        )
        labelled = True
    left.set_xticks(list(places), names)
    what = "same label" if report.labels != "none" else "cosine of features"
    left.set_ylabel(f"{what}: points above chance")
    left.axhline(0, color="#444444", linewidth=0.8)
    if labelled:
        left.legend(frameon=False, fontsize=8)
    right.set_title("Closed-form probe", loc="left")
    if report.probe is None:
        right.text(0.5, 0.5, "no probe", ha="center", transform=right.transAxes)
        right.set_axis_off()
    else:
        rows = report.probe.rows()
        heights = [100 * row["mean"] for row in rows]
        spread = [100 * row["std"] for row in rows]
        right.errorbar(
            range(len(rows)), heights, spread, fmt="o", color="#3a9d6e", capsize=4
        )
        right.set_xticks(range(len(rows)), [row["set"] for row in rows])
        right.set_xlim(-0.5, len(rows) - 0.5)
        metric = report.probe.metric
        right.set_ylabel(f"{metric}, % (one deviation over splits)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{report.dataset}: {report.verdict}", x=0.01, ha="left")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
