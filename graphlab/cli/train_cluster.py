"""``graphlab train cluster``: clusters of a graph's nodes, over several seeds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from graphlab.tasks.callbacks import Callback
    from graphlab.tasks.cluster_recipe import ClusterRecipe
    from graphlab.tasks.cluster_result import ClusterResult

_RUNS = 3


def cluster(
    data: Annotated[
        str | None, typer.Option(help="A dataset's name, or the folder of a store.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A YAML recipe, or the name of one that graphlab brings."),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 .. runs - 1; default 3.")
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(min=1, help="How many; default: the number of classes."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default 100; 200 with --reference.")
    ] = None,
    negatives: Annotated[
        str | None,
        typer.Option(help="meta, anchor, meta2, taylor2, sampled or full."),
    ] = None,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="The release's objective, as it is."),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of the recipe: model.tau=1, data.knn=5."),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run folder; default: runs/<data>-pamcgc.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Cluster the nodes of a graph (PamCGC), and score the clusters where classes are known.

    Classes choose nothing: the epoch is that of the largest modularity. A run that was stopped
    goes on when the same command is given again. Example: [bold]graphlab train cluster --data
    acm --runs 10[/bold]
    """
    from graphlab import progress
    from graphlab.tasks import cluster_recipe

    tree = _tree(data, recipe, root)
    model, fit = tree.setdefault("model", {}), tree.setdefault("fit", {})
    if reference:
        model["compat"] = "reference"
    chosen = {"epochs": epochs, "negatives": negatives}
    model.update({k: v for k, v in chosen.items() if v is not None})
    if runs is not None or recipe is None:
        fit["seeds"] = runs or _RUNS
    if clusters is not None:
        fit["n_clusters"] = clusters
    resolved = cluster_recipe.load(tree, settings or [])
    folder = run_dir or _free_folder(resolved)
    output.resume_with(shlex.join(_command(folder)))
    seeds = resolved.fit.seed_list
    progress.say(
        f"PamCGC on {resolved.data.name}: {len(seeds)} seed{'s' if len(seeds) > 1 else ''}, "
        f"each pre-trains its own auto-encoder; into {folder}"
    )
    result = cluster_recipe.run(
        resolved, run_dir=folder, callbacks=[_progress(len(seeds))]
    )
    _finish(result, folder, as_json)


def _tree(data: str | None, recipe: str | None, root: str | None) -> dict[str, Any]:
    from graphlab.tasks import cluster_recipe

    if recipe is not None:
        tree = cluster_recipe.load(recipe).model_dump(mode="json")
    elif data is None:
        raise typer.BadParameter("give --data or --recipe")
    elif data in cluster_recipe.names():
        tree = cluster_recipe.load(data).model_dump(mode="json")
    else:
        tree = {"data": {"name": data}, "model": {}, "fit": {}}
    if recipe is not None and data is not None:
        tree["data"]["name"] = data
    if root is not None:
        tree["data"]["root"] = root
    return tree


def _command(folder: Path) -> list[str]:
    """The command given, with its run folder."""
    given = sys.argv[1:]
    if not any(a == "--run-dir" or a.startswith("--run-dir=") for a in given):
        given = [*given, "--run-dir", str(folder)]
    return ["graphlab", *given]


def _free_folder(recipe: ClusterRecipe) -> Path:
    """``runs/<data>-pamcgc``, numbered where a run of other settings has the name."""
    from graphlab.tasks.runs import read_json

    stem = f"{Path(recipe.data.name).name}-pamcgc"
    wanted = recipe.model_dump(mode="json")
    wanted["fit"].pop("seeds")
    number = 1
    while True:
        folder = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        path = folder / "config.json"
        if not path.is_file():
            return folder
        if read_json(path).get("recipe") == wanted:
            return folder
        number += 1


def _progress(seeds: int) -> Callback:
    """Says where the run is: a line a seed, and a moving one for epochs."""
    from graphlab import progress
    from graphlab.tasks.callbacks import Callback

    class Told(Callback):
        done = 0
        bar: progress.Progress

        def on_run_start(self, seed: int, config: Any) -> None:
            self.bar = progress.Progress(f"seed {seed}", 0, "epochs")

        def on_epoch_end(self, seed: int, record: Any) -> None:
            self.bar.advance(1, f"modularity {record['modularity']:.3f}")

        def on_run_end(self, seed: int, outcome: Any) -> None:
            self.bar.close()
            self.done += 1
            score = outcome["test"]
            shown = "" if score is None else f", accuracy {100 * score:.1f} %"
            progress.say(
                f"seed {seed} ({self.done} of {seeds}): epoch {outcome['best_epoch']}, "
                f"modularity {outcome['valid']:.3f}{shown}, {outcome['seconds']:.0f} s"
            )

    return Told()


def _finish(result: ClusterResult, folder: Path, as_json: bool) -> None:
    """Draw the embedding; print the object, or the table and the plot's path."""
    from graphlab import datasets
    from graphlab.report import clusters

    recipe = result.config["recipe"]["data"]
    y = datasets.load(recipe["name"], recipe["root"]).y
    plot = clusters.save_embedding(result, folder / "embedding.png", y=y)
    page = clusters.html(result, folder / "report.html", y=y)
    if as_json:
        output.emit({**result.to_json(), "plot": str(plot), "report": str(page)})
        return
    output.show(clusters.scores(result))
    output.show(f"embedding: {plot}", f"report: {page}")
