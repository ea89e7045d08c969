"""One self-contained HTML page about one or several runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import graphlab
from graphlab import files, sizes
from graphlab.report import plots, tables
from graphlab.report.record import RunRecord, read
from graphlab.report.tables import Table


class Fitted(Protocol):
    """What a page needs of a ``Result``: where it was saved, and its stamp."""

    run_dir: Any
    stamp: Any


Source = Fitted | RunRecord | str | Path

_METHODS = (
    (
        "test and validation",
        "Each seed trains its own model. The epoch with the best validation score is the one "
        "whose test score counts; test labels choose nothing. The spread is the sample "
        "standard deviation (ddof=1) over the seeds named here.",
    ),
    (
        "time an epoch",
        "Median wall-clock time of an epoch, loading and training together, over all epochs "
        "but the first of each seed, which warms up.",
    ),
)
_LOADER_METHODS = (
    (
        "read an epoch",
        "Bytes asked of the storage device by the loader, padding of direct I/O included.",
    ),
    (
        "rows in batches",
        "Bytes of the rows that the batches held, whether they came from memory or from disk.",
    ),
    (
        "stall share",
        "Time in which training waited for a batch, over the whole time of the epochs.",
    ),
    (
        "peak memory",
        "The most bytes that graphlab held for data at one instant (topology, columns, labels, "
        "cached rows, rings, output pool, tables), counted exactly where they are allocated. "
        "The interpreter, the model, the optimiser and activations are not in it.",
    ),
)


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text, and what stands under it."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """Runs whose scores are comparable, with what is shown about them."""

    title: str
    headline: str
    verdict: str
    kept: bool
    commands: Sequence[tuple[str, str]]
    plans: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    figures: Sequence[Figure]
    details: Sequence[Table]


def load(source: Source, *, label: str | None = None) -> RunRecord:
    """Take a run from its folder, a ``Result`` or a :class:`RunRecord`.

    Raises:
        TypeError: the source is none of these.
        ValueError: the ``Result`` kept no run folder to report from.
    """
    if isinstance(source, RunRecord):
        return source
    if isinstance(source, (str, Path)):
        return read(source, label=label)
    folder = getattr(source, "run_dir", None)
    if not hasattr(source, "stamp"):
        raise TypeError(
            "report: `result_or_run_dir` must be a Result or the path of a run folder, "
            f"got {type(source).__name__}"
        )
    if folder is None:
        raise ValueError(
            "report: `result` must have a run folder to report from, got a Result without "
            "one; pass run_dir= to fit, or save it with result.save(path)"
        )
    return read(folder, label=label)


def html(
    result_or_run_dir: Source | Sequence[Source],
    path: str | Path,
    *,
    title: str | None = None,
    intro: str = "",
) -> Path:
    """Write one HTML page that needs no network, no script and no other file.

    Args:
        result_or_run_dir: A ``Result`` with a run folder, a run folder (finished or not), or
            several of them. Runs with equal stamps share a section; others get their own,
            because their scores must not stand in one table.
        path: Where to write; published atomically.
        title: Default: model and dataset of the first run.
        intro: One paragraph under the title.

    Returns:
        The path.

    Raises:
        TypeError, ValueError: what is given is no run.
        StoreError: a file of the run folder is damaged.

    Cost: about a second for the plots; the page is some 100 kB a section.
    """
    runs = _runs(result_or_run_dir)
    groups = _groups(runs)
    with_loader = any(run.loader() is not None for run in runs)
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=title or _title(runs),
            intro=intro,
            sections=[_section(group, f"s{i}") for i, group in enumerate(groups)],
            several=len(groups) > 1,
            methods=_METHODS + (_LOADER_METHODS if with_loader else ()),
            version=graphlab.__version__,
            written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
    )
    path = Path(path)
    files.publish_text(path, page)
    return path


def environment() -> Any:
    """Jinja's environment with the templates of this package."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    return Environment(
        loader=PackageLoader("graphlab.report"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def markdown(result_or_run_dir: Source | Sequence[Source]) -> str:
    """Write the tables of one or several runs as Markdown.

    Args:
        result_or_run_dir: As for :func:`html`.
    """
    runs = _runs(result_or_run_dir)
    parts = [f"# {_title(runs)}"]
    for group in _groups(runs):
        parts.append(f"## {_group_title(group)}")
        parts += [f"`{command}`" for _, command in _commands(group)]
        shown = [tables.results(group), tables.loaders(group)]
        shown += [tables.seeds(run) for run in group]
        parts += [
            f"**{t.title}**{f' ({t.note})' if t.note else ''}\n\n{t.markdown()}"
            for t in shown
            if t.rows
        ]
    return "\n\n".join(parts) + "\n"


def _runs(source: Source | Sequence[Source]) -> list[RunRecord]:
    if isinstance(source, Sequence) and not isinstance(source, str):
        runs = [load(one) for one in source]
    else:
        runs = [load(source)]
    if not runs:
        raise ValueError(
            "report: `result_or_run_dir` must hold at least one run, got none"
        )
    return runs


def _groups(runs: Iterable[RunRecord]) -> list[list[RunRecord]]:
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(tables.comparable(run), []).append(run)
    return list(groups.values())


def model_name(run: RunRecord) -> str:
    """Name of the model's class, from the target in the run's config."""
    model = run.config.get("model") or {}
    target = (
        str(model.get("target", "model")) if isinstance(model, Mapping) else str(model)
    )
    return target.replace(":", ".").rsplit(".", 1)[-1]


def _group_title(group: Sequence[RunRecord]) -> str:
    models = dict.fromkeys(model_name(run) for run in group)
    return f"{', '.join(models)} on {group[0].stamp.get('dataset', 'a graph')}"


def _title(runs: Sequence[RunRecord]) -> str:
    titles = dict.fromkeys(_group_title(group) for group in _groups(runs))
    return "; ".join(titles)


def _section(group: Sequence[RunRecord], name: str) -> Section:
    figures = []
    drawn = plots.curves(group)
    if drawn is not None:
        caption = (
            "Training loss and validation score by epoch. Thin lines are seeds, the thick one "
            "is their mean, up to where the first seed stopped."
        )
        figures.append(Figure(caption, plots.svg(drawn, name=f"{name}-curves")))
    drawn = plots.memory(group)
    if drawn is not None:
        caption = "Memory for data against the declared budget."
        figures.append(Figure(caption, plots.svg(drawn, name=f"{name}-memory")))
    for position, run in enumerate(group):
        loader = run.loader()
        if loader is None or not loader.device_bytes:
            continue
        drawn = plots.timeline(run)
        if drawn is not None:
            svg = plots.svg(drawn, name=f"{name}-io{position}")
            figures.append(Figure(f"Input and output of the run “{run.label}”.", svg))
    verdict, kept = _verdict(group)
    return Section(
        title=_group_title(group),
        headline=_headline(group),
        verdict=verdict,
        kept=kept,
        commands=_commands(group),
        plans=[
            (run.label, run.config["explain"])
            for run in group
            if "explain" in run.config
        ],
        tables=[t for t in (tables.results(group), tables.loaders(group)) if t.rows],
        figures=figures,
        details=_details(group),
    )


def _headline(group: Sequence[RunRecord]) -> str:
    best = group[0]
    test = best.score("test")
    if not test.values:
        return "No seed is finished yet; the curves show how far training is."
    seeds = f"{len(test.values)} seed{'s' if len(test.values) > 1 else ''}"
    return f"{test.show()} % test {best.metric} over {seeds}"


def _verdict(group: Sequence[RunRecord]) -> tuple[str, bool]:
    """One sentence about the memory budget, and whether every run kept it."""
    found = [loader for run in group if (loader := run.loader()) is not None]
    found = [loader for loader in found if loader.declared_memory_bytes]
    if not found:
        return "", True
    worst = max(found, key=lambda s: s.peak_memory_bytes / s.declared_memory_bytes)
    peak = sizes.show(worst.peak_memory_bytes)
    budget = sizes.show(worst.declared_memory_bytes)
    if worst.kept:
        return f"Memory budget kept: at most {peak} of {budget}", True
    return f"Memory budget exceeded: {peak} of {budget}", False


def _commands(group: Sequence[RunRecord]) -> list[tuple[str, str]]:
    commands = []
    for run in group:
        command = run.config.get("command", "")
        text = command if isinstance(command, str) else shlex.join(command)
        if text:
            commands.append((run.label, text))
    if len({text for _, text in commands}) == 1:
        return [("", commands[0][1])]
    return commands


def _details(group: Sequence[RunRecord]) -> list[Table]:
    first = group[0]
    found = [tables.facts("Stamp of the scores", first.stamp)]
    found.append(tables.facts("Dataset", first.config.get("dataset") or {}))
    for run in group:
        suffix = f" of “{run.label}”" if len(group) > 1 else ""
        table = tables.seeds(run)
        found.append(
            Table(f"{table.title}{suffix}", table.columns, table.rows, table.note)
        )
    found.append(
        _distinct("Configuration", group, [_configuration(run) for run in group])
    )
    values = [run.config.get("environment") or {} for run in group]
    found.append(_distinct("Environment", group, values))
    return [table for table in found if table.rows]


def _configuration(run: RunRecord) -> dict[str, Any]:
    elsewhere = (
        "schema",
        "stamp",
        "dataset",
        "environment",
        "command",
        "explain",
        "seeds",
    )
    chosen = {k: v for k, v in run.config.items() if k not in elsewhere}
    if run.result.get("parameters"):
        chosen["parameters"] = run.result["parameters"]
    return chosen


def _distinct(
    title: str, group: Sequence[RunRecord], values: Sequence[Mapping[str, Any]]
) -> Table:
    """One table; where the runs differ, a cell names each run with its value."""
    rows = [{row[0]: row[1] for row in tables.facts(title, v).rows} for v in values]
    cells = []
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row.get(name, "-") for row in rows]
        named = zip(group, found, strict=True)
        differ = "; ".join(f"{run.label}: {value}" for run, value in named)
        cells.append((name, found[0] if len(set(found)) == 1 else differ))
    return Table(title, ("what", "value"), cells)
