"""``graphlab demo``: the main job on a real and a generated graph, and its report."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(demo)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for runs and report.")] = Path(
        "demo"
    ),
    small: Annotated[
        bool, typer.Option("--small", help="A tiny graph: a check that all works.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the big files: store and plan.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
) -> None:
    """Train graphs larger than a memory budget, from memory and from disk; write a report.

    Needs no network. With GRAPHLAB_DATA set, amazon_computers is trained too. Run again, it
    goes on where it stopped. Example: [bold]graphlab demo --out /tmp/demo[/bold]
    """
    from graphlab import progress, sizes
    from graphlab.report import html, load
    from graphlab.tasks import demo as job

    begun = time.monotonic()
    flags = ["--small"] * small + ["--keep"] * keep
    output.resume_with(shlex.join(["graphlab", "demo", "--out", str(out), *flags]))
    wanted = job.cases(small=small)
    need = job.require_disk(wanted, out)
    progress.say("graphlab demo trains each graph twice, from memory and from disk:")
    for case in wanted:
        done = " (already done)" if job.is_done(case, out) else ""
        progress.say(f"  - {case.describe()}{done}")
    after = "kept" if keep else "removed at the end"
    progress.say(f"It needs up to {sizes.show(need)} of disk in {out}, {after}.\n")
    runs, equal = [], {}
    for case in wanted:
        folders = job.run(case, out, keep=keep)
        equal[case.name] = job.same_losses(folders)
        labels = [folder.name.replace("-", " ") for folder in folders]
        pairs = zip(folders, labels, strict=True)
        runs.append([load(folder, label=label) for folder, label in pairs])
    page = html(
        [run for pair in runs for run in pair],
        out / "report.html",
        title="graphlab: training from disk inside a memory budget",
        intro=_intro(equal),
    )
    if as_json:
        output.emit(_facts(runs, equal, page))
        return
    from graphlab.report import tables

    for pair in runs:
        output.show(tables.summary(pair, title=str(pair[0].stamp.get("dataset"))))
    output.show(_intro(equal), f"report: {page}")
    progress.say(f"done in {progress.duration(time.monotonic() - begun)}")


def _intro(equal: dict[str, bool]) -> str:
    if all(equal.values()):
        return "Training losses from memory and from disk are equal, bit for bit."
    names = ", ".join(name for name, same in equal.items() if not same)
    return f"Training losses from memory and from disk DIFFER on {names}: please report this."


def _facts(runs: list[Any], equal: dict[str, bool], page: Path) -> dict[str, Any]:
    results = []
    for run in [run for pair in runs for run in pair]:
        loader = run.loader()
        results.append(
            {
                **run.result,
                "seconds_per_epoch": run.seconds_per_epoch(),
                "stall_share": loader.stall_share if loader else None,
                "budget_kept": loader.kept if loader else None,
            }
        )
    return {"runs": results, "equal_losses": equal, "report": str(page)}
