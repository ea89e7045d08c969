"""``graphlab embed``: learn vectors of nodes, score them, draw them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

_app = typer.Typer(
    no_args_is_help=True,
    help="Learn vectors of nodes; score and draw them.",
    rich_markup_mode="rich",
)
_SHARES = "10,50,90"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(_app, name="embed")


@_app.command()
def run(
    graph: Annotated[
        str | None,
        typer.Argument(
            help="A dataset's name, a store's folder, or a file with an edge a line."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="deepwalk, line, node2vec, prone or spectral."),
    ] = "deepwalk",
    dim: Annotated[int, typer.Option(help="Width of a vector.")] = 128,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File of vectors: .npy, .safetensors, .parquet, .txt or .bin "
            "(word2vec); default: vectors.npy in the run folder."
        ),
    ] = None,
    evaluate: Annotated[
        list[str] | None,
        typer.Option(
            help="labels (DeepWalk's protocol), graphvite (its own), links (hide "
            "half of the edges). Give it again for more."
        ),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Percents of labels that classifiers see.")
    ] = _SHARES,
    repeats: Annotated[int, typer.Option(help="Shuffles of each.")] = 10,
    epochs: Annotated[
        float | None, typer.Option(help="Budget: so many times all edges.")
    ] = None,
    samples: Annotated[
        float | None, typer.Option(help="Budget in positive pairs, as 1e9.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Names all draws.")] = 0,
    workers: Annotated[
        int | None, typer.Option(help="Threads; default: all cores. 1 repeats.")
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(help="Parts of the nodes; repeats with any workers.")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Tables beyond it are streamed from disk, as 2GiB."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A YAML recipe, or the name of one that graphlab brings."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="More arguments: window=5, p=4, compat=reference."),
    ] = None,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="The run folder; default: runs/<graph>-<method>."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Learn vectors of a graph's nodes; go on where a stopped run was.

    Example: [bold]graphlab embed run blogcatalog --method deepwalk --out vectors.npy
    --evaluate labels[/bold]
    """
    from graphlab import progress
    from graphlab.embed import vectors
    from graphlab.tasks import embed as task
    from graphlab.tasks import embed_recipe

    given = {
        "workers": workers,
        "partitions": partitions,
        "memory": memory,
        "epochs": epochs,
        "samples": None if samples is None else int(samples),
    }
    options: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    options |= embed_recipe.arguments(settings or [])
    wanted = _wanted(evaluate or [])
    call: dict[str, Any] = {
        "method": method,
        "dim": dim,
        "seed": seed,
        "evaluate": wanted["evaluate"],
        "hide_edges": wanted["hide_edges"],
        "train_shares": _percents(shares),
        "repeats": repeats,
        **options,
    }
    if recipe is not None:
        tree = embed_recipe.load(recipe)
        graph = graph or tree.data
        call = tree.call() | options
    if graph is None:
        raise typer.BadParameter("give GRAPH, or --recipe")
    folder = run_dir or Path("runs") / f"{Path(graph).stem}-{call['method']}"
    if out is not None:
        vectors.format_of("embed run", out)
    output.resume_with(shlex.join(sys.argv))
    d = _data(graph, root)
    progress.say(f"{call['method']} on {d.name}, into {folder}")
    result = task.fit(d, run_dir=folder, **call)
    path = folder / "vectors.npy"
    if out is not None:
        path = result.embedding.save(out)
    if as_json:
        output.emit({**result.to_json(), "out": str(path)})
        return
    if result.scores:
        output.show(_table(result.scores))
    history = result.embedding.history
    if "samples_per_second" in history:
        output.show(
            f"{history['pairs']:,} pairs in {progress.duration(history['seconds'])}, "
            f"{history['samples_per_second']:,.0f} samples/s"
        )
    output.show(f"vectors: {path}")


