"""Records of the nag benchmarks: a line each (case, method, seed), sums as JSON and Markdown.

Runs append to ``$OUT/<name>.jsonl`` (default: a folder under /tmp) as soon as each is done, so
a killed benchmark goes on; ``save`` writes ``benchmarks/results/nag/<name>.json``. Where that
holds ``runs``, another checkout goes on from them.

    python -m benchmarks.models.nag_records          write benchmarks/results/nag/TABLES.md
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import harness
from graphlab import files
from graphlab.report import Table

FOLDER = harness.ROOT / "benchmarks" / "results" / "nag"


class Journal:
    """Lines of finished runs."""

    def __init__(self, name: str) -> None:
        folder = Path(os.environ.get("OUT", "/tmp/records-nag"))
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.jsonl"
        self.lines: list[dict[str, Any]] = []
        published = FOLDER / f"{name}.json"
        if not self.path.exists() and published.exists():
            for line in json.loads(published.read_text()).get("runs", ()):
                self._keep(line)
        if self.path.exists():
            text = self.path.read_text()
            whole = text[: text.rfind("\n") + 1]
            self.lines = [json.loads(line) for line in whole.splitlines()]
            if len(whole) < len(text):
                self.path.write_text(whole)

    def has(self, **key: Any) -> bool:
        return any(all(r.get(k) == v for k, v in key.items()) for r in self.lines)

    def add(self, **record: Any) -> None:
        self._keep({"commit": harness.machine()["commit"]} | record)

    def _keep(self, record: dict[str, Any]) -> None:
        self.lines.append(record)
        with open(self.path, "a") as file:
            file.write(json.dumps(record) + "\n")

    def of(self, **key: Any) -> list[dict[str, Any]]:
        return [r for r in self.lines if all(r.get(k) == v for k, v in key.items())]


def over(values: Iterable[float]) -> dict[str, Any]:
    """Mean, sample deviation and number of values."""
    found = list(values)
    std = statistics.stdev(found) if len(found) > 1 else None
    return {"mean": statistics.fmean(found), "std": std, "n": len(found)}


def show(value: dict[str, Any], digits: int = 2) -> str:
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"


@cache
def _machine() -> dict[str, Any]:
    """As it was before a first record of this process changed the tree."""
    return harness.machine()


def save(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
    records: Any,
    runs: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Write what a benchmark found, with the table that shows it; ``runs`` to go on from."""
    content = {
        "schema": 1,
        "name": name,
        "title": title,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "note": note,
        "records": records,
        "machine": _machine(),
    }
    if runs is not None:
        content["runs"] = list(runs)
    FOLDER.mkdir(parents=True, exist_ok=True)
    files.publish_json(FOLDER / f"{name}.json", content)
    print(Table(title, tuple(columns), [tuple(r) for r in rows], note).markdown())


def tables() -> str:
    """Every benchmark's table as Markdown."""
    parts = [
        "# Architecture generation\n\nWritten by `python -m benchmarks.models.nag_records` "
        "from the JSON files here."
    ]
    for path in sorted(FOLDER.glob("*.json")):
        r = json.loads(path.read_text())
        table = Table("", tuple(r["columns"]), [tuple(row) for row in r["rows"]])
        made = r["machine"]
        dirty = ", with uncommitted changes" if made["dirty"] else ""
        parts.append(
            f"## {r['title']}\n\n{table.markdown()}\n\n{r['note']}\n\n"
            f"commit {made['commit'][:12]}{dirty}, torch {made['torch']}, {made['cpu']}"
        )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    files.publish_text(FOLDER / "TABLES.md", tables())
    print(f"written: {FOLDER / 'TABLES.md'}")
