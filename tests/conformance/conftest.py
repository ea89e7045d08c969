"""Loaders that the conformance suite is fed with; a new one adds an entry to LOADERS."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from graphlab.datasets import Dataset
from graphlab.graph import Graph
from graphlab.outofcore import Store, plan
from graphlab.sample import NeighborLoader


def in_memory(dataset: Dataset, folder: Path, **arguments: Any) -> Any:
    return NeighborLoader(dataset, **arguments)


def from_disk(mode: str) -> Callable[..., Any]:
    def make(dataset: Dataset, folder: Path, **arguments: Any) -> Any:
        store = folder / "store"
        if not store.exists():
            Store.convert(dataset, store)
        name = "-".join(str(value) for value in arguments.values())
        return plan(
            store,
            **arguments,
            mode=mode,
            memory="900KiB",
            epochs=3,
            path=folder / f"plan-{zlib.crc32(name.encode())}",
        ).loader()

    return make


# name -> function(dataset, folder, **arguments) -> loader. `folder` is empty and writable,
# and the same for every loader of a test: a resumed run finds its files there. Arguments:
# num_neighbors, batch_size, input_nodes, seed.
LOADERS: dict[str, Callable[..., Any]] = {
    "in memory": in_memory,
    **{
        f"disk, {mode}": from_disk(mode)
        for mode in ("memory", "direct", "replay", "rolling")
    },
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """300 nodes: parallel edges, self loops, a hub, isolated nodes; directed."""
    generator = torch.Generator().manual_seed(7)
    edges = torch.randint(0, 280, (2, 2400), generator=generator)
    edges[1, :300] = 5
    edges[:, 300:310] = 17
    return Dataset(
        Graph(edges, num_nodes=300),
        x=torch.randn(300, 12, generator=generator),
        y=torch.randint(0, 4, (300,), generator=generator),
        splits={"train": torch.arange(0, 300, 3)},
        meta={"name": "conformance"},
    )


@pytest.fixture(params=LOADERS.values(), ids=LOADERS.keys())
def make(request: pytest.FixtureRequest, dataset: Dataset, tmp_path: Path) -> Any:
    """Makes a loader; every argument has a default."""

    def make(**arguments: Any) -> Any:
        defaults = {
            "num_neighbors": [4, 3],
            "batch_size": 16,
            "input_nodes": dataset.ids("train"),
            "seed": 3,
        }
        return request.param(dataset, tmp_path, **{**defaults, **arguments})

    return make
