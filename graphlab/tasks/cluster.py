"""Graph clustering over many seeds: labels chosen without classes, beside baselines."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphlab import check, memory
from graphlab.evaluate import Stamp, clustering_scores
from graphlab.tasks import calling, checkpoint, interrupt
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.cluster_result import ClusterResult, assemble
from graphlab.tasks.environment import environment
from graphlab.tasks.runs import RunFolder

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.graph import Graph
    from graphlab.models import PamCGC
    from graphlab.models.autoencoder import AutoEncoder

BASELINES = ("kmeans", "propagated", "spectral", "autoencoder")
_FUNCTION = "cluster.fit"


def fit(
    d: Dataset,
    model: Callable[..., PamCGC] | None = None,
    *,
    n_clusters: int | None = None,
    seeds: Iterable[int] = range(10),
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    graph: Graph | None = None,
    baselines: Sequence[str] = BASELINES,
    autoencoders: str | Path | None = None,
    score_epochs: bool = True,
    notes: Mapping[str, Any] | None = None,
) -> ClusterResult:
    """Cluster the nodes of a data set for every seed, each from its own auto-encoder.

    The epoch is chosen without classes (``PamCGC(stop=...)``). Where the data set has
    classes, the labels of that epoch and of the last one are scored, and, for comparison with
    publications only, the best score that any epoch reached.

    Args:
        d: Data set with features; directed edges are made undirected, loops dropped. Without
            edges, the 3-nearest-neighbour graph of the features is clustered.
        model: Factory of estimators, called with ``seed``; None: ``PamCGC`` with the preset
            of the data set's name, if there is one.
        n_clusters: K; None: the number of classes.
        seeds: Each once.
        run_dir: Folder for config, metrics, auto-encoders, labels and result; a folder of
            the same settings is continued: finished seeds are not run again.
        callbacks: Hear of runs and epochs.
        graph: Cluster this graph instead of the data set's.
        baselines: Of ``kmeans`` (features), ``propagated`` (features averaged over two
            hops), ``spectral`` (graph alone), ``autoencoder`` (k-means on its codes).
        autoencoders: Folder of pre-trained auto-encoders, read and written, so that several
            methods begin from the same ones; None: in the run folder.
        score_epochs: Score every epoch, for the best one; False saves that time.
        notes: More JSON values for config.json.

    Returns:
        Scores of all seeds with their stamp; labels.

    Raises:
        TypeError, ValueError: a setting or data set that cannot be.
        Interrupted: SIGINT or SIGTERM came; with ``run_dir`` the same call continues.

    Example:
        >>> import functools
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=90, num_edges=900, num_features=8,
        ...                          num_classes=3, snr=4.0)
        >>> small = functools.partial(gl.models.PamCGC, hidden=(16,), dim=4, epochs=5)
        >>> r = fit(d, small, seeds=range(2), baselines=["kmeans"])
        >>> len(r.test.values), sorted(r.baselines), r.labels(0).shape
        (2, ['kmeans'], torch.Size([90]))
    """
    seeds = _require_seeds(seeds)
    for name in baselines:
        check.one_of(_FUNCTION, "baselines", name, BASELINES)
    if d.x is None:
        remedy = "set d.x, such as to node embeddings"
        check.fail(ValueError, _FUNCTION, "d", "have features", "none", remedy)
    if model is None:
        model = default_model(d.name)
    elif not callable(model):
        check.fail(
            TypeError,
            _FUNCTION,
            "model",
            "be a factory of estimators",
            type(model).__name__,
            "pass the class or a partial",
        )
    chosen = graph_of(d) if graph is None else graph
    y = _classes(d)
    k = _num_clusters(n_clusters, y)
    if k > d.num_nodes:
        need = f"be at most the {d.num_nodes} nodes"
        check.fail(ValueError, _FUNCTION, "n_clusters", need, k)
    first = model(seed=seeds[0])
    # With all settings, so that a run is told from one of other defaults.
    resolved: Any = partial(type(first), **first.settings())
    config: dict[str, Any] = {
        "schema": 1,
        "task": "cluster",
        "dataset": {
            "name": d.name,
            "num_nodes": d.num_nodes,
            "num_edges": chosen.num_edges,
            "num_features": d.num_features,
        },
        "model": calling.describe(resolved),
        "fit": {"n_clusters": k, "baselines": list(baselines)},
        "seeds": list(seeds),
        "stamp": Stamp(
            dataset=d.name,
            split="none: all nodes, no classes seen",
            protocol=f"epoch by {first.stop}, own pre-training for each seed",
            metric="accuracy",
        ).to_json(),
        "environment": environment(),
        "command": shlex.join(sys.argv),
        **(notes or {}),
    }
    folder = None if run_dir is None else RunFolder(run_dir, config)
    outcomes = []
    found: dict[int, dict[str, Tensor]] = {}
    try:
        with interrupt.listen() as request, memory.keep_freed():
            for seed in seeds:
                done = None if folder is None else folder.finished(seed)
                if done is None:
                    run = _Run(d, chosen, k, y, seed, folder, callbacks, request)
                    done, found[seed] = run.train(
                        model(seed=seed), baselines, autoencoders, score_epochs, config
                    )
                outcomes.append(done)
        result = assemble(
            outcomes, config, None if folder is None else folder.path, found
        )
        if folder is not None:
            folder.finish(result.to_json())
    finally:
        if folder is not None:
            folder.close()
    for callback in callbacks:
        callback.on_done(result)  # type: ignore[arg-type]
    return result


def default_model(name: str) -> Callable[..., PamCGC]:
    """Estimators with the preset of a data set's name, else with the defaults."""
    from graphlab.models import PamCGC
    from graphlab.models.pamc_presets import PRESETS

    preset = name.removesuffix("_cluster")
    return partial(PamCGC, **PRESETS.get(preset, {}))


