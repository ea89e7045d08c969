"""PamCGC: deep graph clustering with the PamC loss, from features and edges to labels."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.evaluate import modularity
from graphlab.graph import Graph, influence
from graphlab.graph.entries import entries_of
from graphlab.graph.influence import averaging
from graphlab.models.autoencoder import AutoEncoder, dense_rows, pretrain
from graphlab.models.pamc import PamCLoss, Positives, prepare
from graphlab.models.pamc_presets import PRESETS
from graphlab.models.sparse import Features, SparseRows, features
from graphlab.ops import rng

# Rows that are encoded at once where no gradient is needed.
_CHUNK = 2**16
# K-means starts from so many rows at most; its centres hardly depend on more.
_KMEANS_ROWS = 100_000
OnEpoch = Callable[[int, Tensor, Tensor], None]


class PamCGC:
    r"""Cluster the nodes of a graph with an MLP encoder, PamC and Student-t self-training.

    An auto-encoder learns codes ``z`` of the features; k-means places K centres; then

    .. math::
        L = \alpha L_{PamC}(z) + \beta\, KL(p \,\|\, q) + \gamma\, |x - \hat x|^2, \quad
        q_{ik} \propto (1 + |z_i - \mu_k|^2)^{-1}, \quad p_{ik} \propto q_{ik}^2 / \sum_i q_{ik}

    moves codes and centres, all nodes in a step, or ``batch_size`` of them with a memory of
    the others' codes. With ``smooth`` s, codes are averaged over s hops before all this:
    :math:`z = (D^{-1}(A + I))^s\, \text{MLP}(x)`.

    Args:
        alpha, beta: Weights of the contrastive and the self-training loss.
        reconstruction: gamma; 0 drops the decoder after pre-training.
        order: Hops of the influence matrix; its rows name the positives.
        topk: Entries that a row of it keeps; None: all.
        tau, negatives: Of :class:`PamCLoss`; None: ``meta2``, or ``meta`` with ``compat``.
        compat: ``reference``: the release's loss, all entries, no smoothing; see Source.
        smooth: Hops that codes (features, with ``batch_size``) are averaged over.
        lr: Of Adam.
        epochs: Steps over all nodes; None: 100, or 200 with ``compat``.
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
        proba_: [N, K]: q of the same epoch.
        epoch_: The chosen epoch; 0 is before the first step.
        history_: One dict an epoch: loss, positive, negative, kl, modularity, changed.
        seconds_: ``pretrain``, ``prepare``, ``train``; callbacks are not in them.
        autoencoder_: The trained auto-encoder.

    Source: Kulatilleke, Portmann and Chandra, arXiv 2209.14067 (gayanku/PAMC), SCGC in
        2204.12656. ``compat="reference"`` is their objective; ours differs in ``negatives``,
        ``topk`` and ``smooth``, runs one forward pass an epoch, and never reports the best
        epoch by true classes, as they do.

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
        if epochs is None:
            epochs = 100 if compat is None else 200
        for argument, value in (
            ("order", order),
            ("epochs", epochs),
            ("dim", dim),
            ("pretrain_batch_size", pretrain_batch_size),
        ):
            check.positive(name, argument, value)
        for argument, value in (
            ("topk", topk),
            ("patience", patience),
            ("batch_size", batch_size),
        ):
            if value is not None:
                check.positive(name, argument, value)
        check.positive(name, "seed", seed, least=0)
        check.positive(name, "pretrain_epochs", pretrain_epochs, least=0)
        check.one_of(name, "stop", stop, ("modularity", "stable", "last"))
        if smooth is None:
            smooth = 0 if compat is not None else _SMOOTH
        check.positive(name, "smooth", smooth, least=0)
        if batch_size is not None and (compat is not None or reconstruction):
            need = "be None with compat='reference' or `reconstruction`"
            check.fail(ValueError, name, "batch_size", need, batch_size)
        if negatives is None:
            negatives = "meta2" if compat is None else "meta"
        if compat is not None:
            topk = None
        # Checks its own arguments.
        PamCLoss(tau, negatives, compat)  # type: ignore[arg-type]
        self.alpha, self.beta, self.reconstruction = alpha, beta, reconstruction
        self.order, self.topk, self.tau, self.negatives = order, topk, tau, negatives
        self.compat, self.smooth, self.lr, self.epochs = compat, smooth, lr, epochs
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
            on_epoch_end: Called with (epoch, codes, q) before the step of each epoch and
                after the last one; its time is not counted.

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
        rows = _as_float32(name, rows)
        self.seconds_ = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(self.seed, 0))
            training = _Training(self, rows, graph, n_clusters, autoencoder)
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
        rows = _as_float32("PamCGC.pretrain", features(x))
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

    def fit_predict(self, x: Any, graph: Graph, n_clusters: int, **more: Any) -> Tensor:
        """:meth:`fit`, then ``labels_``."""
        return self.fit(x, graph, n_clusters, **more).labels_


