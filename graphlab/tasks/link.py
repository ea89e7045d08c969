"""Link prediction: train over many seeds, choose by validation, read the test pairs once."""

from __future__ import annotations

import shlex
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from graphlab import check, progress
from graphlab.datasets.stored import StoredColumn
from graphlab.evaluate import Stamp, audit_links
from graphlab.tasks import calling, interrupt, schema, source
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.environment import environment
from graphlab.tasks.link_result import LinkResult
from graphlab.tasks.link_scoring import (
    LinkScorer,
    inputs,
    positives,
    require_metric,
)
from graphlab.tasks.link_settings import Baselines, LinkSettings
from graphlab.tasks.link_training import LinkTraining
from graphlab.tasks.result import assemble
from graphlab.tasks.runs import RunFolder
from graphlab.tasks.training import Job, own_generators

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

Split = Callable[["Dataset", int], "Dataset"]


def fit(
    d: Dataset,
    model: calling.Factory,
    *,
    split: Split | None = None,
    loader: source.Loader | None = None,
    seeds: Iterable[int] = range(10),
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    epochs: int = 100,
    lr: float = 0.005,
    head_lr: float | None = None,
    weight_decay: float = 0.0,
    patience: int | None = None,
    metric: str = "hits@100",
    eval_every: int = 1,
    batch_size: int = 1024,
    eval_batch_size: int = 65536,
    negatives: Literal["pairs", "targets"] = "pairs",
    exclude_batch: bool = True,
    val_edges_at_test: bool = False,
    clip: float | None = None,
    baselines: Baselines = "auto",
    device: str = "cpu",
    memory: int | str | None = None,
    read_test: bool = True,
    checkpoint_seconds: float = 30.0,
    checkpoint_batches: int | None = None,
    notes: Mapping[str, Any] | None = None,
) -> LinkResult:
    """Train a link model for every seed; keep each seed's epoch of best validation score.

    Adam on ``-log sigma(s)`` of positives and ``-log sigma(-s)`` of as many fresh negatives.
    The whole graph is encoded at every step, without the edges of the batch. Of equal
    validation scores the earliest epoch counts; test pairs are scored once a seed. Runs
    repeat, and continue after a kill, to the bit on CPU.

    Args:
        d: Data set with a link split, or one that ``split`` can split. Its graph must be
            undirected and hold the training edges alone.
        model: Factory of modules ``forward(x, graph, pairs, exclude=None) -> [B]``, called
            with (in_channels, num_nodes), or without arguments.
            :func:`graphlab.models.link_model` makes graphlab's.
        split: Function of the data set and the seed that gives each seed its own split, such
            as :func:`graphlab.datasets.split_links_ncn`.
        loader: Batches of pairs with the sampled graph around them, an iterable or a function
            of the seed, such as :class:`graphlab.sample.LinkNeighborLoader` over the training
            pairs with ``neg_sampling_ratio=1.0``; None: the whole graph at every step. Take
            all neighbours in the first hop, or common ones are missed; the batch size and
            the negatives are then the loader's. Scores are exact in any case; features of a
            store are then read by pieces, where the encoder begins with a linear map.
        seeds: Each once.
        run_dir: Folder for config, metrics, checkpoints and result; continued where it holds
            a run of the same settings.
        callbacks: Hear of runs and epochs.
        epochs: At most so many.
        lr: Learning rate.
        head_lr: That of the head; None: ``lr``.
        weight_decay: L2 penalty on all parameters.
        patience: Stop after so many epochs without a better validation score; None: never.
        metric: ``hits@K``, ``mrr``, ``auc`` or ``ap``.
        eval_every: Validate at every so-many-th epoch, and at the last.
        batch_size: Positives of a step; a smaller last batch is left out, unless it is the
            only one.
        eval_batch_size: Pairs scored at a time; changes memory, not scores.
        negatives: ``pairs``: uniform pairs without an edge in training; ``targets``: the
            positive's source with a uniform target.
        exclude_batch: Take the batch's positives out of the graph while they are learned.
        val_edges_at_test: Add validation edges to the graph at test time (ogbl-collab's rule).
        clip: Largest norm of the gradients of encoder and head.
        baselines: Names of heuristics scored on the same test pairs; ``auto``: all where the
            graph is small, else those of common neighbours; ``all``; ``none``.
        device: ``cpu``, ``cuda``, ...
        memory: Bytes for NCNC's lists and inner scores, in place of its own ``memory``.
        read_test: False leaves the test pairs alone.
        checkpoint_seconds: Save after so many seconds, inside an epoch too.
        checkpoint_batches: Save after so many batches as well.
        notes: More JSON values for config.json.

    Returns:
        The scores of all seeds with their stamp and the heuristics' beside them.

    Raises:
        ConfigError, TypeError, ValueError: a setting or split that cannot be; a graph that
            holds most validation or test pairs. Fewer, and other leaks, are said.
        DivergedError: the loss is not finite.
        Interrupted: SIGINT or SIGTERM came; with ``run_dir`` the same call continues.

    Example:
        >>> import functools, graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=200, num_edges=900, num_features=8)
        >>> ncn = functools.partial(gl.models.link_model, head="ncn", hidden_channels=16)
        >>> split = gl.datasets.split_links_ncn
        >>> r = fit(d.to_undirected(), ncn, split=split, seeds=[0], epochs=2, metric="hits@20")
        >>> sorted(r.baselines)[:3]
        ['adamic_adar', 'common_neighbors', 'cosine']
    """
    given = locals()
    fields = {name: given[name] for name in LinkSettings.model_fields}
    settings = schema.build(LinkSettings, fields, "link.fit")
    calling.require_factory("link.fit", model)
    wanted = calling.require_seeds("link.fit", seeds)
    where = torch.device(device)
    data = _Splits(d, split, settings, where, sampled=loader is not None)
    first = data.of(wanted[0])
    require_metric(first, settings.metric)
    config: dict[str, Any] = {
        "schema": 1,
        "task": "link",
        "dataset": _facts(first),
        "model": calling.describe(model),
        "loader": None if loader is None else type(loader).__name__,
        "fit": settings.model_dump(mode="json"),
        "seeds": wanted,
        "shape": {
            "features": first.num_features,
            "outputs": first.num_nodes,
            "multi_label": False,
        },
        "stamp": _stamp(first, split, settings).to_json(),
        "environment": environment(),
        "command": shlex.join(sys.argv),
        **(notes or {}),
    }
    folder = None if run_dir is None else RunFolder(run_dir, config)
    outcomes: list[dict[str, Any]] = []
    weights = {}
    try:
        with interrupt.listen() as request, own_generators(where):
            for seed in wanted:
                finished = None if folder is None else folder.finished(seed)
                if finished is None:
                    job = data.job(
                        seed, model, loader, callbacks, folder, config, request
                    )
                    training = LinkTraining(job, seed, 0, data.scorer(seed))
                    finished = training.train()
                    weights[seed] = training.best()
                outcomes.append(finished)
        path = None if folder is None else folder.path
        result: LinkResult = assemble(
            outcomes, config, path, model, weights, kind=LinkResult
        )
        if folder is not None:
            folder.finish(result.to_json())
    finally:
        if folder is not None:
            folder.close()
    for callback in callbacks:
        callback.on_done(result)
    return result


