"""``graphlab data``: what is at hand, what it holds, and how files become a store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output

_app = typer.Typer(
    no_args_is_help=True, help="List, inspect and convert graphs.", rich_markup_mode="rich"
)

Root = Annotated[
    Path | None, typer.Option(help="Folder of datasets; default: GRAPHLAB_DATA.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(_app, name="data")


@_app.command("list")
def list_datasets(root: Root = None, as_json: AsJson = False) -> None:
    """List the datasets that can be loaded by name.

    Example: [bold]graphlab data list --root /data/graphs[/bold]
    """
    from graphlab import datasets

    rows = datasets.available(root)
    if as_json:
        output.emit({"datasets": rows})
        return
    names = ["name", "kind", "num_nodes", "num_edges", "num_features", "path"]
    output.show(output.columns(rows, "Datasets", names))


@_app.command()
def info(
    name: Annotated[str, typer.Argument(help="A dataset's name, or the folder of a store.")],
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset or a store holds, and what it would need in memory.

    Example: [bold]graphlab data info cora[/bold]
    """
    facts = _info(name, root)
    if as_json:
        output.emit(facts)
        return
    from graphlab.report import tables

    output.show(tables.facts(f"Dataset {name}", facts))


@_app.command()
def convert(
    source: Annotated[
        str | None,
        typer.Argument(help="A dataset to convert by name, instead of files."),
    ] = None,
    edges: Annotated[
        Path | None, typer.Option(help="Edges: .parquet, .csv, .tsv or .npy [2, E].")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Node features: .npy [N, F] or .parquet.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Node labels: .npy, .parquet or .csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the store to write.")] = None,
    memory: Annotated[
        str, typer.Option(help="Memory that the conversion may hold, such as 2GiB.")
    ] = "2GiB",
    dtype: Annotated[
        str, typer.Option(help="Features as source, float32, float16, bfloat16 or int8.")
    ] = "source",
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Turn three files, or a named dataset, into a store; bounded memory, resumable.

    Example: [bold]graphlab data convert --edges e.parquet --features x.npy
    --labels y.parquet --out store/ --memory 2GiB[/bold]
    """
    if out is None:
        raise typer.BadParameter("name the folder to write with --out")
    if (source is None) == (edges is None):
        raise typer.BadParameter("give either the name of a dataset or --edges")
    from graphlab.outofcore import Store

    output.resume_with(shlex.join(["graphlab", *sys.argv[1:]]))
    given: Any
    if source is not None:
        from graphlab import datasets

        given = datasets.load(source, root)
    else:
        files = {"edges": edges, "features": features, "labels": labels}
        given = {name: path for name, path in files.items() if path is not None}
    store = Store.convert(given, out, dtype=dtype, memory=memory)
    facts = store.info()
    if as_json:
        output.emit(facts)
        return
    from graphlab.report import tables

    output.show(tables.facts(f"Store {out}", facts))


def _info(name: str, root: Path | None) -> dict[str, Any]:
    if (Path(name) / "manifest.json").is_file():
        from graphlab.outofcore import Store

        return Store.open(name).info()
    from graphlab import datasets

    return describe(datasets.load(name, root))


def describe(dataset: Any) -> dict[str, Any]:
    """Facts of a dataset, as plain values."""
    from graphlab import sizes

    columns = {
        column: f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        for column, value in dataset.columns.items()
    }
    dense = dataset.num_nodes * dataset.num_features * 4
    return {
        "name": dataset.name,
        "num_nodes": dataset.num_nodes,
        "num_edges": dataset.num_edges,
        "undirected": dataset.graph.is_undirected(),
        "num_features": dataset.num_features,
        "num_classes": dataset.num_classes,
        "columns": columns,
        "splits": {
            split: int(mask.sum()) if mask.dim() == 1 else f"{mask.shape[1]} runs"
            for split, mask in dataset.splits.items()
        },
        "memory": sizes.show(dataset.nbytes),
        "memory with dense float32 features": sizes.show(dense),
        "meta": dataset.meta,
    }