# With meta2 and 100 epochs, chosen by hand on Cora (two seeds), which is none of the sets that
# are reported.
_SMOOTH = 2


class _Training:
    """One call of fit."""

    def __init__(
        self,
        model: PamCGC,
        x: Features,
        graph: Graph,
        k: int,
        autoencoder: AutoEncoder | None,
    ) -> None:
        self.model, self.graph, self.k = model, graph, k
        started = time.perf_counter()
        in_batches = model.batch_size is not None
        self.smoother = averaging(graph) if model.smooth and not in_batches else None
        if model.smooth and in_batches:
            x = smooth_features(x, graph, model.smooth)
        self.x = x
        if model.reconstruction:
            self.dense = x.to_dense() if isinstance(x, SparseRows) else x
        if autoencoder is None:
            net = model._pretrain(x)
        else:
            net = copy.deepcopy(autoencoder)
        self.net = net
        model.autoencoder_ = net
        model.seconds_["pretrain"] = time.perf_counter() - started
        started = time.perf_counter()
        self.influence = influence(graph, model.order, topk=model.topk)
        momentum = None if model.batch_size is None else 0.9
        self.loss = PamCLoss(
            model.tau,
            model.negatives,
            model.compat,  # type: ignore[arg-type]
            momentum=momentum,
            seed=model.seed,
        )
        self.transpose = None
        if self.smoother is not None:
            ptr, idx, _ = self.smoother
            self.transpose = ops.csr_transpose(ptr, idx, graph.num_nodes)
        z = self.codes()
        centres, labels = _kmeans(z, k, model.seed)
        self.centres = nn.Parameter(centres)
        model.initial_labels_ = labels
        model.seconds_["prepare"] = time.perf_counter() - started
        model.history_ = []
        model.seconds_["train"] = 0.0
        self.best = -torch.inf
        self.calm = 0
        self.previous = labels

    def run(self, on_epoch_end: OnEpoch | None) -> None:
        model = self.model
        parameters = [*self.net.encoder.parameters(), self.centres]
        if model.reconstruction:
            parameters += list(self.net.decoder.parameters())
        self.optimiser = torch.optim.Adam(parameters, lr=model.lr, fused=True)
        epoch_of = self._epoch if model.batch_size is None else self._epoch_of_batches
        for epoch in range(model.epochs + 1):
            started = time.perf_counter()
            if epoch < model.epochs:
                z, q, record = epoch_of(epoch)
            else:
                z = self.codes()
                q, record = student_t(z, self.centres.detach()), {}
            over = self._choose(epoch, z, q, record)
            model.seconds_["train"] += time.perf_counter() - started
            if on_epoch_end is not None:
                on_epoch_end(epoch, z, q)
            if over:
                break
        model.last_labels_ = self.previous

    def codes(self) -> Tensor:
        """Codes of all nodes, without a gradient."""
        with torch.no_grad():
            if self.model.batch_size is None:
                return self._forward()[0]
            parts = [
                self.net.encode(dense_rows(self.x, ids))
                for ids in torch.arange(len(self)).split(_CHUNK)
            ]
            return torch.cat(parts)

    def __len__(self) -> int:
        return self.graph.num_nodes

    def _forward(self) -> tuple[Tensor, Tensor]:
        """Codes of all nodes, averaged over hops, and as the encoder gives them."""
        raw = self.net.encode(self.x)
        z = raw
        if self.smoother is not None:
            ptr, idx, weight = self.smoother
            for _ in range(self.model.smooth):
                z = ops.spmm(ptr, idx, z, weight=weight, transpose=self.transpose)
        return z, raw

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """One step of all nodes; codes and q of before it."""
        model = self.model
        z, raw = self._forward()
        q = student_t(z, self.centres)
        positives = prepare(self.influence, z.dtype)
        labels = q.detach().argmax(1)
        parts = self.loss(z, positives, assign=labels, k=self.k, return_parts=True)
        kl = self_training(q, target(q.detach()))
        total = model.alpha * parts.loss + model.beta * kl
        if model.reconstruction:
            error = F.mse_loss(self.net.decode(raw), self.dense)
            total = total + model.reconstruction * error
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        record = {
            "loss": float(total.detach()),
            "positive": float(parts.positive.detach()),
            "negative": float(parts.negative.detach()),
            "kl": float(kl.detach()),
        }
        return z.detach(), q.detach(), record

    def _epoch_of_batches(self, epoch: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """Steps of some nodes each; codes and q of before them."""
        model = self.model
        assert model.batch_size is not None
        z_all = self.codes()
        q_all = student_t(z_all, self.centres.detach())
        frequency = q_all.sum(0)
        memory = z_all.clone()
        adjacency = self.influence.csc()
        weights = self.influence.edge_weight
        assert weights is not None
        key = rng.key(model.seed, 1, epoch)
        order = torch.from_numpy(rng.permutation(key, len(self)))
        sums = torch.zeros(4, dtype=torch.float64)
        for ids in order.split(model.batch_size):
            z = self.net.encode(dense_rows(self.x, ids))
            q = student_t(z, self.centres)
            near = entries_of(adjacency, ids)
            other = near.neighbour != ids[near.place]
            place = near.place[other]
            ptr = torch.zeros(len(ids) + 1, dtype=torch.int64)
            ptr[1:] = torch.bincount(place, minlength=len(ids)).cumsum(0)
            edges = Positives(
                ptr, near.neighbour[other], weights[near.edge_id[other]], None
            )
            parts = self.loss(
                z,
                edges,
                assign=q.detach().argmax(1),
                k=self.k,
                rows=memory,
                num_nodes=len(self),
                return_parts=True,
            )
            kl = self_training(q, target(q.detach(), frequency))
            total = model.alpha * parts.loss + model.beta * kl
            self.optimiser.zero_grad()
            total.backward()
            self.optimiser.step()
            memory[ids] = z.detach()
            values = (total, parts.positive, parts.negative, kl)
            sums += len(ids) * torch.stack([v.detach() for v in values]).double()
        names = ("loss", "positive", "negative", "kl")
        means = dict(zip(names, (sums / len(self)).tolist(), strict=True))
        return z_all, q_all, means

    def _choose(
        self, epoch: int, z: Tensor, q: Tensor, record: dict[str, float]
    ) -> bool:
        """Note the epoch, keep its labels where they are the ones to keep; end or go on."""
        model = self.model
        labels = q.argmax(1)
        changed = float((labels != self.previous).float().mean())
        self.previous = labels
        quality = modularity(self.graph, labels)
        model.history_.append(
            {"epoch": epoch, **record, "modularity": quality, "changed": changed}
        )
        self.calm = self.calm + 1 if epoch > 0 and changed < 1e-3 else 0
        better = quality > self.best
        if better:
            self.best, self.best_epoch = quality, epoch
        stable = model.stop == "stable" and self.calm >= 5
        wanted = better if model.stop == "modularity" else True
        if wanted:
            model.labels_, model.epoch_ = labels, epoch
            model.embedding_, model.proba_ = z, q
        waited = epoch - self.best_epoch
        impatient = model.patience is not None and waited >= model.patience
        return stable or (model.stop == "modularity" and impatient)


def smooth_features(x: Features, graph: Graph, hops: int) -> Tensor:
    """Features averaged over a node and its neighbours, ``hops`` times. [N, F], dense."""
    ptr, idx, weight = averaging(graph)
    dense = x.to_dense() if isinstance(x, SparseRows) else x
    for _ in range(hops):
        dense = ops.spmm(ptr, idx, dense, weight=weight)
    return dense


def student_t(z: Tensor, centres: Tensor) -> Tensor:
    r"""Soft assignments :math:`q_{ik} \propto (1 + |z_i - \mu_k|^2)^{-1}`. [N, K].

    Source: van der Maaten and Hinton, JMLR 2008; Xie et al., ICML 2016.
    """
    square = z.square().sum(1, keepdim=True) - 2 * z @ centres.t()
    distance = (square + centres.square().sum(1)).clamp(min=0)
    q = 1 / (1 + distance)
    return q / q.sum(1, keepdim=True)


def target(q: Tensor, frequency: Tensor | None = None) -> Tensor:
    """Sharpened assignments, ``q^2`` over the size of each cluster. [N, K]."""
    size = q.sum(0) if frequency is None else frequency
    p = q.square() / size.clamp(min=1e-12)
    return p / p.sum(1, keepdim=True)


def self_training(q: Tensor, p: Tensor) -> Tensor:
    """``KL(p || q)``, mean over nodes."""
    return F.kl_div(q.log(), p, reduction="batchmean")


def _kmeans(z: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    from sklearn.cluster import KMeans

    rows = z.detach().double().numpy()
    if len(rows) <= _KMEANS_ROWS:
        found = KMeans(k, n_init=20, random_state=seed).fit(rows)
    else:
        ids = rng.permutation(rng.key(seed, 2), len(rows))[:_KMEANS_ROWS]
        found = KMeans(k, n_init=20, random_state=seed).fit(rows[ids])
    centres = torch.from_numpy(found.cluster_centers_).to(z.dtype)
    labels = torch.cat([torch.cdist(part, centres).argmin(1) for part in z.split(_CHUNK)])
    return centres, labels


def _as_float32(name: str, x: Features) -> Features:
    values = x.value if isinstance(x, SparseRows) else x
    if not bool(values.isfinite().all()):
        check.fail(ValueError, name, "x", "be finite", "NaN or infinity")
    if isinstance(x, SparseRows):
        return x.with_values(x.value.float())
    return x.float()
