"""``graphlab train``: a recipe, put together from options, run and reported."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output, train_cluster, train_link

if TYPE_CHECKING:
    from graphlab.tasks.recipe import Recipe

_app = typer.Typer(
    no_args_is_help=True,
    help="Train models; one command a task.",
    rich_markup_mode="rich",
)
# Without --runs: enough for a deviation, few enough to wait for. Leaderboards want 10.
_RUNS = 3
# Without --sampled-epochs, a plan on disk holds so many epochs, and replays them in turn.
SAMPLED_EPOCHS = 5


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    _app.command()(train_cluster.cluster)
    _app.command()(train_link.link)
    app.add_typer(_app, name="train")


@_app.command()
def node(
    data: Annotated[
        str | None, typer.Option(help="A dataset's name, or the folder of a store.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="gcn, sage, gat, gcnii, grand, mlp, sgc, sign, adpa, dirgnn, magnet, or your "
            "own package.module:Class."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A YAML recipe, or the name of one that graphlab brings."),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 .. runs - 1; default 3.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many epochs.")] = None,
    fanout: Annotated[
        str | None, typer.Option(help="Sample neighbours, so many a hop: 15,10.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Seeds a batch.")] = None,
    from_disk: Annotated[
        bool, typer.Option("--from-disk", help="Leave the features on disk.")
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(help="With --from-disk: all memory for data, as 32MiB."),
    ] = None,
    disk: Annotated[
        str | None,
        typer.Option(help="With --from-disk: what the plan may take, as 20GiB."),
    ] = None,
    sampled_epochs: Annotated[
        int | None,
        typer.Option(
            help="With --from-disk: epochs to sample; later ones replay; default 5."
        ),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(
            help="directed: edges as stored; undirected; auto: as the diagnosis of each "
            "split's training labels says. Default: as the dataset is loaded."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any key of the recipe: fit.lr=0.005, model.dropout=0."
        ),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run folder; default: runs/<data>-<model>.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --run-dir as it was."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Train a node classifier over several seeds, in memory or from disk inside a budget.

    A run that was stopped goes on when the same command is given again. Example: [bold]graphlab
    train node --data amazon_computers --model sage --from-disk --memory 32MiB[/bold]
    """
    from graphlab import progress
    from graphlab.tasks import recipe as recipes

    if resume:
        chosen, folder = _of_run(run_dir), Path(run_dir or "")
    else:
        disk_only = {"memory": memory, "disk": disk, "sampled_epochs": sampled_epochs}
        require_from_disk(disk_only, from_disk)
        loader = {
            "num_neighbors": fanout_of(fanout),
            "batch_size": batch_size,
            **disk_only,
        }
        tree = _recipe(data, model, recipe, root)
        _fill(tree, runs, epochs, loader, from_disk)
        _turn(tree, direction)
        chosen = recipes.load(tree, settings or [])
        folder = run_dir or _folder_of(chosen)
    output.resume_with(
        shlex.join(["graphlab", "train", "node", "--resume", "--run-dir", str(folder)])
    )
    progress.say(_announce(chosen, folder))
    result = recipes.run_recipe(chosen, run_dir=folder)
    finish(result, as_json)


def require_from_disk(disk_only: dict[str, Any], from_disk: bool) -> None:
    """Refuse options that only count with --from-disk."""
    given = [name for name, value in disk_only.items() if value is not None]
    if given and not from_disk:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise typer.BadParameter(f"{names} only counts with --from-disk")


def fanout_of(text: str | None) -> list[int] | None:
    """The numbers of --fanout."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"--fanout must be numbers as 15,10, got {text!r}"
        ) from error


def _recipe(
    data: str | None, model: str | None, recipe: str | None, root: str | None
) -> dict[str, Any]:
    """The tree to begin with: the named recipe, graphlab's own for the pair, or a plain one."""
    from graphlab.tasks import recipe as recipes

    if recipe is not None:
        tree = recipes.load(recipe).model_dump(mode="json")
    elif data is None or model is None:
        raise typer.BadParameter("give --data and --model, or --recipe")
    elif f"{data}_{model}" in recipes.names():
        tree = recipes.load(f"{data}_{model}").model_dump(mode="json")
        tree["fit"].pop("seeds")
    else:
        tree = {"data": {"name": data}, "model": {"target": model}, "fit": {}}
        tree["data"]["root"] = root
        tree["data"]["split"] = _missing_split(data, root)
    if recipe is not None and data is not None:
        tree["data"]["name"] = data
    if recipe is not None and model is not None:
        tree["model"] = {"target": model}
    if root is not None:
        tree["data"]["root"] = root
    return tree


