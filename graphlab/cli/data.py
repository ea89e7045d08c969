"""``graphlab data``: what is at hand, what it holds, and how files become a store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output

_app = typer.Typer(
    no_args_is_help=True,
    help="List, inspect and convert graphs.",
    rich_markup_mode="rich",
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
    from graphlab import datasets, sizes

    found = datasets.list_datasets(root)
    rows: list[dict[str, Any]] = [
        {"name": e.name, "kind": e.kind, "bytes": _bytes(e.path), "path": str(e.path)}
        for e in found
    ]
    if as_json:
        output.emit({"datasets": rows})
        return
    shown = [{**row, "size": sizes.show(row["bytes"])} for row in rows]
    output.show(output.columns(shown, "Datasets", ["name", "kind", "size", "path"]))


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files)


@_app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="A dataset's name, or the folder of a store.")
    ],
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show what a dataset or a store holds, and what it would need in memory.

    A dataset is <name>.npz (edge_index [2, E]; x [N, F], or x_indptr, x_indices, x_data and
    x_shape; y; train_mask, val_mask, test_mask; meta as JSON), an OGB folder, or a store.

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
    out: Annotated[
        Path | None, typer.Option(help="Folder of the store to write.")
    ] = None,
    memory: Annotated[
        str, typer.Option(help="Memory that the conversion may hold, such as 2GiB.")
    ] = "2GiB",
    dtype: Annotated[
        str,
        typer.Option(help="Features as source, float32, float16, bfloat16 or int8."),
    ] = "source",
    layout: Annotated[
        str,
        typer.Option(help="Sparse features of a dataset: source keeps them, or dense."),
    ] = "source",
    undirected: Annotated[
        bool, typer.Option("--undirected", help="Give every edge its reverse too.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a store that is there.")
    ] = False,
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
    if source is not None:
        from graphlab import datasets

        d = datasets.load(source, root, undirected=undirected or None)
        store = Store.convert(d, out, dtype=dtype, layout=layout, overwrite=overwrite)
    else:
        files = {"edges": edges, "features": features, "labels": labels}
        given: dict[str, Any] = {
            k: path for k, path in files.items() if path is not None
        }
        given["undirected"] = undirected
        store = Store.convert(
            given, out, dtype=dtype, memory=memory, overwrite=overwrite
        )
    facts = store.info()
    if as_json:
        output.emit(facts)
        return
    from graphlab.report import tables

    output.show(tables.facts(f"Store {out}", facts))


def _info(name: str, root: Path | None) -> dict[str, Any]:
    from graphlab import datasets

    entry = datasets.find(name, root)
    if entry.kind == "store":
        from graphlab.outofcore import Store

        return Store.open(entry.path).info()
    return datasets.info(datasets.load(name, root))
