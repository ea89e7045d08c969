"""``graphlab bench``: run the benchmarks of a checkout and show their records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output

_KINDS = ("ops", "systems", "models")
# A benchmark can be run; other modules only help those that can.
_MAIN = re.compile(r"^if __name__ == ", re.MULTILINE)
# The name of its record, where it is not that of the script.
_NAME = re.compile(r'^NAME\b.*? = "([^"]+)"', re.MULTILINE)


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
        if not script.stem.startswith("_") and _MAIN.search(script.read_text())
    }
    if not names:
        rows = [_record(root, name, script) for name, script in found.items()]
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


def _record(root: Path, name: str, script: Path) -> dict[str, Any]:
    """What is known of a benchmark's record: its file, its cases, the commits behind them."""
    path = _record_path(root / "results", script)
    if path is None:
        return {"name": name, "record": None, "cases": 0, "commits": None}
    content = json.loads(path.read_text())
    entries = content["records"]
    # A few records have one machine for all of their cases.
    machines = [e.get("machine", content.get("machine")) for e in entries]
    commits = dict.fromkeys(m["commit"][:12] for m in machines if m is not None)
    return {
        "name": name,
        "record": path.relative_to(root / "results").as_posix(),
        "cases": len(entries),
        "commits": " ".join(commits),
    }


def _record_path(results: Path, script: Path) -> Path | None:
    """The record of a script, in the folder of results or in one below it."""
    named = _NAME.search(script.read_text())
    file = f"{named[1] if named else script.stem}.json"
    found = [results / file, *sorted(results.glob(f"*/{file}"))]
    return next((path for path in found if path.is_file()), None)
