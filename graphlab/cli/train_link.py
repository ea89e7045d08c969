"""``graphlab train link``: a link recipe, put together from options, run and reported."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from graphlab.tasks.link_recipe import LinkRecipe

# Without --runs: enough for a deviation, few enough to wait for. Papers want 10.
_RUNS = 3


def link(
    data: Annotated[
        str | None, typer.Option(help="A dataset's name, or the folder of a store.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="ncn, ncnc, gae, refined-gae, or package.module:Class."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A YAML recipe, or a published one such as cora_ncnc."),
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 .. runs - 1; default 3.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many epochs.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="hits@K, mrr, auc or ap; default hits@100.")
    ] = None,
    fanout: Annotated[
        str | None,
        typer.Option(help="Sample neighbours, so many a hop, -1 for all: -1,10."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Positives a batch.")] = None,
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
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any key of the recipe: fit.lr=0.005, model.depth=2."
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
    """Train a link model over several seeds; heuristics stand beside its scores.

    Published settings are used where there are some; a data set without a link split is split
    70/10/20, anew for each seed. A run that was stopped goes on when the same command is given
    again. With --fanout or --from-disk each batch is trained on the sampled graph around its
    pairs. Example: [bold]graphlab train link --data cora --model ncnc --runs 10[/bold]
    """
    from graphlab import progress
    from graphlab.cli import train
    from graphlab.tasks import link_recipe

    if resume:
        chosen, folder = _of_run(run_dir), Path(run_dir or "")
    else:
        disk_only = {"memory": memory, "disk": disk, "sampled_epochs": sampled_epochs}
        train.require_from_disk(disk_only, from_disk)
        tree = _tree(data, model, recipe, root)
        _fill(tree, runs, epochs, metric, batch_size)
        sampled = {"num_neighbors": train.fanout_of(fanout), **disk_only}
        _sample(tree, sampled, from_disk)
        chosen = link_recipe.load(tree, settings or [])
        folder = run_dir or train.free_folder(
            f"{Path(chosen.data.name).name}-{_short(chosen)}{_suffix(chosen)}",
            chosen.model_dump(mode="json"),
        )
    output.resume_with(
        shlex.join(["graphlab", "train", "link", "--resume", "--run-dir", str(folder)])
    )
    progress.say(_announce(chosen, folder))
    result = link_recipe.run_recipe(chosen, run_dir=folder)
    train.finish(result, as_json)


def _tree(
    data: str | None, model: str | None, recipe: str | None, root: str | None
) -> dict[str, Any]:
    """The tree to begin with: the named recipe, the published one, or a plain one."""
    from graphlab import datasets
    from graphlab.tasks import link_recipe

    if recipe is not None:
        tree = link_recipe.load(recipe).model_dump(mode="json")
    elif data is None or model is None:
        raise typer.BadParameter("give --data and --model, or --recipe")
    else:
        plain = data.replace("_", "-")
        if plain in link_recipe.PUBLISHED and model in link_recipe.HEADS:
            tree = link_recipe.published(plain, model)
            tree["data"]["name"] = data
        else:
            given = datasets.load(data, root).edge_splits
            split = {"kind": "given" if given else "ncn"}
            tree = {"data": {"name": data, "split": split}, "fit": {}}
            tree["model"] = {"target": model}
    if recipe is not None and data is not None:
        tree["data"]["name"] = data
    if recipe is not None and model is not None:
        tree["model"] = {"target": model}
    if root is not None:
        tree["data"]["root"] = root
    return tree


def _fill(
    tree: dict[str, Any],
    runs: int | None,
    epochs: int | None,
    metric: str | None,
    batch_size: int | None,
) -> None:
    fit = tree["fit"]
    given = {
        "epochs": epochs,
        "metric": metric,
        "seeds": runs,
        "batch_size": batch_size,
    }
    fit.update({key: value for key, value in given.items() if value is not None})
    fit.setdefault("seeds", _RUNS)


def _sample(tree: dict[str, Any], sampled: dict[str, Any], from_disk: bool) -> None:
    """Put the options of sampled batches into the tree."""
    from graphlab.cli import train

    given = {key: value for key, value in sampled.items() if value is not None}
    if from_disk:
        given.setdefault("sampled_epochs", train.SAMPLED_EPOCHS)
        given["from_disk"] = True
    if given:
        tree["loader"] = (tree.get("loader") or {}) | given
    if from_disk and "epochs" in tree["fit"]:
        held = tree["loader"]["sampled_epochs"]
        tree["loader"]["sampled_epochs"] = min(held, tree["fit"]["epochs"])


def _suffix(recipe: LinkRecipe) -> str:
    return "-disk" if recipe.loader is not None and recipe.loader.from_disk else ""


def _of_run(run_dir: Path | None) -> LinkRecipe:
    """The recipe of a run folder, to go on with it."""
    from graphlab.tasks import link_recipe
    from graphlab.tasks.runs import read_json

    if run_dir is None:
        raise typer.BadParameter("--resume needs the run folder: --run-dir")
    path = run_dir / "config.json"
    if not path.is_file():
        raise ValueError(f"train: `--run-dir` must be a run folder, got {run_dir}")
    config = read_json(path)
    if config.get("task") != "link" or "recipe" not in config:
        raise ValueError(
            f"train: `--run-dir` must be a run of this command, got {run_dir}; run again "
            "what made it"
        )
    return link_recipe.load(config["recipe"])


def _short(recipe: LinkRecipe) -> str:
    """The head's name, or the target's."""
    from graphlab.tasks.link_recipe import HEADS

    heads = {head: name for name, head in HEADS.items()}
    target = str(recipe.model["target"])
    if target == "graphlab.models:link_model":
        return heads[recipe.model.get("head", "ncn")]
    return target.rpartition(":")[2].rpartition(".")[2].lower()


def _announce(recipe: LinkRecipe, folder: Path) -> str:
    fit, count = recipe.fit, len(recipe.fit.seed_list)
    how = "whole graph"
    if recipe.loader is not None:
        how = f"fanout {', '.join(map(str, recipe.loader.num_neighbors))}"
        if recipe.loader.from_disk:
            how += f", from disk inside {recipe.loader.memory}"
    return (
        f"{_short(recipe)} on {recipe.data.name}: {recipe.data.split.kind} split, "
        f"{fit.metric}; {count} seed{'s' if count > 1 else ''}, at most {fit.epochs} epochs, "
        f"{how}, batches of {fit.batch_size:,}, lr {fit.lr:g}; into {folder}"
    )
