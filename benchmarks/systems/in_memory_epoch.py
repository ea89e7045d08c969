"""One training epoch of SAGE in memory against DGL 1.1.3: its DataLoader and its SAGEConv.

Every run trains one epoch from the same start values: sampling, gathering, forward,
backward, Adam. The samples of the two differ, so their mean losses must agree to 5 %; the
models are checked on a full neighbourhood first. DGL's sampler draws anew for every node met
so far, ours (as PyG) only for the new ones; the notes give the edges of each.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import graphlab as gl
from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial

FANOUT = [15, 10]
HIDDEN = 256
CLASSES = 10


@cache
def data(kind: str, num_nodes: int, num_edges: int) -> gl.Dataset:
    d = gl.datasets.generate(
        kind, num_nodes, num_edges, 128, num_classes=CLASSES, train=0.1, val=0.1
    )
    d.graph.csc()
    return d


class DglSage(nn.Module):
    def __init__(self, width: int, convolution: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [convolution(width, HIDDEN, "mean"), convolution(HIDDEN, CLASSES, "mean")]
        )

    def forward(self, blocks: list[Any], x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.layers[0](blocks[0], x)), 0.5, self.training)
        return self.layers[1](blocks[1], x)


def copy_weights(ours: gl.models.SAGE, theirs: DglSage) -> None:
    with torch.no_grad():
        for mine, other in zip(ours.layers, theirs.layers, strict=True):
            other.fc_neigh.weight.copy_(mine.lin_l.weight)
            other.fc_self.weight.copy_(mine.lin_r.weight)
            # DGL 1.1.3 keeps the bias in one place or the other.
            bias = other.fc_self.bias
            (other.bias if bias is None else bias).copy_(mine.lin_r.bias)


def train(
    model: nn.Module, steps: Iterable[Callable[[], tuple[Tensor, Tensor]]]
) -> float:
    """One epoch; a step computes logits and labels. Returns the mean loss."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    model.train()
    total, count = 0.0, 0
    for step in steps:
        optimiser.zero_grad()
        loss = F.cross_entropy(*step())
        loss.backward()
        optimiser.step()
        total, count = total + loss.item(), count + 1
    return total / count


def setup(
    kind: str, num_nodes: int, num_edges: int, batch_size: int, seed: int
) -> Trial:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import dgl
    d = data(kind, num_nodes, num_edges)
    torch.manual_seed(seed)
    ours = gl.models.SAGE(d.num_features, CLASSES, HIDDEN, 2, dropout=0.5)
    theirs = DglSage(d.num_features, dgl.nn.SAGEConv)
    copy_weights(ours, theirs)
    ids = d.ids("train")
    ptr, idx, edge_id = d.graph.csc()
    order = torch.arange(0) if edge_id is None else edge_id.long()
    graph = dgl.graph(("csc", (ptr, idx.long(), order)), num_nodes=num_nodes)
    graph.create_formats_()
    # Layers of DGL are listed from the input on, hops from the seeds on.
    sampler = dgl.dataloading.NeighborSampler(FANOUT[::-1])
    check_models(d, ours, theirs, graph, dgl)
    loader = gl.sample.NeighborLoader(d, FANOUT, batch_size, ids, seed=seed)

    def run_ours() -> tuple[float, dict[str, Any]]:
        model, edges = copy.deepcopy(ours), [0]
        loader.set_epoch(0)

        def step(batch: Any) -> tuple[Tensor, Tensor]:
            edges[0] += batch.edge_index.shape[1]
            out = model(
                batch.x,
                batch.edge_index,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
            )
            return out, batch.y[: batch.batch_size]

        loss = train(model, (lambda b=batch: step(b) for batch in loader))
        stall = loader.stats()["stall_seconds"]
        return loss, {"edges": edges[0], "stall_seconds": stall}

    def run_theirs(num_workers: int) -> tuple[float, dict[str, Any]]:
        model, edges = copy.deepcopy(theirs), [0]
        batches = dgl.dataloading.DataLoader(
            graph,
            ids,
            sampler,
            batch_size=batch_size,
            shuffle=True,
            num_workers=num_workers,
        )

        def step(nodes: Tensor, seeds: Tensor, blocks: Any) -> tuple[Tensor, Tensor]:
            edges[0] += sum(block.num_edges() for block in blocks)
            return model(blocks, d.x[nodes]), d.y[seeds]

        loss = train(model, (lambda b=batch: step(*b) for batch in batches))
        return loss, {"edges": edges[0]}

    def contender(name: str, run: Callable[[], Any], packages: list[str]) -> Contender:
        return Contender(
            name, run, packages, value=lambda r: r[0], notes=lambda r: r[1]
        )

    return Trial(
        [
            contender("graphlab", run_ours, []),
            contender("dgl, no workers", lambda: run_theirs(0), ["dgl"]),
            contender("dgl, 1 worker", lambda: run_theirs(1), ["dgl"]),
            contender("dgl, 2 workers", lambda: run_theirs(2), ["dgl"]),
        ],
        lambda mine, other: torch.testing.assert_close(
            mine, other, rtol=0.05, atol=0.0
        ),
    )


def check_models(d: Any, ours: Any, theirs: Any, graph: Any, dgl: Any) -> None:
    """The two models agree on full neighbourhoods."""
    seeds = torch.arange(0, d.num_nodes, d.num_nodes // 8)
    batch = next(iter(gl.sample.NeighborLoader(d, [-1, -1], 64, seeds, shuffle=False)))
    full = dgl.dataloading.MultiLayerFullNeighborSampler(2)
    nodes, _, blocks = full.sample_blocks(graph, seeds)
    with torch.no_grad():
        mine = ours.eval()(
            batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
        )
        other = theirs.eval()(blocks, d.x[nodes])
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def cases(quick: bool) -> Iterable[Case]:
    num_nodes, num_edges = (20_000, 200_000) if quick else (1_000_000, 10_000_000)
    for kind, graph in (("sbm", "planted partition"), ("rmat", "R-MAT")):
        yield Case(
            f"SAGE {FANOUT}, {graph}",
            lambda seed, k=kind: setup(k, num_nodes, num_edges, 1024, seed),
            {
                "graph": graph,
                "num_nodes": num_nodes,
                "num_edges": num_edges,
                "model": f"SAGE, 2 layers, hidden {HIDDEN}, dropout 0.5, Adam",
                "fanout": FANOUT,
                "batch_size": 1024,
                "seed_fraction": 0.1,
                "features": 128,
                "dtype": "float32",
            },
            # The check of agreement has run every contender for an epoch already.
            warmups=0,
        )


if __name__ == "__main__":
    harness.main("in_memory_epoch", cases, repeats=5)
