"""Small stores of many shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

import graphlab as gl
from graphlab.outofcore import Store
from graphlab.progress import set_quiet


@pytest.fixture(autouse=True)
def _quiet():
    set_quiet(True)
    yield
    set_quiet(False)


def make_dataset(
    num_nodes: int = 2000,
    num_edges: int = 16000,
    width: int = 100,
    dtype: torch.dtype = torch.float32,
    *,
    sparse: bool = False,
    seed: int = 0,
) -> gl.Dataset:
    generator = np.random.default_rng(seed)
    # Skewed sources: some rows are much hotter than others.
    row = (num_nodes * generator.random(num_edges) ** 3).astype(np.int64)
    col = generator.integers(0, num_nodes, num_edges)
    edge_index = torch.from_numpy(np.stack([row, col]))
    if sparse:
        x: Any = scipy.sparse.random(
            num_nodes, width, 0.1, "csr", dtype=np.float32, rng=generator
        )
    else:
        x = torch.from_numpy(generator.standard_normal((num_nodes, width))).to(dtype)
    y = torch.from_numpy(generator.integers(0, 5, num_nodes))
    mask = torch.from_numpy(generator.random(num_nodes) < 0.5)
    graph = gl.Graph(edge_index, num_nodes=num_nodes)
    return gl.Dataset(graph, x=x, y=y, splits={"train": mask, "val": ~mask})


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., tuple[gl.Dataset, Store]]:
    """Make a dataset in memory and the same as a store."""

    def make(stored: str = "source", **shape: Any) -> tuple[gl.Dataset, Store]:
        dataset = make_dataset(**shape)
        return dataset, Store.convert(dataset, tmp_path / "store", dtype=stored)

    return make