class _Splits:
    """The split of each seed, its scorer and its heuristics; made when they are needed."""

    def __init__(
        self,
        d: Dataset,
        split: Split | None,
        settings: LinkSettings,
        device: torch.device,
        *,
        sampled: bool,
    ) -> None:
        self._d, self._split, self._sampled = d, split, sampled
        self._settings, self._device = settings, device
        self._held: tuple[int, Dataset] | None = None
        self._scorer: tuple[Dataset, LinkScorer, dict[str, float]] | None = None
        self._x: Any = None

    def of(self, seed: int) -> Dataset:
        """The data set of a seed, checked for leaks."""
        if self._split is None:
            if self._held is None:
                _require_sound(self._d)
                self._held = (seed, self._d)
            return self._held[1]
        if self._held is None or self._held[0] != seed:
            made = self._split(self._d, seed)
            _require_sound(made)
            self._held = (seed, made)
        return self._held[1]

    def scorer(self, seed: int) -> LinkScorer:
        """The scorer of a seed's split."""
        return self._ready(seed)[1]

    def job(
        self,
        seed: int,
        model: calling.Factory,
        loader: source.Loader | None,
        callbacks: Sequence[Callback],
        folder: RunFolder | None,
        config: dict[str, Any],
        request: interrupt.Request,
    ) -> Job:
        """What the training of a seed needs."""
        d, _, scores = self._ready(seed)
        return Job(
            d=d,
            factory=model,
            loader=loader,
            whole=(self._inputs(d), positives(d, "train"), scores),
            settings=self._settings,
            device=self._device,
            callbacks=callbacks,
            folder=folder,
            config=config,
            request=request,
        )

    def _inputs(self, d: Dataset) -> Any:
        """Features of all nodes; on disk where they are and batches are sampled."""
        if self._sampled and isinstance(d.x, StoredColumn):
            return d.x
        if self._x is None:  # splits share them
            self._x = inputs(self._d, self._device)
        return self._x

    def _ready(self, seed: int) -> tuple[Dataset, LinkScorer, dict[str, float]]:
        d = self.of(seed)
        if self._scorer is None or self._scorer[0] is not d:
            scorer = LinkScorer(d, self._inputs(d), self._settings, self._device)
            self._scorer = (d, scorer, scorer.heuristics())
        return self._scorer


