"""The training of PamCGC: epochs of all nodes or of batches, and the choice of an epoch."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.evaluate import modularity
from graphlab.graph import Graph, influence
from graphlab.graph.entries import entries_of
from graphlab.graph.influence import averaging
from graphlab.models.autoencoder import AutoEncoder, dense_rows
from graphlab.models.pamc import PamCLoss
from graphlab.models.pamc_positives import Positives, prepare
from graphlab.models.sparse import Features, SparseRows
from graphlab.ops import rng

if TYPE_CHECKING:
    from graphlab.models.pamc_cgc import PamCGC

# Rows that are encoded at once where no gradient is needed.
_CHUNK = 2**16
# K-means starts from so many rows at most; its centres hardly depend on more.
_KMEANS_ROWS = 100_000
OnEpoch = Callable[[int, Tensor, Tensor], None]


class Training:
    """One call of :meth:`PamCGC.fit`; sets the attributes of the estimator."""

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
        self.step = averaging(graph) if model.smooth or model.readout else None
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
        if self.step is not None and model.smooth and not in_batches:
            ptr, idx, _ = self.step
            self.transpose = ops.csr_transpose(ptr, idx, graph.num_nodes)
        z = self.codes()
        centres, labels = initial_clusters(z, k, model.seed)
        self.centres = nn.Parameter(centres)
        self.scale = 1.0
        if model.scale != "unit":
            spread = float((z - centres[labels]).square().sum(1).mean())
            # All codes in their centres: any scale does.
            self.scale = float(model.scale) * spread or 1.0
        model.initial_labels_ = labels
        model.seconds_["prepare"] = time.perf_counter() - started
        model.history_ = []
        model.seconds_["train"] = 0.0
        self.best = -torch.inf
        self.calm = 0
        self.previous = labels

    def run(self, on_epoch_end: OnEpoch | None) -> None:
        """Train; see :meth:`PamCGC.fit`."""
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
                q, record = student_t(z, self.centres.detach(), self.scale), {}
            own, q = q.argmax(1), self._averaged(q, model.readout)
            over = self._choose(epoch, z, q, own, record)
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
        return self._averaged(raw, self.model.smooth), raw

    def _averaged(self, rows: Tensor, hops: int) -> Tensor:
        for _ in range(hops):
            assert self.step is not None
            ptr, idx, weight = self.step
            rows = ops.spmm(ptr, idx, rows, weight=weight, transpose=self.transpose)
        return rows

    def _epoch(self, epoch: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """One step of all nodes; codes and q of before it."""
        model = self.model
        z, raw = self._forward()
        q = student_t(z, self.centres, self.scale)
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
        q_all = student_t(z_all, self.centres.detach(), self.scale)
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
            q = student_t(z, self.centres, self.scale)
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
        self, epoch: int, z: Tensor, q: Tensor, own: Tensor, record: dict[str, float]
    ) -> bool:
        """Note the epoch, keep its labels where they are the ones to keep; end or go on."""
        model = self.model
        labels = q.argmax(1)
        changed = float((labels != self.previous).float().mean())
        self.previous = labels
        # Of each node's own cluster: averaging over neighbours would raise it by itself.
        quality = modularity(self.graph, own)
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


def student_t(z: Tensor, centres: Tensor, scale: float = 1.0) -> Tensor:
    r"""Soft assignments :math:`q_{ik} \propto (1 + |z_i - \mu_k|^2 / s)^{-1}`. [N, K].

    Source: van der Maaten and Hinton, JMLR 2008; Xie et al., ICML 2016.
    """
    square = z.square().sum(1, keepdim=True) - 2 * z @ centres.t()
    distance = (square + centres.square().sum(1)).clamp(min=0)
    q = 1 / (1 + distance / scale)
    return q / q.sum(1, keepdim=True)


def target(q: Tensor, frequency: Tensor | None = None) -> Tensor:
    """Sharpened assignments, ``q^2`` over the size of each cluster. [N, K]."""
    size = q.sum(0) if frequency is None else frequency
    p = q.square() / size.clamp(min=1e-12)
    return p / p.sum(1, keepdim=True)


def self_training(q: Tensor, p: Tensor) -> Tensor:
    """``KL(p || q)``, mean over nodes."""
    return F.kl_div(q.log(), p, reduction="batchmean")


def initial_clusters(z: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Centres [K, dim] and labels [N] of k-means, the best of 20 starts."""
    from sklearn.cluster import KMeans

    rows = z.detach().double().numpy()
    if len(rows) <= _KMEANS_ROWS:
        found = KMeans(k, n_init=20, random_state=seed).fit(rows)
    else:
        ids = rng.permutation(rng.key(seed, 2), len(rows))[:_KMEANS_ROWS]
        found = KMeans(k, n_init=20, random_state=seed).fit(rows[ids])
    centres = torch.from_numpy(found.cluster_centers_).to(z.dtype)
    labels = torch.cat(
        [torch.cdist(part, centres).argmin(1) for part in z.split(_CHUNK)]
    )
    return centres, labels


def as_float32(name: str, x: Features) -> Features:
    """Features as float32; what is not finite is refused."""
    values = x.value if isinstance(x, SparseRows) else x
    if not bool(values.isfinite().all()):
        check.fail(ValueError, name, "x", "be finite", "NaN or infinity")
    if isinstance(x, SparseRows):
        return x.with_values(x.value.float())
    return x.float()
