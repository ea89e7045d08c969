"""What a run left behind: its config, its metrics line by line, its result."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphlab.errors import StoreError

# What a plan costs and where its rows are, as tasks have printed it.
PLAN_TEXT = "plan.txt"
LOADER_KEYS = (
    "device_bytes",
    "useful_bytes",
    "hits",
    "misses",
    "stall_seconds",
    "seconds",
    "limit_seconds",
    "declared_memory_bytes",
    "peak_memory_bytes",
)


@dataclass(frozen=True)
class Score:
    """A metric over seeds.

    Attributes:
        mean: Mean over seeds, as a fraction.
        std: Sample standard deviation (ddof=1); NaN for one seed.
        values: One value a seed, in the order of the run's seeds.
    """

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float]) -> Score:
        """Summarise values of several seeds.

        Example:
            >>> Score.over([0.5, 0.7]).std
            0.14142135623730948
        """
        values = tuple(float(v) for v in values)
        if not values:
            return cls(math.nan, math.nan, ())
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, values)

    def show(self, digits: int = 2) -> str:
        """Write as percent, with the sign of a deviation only where there is one."""
        if math.isnan(self.mean):
            return "-"
        spread = "" if math.isnan(self.std) else f" ± {100 * self.std:.{digits}f}"
        return f"{100 * self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class LoaderSummary:
    """What loading cost, over all epochs of a run that carry loader statistics."""

    epochs: int
    seconds: float
    stall_seconds: float
    device_bytes: float
    useful_bytes: float
    hits: int
    misses: int
    limit_seconds: float
    declared_memory_bytes: int
    peak_memory_bytes: int

    @property
    def stall_share(self) -> float:
        """Share of the epochs' time in which training waited for data."""
        return self.stall_seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def hit_rate(self) -> float:
        """Share of row requests that were served from memory."""
        requests = self.hits + self.misses
        return self.hits / requests if requests else 1.0

    @property
    def kept(self) -> bool:
        """Whether the peak stayed within the declared budget (true without one)."""
        declared = self.declared_memory_bytes
        return declared == 0 or self.peak_memory_bytes <= declared


@dataclass(frozen=True)
class RunRecord:
    """A run, read from its folder or taken from a ``Result``.

    Attributes:
        label: Name in tables and legends.
        folder: The run folder, or None where there is none.
        config: ``config.json``.
        result: ``result.json``; empty while the run is not finished.
        events: Lines of ``metrics.jsonl``.
    """

    label: str
    folder: Path | None
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def finished(self) -> bool:
        """Whether every seed of the run is done."""
        return bool(self.result)

    @property
    def stamp(self) -> Mapping[str, Any]:
        """Dataset, split, protocol, commit of the scores."""
        return self.result.get("stamp") or self.config.get("stamp") or {}

    @property
    def metric(self) -> str:
        """Name of the metric, such as ``accuracy``."""
        fallback = self.config.get("fit", {}).get("metric", "score")
        return str(self.result.get("metric", fallback))

    @property
    def seeds(self) -> list[int]:
        """Seeds that have left at least one line."""
        if "seeds" in self.result:
            return [int(s) for s in self.result["seeds"]]
        return sorted({int(e["seed"]) for e in self.events if "seed" in e})

    def score(self, part: str) -> Score:
        """Return the score of ``test`` or ``valid``; of finished seeds only."""
        if self.result:
            return Score.over((self.result.get(part) or {}).get("values") or ())
        ends = [e.get(part) for e in self.events if e.get("event") == "run"]
        return Score.over(value for value in ends if value is not None)

    def epochs(self, seed: int) -> list[Mapping[str, Any]]:
        """Epoch lines of a seed in order; a resumed epoch counts once, its last line."""
        lines = {
            int(e["epoch"]): e
            for e in self.events
            if e.get("event") == "epoch" and e.get("seed") == seed
        }
        return [lines[k] for k in sorted(lines)]

    def seconds_per_epoch(self) -> float:
        """Median seconds of an epoch; the first of each seed, which warms up, is out."""
        seconds = [
            float(line["seconds"])
            for seed in self.seeds
            for line in self.epochs(seed)[1:]
            if "seconds" in line
        ]
        return statistics.median(seconds) if seconds else math.nan

    def loader(self) -> LoaderSummary | None:
        """Sum the loader statistics of all epochs; None where none were recorded."""
        lines = [
            line["loader"]
            for seed in self.seeds
            for line in self.epochs(seed)
            if line.get("loader")
        ]
        if not lines:
            return None

        def total(key: str) -> float:
            return float(sum(line.get(key) or 0 for line in lines))

        def most(key: str) -> int:
            return int(max(line.get(key) or 0 for line in lines))

        return LoaderSummary(
            epochs=len(lines),
            seconds=total("seconds"),
            stall_seconds=total("stall_seconds"),
            device_bytes=total("device_bytes"),
            useful_bytes=total("useful_bytes"),
            hits=int(total("hits")),
            misses=int(total("misses")),
            limit_seconds=total("limit_seconds"),
            declared_memory_bytes=most("declared_memory_bytes"),
            peak_memory_bytes=most("peak_memory_bytes"),
        )


def read(folder: str | Path, *, label: str | None = None) -> RunRecord:
    """Read a run folder, finished or not.

    Args:
        folder: Holds ``config.json`` and, once training began, ``metrics.jsonl``.
        label: Name in tables; default: the name of the folder.

    Raises:
        ValueError: the folder is no run folder.
        StoreError: a file in it is damaged. The last line of ``metrics.jsonl`` may be
            cut short, as a kill leaves it; it is ignored.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"report.read: `run_dir` must be a run folder with config.json, got {folder}; "
            "a training command prints its run folder at the end"
        )
    config = _read_json(folder / "config.json")
    if (folder / PLAN_TEXT).is_file():
        config.setdefault("explain", (folder / PLAN_TEXT).read_text())
    path = folder / "result.json"
    result = _read_json(path) if path.is_file() else {}
    path = folder / "metrics.jsonl"
    events = _read_lines(path) if path.is_file() else []
    return RunRecord(label or folder.name, folder, config, result, events)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        found = f"{error}"
        raise StoreError(path, None, "a JSON object", found) from error
    if not isinstance(value, dict):
        raise StoreError(path, None, "a JSON object", type(value).__name__)
    return value


def _read_lines(path: Path) -> list[dict[str, Any]]:
    events = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            expected = f"a JSON object on line {number}"
            raise StoreError(path, None, expected, f"{error}") from error
        events.append(event)
    return events