@_app.command(name="eval")
def evaluate_vectors(
    vectors: Annotated[Path, typer.Argument(help="File of vectors.")],
    data: Annotated[str, typer.Option(help="Dataset with labels, in the same order.")],
    protocol: Annotated[
        str, typer.Option(help="deepwalk or graphvite node classification.")
    ] = "deepwalk",
    shares: Annotated[
        str, typer.Option(help="Percents of labels that classifiers see.")
    ] = _SHARES,
    repeats: Annotated[int, typer.Option(help="Shuffles of each.")] = 10,
    seed: Annotated[int, typer.Option(help="Names the shuffles.")] = 0,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Bring rows to length 1 first.")
    ] = False,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Score vectors by node classification, whoever made them.

    Example: [bold]graphlab embed eval vectors.npy --data blogcatalog --shares 20[/bold]
    """
    from graphlab.evaluate import classify

    d, rows = _with_data(vectors, data, root)
    if d.y is None:
        raise ValueError(f"embed eval: `--data` must have labels, got {data}")
    scores = {}
    for share in _percents(shares):
        found = classify(
            rows,
            d.y,
            train_share=share,
            repeats=repeats,
            seed=seed,
            protocol=protocol,
            normalize=normalize,
            dataset=d.name,
        )
        for metric, value in found.items():
            scores[f"{protocol}@{100 * share:g}%/{metric}"] = value
    if as_json:
        shown = {
            n: s.to_json() | {"stamp": s.stamp.to_json()} for n, s in scores.items()
        }
        output.emit({"vectors": str(vectors), "scores": shown})
    else:
        output.show(_table(scores))


@_app.command()
def plot(
    vectors: Annotated[Path, typer.Argument(help="File of vectors.")],
    out: Annotated[Path, typer.Option(help="Picture: .png, .pdf or .svg.")],
    data: Annotated[
        str | None, typer.Option(help="Dataset whose labels colour the nodes.")
    ] = None,
    neighbors: Annotated[int, typer.Option(help="Neighbours of a node.")] = 30,
    seed: Annotated[int, typer.Option(help="Names all draws.")] = 0,
    root: Annotated[
        str | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Draw vectors in the plane, near ones near each other, as LargeVis does.

    Example: [bold]graphlab embed plot vectors.npy --data cora --out cora.png[/bold]
    """
    from graphlab.embed import layout
    from graphlab.embed import load as read
    from graphlab.report.scatter import scatter

    if out.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(
            f"--out must end in .png, .pdf or .svg, got {out.name}"
        )
    labels = None
    if data is not None:
        d, rows = _with_data(vectors, data, root)
        labels = d.y
    else:
        rows, _ = read(vectors)
    place = layout(rows, neighbors=neighbors, seed=seed)
    title = f"{vectors.name}: {len(rows):,} nodes" + (f", {data}" if data else "")
    path = scatter(place, out, labels=labels, title=title)
    if as_json:
        output.emit({"out": str(path), "nodes": len(rows)})
    else:
        output.show(f"plot: {path}")


def _wanted(evaluate: list[str]) -> dict[str, Any]:
    known = {"labels": "deepwalk", "deepwalk": "deepwalk", "graphvite": "graphvite"}
    chosen, hide = [], None
    for entry in evaluate:
        for name in entry.split(","):
            if name == "links":
                hide = 0.5
            elif name in known:
                chosen.append(known[name])
            else:
                raise typer.BadParameter(
                    f"--evaluate must be labels, graphvite or links, got {name!r}"
                )
    return {"evaluate": list(dict.fromkeys(chosen)), "hide_edges": hide}


def _percents(text: str) -> list[float]:
    try:
        shares = [float(part) / 100 for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"--shares must be percents as 10,50,90, got {text!r}"
        ) from error
    if not all(0 < s < 1 for s in shares):
        raise typer.BadParameter(f"--shares must be between 0 and 100, got {text!r}")
    return shares


def _data(graph: str, root: str | None) -> Dataset:
    """A dataset by name or folder; a file is read as an undirected edge list."""
    from graphlab import datasets
    from graphlab.graph import Graph

    path = Path(graph)
    if path.is_file() and path.suffix != ".npz":
        g = Graph.from_edge_list(path).to_undirected(reduce="sum")
        return datasets.Dataset(graph=g, meta={"name": path.stem})
    return datasets.load(graph, root)


def _with_data(vectors: Path, data: str, root: str | None) -> tuple[Any, Any]:
    from graphlab import datasets
    from graphlab.embed import load as read

    rows, _ = read(vectors)
    d = datasets.load(data, root)
    if len(rows) != d.num_nodes:
        raise ValueError(
            f"embed: `vectors` must hold one row for each of {d.num_nodes:,} nodes of "
            f"{data}, got {len(rows):,}"
        )
    return d, rows


def _table(scores: Any) -> Any:
    from graphlab.report.tables import Table

    rows = []
    for name, score in scores.items():
        spread = "" if len(score.values) < 2 else f"{100 * score.std:.2f}"
        rows.append((name, f"{100 * score.mean:.2f}", spread, str(len(score.values))))
    return Table("Scores (%)", ("protocol / metric", "mean", "std", "runs"), rows)
