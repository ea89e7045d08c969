"""The sheet that an OGB leaderboard asks for, refused where the rules refuse it."""

from __future__ import annotations

import importlib.metadata
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphlab.report.page import Source, load, model_name
from graphlab.report.record import RunRecord, Score
from graphlab.report.tables import Table

# https://ogb.stanford.edu/docs/leader_rules/: ten runs, three for the one that takes days.
_RUNS = {"ogbn-papers100M": 3}
_DEFAULT_RUNS = 10
# The one dataset whose rules allow validation edges in training.
_VALIDATION_ALLOWED = ("ogbl-collab",)
# Nodes of the official graphs (OGB's dataset pages), to recognise a rehearsal.
_NODES = {
    "ogbn-arxiv": 169_343,
    "ogbn-products": 2_449_029,
    "ogbn-proteins": 132_534,
    "ogbn-papers100M": 111_059_956,
    "ogbn-mag": 1_939_743,
    "ogbl-collab": 235_868,
    "ogbl-ppa": 576_289,
    "ogbl-citation2": 2_927_963,
    "ogbl-ddi": 4_267,
}


@dataclass(frozen=True)
class Sheet:
    """A filled leaderboard form.

    Attributes:
        fields: Name of the form's field -> what to enter.
        missing: Fields that only a person can fill and that are still empty.
        rehearsal: Why this sheet must not be submitted; empty when it may be.
    """

    fields: Mapping[str, str]
    missing: tuple[str, ...]
    rehearsal: str

    @property
    def submittable(self) -> bool:
        """Whether the form is complete and about the official data."""
        return not self.missing and not self.rehearsal

    def markdown(self) -> str:
        """Write the sheet as Markdown: the form, then what is still missing."""
        table = Table("", ("field", "value"), list(self.fields.items()))
        parts = [f"# Leaderboard sheet: {self.fields['Dataset']}"]
        if self.rehearsal:
            parts.append(f"**Not for submission:** {self.rehearsal}.")
        parts.append(table.markdown())
        if self.missing:
            parts.append(f"Still to fill in: {', '.join(self.missing)}.")
        return "\n\n".join(parts) + "\n"

    def __str__(self) -> str:
        return self.markdown()


def ogb(
    result_or_run_dir: Source,
    *,
    method: str = "",
    external_data: bool | None = None,
    contact: str = "",
    code: str = "",
    paper: str = "",
    hardware: str = "",
) -> Sheet:
    """Fill the leaderboard form of an OGB dataset from a run.

    The rules: test and validation score of the same model, mean and unbiased standard
    deviation over ten seeds (three for ogbn-papers100M), seeds 0 to 9; no training on
    validation labels (ogbl-collab excepted); parameters of all stages counted.

    Args:
        result_or_run_dir: A ``Result`` with a run folder, or a run folder.
        method: Name on the board; default: the model's class.
        external_data: Whether data from outside the dataset was used; the rules ask for it
            to be said, and in the method's name too.
        contact, code, paper: E-mail, public repository, link; only you know them.
        hardware: Default: what the run recorded.

    Raises:
        ValueError: a rule is broken; the message says which, and what to do.

    Source: https://ogb.stanford.edu/docs/leader_rules/ and leader_overview; the arithmetic is
        that of ``Logger`` in OGB's examples with ``torch.std`` (ddof=1).
    """
    run = load(result_or_run_dir)
    dataset = _dataset(run)
    _check_runs(run, dataset)
    _check_validation(run, dataset)
    test, valid = _recomputed(run, "test"), _recomputed(run, "valid")
    parameters = _parameters(run)
    environment = run.config.get("environment") or {}
    stages = ""
    if len(parameters) > 1:
        stages = f" ({', '.join(f'{k} {v:,}' for k, v in parameters.items())})"
    command = run.config.get("command", "")
    external = "" if external_data is None else ("yes" if external_data else "no")
    fields = {
        "Dataset": dataset,
        "Method": method or model_name(run),
        "Test": f"{test.mean:.4f} ± {test.std:.4f} ({run.metric})",
        "Validation": f"{valid.mean:.4f} ± {valid.std:.4f} ({run.metric})",
        "#Params": f"{sum(parameters.values()):,}{stages}",
        "Runs": f"{len(test.values)}, seeds {', '.join(map(str, run.seeds))}",
        "OGB version": _ogb_version(),
        "Hardware": hardware or _hardware(environment),
        "External data": external,
        "Contact": contact,
        "Code": code,
        "Command": command if isinstance(command, str) else shlex.join(command),
        "Commit": str(run.stamp.get("commit") or ""),
        "Paper": paper,
    }
    missing = tuple(name for name, value in fields.items() if not value)
    shown = {name: value or "-" for name, value in fields.items()}
    return Sheet(shown, missing, _rehearsal(run, dataset))


