"""Write the measured tables of README.md and benchmarks/results/TABLES.md from the records.

    python -m benchmarks.readme_tables            write both
    python -m benchmarks.readme_tables --check    say whether they match, change nothing

README gets one line a benchmark and thread count, its worst case named, and the scores that
have a goal; TABLES.md has every case, those that we lose too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.models import adpa_table, lagnn_table
from graphlab import sizes
from graphlab.report import Table

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- records:begin -->", "<!-- records:end -->"
NONE = "No records yet; `graphlab bench` lists what can be measured."
# Records whose cases are compared with each other, by benchmark.
_TABLES = {"adpa": adpa_table.markdown, "lagnn": lagnn_table.markdown}
_SCORES = (
    "recipe",
    "split",
    "metric",
    "seeds",
    "test, %",
    "validation, %",
    "goal",
    "controls",
)
_SHORT = ("recipe", "split", "metric", "seeds", "test, %", "goal", "best control")
_SCORES_NOTE = (
    "\n\nMean and sample deviation over seeds; the epoch of best validation score is chosen, "
    "the test set is read once a seed."
)


def load(results: Path) -> dict[str, list[dict[str, Any]]]:
    """Records of each benchmark, by name; files of another layout are refused with words."""
    found = {}
    # What counts bytes or misses, not seconds, lies in a folder of its own.
    for path in sorted([*results.glob("*.json"), *results.glob("outofcore/*.json")]):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or not isinstance(
            content.get("records"), list
        ):
            raise ValueError(
                f"{path}: expected the harness's layout {{schema, name, records}}"
            )
        name = path.relative_to(results).with_suffix("").as_posix()
        found[name] = content["records"]
    return found


def summary(records: dict[str, list[dict[str, Any]]]) -> str:
    """The README's table: worst, median and best ratio to the best peer, case by case."""
    records = {name: r for name, r in records.items() if "/" not in name}
    rows = []
    for name, entries in records.items():
        compared = [r for r in entries if r.get("ratio")]
        for threads in sorted({r["threads"] for r in compared}):
            mine = [r for r in compared if r["threads"] == threads]
            ratios = sorted(r["ratio"] for r in mine)
            worst = min(mine, key=lambda r: r["ratio"])
            peers = dict.fromkeys(r["best_peer"] for r in mine)
            rows.append(
                (
                    name,
                    ", ".join(peers),
                    str(threads),
                    str(len(mine)),
                    f"{ratios[0]:.2f}",
                    f"{statistics.median(ratios):.2f}",
                    f"{ratios[-1]:.2f}",
                    worst["case"],
                )
            )
    scores = [
        _short(r)
        for entries in records.values()
        for r in entries
        if "test" in r and r["goal"]
    ]
    columns: tuple[str, ...] = _SHORT
    scored = Table("", columns, scores).markdown() + _SCORES_NOTE if scores else ""
    if not rows:
        return scored or NONE
    columns = (
        "benchmark",
        "best peers",
        "threads",
        "cases",
        "worst",
        "median",
        "best",
        "worst case",
    )
    table = Table("", columns, rows).markdown()
    return (
        f"{table}\n\nThe three figures are the best peer's time over ours, each the median of "
        "interleaved runs on one machine: above 1 we are faster. Every case with quartiles and "
        "versions, what has no peer and scores that have no goal are in "
        "[benchmarks/results/TABLES.md](benchmarks/results/TABLES.md)."
        + (f"\n\n{scored}" if scored else "")
    )


def full(records: dict[str, list[dict[str, Any]]]) -> str:
    """TABLES.md: every case with every contender."""
    parts = [
        "# Records\n\nWritten by `python -m benchmarks.readme_tables` from the JSON files here."
    ]
    for name, entries in records.items():
        if name in _TABLES and entries:
            parts.append(
                f"## {name}\n\n{_TABLES[name](entries)}\n\n{_made_by(entries)}"
            )
            continue
        if all(record["case"].count("/") == 2 for record in entries) and entries:
            parts.append(f"## {name}\n\n{_crossed(entries)}\n\n{_made_by(entries)}")
            continue
        if any("test" in record for record in entries):
            table = Table("", _SCORES, [_scores(record) for record in entries])
            parts.append(f"## {name}\n\n{table.markdown()}\n\n{_made_by(entries)}")
            continue
        rows = [row for record in entries for row in _rows(record)]
        columns = (
            "case",
            "contender",
            "threads",
            "median",
            "quartiles",
            "ratio",
            "of bound",
        )
        notes = "".join(
            f"- {r['case']}: {_notes(taken['notes'])}\n"
            for r in entries
            for taken in [r["contenders"][r["ours"]]]
            if taken.get("notes")
        )
        parts.append(
            f"## {name}\n\n{Table('', columns, rows).markdown()}\n\n"
            f"{notes}{_made_by(entries)}"
        )
    return "\n\n".join(parts if records else [*parts, NONE]) + "\n"


def _percent(score: dict[str, Any]) -> str:
    # One seed has no deviation.
    spread = "" if score["std"] is None else f" ± {100 * score['std']:.2f}"
    return f"{100 * score['mean']:.2f}{spread}"


