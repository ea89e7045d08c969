"""Tables of runs, written once and shown as Markdown, on a terminal or as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphlab.progress import duration
from graphlab.report.record import RunRecord, Score
from graphlab.sizes import show

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first column names the row.

    Example:
        >>> print(Table("Sizes", ("graph", "nodes"), [("cora", "2,708")]).markdown())
        | graph | nodes |
        |---|---:|
        | cora | 2,708 |
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""

    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and so stand to the right; never the first."""
        return [
            position > 0 and all(_is_number(row[position]) for row in self.rows)
            for position in range(len(self.columns))
        ]

    def upright(self) -> Table:
        """Turn the only row of a wide table into a narrow table of names and values."""
        (row,) = self.rows
        pairs = list(zip(self.columns, row, strict=True))[1:]
        return Table(f"{self.title}: {row[0]}", ("what", "value"), pairs, self.note)

    def markdown(self) -> str:
        """Write as a Markdown table; pipes in cells are escaped."""
        rule = "|".join("---:" if right else "---" for right in self.numeric())
        lines = [_markdown_row(self.columns), f"|{rule}|"]
        return "\n".join(lines + [_markdown_row(row) for row in self.rows])

    def rich(self) -> RichTable:
        """Build a table for the terminal."""
        from rich import box
        from rich.table import Table as RichTable

        table = RichTable(
            title=self.title,
            title_justify="left",
            title_style="bold",
            caption=self.note or None,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            show_header=len(self.columns) > 2,
        )
        for column, right in zip(self.columns, self.numeric(), strict=True):
            table.add_column(
                column,
                justify="right" if right else "left",
                overflow="fold",
                no_wrap=column in ("run", "contender"),
            )
        for row in self.rows:
            table.add_row(*row)
        return table


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell in ("-", "yes", "NO", "no")


def _markdown_row(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def results(runs: Sequence[RunRecord]) -> Table:
    """One row a run, then the baselines that were measured beside them.

    Raises:
        ValueError: scores of different stamps, which must not stand in one table.
    """
    check_comparable(runs)
    metric = runs[0].metric
    rows = []
    for run in runs:
        test, valid = run.score("test"), run.score("valid")
        rows.append(
            (
                run.label if run.finished else f"{run.label} (unfinished)",
                test.show(),
                valid.show(),
                str(len(test.values) or len(valid.values)),
                span(run.seconds_per_epoch()),
            )
        )
    for name, baseline in _baselines(runs).items():
        std = baseline.get("std")
        score = Score(
            float(baseline["mean"]), math.nan if std is None else float(std), ()
        )
        count = str(len(baseline["values"])) if "values" in baseline else "-"
        rows.append((f"baseline: {name}", score.show(), "-", count, "-"))
    columns = (
        "run",
        f"test {metric} (%)",
        f"validation {metric} (%)",
        "seeds",
        "time an epoch",
    )
    note = "mean ± sample standard deviation (ddof=1) over seeds"
    return Table("Results", columns, rows, note)


def check_comparable(runs: Sequence[RunRecord]) -> None:
    """Refuse runs whose scores carry different dataset, split, protocol or metric."""
    first = comparable(runs[0])
    for run in runs[1:]:
        if comparable(run) != first:
            raise ValueError(
                "report: `runs` must carry the same dataset, split, protocol and metric to "
                f"stand in one table, got {_words(first)} ({runs[0].label}) and "
                f"{_words(comparable(run))} ({run.label})"
            )


def comparable(run: RunRecord) -> tuple[str, ...]:
    """The part of a run's stamp that makes scores comparable."""
    keys = ("dataset", "split", "masks", "protocol")
    return (*(str(run.stamp.get(key, "")) for key in keys), run.metric)


def _words(key: Iterable[str]) -> str:
    return ", ".join(part or "?" for part in key)


def _baselines(runs: Sequence[RunRecord]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        found.update(run.result.get("baselines") or {})
    return found


def summary(runs: Sequence[RunRecord], title: str = "Summary") -> Table:
    """One row a run with all that matters at a glance: score, speed, bytes, memory."""
    check_comparable(runs)
    rows = []
    for run in runs:
        loader = run.loader()
        read = stall = peak = budget = "-"
        if loader is not None:
            read = show(loader.device_bytes / loader.epochs)
            stall = f"{100 * loader.stall_share:.1f} %"
            peak = show(loader.peak_memory_bytes)
            declared = loader.declared_memory_bytes
            kept = "kept" if loader.kept else "NOT kept"
            budget = f"{show(declared)}, {kept}" if declared else "-"
        score, time = run.score("test").show(), span(run.seconds_per_epoch())
        rows.append((run.label, score, time, read, stall, peak, budget))
    columns = (
        "run",
        f"test {runs[0].metric} (%)",
        "time an epoch",
        "read an epoch",
        "stall share",
        "peak memory",
        "budget",
    )
    return Table(title, columns, rows)


def seeds(run: RunRecord) -> Table:
    """One row a seed: what was reached, where, and how long it took."""
    test, valid = run.score("test").values, run.score("valid").values
    ends = {e["seed"]: e for e in run.events if e.get("event") == "run"}
    rows = []
    for position, seed in enumerate(run.seeds):
        end, lines = ends.get(seed, {}), run.epochs(seed)
        best = end.get("best_epoch")
        rows.append(
            (
                str(seed),
                _percent(test, position),
                _percent(valid, position),
                "-" if best is None else str(best),
                str(len(lines)),
                span(sum(float(line.get("seconds", 0.0)) for line in lines)),
            )
        )
    columns = ("seed", "test (%)", "validation (%)", "best epoch", "epochs", "time")
    note = "the epoch of the best validation score is the one whose test score counts"
    return Table("Seeds", columns, rows, note)


def _percent(values: Sequence[float], position: int) -> str:
    return f"{100 * values[position]:.2f}" if position < len(values) else "-"


def loaders(runs: Sequence[RunRecord]) -> Table:
    """One row a run with loader statistics: bytes, stalls, memory against the budget."""
    rows = []
    for run in runs:
        loader = run.loader()
        if loader is None:
            continue
        budget = loader.declared_memory_bytes
        verdict = ("yes" if loader.kept else "NO") if budget else "none declared"
        rows.append(
            (
                run.label,
                show(loader.device_bytes / loader.epochs),
                show(loader.useful_bytes / loader.epochs),
                f"{100 * loader.hit_rate:.1f} %",
                f"{100 * loader.stall_share:.1f} %",
                show(loader.peak_memory_bytes),
                show(budget) if budget else "-",
                verdict,
            )
        )
    columns = (
        "run",
        "read an epoch",
        "rows in batches",
        "served from memory",
        "stall share",
        "peak memory",
        "budget",
        "budget kept",
    )
    note = "bytes that graphlab held for data, by its own exact accounting"
    return Table("Disk and memory", columns, rows, note)


def facts(title: str, values: Mapping[str, Any]) -> Table:
    """Two columns: name and value; nested mappings are flattened with dots."""
    return Table(title, ("what", "value"), list(_flatten(values)))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, int) and "seed" not in name:
            yield name, f"{value:,}"
        elif isinstance(value, float):
            yield name, f"{value:.6g}"
        elif value is not None and value != "":
            yield name, str(value)


def span(seconds: float) -> str:
    """Write seconds for a cell: ``-`` where unknown, milliseconds where short."""
    if math.isnan(seconds):
        return "-"
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else duration(seconds)
