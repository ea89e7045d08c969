"""Node embedding as a task: vectors, their scores under named protocols, a run folder."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check, files, progress
from graphlab.datasets import Dataset
from graphlab.embed import NodeEmbedding, baselines
from graphlab.evaluate import (
    Scores,
    classify,
    link_auc,
    pairs_without_edge,
    split_edges,
)
from graphlab.tasks import interrupt, ranks
from graphlab.tasks.environment import environment

if TYPE_CHECKING:
    from graphlab.graph import Graph

PROTOCOLS = ("deepwalk", "graphvite")
# Share of the training edges (and as many non-edges) that node2vec's classifier sees.
_FITTED = 20_000


@dataclasses.dataclass
class EmbedResult:
    """Vectors and their scores.

    Attributes:
        embedding: The estimator, with ``vectors`` and ``context``.
        scores: By protocol and metric, such as ``deepwalk@50%/f1_micro``.
        seconds: Training and evaluation.
        config: Resolved settings.
        run_dir: The run folder, or None.
    """

    embedding: Any
    scores: dict[str, Scores]
    seconds: float
    config: dict[str, Any]
    run_dir: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        history = getattr(self.embedding, "history", {})
        return {
            "method": self.config["method"],
            "scores": {
                name: s.to_json() | {"stamp": s.stamp.to_json()}
                for name, s in self.scores.items()
            },
            "history": {k: v for k, v in history.items() if k != "settings"},
            "seconds": self.seconds,
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }


def fit(
    d: Dataset | Graph,
    method: str = "deepwalk",
    *,
    dim: int = 128,
    seed: int = 0,
    evaluate: Sequence[str] = (),
    train_shares: Iterable[float] = (0.1, 0.5, 0.9),
    repeats: int = 10,
    normalize: bool = False,
    hide_edges: float | None = None,
    run_dir: str | Path | None = None,
    **settings: Any,
) -> EmbedResult:
    """Embed the nodes of a data set and score the vectors.

    Args:
        d: A data set, or a graph where no labels are needed.
        method: ``deepwalk``, ``line``, ``node2vec``, ``prone`` or ``spectral``.
        dim: Width of a vector.
        seed: Names all draws.
        evaluate: Node-classification protocols: ``deepwalk``, ``graphvite``.
        train_shares: Shares of labelled nodes.
        repeats: Shuffles of each.
        normalize: Whether scoring brings rows to length 1.
        hide_edges: Hide this share of the edges, embed the rest, and score link prediction
            by both protocols, ``node2vec`` and ``graphvite``.
        run_dir: Folder for config.json, vectors.npy, result.json and checkpoints; the same
            call goes on there after a kill.
        **settings: More arguments of :class:`graphlab.embed.NodeEmbedding`.

    Returns:
        Vectors and scores.

    Under ``torchrun``, once ``torch.distributed`` is initialised, each rank owns a part of
    the nodes; all ranks return the same vectors.

    Raises:
        TypeError, ValueError: a setting or label that cannot be.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=80, num_edges=400, num_features=2)
        >>> r = fit(d, dim=16, samples=20_000, evaluate=["deepwalk"], train_shares=[0.5],
        ...         repeats=2)
        >>> sorted(r.scores)
        ['deepwalk@50%/f1_macro', 'deepwalk@50%/f1_micro']
    """
    name = "embed.fit"
    graph = d.graph if isinstance(d, Dataset) else d
    title = d.name if isinstance(d, Dataset) else "graph"
    for protocol in evaluate:
        check.one_of(name, "evaluate", protocol, PROTOCOLS)
    y = d.y if isinstance(d, Dataset) else None
    if evaluate and y is None:
        check.fail(ValueError, name, "d", "have labels to evaluate on", "none")
    if evaluate and hide_edges is not None:
        need = "be given without `evaluate`: labels are scored on the whole graph"
        check.fail(ValueError, name, "hide_edges", need, hide_edges)
    shares = list(train_shares)
    begin = time.perf_counter()
    positive = negative = None
    if hide_edges is not None:
        graph, positive, negative = split_edges(graph, hide_edges, seed)
    folder = None if run_dir is None else Path(run_dir)
    config: dict[str, Any] = {
        "schema": 1,
        "task": "embed",
        "dataset": title,
        "method": method,
        "dim": dim,
        "seed": seed,
        "settings": {k: str(v) for k, v in settings.items()},
        "evaluate": list(evaluate),
        "train_shares": shares,
        "repeats": repeats,
        "hide_edges": hide_edges,
        "environment": environment(),
        "command": shlex.join(sys.argv),
    }
    if folder is not None and method not in baselines.METHODS:
        if ranks.started() is None:
            settings.setdefault("checkpoint", folder / "checkpoint")
    model = make(method, dim=dim, seed=seed, **settings)
    if isinstance(model, NodeEmbedding):
        # What cannot be is told before there is a folder.
        model.plan(graph)
    if folder is not None:
        files.publish_json(folder / "config.json", config)
    exchange = ranks.started()
    if exchange is not None and not isinstance(model, NodeEmbedding):
        need = "train on walks to run in several processes"
        check.fail(ValueError, name, "method", need, method)
    if not isinstance(model, NodeEmbedding):
        model.fit(graph)
    elif exchange is None:
        with interrupt.listen() as request:
            model.fit(graph, stop=lambda: bool(request))
    else:
        model.fit(graph, exchange=exchange)
    scores: dict[str, Scores] = {}
    for protocol in evaluate:
        assert y is not None
        for share in shares:
            progress.say(f"{name}: {protocol} protocol, {100 * share:g}% of labels")
            found = classify(
                model.vectors,
                y,
                train_share=share,
                repeats=repeats,
                seed=seed,
                protocol=protocol,
                normalize=normalize,
                dataset=title,
            )
            for metric, value in found.items():
                scores[f"{protocol}@{100 * share:g}%/{metric}"] = value
    if positive is not None and negative is not None:
        scores |= score_links(model, graph, positive, negative, seed, title)
    result = EmbedResult(model, scores, time.perf_counter() - begin, config, folder)
    if folder is not None:
        model.save(folder / "vectors.npy")
        files.publish_json(folder / "result.json", result.to_json())
        # Done: the next call, with other settings maybe, begins anew.
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return result


def make(method: str, *, dim: int, seed: int, **settings: Any) -> Any:
    """Make the estimator of a method.

    Raises:
        ValueError: an unknown method.
        TypeError: a setting that the method does not have.
    """
    known = ("deepwalk", "line", "node2vec", *baselines.METHODS)
    check.one_of("embed", "method", method, known)
    if method in baselines.METHODS:
        return baselines.METHODS[method](dim=dim, seed=seed, **settings)
    return NodeEmbedding(method, dim, seed=seed, **settings)  # type: ignore[arg-type]


def score_links(
    model: Any,
    graph: Graph,
    positive: Tensor,
    negative: Tensor,
    seed: int,
    dataset: str,
) -> dict[str, Scores]:
    """Both link-prediction protocols on hidden edges."""
    source, target = graph.edge_index
    once = graph.edge_index[:, source < target]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(once.shape[1], generator=generator)[:_FITTED]
    fitted = (once[:, chosen], pairs_without_edge(graph, len(chosen), seed))
    common: Mapping[str, Any] = {"seed": seed, "dataset": dataset}
    return {
        "graphvite/auc": link_auc(
            model.vectors, positive, negative, context=model.context, **common
        ),
        "node2vec/auc": link_auc(
            model.vectors,
            positive,
            negative,
            protocol="node2vec",
            train=fitted,
            **common,
        ),
    }
