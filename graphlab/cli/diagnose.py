"""``graphlab diagnose``: does the direction of a graph's edges tell anything?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from graphlab.models import DirectionReport


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(diagnose)


def diagnose(
    data: Annotated[
        str, typer.Argument(help="A dataset's name, or the folder of a store.")
    ],
    split: Annotated[
        int, typer.Option(help="Split whose training labels are looked at.")
    ] = 0,
    labels: Annotated[
        str,
        typer.Option(
            help="train (all where there is no split); all (an oracle, for study); "
            "none: features only."
        ),
    ] = "train",
    permutations: Annotated[
        int, typer.Option("--perm", help="Permutations for the null of each pattern.")
    ] = 32,
    seed: Annotated[int, typer.Option(help="Of permutations and splits.")] = 0,
    memory: Annotated[
        str, typer.Option(help="What columns beside the graph may take.")
    ] = "1GiB",
    plot: Annotated[
        Path | None, typer.Option(help="Draw the report: .png, .pdf or .svg.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the report as JSON here.")
    ] = None,
    fail_on_artefact: Annotated[
        bool,
        typer.Option(
            "--fail-on-artefact", help="Exit with 1 where direction is node numbering."
        ),
    ] = False,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Say whether to keep the direction of edges, and why; edges are taken as stored.

    Of data with a training split only its labels are read, unless others are asked for; of
    data without one all are, and the report says so. Example: [bold]graphlab diagnose
    cora_ml --plot direction.png[/bold]
    """
    from graphlab import datasets
    from graphlab.models import diagnose_direction

    d = datasets.load(data, root, undirected=False)
    if labels == "train" and split >= max(d.num_runs, 1):
        held = f"{data} has splits 0 .. {d.num_runs - 1}" if d.splits else "it has none"
        raise typer.BadParameter(f"--split must be one of the dataset's: {held}")
    report = diagnose_direction(
        d, labels=labels, run=split, permutations=permutations, seed=seed, memory=memory
    )
    if plot is not None:
        report.plot(plot)
    if out is not None:
        report.save(out)
    if as_json:
        output.emit(report.to_json())
    else:
        _show(report)
        for path in (plot, out):
            if path is not None:
                output.show(f"written: {path}")
    if fail_on_artefact and report.orientation.alarm:
        raise typer.Exit(1)


def _show(report: DirectionReport) -> None:
    facts = [
        {"fact": row["fact"].replace("_", " "), "value": _plain(row["value"])}
        for row in report.tables["orientation"]
    ]
    output.show(output.columns(facts, f"Edges of {report.dataset}", ["fact", "value"]))
    what = "same label, %" if report.labels != "none" else "cosine, %"
    patterns = [
        {
            "pattern": p["pattern"],
            "pairs": f"{p['pairs']:,.0f}",
            what: f"{100 * p['alike']:.1f}",
            "chance": f"{100 * p['chance']:.1f}",
            "excess": f"{100 * p['excess']:+.1f}",
            "p": "-" if p["p"] is None else f"{p['p']:.3f}",
            "phi": "-" if p["phi"] is None else f"{p['phi']:+.4f}",
        }
        for p in report.tables["patterns"]
    ]
    if patterns:
        title = f"Pairs of a pattern ({report.num_labelled:,} nodes, {report.labels})"
        output.show(output.columns(patterns, title, list(patterns[0])))
    if report.probe is not None:
        rows = [
            {
                "ridge regression on": row["features"],
                f"{report.probe.metric}, %": _mean(row),
                "over features": _gain(row),
            }
            for row in report.probe.rows()
        ]
        output.show(output.columns(rows, "Probe", list(rows[0])))
    output.show(str(report))


def _mean(row: dict[str, Any]) -> str:
    return f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f}"


def _gain(row: dict[str, Any]) -> str:
    if "gain" not in row:
        return "-"
    gain, low, high = (100 * row[k] for k in ("gain", "low", "high"))
    return f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]"


def _plain(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value
