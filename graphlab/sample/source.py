"""What loaders accept: a Dataset, a PyG Data, a DGLGraph; ids, masks, names of splits."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.datasets import Dataset
from graphlab.datasets.masks import split_name


def as_dataset(function: str, data: Any) -> Dataset:
    """Wrap what a user has; tensors are shared, not copied.

    Raises:
        TypeError: not a Dataset, ``torch_geometric.data.Data`` or ``dgl.DGLGraph``.
    """
    if isinstance(data, Dataset):
        return data
    # By the name of the class's package: neither library is imported to look.
    packages = {base.__module__.split(".")[0] for base in type(data).__mro__}
    if "torch_geometric" in packages:
        return Dataset.from_pyg(data)
    if "dgl" in packages:
        return Dataset.from_dgl(data)
    check.fail(
        TypeError,
        function,
        "data",
        "be a graphlab Dataset, a PyG Data or a DGLGraph",
        type(data).__name__,
        "make one with gl.Dataset(graph=..., x=..., y=...)",
    )


def input_ids(function: str, dataset: Dataset, input_nodes: Any) -> Tensor:
    """Node ids of ``input_nodes``: None (all), ids, a mask [N], or the name of a split.

    Raises:
        TypeError: another type.
        ValueError: a mask of the wrong length, no nodes, or a split of several runs.
        IndexError: an id out of range.
    """
    size = dataset.num_nodes
    if input_nodes is None:
        return torch.arange(size)
    if isinstance(input_nodes, str):
        name = split_name(function, input_nodes)
        if getattr(dataset, f"{name}_mask").dim() == 2:
            check.fail(
                ValueError,
                function,
                "input_nodes",
                "name a split of one run",
                f"{name!r} with {dataset.num_runs} runs",
                f"pass d.mask({name!r}, run)",
            )
        input_nodes = dataset.mask(name)
    if isinstance(input_nodes, (np.ndarray, list, tuple, range)):
        input_nodes = torch.as_tensor(np.asarray(input_nodes))
        if input_nodes.numel() == 0:
            input_nodes = input_nodes.long()
    ids = check.tensor(
        function,
        "input_nodes",
        input_nodes,
        dtypes=(torch.bool, torch.int32, torch.int64),
        ndim=1,
    )
    if ids.dtype == torch.bool:
        if len(ids) != size:
            check.fail(
                ValueError,
                function,
                "input_nodes",
                f"have one entry per node ({size:,}) as a mask",
                len(ids),
            )
        ids = ids.nonzero()[:, 0]
    if ids.numel() == 0:
        check.fail(
            ValueError, function, "input_nodes", "hold at least one node", "none"
        )
    check.ids_in_range(function, "input_nodes", ids, size)
    return ids.long()


def fingerprint(ids: Tensor) -> str:
    """Count and CRC-32 of ids: whether two runs iterate over the same inputs."""
    return f"{ids.numel()}-{zlib.crc32(ids.contiguous().numpy().tobytes()):08x}"


def require_distinct(function: str, argument: str, ids: Tensor) -> None:
    """Require that no id comes twice. O(n log n)."""
    ordered, _ = ids.sort()
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.numel():
        check.fail(
            ValueError,
            function,
            argument,
            "hold each node once",
            f"node {int(twice[0])} more than once",
            "drop repeats or pass disjoint=True",
        )