def _missing_split(data: str, root: str | None) -> dict[str, Any] | None:
    """A random split for a dataset that brings none."""
    from graphlab import datasets, progress

    if datasets.find(data, root).kind == "ogb" or datasets.load(data, root).splits:
        return None
    progress.say(f"{data} brings no split: random 60/20/20, ten of them, seed 0")
    return {"kind": "random", "train": 0.6, "val": 0.2, "runs": 10, "seed": 0}


def _fill(
    tree: dict[str, Any],
    runs: int | None,
    epochs: int | None,
    loader: dict[str, Any],
    from_disk: bool,
) -> None:
    """Put the options into the tree."""
    fit = tree["fit"]
    given = {key: value for key, value in loader.items() if value is not None}
    if from_disk:
        given.setdefault("sampled_epochs", SAMPLED_EPOCHS)
        given["from_disk"] = True
    if given:
        tree["loader"] = (tree.get("loader") or {}) | given
    sampled = tree.get("loader") is not None
    if "epochs" not in fit:
        fit["epochs"], fit["patience"] = (30, 10) if sampled else (200, 50)
    if epochs is not None:
        fit["epochs"] = epochs
    if runs is not None or "seeds" not in fit:
        fit["seeds"] = runs if runs is not None else _RUNS
    if sampled and from_disk:
        held = tree["loader"]["sampled_epochs"]
        tree["loader"]["sampled_epochs"] = min(held, fit["epochs"])


def _turn(tree: dict[str, Any], direction: str | None) -> None:
    """Put --direction into the tree."""
    if direction is None:
        return
    if direction not in ("directed", "undirected", "auto"):
        raise typer.BadParameter(
            f"--direction must be directed, undirected or auto, got {direction!r}"
        )
    tree["data"]["undirected"] = direction == "undirected"
    tree["fit"]["direction"] = "auto" if direction == "auto" else "stored"


def _of_run(run_dir: Path | None) -> Recipe:
    """The recipe of a run folder, to go on with it."""
    from graphlab.tasks import recipe as recipes
    from graphlab.tasks.runs import read_json

    if run_dir is None:
        raise typer.BadParameter("--resume needs the run folder: --run-dir")
    path = run_dir / "config.json"
    if not path.is_file():
        raise ValueError(f"train: `--run-dir` must be a run folder, got {run_dir}")
    found = read_json(path).get("recipe")
    if found is None:
        raise ValueError(
            f"train: `--run-dir` must be a run of this command, got {run_dir}, which a script "
            "made; run that script again"
        )
    return recipes.load(found)


def _folder_of(recipe: Recipe) -> Path:
    """``runs/<data>-<model>[-disk]``."""
    target = str(recipe.model["target"]).rpartition(":")[2].rpartition(".")[2].lower()
    disk = "-disk" if recipe.loader is not None and recipe.loader.from_disk else ""
    stem = f"{Path(recipe.data.name).name}-{target}{disk}"
    return free_folder(stem, recipe.model_dump(mode="json"))


def free_folder(stem: str, wanted: dict[str, Any]) -> Path:
    """``runs/<stem>``, numbered where a run of another recipe has the name."""
    from graphlab.tasks.runs import read_json

    number = 1
    while True:
        folder = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        path = folder / "config.json"
        if not path.is_file() or read_json(path).get("recipe") == wanted:
            return folder
        number += 1


def _announce(recipe: Recipe, folder: Path) -> str:
    fit, loader = recipe.fit, recipe.loader
    how = "full batch"
    if loader is not None:
        fanout = ", ".join(map(str, loader.num_neighbors))
        how = f"fanout {fanout}, batches of {loader.batch_size:,}"
        if loader.from_disk:
            how += f", from disk inside {loader.memory}"
    seeds = fit.seed_list
    return (
        f"{recipe.model['target']} on {recipe.data.name}: {how}; {len(seeds)} "
        f"seed{'s' if len(seeds) > 1 else ''}, at most {fit.epochs} epochs, "
        f"lr {fit.lr:g}; into {folder}"
    )


def finish(result: Any, as_json: bool) -> None:
    """Write the page; print the object, or tables and the page's path."""
    from graphlab import sizes
    from graphlab.report import html, load, tables

    run = load(result)
    page = html(run, Path(result.run_dir) / "report.html")
    if as_json:
        output.emit({**result.to_json(), "report": str(page)})
        return
    output.show(tables.results([run]))
    if run.loader() is not None:
        output.show(tables.loaders([run]).upright())
    kept = sum(
        p.stat().st_size
        for pattern in ("store/*", "store-*/*", "plan-*/*")
        for p in Path(result.run_dir).glob(pattern)
    )
    if kept:
        output.show(f"store and plans, kept for the next run: {sizes.show(kept)}")
    output.show(f"report: {page}")
