"""A picture of nodes in the plane, coloured by label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from graphlab import files
from graphlab.report.plots import PALETTE

# Beyond the palette, classes share one grey: more colours cannot be told apart.
_REST = "#9aa3ab"


def scatter(
    place: Tensor,
    path: str | Path,
    *,
    labels: Tensor | None = None,
    title: str = "",
) -> Path:
    """Draw points; the largest classes get a colour each, all others one grey.

    Args:
        place: [N, 2].
        path: ``.png``, ``.pdf`` or ``.svg``.
        labels: [N], int64, -1 for none; or [N, classes], where a node's first class counts.
        title: Stands above.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    axes = figure.add_subplot()
    points = place.numpy()
    size = float(np.clip(4e4 / max(len(points), 1), 2.0, 30.0))
    if labels is None:
        axes.scatter(
            points[:, 0], points[:, 1], s=size, c=PALETTE[0], linewidths=0, alpha=0.7
        )
    else:
        known = labels.numpy()
        if known.ndim == 2:
            known = np.where(known.any(1), known.argmax(1), -1)
        classes, counts = np.unique(known[known >= 0], return_counts=True)
        largest = classes[np.argsort(-counts, kind="stable")][: len(PALETTE)]
        rest = ~np.isin(known, largest)
        for colour, number in zip(PALETTE, largest, strict=False):
            chosen = points[known == number]
            what = f"class {number} ({len(chosen):,})"
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=size,
                c=colour,
                linewidths=0,
                alpha=0.8,
                label=what,
            )
        if rest.any():
            axes.scatter(
                points[rest, 0],
                points[rest, 1],
                s=size,
                c=_REST,
                linewidths=0,
                alpha=0.4,
                label=f"others ({int(rest.sum()):,})",
                zorder=0,
            )
        axes.legend(loc="best", markerscale=2.0, fontsize=8, frameon=False)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", "datalim")
    for side in axes.spines.values():
        side.set_visible(False)
    kind = path.suffix.removeprefix(".") or "png"
    with files.publish(path) as file:
        figure.savefig(file, format=kind, dpi=150, facecolor="white")
    return path