def graph_of(d: Dataset, *, knn: int = 3, metric: str = "euclidean") -> Graph:
    """The graph to cluster: undirected, without loops; nearest neighbours where d has no edges.

    Args:
        d: Data set with edges or features.
        knn: Neighbours of a row, where there are no edges.
        metric: Of :func:`graphlab.graph.knn_graph`.
    """
    from graphlab.graph import knn_graph

    if d.graph.num_edges:
        return d.graph.without_self_loops().to_undirected()
    x = in_memory(d)
    dense = x if isinstance(x, Tensor) else x.gather(torch.arange(d.num_nodes))
    return knn_graph(dense.float(), knn, metric=metric)


def in_memory(d: Dataset) -> Any:
    """Features as a tensor, or as the SparseColumn that they are."""
    from graphlab.datasets import SparseColumn

    if isinstance(d.x, (Tensor, SparseColumn)):
        return d.x
    needed = d.num_nodes * d.num_features * 4
    memory.require(_FUNCTION, "the features in memory", needed)
    return d.x.gather(torch.arange(d.num_nodes))


class _Run:
    """One seed."""

    def __init__(
        self,
        d: Dataset,
        graph: Graph,
        k: int,
        y: Tensor | None,
        seed: int,
        folder: RunFolder | None,
        callbacks: Sequence[Callback],
        request: interrupt.Request,
    ) -> None:
        self.d, self.graph, self.k, self.y, self.seed = d, graph, k, y, seed
        self.x = in_memory(d)
        self.folder, self.callbacks, self.request = folder, callbacks, request
        self.log_bytes: int | None = None

    def train(
        self,
        model: PamCGC,
        baselines: Sequence[str],
        autoencoders: str | Path | None,
        score_epochs: bool,
        config: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Pre-train or read, fit, score, write."""
        if self.folder is not None:
            self.folder.start_seed(None)
        for callback in self.callbacks:
            callback.on_run_start(self.seed, config)
        started = time.perf_counter()
        net = self._autoencoder(model, autoencoders)
        controls = self._baselines(net, baselines)
        epochs: list[dict[str, float]] = []

        def on_epoch_end(epoch: int, z: Tensor, q: Tensor) -> None:
            self._stop_if_asked(f"epoch {epoch}")
            record = {"seed": self.seed, **model.history_[-1]}
            # What a run folder calls the validation score is what chooses the epoch.
            record["valid"] = record["modularity"]
            if self.y is not None and score_epochs:
                epochs.append(self._score(q.argmax(1)))
            if self.folder is not None:
                self.folder.log("epoch", **record)
            for callback in self.callbacks:
                callback.on_epoch_end(self.seed, record)

        model.fit(
            self.x, self.graph, self.k, autoencoder=net, on_epoch_end=on_epoch_end
        )
        outcome = self._outcome(model, epochs, controls, time.perf_counter() - started)
        found = {
            "labels": model.labels_,
            "last_labels": model.last_labels_,
            "embedding": model.embedding_,
            "proba": model.proba_,
        }
        if self.folder is not None:
            path = self.folder.seed(self.seed) / "clusters.safetensors"
            checkpoint.write(path, found)
            self.folder.log("run", **{k: outcome[k] for k in _LOGGED})
            outcome["log_bytes"] = self.folder.log_bytes
            self.folder.end_seed(self.seed, outcome)
        for callback in self.callbacks:
            callback.on_run_end(self.seed, outcome)
        return outcome, found

    def _autoencoder(
        self, model: PamCGC, autoencoders: str | Path | None
    ) -> AutoEncoder:
        from graphlab.models.autoencoder import AutoEncoder

        path = None
        if autoencoders is not None:
            path = Path(autoencoders) / f"{self.d.name}-{self.seed}.safetensors"
        elif self.folder is not None:
            path = self.folder.seed(self.seed) / "autoencoder.safetensors"
        if path is not None and path.exists():
            net = AutoEncoder(self.d.num_features, model.hidden, model.dim)
            net.load_state_dict(checkpoint.read(path)[0])
            return net
        net = model.pretrain(
            self.x,
            self.graph,
            on_epoch=lambda epoch, _: self._stop_if_asked(
                f"epoch {epoch} of pre-training"
            ),
        )
        if path is not None:
            checkpoint.write(path, net.state_dict())
        return net

    def _baselines(
        self, net: AutoEncoder, names: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        from graphlab.models import cluster_baselines as controls
        from graphlab.models.sparse import SparseRows, features

        if self.y is None:
            return {}
        found = {}
        for name in names:
            self._stop_if_asked(f"baseline {name}")
            if name == "kmeans":
                labels = controls.kmeans(self.x, self.k, seed=self.seed)
            elif name == "propagated":
                labels = controls.propagated_kmeans(
                    self.x, self.graph, self.k, seed=self.seed
                )
            elif name == "spectral":
                labels = controls.spectral(self.graph, self.k, seed=self.seed)
            else:
                rows = features(self.x)
                if isinstance(rows, SparseRows):
                    rows = rows.with_values(rows.value.float())
                with torch.no_grad():
                    codes = net.encode(
                        rows.float() if isinstance(rows, Tensor) else rows
                    )
                labels = controls.kmeans(codes, self.k, seed=self.seed)
            found[name] = self._score(labels)
        return found

    def _outcome(
        self,
        model: PamCGC,
        epochs: list[dict[str, float]],
        controls: dict[str, dict[str, float]],
        seconds: float,
    ) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        if self.y is not None:
            scores["chosen"] = self._score(model.labels_)
            scores["last"] = self._score(model.last_labels_)
            if epochs:
                scores["best_epoch_by_classes"] = {
                    name: max(e[name] for e in epochs) for name in epochs[0]
                }
        return {
            "seed": self.seed,
            "valid": model.history_[model.epoch_]["modularity"],
            "test": scores["chosen"]["accuracy"] if scores else None,
            "scores": scores,
            "baselines": controls,
            "best_epoch": model.epoch_,
            "epochs": len(model.history_),
            "seconds": seconds,
            "parts": dict(model.seconds_),
            "num_parameters": sum(
                p.numel() for p in model.autoencoder_.encoder.parameters()
            )
            + self.k * model.dim,
            "commits": [Stamp("", "", "", "").commit],
        }

    def _score(self, labels: Tensor) -> dict[str, float]:
        """Scores over the nodes that have a class."""
        assert self.y is not None
        known = self.y >= 0
        return clustering_scores(self.y[known], labels[known])

    def _stop_if_asked(self, where: str) -> None:
        if self.request:
            again = "" if self.folder is None else f" into {self.folder.path}"
            raise interrupt.Interrupted(
                f"stopped at seed {self.seed}, {where}; the same call{again} goes on with "
                "this seed"
            )


_LOGGED = ("seed", "valid", "test", "scores", "best_epoch", "epochs", "seconds")


def _require_seeds(seeds: Iterable[int]) -> list[int]:
    wanted = list(seeds)
    if not wanted or len(set(wanted)) != len(wanted):
        check.fail(ValueError, _FUNCTION, "seeds", "name each seed once", wanted)
    for seed in wanted:
        check.positive(_FUNCTION, "seeds", seed, least=0)
    return wanted


def _classes(d: Dataset) -> Tensor | None:
    y = d.y
    if y is None:
        return None
    if y.dim() != 1 or y.is_floating_point():
        need = "have one class id a node, or no labels"
        got = f"{str(y.dtype).removeprefix('torch.')} labels {list(y.shape)}"
        check.fail(ValueError, _FUNCTION, "d", need, got)
    return y.long() if bool((y >= 0).any()) else None


def _num_clusters(n_clusters: int | None, y: Tensor | None) -> int:
    if n_clusters is not None:
        return check.positive(_FUNCTION, "n_clusters", n_clusters)
    if y is None:
        need = "be given for data without classes"
        check.fail(ValueError, _FUNCTION, "n_clusters", need, None)
    return len(y[y >= 0].unique())
