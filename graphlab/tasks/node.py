"""Node classification: train over many seeds, choose by validation, read the test set once."""

from __future__ import annotations

import re
import shlex
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from graphlab import check, progress
from graphlab.evaluate import Stamp
from graphlab.tasks import baselines as controls
from graphlab.tasks import calling, interrupt, labels, schema, source
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.environment import environment
from graphlab.tasks.result import Result, assemble
from graphlab.tasks.runs import RunFolder
from graphlab.tasks.scoring import EvalLoader, Scorer
from graphlab.tasks.settings import FitSettings
from graphlab.tasks.training import Job, Training, own_generators

if TYPE_CHECKING:
    from graphlab.datasets import Dataset


def fit(
    d: Dataset,
    model: calling.Factory,
    *,
    loader: source.Loader | None = None,
    seeds: Iterable[int] = range(10),
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    eval_loader: EvalLoader | None = None,
    epochs: int = 200,
    lr: float = 0.01,
    weight_decay: float = 0.0,
    patience: int | None = None,
    metric: str = "accuracy",
    eval_every: int = 1,
    class_weights: Literal["balanced"] | Sequence[float] | None = None,
    direction: Literal["stored", "undirected", "auto"] = "stored",
    baselines: Sequence[Literal["mlp"]] = (),
    device: str = "cpu",
    memory: int | str | None = None,
    final_inference: Literal["exact", "sampled"] = "exact",
    read_test: bool = True,
    checkpoint_seconds: float = 30.0,
    checkpoint_batches: int | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Result:
    """Train a model for every seed; keep each seed's epoch of best validation score.

    Adam on cross-entropy, or on binary cross-entropy for labels [N, C]. Of equal validation
    scores the earliest epoch counts. Test nodes are scored once a seed, with the chosen
    weights; nothing is chosen by them. First weights, dropout and batches are functions of
    (seed, epoch, batch), so a run repeats, and continues after a kill, to the bit on CPU.

    Args:
        d: Data set with features, labels and splits. Of masks [N, runs] the seed at place
            ``i`` uses split ``i % runs``.
        model: Factory: a class or partial called with (in_channels, out_channels), or a
            callable without arguments. graphlab's models get the Graph, others edge_index.
        loader: Batches of training nodes, an iterable or a function of the seed; None: full
            batch.
        seeds: Each once.
        run_dir: Folder for config, metrics, checkpoints and result. A folder of the same
            settings is continued: finished seeds are not run again. More seeds may be added.
        callbacks: Hear of runs and epochs.
        eval_loader: Function of node ids that makes a loader over them, to validate on
            sampled neighbourhoods; None: exact inference.
        epochs: At most so many.
        lr: Learning rate.
        weight_decay: L2 penalty on all parameters.
        patience: Stop after so many epochs without a better validation score; None: never.
        metric: ``accuracy``, ``roc_auc``, ``f1_micro`` or ``f1_macro``.
        eval_every: Validate at every so-many-th epoch, and at the last.
        class_weights: ``balanced``, or one weight for each class (or task's positives).
        direction: Edges as ``stored``, made ``undirected``, or ``auto``: for each split as
            :func:`graphlab.diagnose_direction` says from its training labels; every run
            notes which. Full batches only.
        baselines: ``mlp`` adds an MLP on the features; the majority class is always there.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        memory: Bytes that exact inference may add, such as ``"2GiB"``; None: half of what
            is available.
        final_inference: How the chosen weights are scored: ``exact``, or ``sampled`` by
            ``eval_loader``.
        read_test: False leaves the test set alone; ``Result.test`` is then None.
        checkpoint_seconds: Save after so many seconds, inside an epoch too.
        checkpoint_batches: Save after so many batches as well.
        notes: More JSON values for config.json.

    Returns:
        The scores of all seeds with their stamp, baselines beside them; predictions.

    Raises:
        ConfigError, TypeError, ValueError: a setting, label, split or batch that cannot be.
        DivergedError: the loss is not finite.
        Interrupted: SIGINT or SIGTERM came; with ``run_dir`` the same call continues.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=200, num_edges=800, num_features=8)
        >>> d = gl.datasets.split_random(d, train=0.5, val=0.2)
        >>> r = fit(d, gl.models.GCN, seeds=range(2), epochs=5)
        >>> len(r.test.values), sorted(r.baselines)
        (2, ['majority'])
    """
    given = locals()
    fields = {name: given[name] for name in FitSettings.model_fields}
    settings = schema.build(FitSettings, fields, "node.fit")
    calling.require_factory("node.fit", model)
    seeds = calling.require_seeds("node.fit", seeds)
    outputs = _require_sound(d, settings, eval_loader)
    ways = _Directions(d, settings, loader)
    where = torch.device(device)
    config: dict[str, Any] = {
        "schema": 1,
        "task": "node",
        "dataset": _dataset_facts(d),
        "model": calling.describe(model),
        "loader": None if loader is None else _name(loader),
        "eval_loader": None if eval_loader is None else _name(eval_loader),
        "fit": settings.model_dump(mode="json"),
        "seeds": list(seeds),
        "shape": {
            "features": d.num_features,
            "outputs": outputs,
            "multi_label": labels.of("node.fit", d).dim() == 2,
        },
        "stamp": _stamp(d, settings, eval_loader).to_json(),
        "environment": environment(),
        "command": shlex.join(sys.argv),
        **(notes or {}),
    }
    folder = None if run_dir is None else RunFolder(run_dir, config)
    wholes: dict[str, calling.WholeGraph] = {}
    outcomes: list[dict[str, Any]] = []
    weights = {}
    try:
        with interrupt.listen() as request, own_generators(where):
            for place, seed in enumerate(seeds):
                finished = None if folder is None else folder.finished(seed)
                if finished is None:
                    run = place % d.num_runs
                    way = ways.of(run)
                    turned = ways.dataset(way)
                    whole = wholes.setdefault(way, calling.WholeGraph(turned, where))
                    full = whole if loader is None else None
                    scorer = Scorer(turned, run, full, eval_loader, settings, where)
                    job = Job(
                        turned,
                        model,
                        loader,
                        whole,
                        settings,
                        where,
                        callbacks,
                        folder,
                        config,
                        request,
                    )
                    training = Training(job, seed, run, scorer, ways.notes(run))
                    finished = training.train()
                    weights[seed] = training.best()
                outcomes.append(finished)
        _add_mlp(d, seeds, settings, outcomes, folder)
        result = assemble(
            outcomes, config, None if folder is None else folder.path, model, weights
        )
        if folder is not None:
            folder.finish(result.to_json())
    finally:
        if folder is not None:
            folder.close()
    for callback in callbacks:
        callback.on_done(result)
    return result


class _Directions:
    """Which way the edges of each split's runs are taken."""

    def __init__(
        self, d: Dataset, settings: FitSettings, loader: source.Loader | None
    ) -> None:
        self._d, self._wanted = d, settings.direction
        self._made: Dataset | None = None
        self._found: dict[int, Any] = {}
        if self._wanted != "stored" and loader is not None:
            need = f"be None with direction={self._wanted!r}"
            remedy = "give the loader d.to_undirected(), or the edges as stored"
            check.fail(ValueError, "node.fit", "loader", need, _name(loader), remedy)

    def of(self, run: int) -> str:
        """``stored`` or ``undirected``."""
        if self._wanted != "auto":
            return self._wanted
        if run not in self._found:
            from graphlab.models import diagnose_direction

            report = diagnose_direction(self._d, run=run)
            self._found[run] = report
            for reason in report.reasons:
                progress.say(f"direction of split {run}: {report.verdict}: {reason}")
        directed = self._found[run].direction == "directed"
        return "stored" if directed else "undirected"

    def dataset(self, way: str) -> Dataset:
        """The data set that way."""
        if way == "stored" or self._d.graph.is_undirected():
            return self._d
        if self._made is None:
            self._made = self._d.to_undirected()
        return self._made

    def notes(self, run: int) -> dict[str, Any]:
        """What the outcome of a seed says about it."""
        if self._wanted == "stored":
            return {}
        notes: dict[str, Any] = {"direction": self.of(run)}
        if run in self._found:
            report = self._found[run]
            notes |= {"verdict": report.verdict, "reasons": list(report.reasons)}
        return notes


def _require_sound(
    d: Dataset, settings: FitSettings, eval_loader: EvalLoader | None
) -> int:
    """Check labels and splits; return the outputs that a model needs."""
    outputs = labels.num_outputs("node.fit", d)
    if d.x is None:
        remedy = "set d.x, such as to node embeddings"
        check.fail(ValueError, "node.fit", "d", "have features", "none", remedy)
    needed = ("train", "val", "test") if settings.read_test else ("train", "val")
    for split in needed:
        if split not in d.splits:
            remedy = "make one with gl.datasets.split_random(d)"
            check.fail(
                ValueError, "node.fit", "d", f"have a {split} split", "none", remedy
            )
        for run in range(d.num_runs):
            ids = d.ids(split, run)
            if len(ids) == 0:
                got = f"none in run {run}"
                check.fail(ValueError, "node.fit", f"{split}_mask", "hold nodes", got)
            labels.require_labels("node.fit", d, ids, split)
    if settings.final_inference == "sampled" and eval_loader is None:
        need = "be given for final_inference='sampled'"
        check.fail(ValueError, "node.fit", "eval_loader", need, None)
    return outputs


def _stamp(d: Dataset, settings: FitSettings, eval_loader: EvalLoader | None) -> Stamp:
    sampled = settings.final_inference == "sampled"
    how = "sampled neighbourhoods" if sampled else "exact inference"
    masks = b"".join(
        np.packbits(d.splits[name].numpy()).tobytes() for name in sorted(d.splits)
    )
    return Stamp(
        dataset=d.name,
        split=_split_name(d),
        masks=f"{zlib.crc32(masks):08x}",
        protocol=f"transductive, best validation epoch, {how}",
        metric=settings.metric,
    )


def _split_name(d: Dataset) -> str:
    """Name of the split; an OGB folder's is that of its folder, such as ``time``."""
    given = str(d.meta.get("split", "given"))
    if given.startswith("split_"):  # made by graphlab.datasets.split_*
        return given
    return str(d.meta.get("splits", re.split(r" \+ | \(", given)[0]))


def _dataset_facts(d: Dataset) -> dict[str, Any]:
    return {
        "name": d.name,
        "num_nodes": d.num_nodes,
        "num_edges": d.num_edges,
        "num_features": d.num_features,
        "num_classes": d.num_classes,
        "num_runs": d.num_runs,
    }


def _name(loader: Any) -> str:
    return getattr(loader, "__qualname__", type(loader).__name__)


def _add_mlp(
    d: Dataset,
    seeds: list[int],
    settings: FitSettings,
    outcomes: list[dict[str, Any]],
    folder: RunFolder | None,
) -> None:
    if "mlp" not in settings.baselines or not settings.read_test:
        return
    scores = controls.mlp_scores(
        d,
        seeds,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        metric=settings.metric,
        class_weights=settings.class_weights,
        device=settings.device,
        run_dir=None if folder is None else str(folder.path / "baseline-mlp"),
    )
    for outcome, score in zip(outcomes, scores, strict=True):
        outcome["baselines"]["mlp"] = score
        if folder is not None:
            folder.amend(outcome["seed"], outcome)
