"""Clusterings: table of scores, plot of the embedding, one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import graphlab
from graphlab import files
from graphlab.report import plots, tables
from graphlab.report.page import Figure, Section, environment, load
from graphlab.report.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from graphlab.tasks.cluster_result import ClusterResult

_METRICS = ("accuracy", "nmi", "ari", "f1_macro")
_NAMES = {
    "chosen": "PamCGC, epoch chosen without classes",
    "last": "PamCGC, last epoch",
    "best_epoch_by_classes": "(saw the classes: best epoch, each metric apart)",
    "kmeans": "k-means on features",
    "propagated": "k-means on features averaged over 2 hops",
    "spectral": "spectral clustering of the graph",
    "autoencoder": "k-means on the auto-encoder's codes",
}
_METHODS = (
    (
        "accuracy and macro-F1",
        "Clusters are matched with classes one to one so that most nodes are right "
        "(Hungarian method); a class that no cluster is matched with counts as never found.",
    ),
    (
        "epoch chosen without classes",
        "The epoch whose labels have the largest modularity on the graph, in the curves here "
        "called the validation score. Classes are read when a run is over.",
    ),
    (
        "saw the classes",
        "The best score over all epochs by true classes, for each metric apart: the protocol "
        "of the method's publications. It is no result; it stands here to compare with theirs.",
    ),
)
# Points of a plot: beyond, they hide each other and t-SNE takes minutes.
_POINTS = 3000


def scores(result: ClusterResult) -> Table:
    """One row for each way to choose labels and for each baseline; percent over seeds."""
    rows = []
    for name, row in {**result.scores, **result.baselines}.items():
        cells = []
        for metric in _METRICS:
            values = row[metric]
            spread = f" ± {100 * values.std:.2f}" if len(values.values) > 1 else ""
            cells.append(f"{100 * values.mean:.2f}{spread}")
        rows.append((_NAMES.get(name, name), *cells))
    if not rows:
        valid = result.valid
        rows = [("modularity of the chosen labels", f"{valid.mean:.4f}", "-", "-", "-")]
    count = len(result.seeds)
    note = f"percent, mean and sample deviation over {count} seed{'s' if count > 1 else ''}"
    title = f"Clusters of {result.stamp.dataset}"
    return Table(title, ("labels", "ACC", "NMI", "ARI", "F1"), rows, note)


def embedding(
    codes: Tensor, labels: Tensor, y: Tensor | None = None, *, seed: int = 0
) -> Drawing:
    """Draw codes in the plane (t-SNE), coloured by cluster and, if known, by class.

    Args:
        codes: [N, d].
        labels: [N]: clusters.
        y: [N]: classes.
        seed: Of the points drawn where there are more than 3,000, and of t-SNE.
    """
    import matplotlib
    from matplotlib.figure import Figure as Canvas
    from sklearn.manifold import TSNE

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randperm(len(codes), generator=generator)[:_POINTS]
    perplexity = min(30.0, max(1.0, (len(ids) - 1) / 3))
    flat = TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(
        codes[ids].float().numpy()
    )
    panels = [("clusters found", labels)]
    panels += [] if y is None else [("classes", y)]
    with matplotlib.rc_context(plots.STYLE):
        figure = Canvas(figsize=(4.2 * len(panels), 4.0), layout="constrained")
        for axis, (title, values) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            shown = values[ids].long()
            colours = _colours(int(values.max()) + 1)
            for value in shown.unique().tolist():
                part = (shown == value).numpy()
                axis.scatter(*flat[part].T, s=4, color=colours[value], linewidths=0)
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
    return figure


def save_embedding(result: ClusterResult, path: Path, *, y: Tensor | None) -> Path:
    """Write the plot of the seed with the largest modularity as PNG."""
    labels = result.labels()
    figure = embedding(result.embedding(), _matched(labels, y), y)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")
    return path


def html(result: ClusterResult, path: Path, *, y: Tensor | None) -> Path:
    """Write one self-contained page about a clustering run."""
    assert result.run_dir is not None
    run = load(result.run_dir)
    labels = result.labels()
    figures = [
        Figure(
            "Codes of the seed with the largest modularity, t-SNE, at most 3,000 nodes.",
            plots.svg(
                embedding(result.embedding(), _matched(labels, y), y), name="embedding"
            ),
        )
    ]
    drawn = plots.curves([run])
    if drawn is not None:
        caption = "Training loss and modularity by epoch. Thin lines are seeds."
        figures.append(Figure(caption, plots.svg(drawn, name="curves")))
    table = scores(result)
    best = result.scores.get("chosen", {}).get("accuracy")
    headline = (
        f"Modularity {result.valid.mean:.3f}"
        if best is None
        else f"{100 * best.mean:.2f} % accuracy over {len(result.seeds)} seeds, classes unseen"
    )
    section = Section(
        title=table.title,
        headline=headline,
        verdict="",
        kept=True,
        commands=[("", str(run.config.get("command", "")))],
        plans=[],
        tables=[table],
        figures=figures,
        details=[
            tables.facts("Stamp of the scores", run.stamp),
            tables.facts("Dataset", run.config.get("dataset") or {}),
            tables.facts("Model", run.config.get("model") or {}),
            tables.facts("Environment", run.config.get("environment") or {}),
        ],
    )
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=table.title,
            intro="",
            sections=[section],
            several=False,
            methods=_METHODS,
            version=graphlab.__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )
    files.publish_text(path, page)
    return path


def _matched(labels: Tensor, y: Tensor | None) -> Tensor:
    """Clusters renamed to the classes they overlap most, so that colours agree."""
    if y is None:
        return labels
    from scipy.optimize import linear_sum_assignment

    size = int(max(labels.max(), y.max())) + 1
    table = torch.zeros(size, size, dtype=torch.int64)
    table.index_put_((labels, y.long()), torch.ones_like(labels), accumulate=True)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    name = torch.zeros(size, dtype=torch.int64)
    name[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return name[labels]


def _colours(count: int) -> list[Any]:
    if count <= len(plots.PALETTE):
        return list(plots.PALETTE)
    import matplotlib

    table = matplotlib.colormaps["hsv"]
    return [table(i / count) for i in range(count)]