def _short(record: dict[str, Any]) -> tuple[str, ...]:
    """A line of test scores for README, beside the best of its controls."""
    controls = record["baselines"]
    best = max(controls, key=lambda name: controls[name]["mean"], default=None)
    return (
        record["case"],
        record["stamp"]["split"],
        record["metric"],
        str(len(record["seeds"])),
        _percent(record["test"]),
        f"{100 * record['goal']:.1f}",
        f"{best} {_percent(controls[best])}" if best is not None else "",
    )


def _scores(record: dict[str, Any]) -> tuple[str, ...]:
    """A line of test scores, in percent, beside its controls."""
    controls = [f"{name} {_percent(s)}" for name, s in record["baselines"].items()]
    return (
        record["case"],
        record["stamp"]["split"],
        record["metric"],
        str(len(record["seeds"])),
        _percent(record["test"]),
        _percent(record["valid"]) if record["valid"] else "-",
        f"{100 * record['goal']:.1f}" if record["goal"] else "-",
        ", ".join(controls),
    )


def _crossed(records: list[dict[str, Any]]) -> str:
    """Cases ``data/kind/method``: a table a kind, what needs no training below the methods."""
    named = [(*record["case"].split("/"), record) for record in records]
    metric = records[0]["metric"]
    parts = []
    for kind in dict.fromkeys(k for _, k, _, _ in named):
        mine = [(d, m, r) for d, k, m, r in named if k == kind]
        data = list(dict.fromkeys(d for d, _, _ in mine))
        cells: dict[tuple[str, str], tuple[dict[str, Any], int]] = {}
        for d, method, record in mine:
            count = len(record["seeds"])
            cells[method, d] = record["test"], count
            for name, score in record["baselines"].items():
                if cells.get((name, d), ({}, 0))[1] < count:
                    cells[name, d] = score, count
        methods = list(dict.fromkeys(m for _, m, _ in mine))
        methods += [m for m, _ in cells if m not in methods]
        rows = []
        for method in dict.fromkeys(methods):
            found = [cells.get((method, d)) for d in data]
            shown = [f"{_percent(c[0])} ({c[1]})" if c else "-" for c in found]
            rows.append((method, *shown))
        table = Table("", (f"{kind}: {metric}, %", *data), rows).markdown()
        splits = dict.fromkeys(f"{d}: {r['stamp']['split']}" for d, _, r in mine)
        parts.append("\n\n".join([table, "\n".join(f"- {line}" for line in splits)]))
    note = (
        "Mean and sample deviation over so many seeds, in brackets, of the test pairs."
    )
    return "\n\n".join([*parts, note])


def _notes(notes: dict[str, Any]) -> str:
    """Figures beside the time, bytes with their unit."""

    def show(key: str, value: Any) -> str:
        if key.endswith("_bytes"):
            return sizes.show(value)
        if isinstance(value, float):
            return f"{value:.4g}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    return ", ".join(
        f"{key.removesuffix('_bytes').replace('_', ' ')} {show(key, value)}"
        for key, value in notes.items()
        # Nothing was measured, or too much for a line.
        if value is not None and not isinstance(value, list | dict)
    )


def _rows(record: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    facts = ", ".join(
        f"{key} {value}" for key, value in (record.get("facts") or {}).items()
    )
    seed = f", seed {record['seed']}" if record.get("seed") else ""
    for name, taken in record["contenders"].items():
        ours = name == record["ours"]
        versions = " ".join(
            f"{k} {v}" for k, v in (taken.get("versions") or {}).items()
        )
        bound = record.get("bound")
        yield (
            f"{record['case']}{seed}{f' ({facts})' if facts else ''}" if ours else "",
            f"{name} ({versions})" if versions else name,
            str(record["threads"]),
            seconds(taken["median"]),
            f"{seconds(taken['q1'])} .. {seconds(taken['q3'])}",
            f"{record['ratio']:.2f}" if ours and record.get("ratio") else "",
            f"{100 * bound['share']:.0f} %" if ours and bound else "",
        )


def _made_by(entries: list[dict[str, Any]]) -> str:
    keys = ("commit", "cpu", "torch", "native")
    made = [e.get("machine") or {} for e in entries]
    lines = dict.fromkeys(
        ", ".join(
            [f"{key} {str(m.get(key, '?'))[:40]}" for key in keys]
            + (["with uncommitted changes"] if m.get("dirty") else [])
        )
        for m in made
    )
    return "\n".join(f"- {line}" for line in lines)


def seconds(value: float) -> str:
    """Write a time with three figures.

    Example:
        >>> seconds(0.00123)
        '1.23 ms'
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def between(text: str, filling: str, path: Path) -> str:
    """Replace what stands between the markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path}: expected {BEGIN} and {END} once each")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{filling}\n{END}{rest.split(END)[1]}"


def wanted(root: Path) -> dict[Path, str]:
    """What the two files should hold."""
    records = load(root / "benchmarks" / "results")
    readme = root / "README.md"
    return {
        readme: between(readme.read_text(), summary(records), readme),
        root / "benchmarks" / "results" / "TABLES.md": full(records),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--root", type=Path, default=ROOT)
    chosen = parser.parse_args(arguments)
    different = [
        (path, text)
        for path, text in wanted(chosen.root).items()
        if not path.is_file() or path.read_text() != text
    ]
    for path, text in different:
        if chosen.check:
            print(
                f"{path} differs; run python -m benchmarks.readme_tables",
                file=sys.stderr,
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"written: {path}")
    return 1 if different and chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
