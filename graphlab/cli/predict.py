"""``graphlab predict``: what a finished run says of every node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphlab.cli import output


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="File to write: .parquet, .csv or .npy.")],
    data: Annotated[
        str | None, typer.Option(help="Another dataset or store; default: the run's.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Whose weights; default: best on validation.")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="A column for each class too.")
    ] = False,
    memory: Annotated[
        str | None, typer.Option(help="Memory that inference may add, such as 2GiB.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Predict every node with a run's weights, from full neighbourhoods.

    Example: [bold]graphlab predict runs/cora-gcn --out predictions.parquet[/bold]
    """
    from graphlab import datasets
    from graphlab.tasks.predict import predict as job

    d = None if data is None else datasets.load(data, root)
    path = job(run, out, d=d, seed=seed, probabilities=probabilities, memory=memory)
    if as_json:
        output.emit({"out": str(path), "run": str(run)})
    else:
        output.show(f"predictions: {path}")
