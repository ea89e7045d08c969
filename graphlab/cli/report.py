"""``graphlab report``: a page, a Markdown summary or a leaderboard sheet from run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphlab.cli import output


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(report)


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The HTML page; default: report.html in the first run."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables as Markdown too.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Save the plots as PNG in this folder too.")
    ] = None,
    ogb: Annotated[
        Path | None,
        typer.Option(help="Write an OGB leaderboard sheet of the first run too."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the paths as one JSON object.")
    ] = False,
) -> None:
    """Write one self-contained HTML page about one or several runs, finished or not.

    Example: [bold]graphlab report runs/cora-gcn runs/cora-mlp --out compare.html[/bold]
    """
    from graphlab import files
    from graphlab.report import html, leaderboard, load, tables
    from graphlab.report import markdown as as_markdown

    records = [load(run) for run in runs]
    written = {"html": html(records, out or runs[0] / "report.html", title=title)}
    if markdown is not None:
        files.publish_text(markdown, as_markdown(records))
        written["markdown"] = markdown
    if plots is not None:
        from graphlab.report.plots import save_all

        written |= save_all(records, plots)
    if ogb is not None:
        files.publish_text(ogb, leaderboard.ogb(records[0]).markdown())
        written["ogb"] = ogb
    if as_json:
        output.emit({name: str(path) for name, path in written.items()})
    else:
        output.show(*[tables.results([r]) for r in records])
        output.show(*[f"{name}: {path}" for name, path in written.items()])
