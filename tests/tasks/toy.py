"""A small graph with classes to learn, a model and a loader of plain torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphlab.datasets import Dataset
from graphlab.graph import Graph
from graphlab.ops import rng

NUM_NODES, NUM_CLASSES, WIDTH = 240, 3, 8
SPLITS = ("train", "val", "test")


def dataset(runs: int = 1, seed: int = 0) -> Dataset:
    """A planted partition with noisy class features; masks [N] or [N, runs]."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(NUM_NODES) % NUM_CLASSES
    pairs = torch.randint(NUM_NODES, (2, 8 * NUM_NODES), generator=generator)
    keep = (y[pairs[0]] == y[pairs[1]]) | (
        torch.rand(pairs.shape[1], generator=generator) < 0.2
    )
    edges = torch.cat([pairs[:, keep], pairs[:, keep].flip(0)], 1)
    noise = torch.randn(NUM_NODES, WIDTH, generator=generator)
    x = noise + 1.5 * nn.functional.one_hot(y, WIDTH)
    masks = {name: torch.zeros(NUM_NODES, runs, dtype=torch.bool) for name in SPLITS}
    for run in range(runs):
        order = torch.randperm(NUM_NODES, generator=generator)
        for name, part in zip(SPLITS, order.split([60, 60, 120]), strict=True):
            masks[name][part, run] = True
    meta = {"name": "toy", "split": "random"}
    return Dataset(Graph(edges, NUM_NODES), x=x, y=y, splits=masks, meta=meta)


class Mean(nn.Module):
    """One hidden layer on a node's features and its neighbours' mean, with dropout."""

    def __init__(self, in_channels: int, out_channels: int, hidden: int = 16) -> None:
        super().__init__()
        self.first = nn.Linear(2 * in_channels, hidden)
        self.second = nn.Linear(hidden, out_channels)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        total = torch.zeros_like(x).index_add(0, target, x[source])
        count = torch.bincount(target, minlength=len(x)).clamp(min=1)
        h = torch.cat([x, total / count[:, None]], 1)
        h = nn.functional.dropout(self.first(h).relu(), 0.5, self.training)
        return self.second(h)


class Batch:
    """Seeds and their in-neighbours, with NeighborLoader's fields."""

    def __init__(self, d: Dataset, seeds: Tensor) -> None:
        source, target = d.graph.edge_index
        into = torch.isin(target, seeds)
        others = source[into].unique()
        self.n_id = torch.cat([seeds, others[~torch.isin(others, seeds)]])
        place = torch.empty(d.num_nodes, dtype=torch.int64)
        place[self.n_id] = torch.arange(len(self.n_id))
        self.edge_index = place[torch.stack([source[into], target[into]])]
        self.x, self.y = d.x[self.n_id], d.y[self.n_id]
        self.batch_size = len(seeds)

    def to(self, device: torch.device) -> Batch:
        return self


class Stateless:
    """Keyed batches that follow set_epoch; knows its epoch but not its place in it."""

    def __init__(self, d: Dataset, ids: Tensor, seed: int = 0, size: int = 16) -> None:
        self.d, self.ids, self.seed, self.size = d, ids, seed, size
        self.epoch = self.next = 0

    def __len__(self) -> int:
        return -(-len(self.ids) // self.size)

    def set_epoch(self, epoch: int) -> None:
        self.epoch, self.next = epoch, 0

    def __iter__(self):
        order = rng.permutation(rng.key(self.seed, self.epoch), len(self.ids))
        parts = self.ids[torch.from_numpy(order)].split(self.size)
        for number in range(self.next, len(parts)):
            self.next = number + 1
            yield Batch(self.d, parts[number])


class Loader(Stateless):
    """Also tells its place and statistics."""

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "next": self.next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.next = state["epoch"], state["next"]

    def stats(self) -> dict[str, float]:
        return {"hits": self.next, "misses": 0, "peak_memory_bytes": 1000}
