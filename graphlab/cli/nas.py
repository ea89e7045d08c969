"""``graphlab nas``: train a generator of architectures, generate, search, evaluate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from graphlab import nag
    from graphlab.report.tables import Table

_app = typer.Typer(
    no_args_is_help=True,
    help="Generate and search neural architectures.",
    rich_markup_mode="rich",
)
_Space = Annotated[
    str,
    typer.Option(
        help="nb201, mobilenetv3, nas_bench_graph, gnn, or a JSON file of a space."
    ),
]
_Root = Annotated[
    str | None,
    typer.Option(help="Folder of data sets and tables; default: GRAPHLAB_DATA."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Seed = Annotated[int, typer.Option(min=0, help="Names all draws.")]
_DENOISER = "denoiser.safetensors"
# Units of the costs of what can be searched.
_UNITS = {
    "gnn": {"latency": "ms"},
    "nb201": {"params": "M", "flops": "M"},
    "nas_bench_graph": {"params": "M", "latency": "s"},
}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(_app, name="nas")


@_app.command()
def train(
    space: _Space = "nb201",
    out: Annotated[
        Path | None, typer.Option(help="File of weights; default: runs/nas-<space>/.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="masked, edm or diffusionnag.")
    ] = "masked",
    share: Annotated[
        float,
        typer.Option(help="Share of a listable space to train on; the rest is novel."),
    ] = 0.5,
    architectures: Annotated[
        int, typer.Option(min=1, help="Drawn where the space is too large to list.")
    ] = 20_000,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 1500,
    reference: Annotated[
        bool, typer.Option("--reference", help="The release's, defects included.")
    ] = False,
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Train a denoiser on the architectures of a space; it sees no scores.

    Example: [bold]graphlab nas train --space nb201 --out nb201.safetensors[/bold]
    """
    from graphlab.nag import spaces
    from graphlab.tasks import nas

    found = spaces.open(space)
    path = out or Path("runs") / f"nas-{found.name}" / _DENOISER
    model = nas.train_denoiser(
        found,
        method=method,
        share=share,
        architectures=architectures,
        steps=steps,
        compat="reference" if reference else None,
        seed=seed,
    )
    model.save(path)
    about = {
        "space": found.name,
        "size": str(found.size),
        "method": method,
        "parameters": model.num_parameters,
        **model.history,
        "out": str(path),
    }
    if as_json:
        output.emit(about)
    else:
        output.show(
            f"{model.num_parameters:,} parameters, loss {about['loss']:.4f}, "
            f"{about['architectures']:,} architectures, {about['seconds']:.0f} s",
            f"denoiser: {path}",
        )


