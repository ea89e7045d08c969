"""PamCGC: deep graph clustering with the PamC loss, from features and edges to labels."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from graphlab import check
from graphlab.graph import Graph
from graphlab.models.autoencoder import AutoEncoder, pretrain
from graphlab.models.pamc import PamCLoss
from graphlab.models.pamc_presets import PRESETS
from graphlab.models.pamc_training import (
    OnEpoch,
    Training,
    as_float32,
    smooth_features,
)
from graphlab.models.sparse import Features, features
from graphlab.ops import rng

# What None means, without and with compat="reference". Ours were chosen on Cora and on the
# 3-NN graph of scikit-learn's digits, which no record of clustering reports.
_OURS = {"negatives": "meta2", "smooth": 1, "readout": 1, "scale": 0.3, "epochs": 100}
_RELEASE = {
    "negatives": "meta",
    "smooth": 0,
    "readout": 0,
    "scale": "unit",
    "epochs": 200,
}


class PamCGC:
    r"""Cluster the nodes of a graph with an MLP encoder, PamC and Student-t self-training.

    An auto-encoder learns codes ``z`` of the features; k-means places K centres; then

    .. math::
        L = \alpha L_{PamC}(z) + \beta\, KL(p \,\|\, q) + \gamma\, |x - \hat x|^2, \quad
        q_{ik} \propto (1 + |z_i - \mu_k|^2 / s^2)^{-1}, \quad
        p_{ik} \propto q_{ik}^2 / \sum_i q_{ik}

    moves codes and centres, all nodes in a step, or ``batch_size`` of them with a memory of
    the others' codes. With ``smooth`` h, codes are averaged over h hops before all this:
    :math:`z = (D^{-1}(A + I))^h\, \text{MLP}(x)`. Labels are the largest entries of
    :math:`(D^{-1}(A + I))^r q`, r = ``readout``: a node's clusters and its neighbours'.
    :math:`s^2` is ``scale`` times the codes' mean squared distance to their centres at the
    start: with the release's s = 1, codes of a small spread give a q that is almost uniform,
    self-training does nothing, and clusters merge.

    Args:
        alpha, beta: Weights of the contrastive and the self-training loss.
        reconstruction: gamma; 0 drops the decoder after pre-training.
        order: Hops of the influence matrix; its rows name the positives.
        topk: Entries that a row of it keeps; None: all.
        tau, negatives: Of :class:`PamCLoss`; None: ``meta2``, or ``meta`` with ``compat``.
        compat: ``reference``: the release's loss, all entries, no smoothing; see Source.
        smooth: Hops that codes (features, with ``batch_size``) are averaged over; None: 1,
            or 0 with ``compat``.
        readout: Hops that q is averaged over before labels are read from it; None: 1, or 0
            with ``compat``.
        scale: Of the Student-t kernel; ``unit``: s = 1; None: 0.3, or ``unit`` with
            ``compat``.
        lr: Of Adam.
        epochs: Steps over all nodes, or passes with ``batch_size``; None: 100, or 200 with
            ``compat``.
        hidden, dim: Of the auto-encoder.
        pretrain_epochs, pretrain_lr, pretrain_batch_size: Of its training.
        stop: Which epoch's labels count: ``modularity`` (largest on the graph), ``stable``
            (the first after which fewer than 0.1 % of labels change in each of 5 epochs),
            or ``last``. None of them sees classes.
        patience: End the training after so many epochs without a larger modularity; None:
            all epochs.
        batch_size: Nodes of a step; None: all.
        seed: Everything follows from it, for one number of threads.

    Attributes:
        labels_: [N], int64: the clusters.
        last_labels_: [N]: those of the last epoch.
        initial_labels_: [N]: those of k-means on the auto-encoder's codes.
        embedding_: [N, dim]: codes that belong to ``labels_``.
        proba_: [N, K]: q of the same epoch, averaged as ``readout`` says.
        epoch_: The chosen epoch; 0 is before the first step.
        history_: One dict an epoch: loss, positive, negative, kl, modularity, changed.
        seconds_: ``pretrain``, ``prepare``, ``train``; callbacks are not in them.
        autoencoder_: The trained auto-encoder.

    Source: Kulatilleke, Portmann and Chandra, arXiv 2209.14067 (gayanku/PAMC), SCGC in
        2204.12656. ``compat="reference"`` is their objective; ours estimates the negatives of
        all nodes, caps positives at ``topk``, averages codes and q over neighbours, scales the
        kernel to the codes, runs one forward pass an epoch, and never reports the best epoch by
        true classes, as they do.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=120, num_edges=1200, num_features=8,
        ...                          num_classes=3, snr=4.0)
        >>> model = PamCGC(hidden=(16,), dim=4, pretrain_epochs=20, epochs=20)
        >>> labels = model.fit(d.x, d.graph, 3).labels_
        >>> gl.evaluate.clustering_scores(d.y, labels)["accuracy"] > 0.9
        True
    """

    labels_: Tensor
    last_labels_: Tensor
    initial_labels_: Tensor
    embedding_: Tensor
    proba_: Tensor
    epoch_: int
    history_: list[dict[str, float]]
    seconds_: dict[str, float]
    autoencoder_: AutoEncoder

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        reconstruction: float = 0.0,
        order: int = 2,
        topk: int | None = 64,
        tau: float = 0.5,
        negatives: Any = None,
        compat: str | None = None,
        smooth: int | None = None,
        readout: int | None = None,
        scale: float | str | None = None,
        lr: float = 1e-3,
        epochs: int | None = None,
        hidden: Sequence[int] = (500, 500, 2000),
        dim: int = 10,
        pretrain_epochs: int = 30,
        pretrain_lr: float = 1e-3,
        pretrain_batch_size: int = 256,
        stop: str = "modularity",
        patience: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        name = "PamCGC"
        defaults: dict[str, Any] = _OURS if compat is None else _RELEASE
        epochs = defaults["epochs"] if epochs is None else epochs
        for argument, value in (
            ("order", order),
            ("epochs", epochs),
            ("dim", dim),
            ("pretrain_batch_size", pretrain_batch_size),
        ):
            check.positive(name, argument, value)
        for argument, limit in (
            ("topk", topk),
            ("patience", patience),
            ("batch_size", batch_size),
        ):
            if limit is not None:
                check.positive(name, argument, limit)
        check.positive(name, "seed", seed, least=0)
        check.positive(name, "pretrain_epochs", pretrain_epochs, least=0)
        check.one_of(name, "stop", stop, ("modularity", "stable", "last"))
        smooth = defaults["smooth"] if smooth is None else smooth
        readout = defaults["readout"] if readout is None else readout
        scale = defaults["scale"] if scale is None else scale
        negatives = defaults["negatives"] if negatives is None else negatives
        number = isinstance(scale, int | float) and not isinstance(scale, bool)
        if scale != "unit" and not (number and 0 < scale < math.inf):  # type: ignore[operator]
            check.fail(ValueError, name, "scale", "be 'unit' or above 0", scale)
        check.positive(name, "smooth", smooth, least=0)
        check.positive(name, "readout", readout, least=0)
        if batch_size is not None and (compat is not None or reconstruction):
            need = "be None with compat='reference' or `reconstruction`"
            check.fail(ValueError, name, "batch_size", need, batch_size)
        if compat is not None:
            topk = None
        # Checks its own arguments.
        PamCLoss(tau, negatives, compat)  # type: ignore[arg-type]
        self.alpha, self.beta, self.reconstruction = alpha, beta, reconstruction
        self.order, self.topk, self.tau, self.negatives = order, topk, tau, negatives
        self.compat, self.smooth, self.readout = compat, smooth, readout
        self.scale = scale
        self.lr, self.epochs = lr, epochs
        self.hidden, self.dim = tuple(hidden), dim
        self.pretrain_epochs, self.pretrain_lr = pretrain_epochs, pretrain_lr
        self.pretrain_batch_size = pretrain_batch_size
        self.stop, self.patience, self.batch_size = stop, patience, batch_size
        self.seed = seed

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Make an estimator with the settings that the releases give for a data set.

        Args:
            name: ``acm``, ``citeseer``, ``dblp``, ``hhar``, ``reuters`` or ``usps``; with
                ``scgc_`` before it, those of SCGC (full negatives).
            changes: Other arguments.

        Example:
            >>> PamCGC.preset("acm").order
            1
        """
        check.one_of("PamCGC.preset", "name", name, PRESETS)
        return cls(**{**PRESETS[name], **changes})

    def fit(
        self,
        x: Any,
        graph: Graph,
        n_clusters: int,
        *,
        autoencoder: AutoEncoder | None = None,
        on_epoch_end: OnEpoch | None = None,
    ) -> Self:
        """Find the clusters.

        Args:
            x: [N, F]: a tensor, sparse tensor or SparseColumn.
            graph: Undirected graph of N nodes; :func:`graphlab.graph.knn_graph` makes one.
            n_clusters: K.
            autoencoder: A pre-trained one, which is copied; None: train one.
            on_epoch_end: Called with (epoch, codes, q as read out) before the step of each
                epoch and after the last one; its time is not counted.

        Returns:
            This estimator, with its attributes set.

        Raises:
            TypeError, ValueError: what does not fit together, or features not finite.
        """
        name = "PamCGC.fit"
        rows = features(x)
        if not isinstance(graph, Graph):
            check.fail(TypeError, name, "graph", "be a Graph", type(graph).__name__)
        if rows.shape[0] != graph.num_nodes:
            need = f"have a row for each of {graph.num_nodes} nodes"
            check.fail(ValueError, name, "x", need, rows.shape[0])
        check.positive(name, "n_clusters", n_clusters)
        if n_clusters > graph.num_nodes:
            need = f"be at most the {graph.num_nodes} nodes"
            check.fail(ValueError, name, "n_clusters", need, n_clusters)
        rows = as_float32(name, rows)
        self.seconds_ = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(self.seed, 0))
            training = Training(self, rows, graph, n_clusters, autoencoder)
            training.run(on_epoch_end)
        return self

    def pretrain(
        self,
        x: Any,
        graph: Graph | None = None,
        *,
        on_epoch: Callable[[int, float], None] | None = None,
    ) -> AutoEncoder:
        """Train the auto-encoder that :meth:`fit` begins with, to share or to keep.

        Args:
            x: As for :meth:`fit`.
            graph: Needed with ``batch_size`` and ``smooth``, where features are averaged.
            on_epoch: Hears each epoch and its mean squared error.
        """
        rows = as_float32("PamCGC.pretrain", features(x))
        if self.batch_size is not None and self.smooth:
            if graph is None:
                need = "be given with `batch_size` and `smooth`"
                check.fail(ValueError, "PamCGC.pretrain", "graph", need, None)
            rows = smooth_features(rows, graph, self.smooth)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(self.seed, 0))
            return self._pretrain(rows, on_epoch)

    def _pretrain(
        self, rows: Features, on_epoch: Callable[[int, float], None] | None = None
    ) -> AutoEncoder:
        net = AutoEncoder(rows.shape[1], self.hidden, self.dim)
        pretrain(
            net,
            rows,
            epochs=self.pretrain_epochs,
            lr=self.pretrain_lr,
            batch_size=self.pretrain_batch_size,
            seed=self.seed,
            on_epoch=on_epoch,
        )
        return net

    def settings(self) -> dict[str, Any]:
        """All arguments but the seed, defaults too, for configs."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if name != "seed"}

    def fit_predict(self, x: Any, graph: Graph, n_clusters: int, **more: Any) -> Tensor:
        """:meth:`fit`, then ``labels_``."""
        return self.fit(x, graph, n_clusters, **more).labels_
