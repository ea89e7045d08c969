"""``graphlab plan``: prepare, explain, check and remove plans for training from disk."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphlab.cli import output

if TYPE_CHECKING:
    from torch import Tensor

    from graphlab.outofcore import Plan, Store

_app = typer.Typer(
    no_args_is_help=True,
    help="Plans for training from disk: what stays in memory, what is packed.",
    rich_markup_mode="rich",
)
# What `make` was asked for, beside the plan's own files, so that the folder is enough for
# the other commands.
_REQUEST = "request.json"

Folder = Annotated[Path, typer.Argument(help="The plan's folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(_app, name="plan")


@_app.command()
def make(
    store: Annotated[
        Path, typer.Argument(help="The store's folder.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder of the plan.")] = Path("plan"),
    fanout: Annotated[str, typer.Option(help="Neighbours a hop.")] = "15,10",
    nodes: Annotated[
        str | None,
        typer.Option(
            help="Seeds: train, val, test, all, or a .npy file of ids; default train."
        ),
    ] = None,
    edges: Annotated[
        str | None,
        typer.Option(
            help="Batches of pairs instead: all for the graph's edges; train, val or test "
            "for the positives of a link split; or a .npy file [2, pairs]."
        ),
    ] = None,
    negatives: Annotated[
        float, typer.Option(help="With --edges: negatives for each positive.")
    ] = 0.0,
    batch_size: Annotated[
        int, typer.Option(help="Seeds, or positives, a batch.")
    ] = 1024,
    epochs: Annotated[
        int, typer.Option(help="Epochs to sample; later ones replay.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of order and samples.")] = 0,
    memory: Annotated[
        str, typer.Option(help="All memory for data, such as 2GiB.")
    ] = "2GiB",
    disk: Annotated[
        str | None, typer.Option(help="What the plan may take; default: what is free.")
    ] = None,
    mode: Annotated[
        str, typer.Option(help="auto, memory, replay, hybrid, rolling or direct.")
    ] = "auto",
    policy: Annotated[
        str, typer.Option(help="What stays in memory: belady, static or lru.")
    ] = "belady",
    resample_every: Annotated[
        int | None, typer.Option(help="Epochs after which samples are drawn afresh.")
    ] = None,
    node_order: Annotated[
        str,
        typer.Option(help="discovery: as in memory; packed: as rows are copied."),
    ] = "discovery",
    device_memory: Annotated[
        str | None,
        typer.Option(
            help="Of the training device, for the most used rows, such as 8GiB."
        ),
    ] = None,
    world_size: Annotated[
        int, typer.Option(help="Ranks that will share each epoch.")
    ] = 1,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Make the plan together: this process, of --world-size that are given the "
            "same command, each with its own number from 0."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a plan of other arguments.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sample ahead, choose what stays in memory, pack the rest batch by batch.

    Killed, it goes on when the same command is given again. Example: [bold]graphlab plan make
    store/ --fanout 15,10 --memory 2GiB --out plan/[/bold]
    """
    if edges is not None and nodes is not None:
        raise typer.BadParameter("give --nodes or --edges, not both")
    if edges is None and negatives:
        raise typer.BadParameter("--negatives only counts with --edges")
    request = {
        "store": str(store.resolve()),
        "num_neighbors": _numbers(fanout),
        "nodes": _named(nodes or "train") if edges is None else None,
        "edges": None if edges is None else _named(edges),
        "neg_sampling_ratio": negatives,
        "batch_size": batch_size,
        "epochs": epochs,
        "seed": seed,
        "memory": memory,
        "disk": disk,
        "mode": mode,
        "policy": policy,
        "resample_every": resample_every,
        "node_order": node_order,
        "device_memory": device_memory,
        "world_size": world_size,
    }
    output.resume_with(shlex.join(["graphlab", *sys.argv[1:]]))
    made = _plan(request, out, overwrite=overwrite, rank=rank)
    from graphlab import files

    files.publish_json(out / _REQUEST, request)
    if as_json:
        output.emit(_facts(made))
    else:
        output.show(str(made.explain()), f"plan: {out}")


@_app.command()
def explain(plan: Folder, as_json: AsJson = False) -> None:
    """Show what each mode would cost, and who holds how much of the memory.

    Example: [bold]graphlab plan explain plan/[/bold]
    """
    made = _open(plan)
    if as_json:
        output.emit(_facts(made))
    else:
        output.show(str(made.explain()))


