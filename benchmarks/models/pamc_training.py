"""An epoch of PamCGC against one of the release's loop, the same objective and auto-encoder.

The release's loop is written down again as it is: dense features, a forward pass without
gradient for q and its target before the one with, rows gathered for each edge, a one-hot
product for cluster sums. Both leave preparation and evaluation out; ours chooses its epoch
(modularity) inside the time that is shown.

    python -m benchmarks.models.pamc_training
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import datasets
from graphlab.graph import Graph, influence
from graphlab.models import PamCGC
from graphlab.models.autoencoder import AutoEncoder
from graphlab.models.pamc_training import initial_clusters
from graphlab.tasks import cluster

NAME = "pamc_training"
EPOCHS = 5
SETS = {"usps": ("usps", 10), "citeseer": ("citeseer", 6)}


def release_loss(z: Tensor, w: Graph, hard: Tensor, k: int, tau: float) -> Tensor:
    source, target = w.edge_index
    own = source == target
    assert w.edge_weight is not None
    cosine = F.cosine_similarity(z[target], z[source], dim=1)
    each = torch.exp(tau * cosine.masked_fill(own, 0.0))
    positive = torch.zeros(len(z)).index_add(0, target, w.edge_weight * each)
    hot = F.one_hot(hard, k).to(z.dtype)
    centre = (hot[:, :, None] * z[:, None, :]).sum(0)
    between = F.cosine_similarity(centre[:, None], centre[None], dim=2)
    between = between.masked_fill(torch.eye(k, dtype=torch.bool), 0.0)
    negative = torch.exp(tau * between).sum(1)
    return torch.log(negative + 1e-10).mean() - torch.log(positive + 1e-10).mean()


def student(z: Tensor, centres: Tensor) -> Tensor:
    q = 1 / (1 + (z[:, None] - centres).square().sum(2))
    return q / q.sum(1, keepdim=True)


def release(
    x: Tensor, w: Graph, net: AutoEncoder, k: int, model: PamCGC
) -> tuple[float, Tensor]:
    net = copy.deepcopy(net)
    with torch.no_grad():
        centres, _ = initial_clusters(net.encode(x), k, model.seed)
    centres = torch.nn.Parameter(centres)
    parameters = [*net.encoder.parameters(), centres]
    optimiser = torch.optim.Adam(parameters, lr=model.lr)
    started = time.perf_counter()
    for _ in range(EPOCHS):
        with torch.no_grad():
            q = student(net.encode(x), centres)
            p = q.square() / q.sum(0)
            p = p / p.sum(1, keepdim=True)
            hard = q.argmax(1)
        z = net.encode(x)
        contrast = release_loss(z, w, hard, k, model.tau)
        kl = F.kl_div(student(z, centres).log(), p, reduction="batchmean")
        loss = model.alpha * contrast + model.beta * kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    taken = (time.perf_counter() - started) / EPOCHS
    with torch.no_grad():
        return taken, net.encode(x)


def ours(
    x: Any, graph: Graph, net: AutoEncoder, k: int, model: PamCGC
) -> tuple[float, Tensor]:
    last = []
    model.fit(
        x, graph, k, autoencoder=net, on_epoch_end=lambda epoch, z, q: last.append(z)
    )
    return model.seconds_["train"] / EPOCHS, last[-1]


def setup(data: str, preset: str, k: int, seed: int) -> Trial:
    d = datasets.load(data)
    graph = cluster.graph_of(d)
    model = PamCGC.preset(preset, compat="reference", epochs=EPOCHS, seed=seed)
    torch.manual_seed(seed)
    net = AutoEncoder(d.num_features, model.hidden, model.dim)
    dense = d.x if isinstance(d.x, Tensor) else d.x.gather(torch.arange(d.num_nodes))
    dense = dense.float()
    w = influence(graph, model.order)

    def agree(mine: Any, theirs: Any) -> None:
        torch.testing.assert_close(mine[1], theirs[1], rtol=1e-2, atol=1e-3)

    return Trial(
        [
            Contender(
                "graphlab",
                functools.partial(ours, d.x, graph, net, k, model),
                seconds=lambda result: result[0],
            ),
            Contender(
                "release's loop",
                functools.partial(release, dense, w, net, k, model),
                ["torch"],
                seconds=lambda result: result[0],
            ),
        ],
        agree,
    )


def cases(quick: bool) -> Iterable[Case]:
    for data, (preset, k) in SETS.items():
        if quick and data != "citeseer":
            continue
        yield Case(
            f"{data}, an epoch",
            lambda seed, d=data, p=preset, k=k: setup(d, p, k, seed),
            {"preset": preset, "encoder": "500-500-2000-10", "dtype": "float32"},
            repeats=1 if quick else 5,
            warmups=0,
        )


if __name__ == "__main__":
    harness.main(NAME, cases)