def _require_sound(d: Dataset) -> None:
    """Refuse a split that gives its answers away; say what else is odd."""
    if not d.edge_splits:
        remedy = "use gl.datasets.split_links(d), or pass split="
        check.fail(ValueError, "link.fit", "d", "have a link split", "none", remedy)
    if not d.graph.is_undirected():
        remedy = "links have no direction here: split d.to_undirected()"
        got = "a directed one"
        check.fail(ValueError, "link.fit", "d", "have an undirected graph", got, remedy)
    for leak in audit_links(d):
        # Some published splits hold a few such pairs (authors of ogbl-collab meet again); a
        # graph that holds most of them is the wrong graph.
        most = 2 * leak.count > positives(d, leak.split).shape[1]
        if most and leak.kind in ("target_in_graph", "reversed_in_graph"):
            remedy = "give the graph of the training edges alone"
            need = "hide validation and test pairs from the graph"
            check.fail(ValueError, "link.fit", "d", need, str(leak), remedy)
        progress.say(f"link.fit: {leak}")


def _stamp(d: Dataset, split: Split | None, settings: LinkSettings) -> Stamp:
    pairs = b"".join(
        tensor.numpy().tobytes()
        for name in sorted(d.edge_splits)
        for _, tensor in sorted(d.edge_splits[name].items())
    )
    named = str(d.meta.get("link_split") or d.meta.get("split", "given"))
    if split is not None:
        named = f"{named.partition('(')[0]}, a new one for each seed"
    rules = ["best validation epoch"]
    if settings.val_edges_at_test:
        rules.append("validation edges at test time")
    return Stamp(
        dataset=d.name,
        split=named,
        masks=f"{zlib.crc32(pairs):08x}",
        protocol=", ".join(rules),
        metric=settings.metric,
    )


def _facts(d: Dataset) -> dict[str, Any]:
    return {
        "name": d.name,
        "num_nodes": d.num_nodes,
        "num_edges": d.num_edges,
        "num_features": d.num_features,
        "num_classes": d.num_classes,
        "num_runs": 1,
    }