@_app.command()
def info(plan: Folder, as_json: AsJson = False) -> None:
    """Show what a plan is of, and the files that it holds.

    Example: [bold]graphlab plan info plan/[/bold]
    """
    made, request = _open(plan), _request(plan)
    sizes = {p.name: p.stat().st_size for p in sorted(plan.iterdir()) if p.is_file()}
    facts = {
        "request": request,
        "mode": made.mode,
        "batches_per_epoch": made.batches_per_epoch,
        "identity": made.identity,
        "totals": made.totals,
        "files": sizes,
    }
    if as_json:
        output.emit(facts)
        return
    from graphlab.report import tables

    output.show(tables.facts(f"Plan {plan}", facts))


@_app.command()
def verify(plan: Folder, as_json: AsJson = False) -> None:
    """Read the store and every batch of the plan, and compare all checksums.

    Example: [bold]graphlab plan verify plan/[/bold]
    """
    from graphlab import progress

    made = _open(plan)
    store_bytes = made.job.store.verify()
    loader, read = made.loader(), 0
    try:
        # Other modes hold no batches; opening them has checked what they hold.
        packed = made.mode in ("replay", "hybrid")
        total = made.epochs * made.batches_per_epoch if packed else 0
        with progress.track("verify", total, "batches") as bar:
            for epoch in range(made.epochs if packed else 0):
                loader.set_epoch(epoch)
                for _ in loader:
                    bar.advance()
                read += int(loader.stats()["device_bytes"])
    finally:
        loader.close()
    facts = {
        "store_bytes": store_bytes,
        "plan_bytes": read,
        "batches": total,
        "intact": True,
    }
    if as_json:
        output.emit(facts)
    else:
        output.show(f"intact: {total:,} batches of {plan}, and the store")


@_app.command()
def clean(plan: Folder, as_json: AsJson = False) -> None:
    """Remove a plan; the store stays, and the plan can be made again.

    Example: [bold]graphlab plan clean plan/[/bold]
    """
    _request(plan)
    freed = sum(p.stat().st_size for p in plan.rglob("*") if p.is_file())
    shutil.rmtree(plan)
    if as_json:
        output.emit({"removed": str(plan), "freed_bytes": freed})
    else:
        from graphlab import sizes

        output.show(f"removed {plan}: {sizes.show(freed)} freed")


def _named(chosen: str) -> str:
    """The name of a split, or the whole path of a file."""
    return str(Path(chosen).resolve()) if chosen.endswith(".npy") else chosen


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"--fanout must be numbers as 15,10, got {text!r}"
        ) from error


def _request(folder: Path) -> dict[str, Any]:
    """What ``make`` was asked for; refuses folders that are no plan of this command."""
    path = folder / _REQUEST
    if not path.is_file():
        raise ValueError(
            f"plan: `plan` must be a folder that `graphlab plan make` wrote, got {folder}"
        )
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _open(folder: Path) -> Plan:
    return _plan(_request(folder), folder)


def _plan(
    request: dict[str, Any],
    folder: Path,
    *,
    overwrite: bool = False,
    rank: int | None = None,
) -> Plan:
    """Make the plan of a request, or use the one that is there."""
    from graphlab import outofcore

    arguments = dict(request)
    # Requests of earlier versions know no pairs.
    nodes, edges = arguments.pop("nodes"), arguments.pop("edges", None)
    store = outofcore.Store.open(arguments.pop("store"))
    if edges is not None:
        arguments["edge_label_index"] = _pairs(store, edges)
    elif nodes.endswith(".npy"):
        arguments["input_nodes"] = _array("--nodes", nodes)
    elif nodes != "all":
        arguments["input_nodes"] = nodes
    return outofcore.plan(
        store, path=folder, overwrite=overwrite, rank=rank, **arguments
    )


def _pairs(store: Store, edges: str) -> Tensor:
    """The pairs that --edges names."""
    from graphlab.tasks.link_scoring import positives

    if edges.endswith(".npy"):
        return _array("--edges", edges)
    dataset = store.dataset()
    if edges == "all":
        return dataset.graph.edge_index
    if edges not in dataset.edge_splits:
        known = ", ".join(["all", *dataset.edge_splits])
        raise ValueError(
            f"plan: `--edges` must be one of {known}, or a .npy file, got {edges!r}"
        )
    return positives(dataset, edges).contiguous()


def _array(option: str, path: str) -> Tensor:
    import numpy as np
    import torch

    if not Path(path).is_file():
        raise ValueError(
            f"plan: `{option}` must name a .npy file that is there, got {path}"
        )
    return torch.from_numpy(np.load(path))


def _facts(made: Plan) -> dict[str, Any]:
    import dataclasses

    return {"path": str(made.path), **dataclasses.asdict(made.explain())}
