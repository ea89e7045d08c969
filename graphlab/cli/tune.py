"""``graphlab tune``: a search over settings by validation score."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(tune)


def tune(
    recipe: Annotated[
        str,
        typer.Argument(help="A YAML recipe, or the name of one that graphlab brings."),
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(help="key=choices as YAML: model.hidden_channels=[64, 128]."),
    ] = None,
    trials: Annotated[
        int, typer.Option(help="Settings to try, earlier ones included.")
    ] = 30,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of the recipe: fit.seeds=2."),
    ] = None,
    storage: Annotated[
        Path, typer.Option(help="Journal of the search; the same file goes on.")
    ] = Path("tune.journal"),
    out: Annotated[
        Path | None, typer.Option(help="Write the best recipe as YAML here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Search for the settings of best validation score; the test set is never read.

    Example: [bold]graphlab tune cora_gcn --vary 'fit.lr={low: 0.001, high: 0.1, log: true}'
    --vary 'model.dropout=[0.5, 0.8]' --out best.yaml[/bold]
    """
    from graphlab.tasks.tune import tune as job

    if not vary:
        raise typer.BadParameter("name what to vary: --vary 'fit.lr=[0.01, 0.005]'")
    output.resume_with(shlex.join(["graphlab", *sys.argv[1:]]))
    found = job(
        recipe, _space(vary), trials=trials, storage=storage, overrides=settings or []
    )
    if out is not None:
        from graphlab import files

        files.publish_text(out, found.recipe.to_yaml())
    if as_json:
        output.emit({**found.to_json(), "out": None if out is None else str(out)})
        return
    rows = [
        {"trial": t.number, "valid": _percent(t.valid), **t.settings}
        for t in sorted(
            found.trials, key=lambda t: -(t.valid if t.valid is not None else -1)
        )
    ]
    names = ["trial", "valid", *found.best.settings]
    output.show(output.columns(rows[:10], "Best settings, by validation (%)", names))
    if out is not None:
        output.show(f"best recipe: {out}")


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f}"


def _space(vary: list[str]) -> dict[str, Any]:
    import yaml

    space = {}
    for text in vary:
        key, equals, choices = text.partition("=")
        try:
            parsed = yaml.safe_load(choices)
        except yaml.YAMLError as error:
            raise typer.BadParameter(
                f"--vary must be key=choices in YAML, got {text!r}"
            ) from error
        if not equals or not isinstance(parsed, (list, dict)):
            raise typer.BadParameter(
                f"--vary must be key=[a, b] or key={{low: a, high: b}}, got {text!r}"
            )
        space[key.strip()] = parsed
    return space