@_app.command()
def generate(
    space: _Space = "nb201",
    denoiser: Annotated[
        Path | None,
        typer.Option(help="File of nas train; default: train one now, briefly."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples.")] = 100,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the sampler; default: the method's.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Guide by these: scores.jsonl of a search of GNNs, or lines of JSON "
            "with architecture and score."
        ),
    ] = None,
    scale: Annotated[
        float, typer.Option(help="Of the guidance, 0 (none) to 1 (greedy).")
    ] = 0.5,
    guidance: Annotated[
        str, typer.Option(help="both, gradient, resample or noisy.")
    ] = "both",
    min_unique: Annotated[
        float | None,
        typer.Option(
            help="Lower --scale until this share of the samples is unique, 0 to 1."
        ),
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(help="Weigh a cost as well: params=0.5. Again for more."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="Bound a cost: params=1.0.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the first six: .png, .pdf or .svg.")
    ] = None,
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Generate architectures, guided by scores where some are given.

    Example: [bold]graphlab nas generate --space nb201 --count 1000 --json[/bold]
    """
    from graphlab import nag
    from graphlab.nag import spaces
    from graphlab.tasks import nas

    if plot is not None:
        _require_picture(plot)
    if scores is None and (cost or limit or min_unique is not None):
        raise typer.BadParameter("--cost, --limit and --min-unique go with --scores")
    found = spaces.open(space)
    # A wrong file is told before a denoiser is trained for it.
    scored = None if scores is None else nas.read_scores(found, scores)
    model = _denoiser(denoiser, found)
    guide = None
    if scored is not None:
        guide = nas.guidance_from(
            found,
            model,
            scored,
            scale=scale,
            method=guidance,
            costs=_amounts(cost, "--cost"),
            limits=_amounts(limit, "--limit"),
        )
    made = nag.generate(
        model, count, guidance=guide, steps=steps, seed=seed, min_unique=min_unique
    )
    if plot is not None:
        _draw(found, made.architectures[:6], plot)
    if as_json:
        output.emit({"space": found.name, **made.to_json()})
        return
    from graphlab.report.tables import Table

    rows = [
        (
            name,
            f"{100 * q.validity:.1f}",
            f"{100 * q.uniqueness:.1f}",
            f"{100 * q.novelty:.1f}",
        )
        for name, q in (("generated", made.quality), ("uniform", made.uniform))
    ]
    columns = ("samples", "valid (%)", "unique (%)", "novel (%)")
    output.show(Table(f"{count:,} samples of {found.name}", columns, rows))
    guided = "" if made.scale is None else f", guidance of scale {made.scale:.3g}"
    output.show(*made.architectures[:10], f"{made.seconds:.2f} s{guided}")
    if len(made.architectures) > 10:
        output.show(f"and {len(made.architectures) - 10:,} more (--json lists all)")
    if plot is not None:
        output.show(f"plot: {plot}")


@_app.command()
def search(
    space: _Space = "gnn",
    data: Annotated[
        str, typer.Option(help="Data set to train on, or of a table.")
    ] = "cora",
    evaluations: Annotated[int, typer.Option(min=1, help="Trainings.")] = 30,
    method: Annotated[
        str, typer.Option(help="bayesian, random, evolution, local or bananas.")
    ] = "bayesian",
    surrogate: Annotated[
        str | None, typer.Option(help="ensemble, gp or boosting.")
    ] = None,
    acquisition: Annotated[
        str | None, typer.Option(help="ei, pi, ucb, its or ts.")
    ] = None,
    denoiser: Annotated[
        Path | None, typer.Option(help="File of nas train; default: train one briefly.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of the training nodes.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 200,
    runs: Annotated[
        int,
        typer.Option(
            min=0, help="Seeds of the final training, 0: none; of a table: searches."
        ),
    ] = 10,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Processes that train; evolution and local use one."),
    ] = 1,
    root: _Root = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/nas-<space>-<data>.")
    ] = None,
    seed: _Seed = 0,
    as_json: _Json = False,
) -> None:
    """Search architectures: train GNNs on a data set, or look up nb201 or nas_bench_graph.

    The search sees training nodes only; the test set is read once, at the end. Shown and
    drawn: the best architecture, and the best at every size and latency (of a table: of the
    best search). A stopped search of GNNs goes on when the same command is given again.
    Example: [bold]graphlab nas search --space gnn --data cora[/bold]
    """
    from graphlab.nag import spaces
    from graphlab.tasks import nas

    found = spaces.open(space)
    options: dict[str, Any] = {"surrogate": surrogate, "acquisition": acquisition}
    options = {k: v for k, v in options.items() if v is not None}
    if options and method != "bayesian":
        raise typer.BadParameter(
            "--surrogate and --acquisition are of --method bayesian"
        )
    folder = run_dir or Path("runs") / f"nas-{found.name}-{Path(data).stem}"
    output.resume_with(shlex.join(["graphlab", *sys.argv[1:]]))
    model = None if denoiser is None else _denoiser(denoiser, found)
    shared: dict[str, Any] = {
        "evaluations": evaluations,
        "method": method,
        "denoiser": model,
        "root": root,
        "run_dir": folder,
        "settings": options,
    }
    result: Any
    if found.name in ("nb201", "nas_bench_graph"):
        seeds = range(seed, seed + max(1, runs))
        result = nas.search_table(found.name, data, seeds=seeds, **shared)
    elif found.name == "gnn":
        result = nas.search(
            data,
            space=found,
            folds=folds,
            epochs=epochs,
            final_seeds=range(runs),
            workers=workers,
            seed=seed,
            **shared,
        )
    else:
        raise typer.BadParameter(
            f"--space {space} has no evaluator here: search it from Python with "
            "gl.nag.search(space, evaluate, ...)"
        )
    best = [result.found.best]
    plot = _draw(found, best, folder / "best.png")
    front = _front(result.found, found.name, folder / "front.png")
    plots = {"plot": plot, "front": front}
    if found.name != "gnn":
        plots["regret_plot"] = _regret(result.regret, method, folder / "regret.png")
    if as_json:
        output.emit({**result.to_json(), **{k: str(v) for k, v in plots.items()}})
        return
    output.show(f"best of {len(result.found.scores)}: {result.found.best}")
    output.show(f"score {max(result.found.scores):.4f}")
    output.show(*_front_lines(result.found, found.name))
    for line in result.lines():
        output.show(line)
    output.show(*(f"{name}: {path}" for name, path in plots.items()), f"run: {folder}")


@_app.command()
def evaluate(
    architecture: Annotated[str, typer.Argument(help="An architecture's string.")],
    space: _Space = "gnn",
    data: Annotated[
        str | None, typer.Option(help="Data set to train on, or of a table.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Seeds.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 300,
    root: _Root = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw it: .png, .pdf or .svg.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Tell an architecture's hash and costs; with --data its score too.

    Example: [bold]graphlab nas evaluate "0,1,1,1|gcn,gat,fc,skip|hidden=64|dropout=0.6|
    weight_decay=0.0005|lr=0.01" --data cora[/bold]
    """
    from graphlab.nag import spaces
    from graphlab.tasks import nas

    if plot is not None:
        _require_picture(plot)
    found = spaces.open(space)
    about = nas.describe(
        found, architecture, data, seeds=range(runs), epochs=epochs, root=root
    )
    if plot is not None:
        about["plot"] = str(_draw(found, [architecture], plot))
    if as_json:
        output.emit(about)
        return
    for key, value in about.items():
        if isinstance(value, dict) and "mean" in value:
            spread = "" if value.get("std") is None else f" ± {100 * value['std']:.2f}"
            output.show(f"{key}: {100 * value['mean']:.2f}{spread} %")
        elif key == "costs":
            output.show(*(f"{n}: {v:.4g}" for n, v in value.items()))
        elif isinstance(value, float):
            output.show(f"{key}: {value:.4g}")
        elif not isinstance(value, (dict, list)):
            output.show(f"{key}: {value}")


def _denoiser(path: Path | None, space: nag.SearchSpace) -> nag.Denoiser:
    from graphlab import nag, progress
    from graphlab.tasks import nas

    if path is not None:
        return nag.Denoiser.load(path, space)
    progress.say(
        "no --denoiser: training one for a short while (nas train does it once)"
    )
    return nas.train_denoiser(space, steps=300)


def _draw(space: nag.SearchSpace, texts: list[str], path: Path) -> Path:
    from graphlab.report import architectures

    x = space.encode(texts)
    titles = [t if len(t) < 60 else t[:57] + "..." for t in texts]
    return architectures.save(
        architectures.cells([space.cell(row) for row in x], titles), path
    )


def _front(found: nag.SearchResult, space: str, path: Path) -> Path:
    """Draw the elites of a search over each cost."""
    from graphlab.report import architectures

    assert found.archive is not None
    units = {name: f"{name} ({unit})" for name, unit in _UNITS[space].items()}
    return architectures.save(architectures.front(found.archive, units), path)


def _front_lines(found: nag.SearchResult, space: str) -> list[Table | str]:
    """What no cheaper architecture beats, by one cost at least."""
    from graphlab.report.tables import Table

    assert found.archive is not None
    costs = list(found.archive.edges)
    fronts = {cost: found.archive.front(cost) for cost in costs}
    kept = {e.architecture: e for front in fronts.values() for e in front}
    elites = sorted(kept.values(), key=lambda e: e.score)
    rows = [
        (
            str(place),
            f"{e.score:.4g}",
            *(_amount(e.costs[cost]) for cost in costs),
            ", ".join(cost for cost in costs if e in fronts[cost]),
        )
        for place, e in enumerate(elites, 1)
    ]
    units = _UNITS[space]
    named = [f"{c} ({units[c]})" if c in units else c for c in costs]
    columns = ("#", "score", *named, "on the front of")
    # Strings are long: below the table they can be copied whole.
    strings = [f"{place}: {e.architecture}" for place, e in enumerate(elites, 1)]
    return [Table("Best at each cost", columns, rows), *strings]


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _regret(runs: list[list[float]], method: str, path: Path) -> Path:
    from graphlab.report import architectures

    label = "regret, points of test accuracy"
    return architectures.save(architectures.regret({method: runs}, ylabel=label), path)


def _require_picture(path: Path) -> None:
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(
            f"--plot must end in .png, .pdf or .svg, got {path.name}"
        )


def _amounts(given: list[str] | None, option: str) -> dict[str, float]:
    found = {}
    for entry in given or []:
        name, _, value = entry.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise typer.BadParameter(
                f"{option} must be name=number, got {entry!r}"
            ) from error
    return found