def _refuse(requirement: str, got: object, remedy: str) -> ValueError:
    return ValueError(f"report.ogb: `result` must {requirement}, got {got}; {remedy}")


def _dataset(run: RunRecord) -> str:
    from graphlab.interop.ogb import official

    if not run.finished:
        done = len(run.score("test").values)
        raise _refuse("be finished", f"{done} finished seeds", "resume the run first")
    name = str(run.stamp.get("dataset", "")).replace("_", "-")
    if not name.startswith(("ogbn-", "ogbl-")):
        raise _refuse(
            "be about an OGB dataset (ogbn-..., ogbl-...)",
            repr(name),
            "gl.report.html writes a page about any run",
        )
    known, split = official(name), str(run.stamp.get("split"))
    if known is not None and split != known.split:
        raise _refuse(
            f"use the official split, {known.split!r}",
            repr(split),
            "leave the splits of gl.datasets.load as they are",
        )
    return name


def _check_runs(run: RunRecord, dataset: str) -> None:
    least = _RUNS.get(dataset, _DEFAULT_RUNS)
    count = len(run.score("test").values)
    if count < least:
        raise _refuse(
            f"hold at least {least} runs", count, f"fit with seeds=range({least})"
        )
    outside = [seed for seed in run.seeds if not 0 <= seed <= 9]
    if outside or len(set(run.seeds)) != len(run.seeds):
        raise _refuse(
            "use seeds 0..9, each once",
            run.seeds,
            "choosing seeds is tuning them; fit with seeds=range(10)",
        )


def _check_validation(run: RunRecord, dataset: str) -> None:
    trained_on = run.config.get("trained_on", "train")
    parts = [trained_on] if isinstance(trained_on, str) else list(trained_on)
    if parts != ["train"] and dataset not in _VALIDATION_ALLOWED:
        raise _refuse(
            "train on training labels only",
            f"labels of {' and '.join(parts)}",
            "validation labels may choose hyper-parameters, nothing else",
        )


def _recomputed(run: RunRecord, part: str) -> Score:
    """The score from its values; a record whose own std is biased is refused."""
    values = run.result.get(part, {}).get("values") or ()
    if len(values) != len(run.seeds):
        raise _refuse(
            f"hold one {part} score a seed",
            f"{len(values)} for {len(run.seeds)} seeds",
            "the rules ask for test and validation scores of the same models",
        )
    score = Score.over(values)
    stated = run.result[part].get("std")
    if stated is not None and not math.isclose(
        stated, score.std, rel_tol=1e-6, abs_tol=1e-9
    ):
        raise _refuse(
            "state sample standard deviations (ddof=1)",
            f"{part} std {stated} where the values give {score.std}",
            "write the record with gl.tasks",
        )
    return score


def _parameters(run: RunRecord) -> dict[str, int]:
    """Parameters by stage; every stage that made a column or the model must be counted."""
    counted: Mapping[str, Any] = run.result.get("parameters") or {}
    stages = ["model", *(run.config.get("stages") or [])]
    lacking = [s for s in stages if not isinstance(counted.get(s), int)]
    if lacking:
        raise _refuse(
            "count the parameters of all stages",
            f"none for {', '.join(lacking)}",
            "the rules count every stage, embeddings made beforehand too",
        )
    return {str(stage): int(count) for stage, count in counted.items()}


def _ogb_version() -> str:
    try:
        version = importlib.metadata.version("ogb")
    except importlib.metadata.PackageNotFoundError:
        return "not installed: graphlab's own evaluator (tested equal to ogb 1.3.6)"
    return version


def _hardware(environment: Mapping[str, Any]) -> str:
    parts = [str(environment.get(key) or "") for key in ("gpu", "cpu", "memory")]
    return ", ".join(part for part in parts if part)


def _rehearsal(run: RunRecord, dataset: str) -> str:
    official = _NODES.get(dataset)
    nodes = (run.config.get("dataset") or {}).get("num_nodes")
    if official and nodes and nodes != official:
        return f"the graph has {nodes:,} nodes, the official {dataset} has {official:,}"
    return ""
