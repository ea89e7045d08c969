"""``graphlab bench``: run the benchmarks of a checkout and show their records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output

_KINDS = ("ops", "systems", "models")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(bench)


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Benchmarks to run, such as ops/segment or lagnn; none: list them."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="The benchmarks folder of a checkout; default: the nearest one."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list or the outcome as JSON.")
    ] = False,
) -> None:
    """List the benchmarks and the records they left, or run some.

    A benchmark compares with its best peers in one run and writes benchmarks/results/.
    Example: [bold]graphlab bench ops/segment[/bold]
    """
    root = _find(folder)
    found = {
        f"{kind}/{script.stem}": script
        for kind in _KINDS
        for script in sorted((root / kind).glob("*.py"))
        if not script.stem.startswith("_")
    }
    if not names:
        rows = [_record(root, name) for name in found]
        if as_json:
            output.emit({"folder": str(root), "benchmarks": rows})
        else:
            output.show(
                output.columns(
                    rows, "Benchmarks", ["name", "record", "cases", "commits"]
                )
            )
        return
    names = [_whole(name, list(found)) for name in names]
    unknown = [name for name in names if name not in found]
    if unknown:
        known = ", ".join(found) or "none"
        raise typer.BadParameter(
            f"no benchmark {', '.join(unknown)}; there are: {known}"
        )
    codes = {}
    for name in names:
        output.resume_with(f"graphlab bench {' '.join(names[names.index(name) :])}")
        # Its own process: a benchmark sets thread counts and memory limits.
        command = [sys.executable, "-m", f"benchmarks.{name.replace('/', '.')}"]
        codes[name] = subprocess.run(
            command, cwd=root.parent, stdout=sys.stderr
        ).returncode
    if as_json:
        output.emit({"exit_codes": codes, "results": str(root / "results")})
    if any(codes.values()):
        raise typer.Exit(1)


def _whole(name: str, known: list[str]) -> str:
    """A bare name, such as lagnn, as models/lagnn, where only one kind has it."""
    matches = [k for k in known if k.partition("/")[2] == name]
    return matches[0] if len(matches) == 1 else name


def _find(folder: Path | None) -> Path:
    """The benchmarks folder: the given one, or that of the current or package's checkout."""
    here = Path.cwd()
    beside = Path(__file__).resolve().parents[2]
    candidates = [folder] if folder else [p / "benchmarks" for p in (here, beside)]
    for candidate in candidates:
        if candidate is not None and candidate.is_dir():
            return candidate.resolve()
    looked = ", ".join(str(c) for c in candidates)
    raise FileNotFoundError(
        f"no benchmarks folder at {looked}; benchmarks are part of the source checkout, "
        "not of the installed package: clone it, or name the folder with --folder"
    )


def _record(root: Path, name: str) -> dict[str, Any]:
    """What is known of a benchmark's record: its file, its cases, the commits behind them."""
    path = root / "results" / f"{name.partition('/')[2]}.json"
    if not path.is_file():
        return {"name": name, "record": None, "cases": 0, "commits": None}
    entries = json.loads(path.read_text())["records"]
    commits = dict.fromkeys(e["machine"]["commit"][:12] for e in entries)
    return {
        "name": name,
        "record": path.name,
        "cases": len(entries),
        "commits": " ".join(commits),
    }
