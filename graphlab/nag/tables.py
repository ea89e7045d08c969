"""Tabular benchmarks: architectures whose accuracy is known, to test searches on."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.errors import DatasetNotFoundError
from graphlab.nag.space import SearchSpace
from graphlab.nag.spaces.nas_bench_graph import NASBenchGraph
from graphlab.nag.spaces.nb201 import NB201

_FILES = {"nb201": "nb201.npz", "nas_bench_graph": "nas_bench_graph.npz"}
_VARIABLE = "GRAPHLAB_DATA"


@dataclasses.dataclass(frozen=True)
class Table:
    """Known scores of architectures on one dataset, by canonical hash or row.

    Attributes:
        space: The search space.
        dataset: Name of the dataset.
        architectures: int64 [N, V], one row for each architecture of the table.
        signal: [N], in percent: what a search may see (validation).
        truth: [N], in percent: what it is judged by (test); never shown to a search.
        costs: Name -> [N]: of NAS-Bench-201 ``params`` and ``flops`` in millions, of
            NAS-Bench-Graph ``params`` in millions and ``latency`` in seconds.
        by_hash: Whether architectures with one hash share a row.
    """

    space: SearchSpace
    dataset: str
    architectures: Tensor
    signal: Tensor
    truth: Tensor
    costs: dict[str, Tensor]
    by_hash: bool
    _rows: dict[object, int] = dataclasses.field(default_factory=dict, repr=False)

    def rows(self, x: Tensor) -> Tensor:
        """Row of each architecture [B, V]: int64 [B].

        Raises:
            KeyError: an architecture that the table does not know.
        """
        if not self._rows:
            mine = self._keys(self.architectures)
            self._rows.update({key: i for i, key in enumerate(mine)})
        try:
            return torch.tensor([self._rows[key] for key in self._keys(x)])
        except KeyError as error:
            raise KeyError(
                f"Table: `x` must be in the table of {self.space.name} on "
                f"{self.dataset}, got an architecture that is not"
            ) from error

    def knows(self, x: Tensor) -> Tensor:
        """Whether the table has each architecture: bool [B]."""
        if not self._rows:
            self.rows(self.architectures[:1])
        return torch.tensor([key in self._rows for key in self._keys(x)])

    def _keys(self, x: Tensor) -> list[object]:
        if self.by_hash:
            return list(self.space.hashes(x))
        return [tuple(row) for row in x.tolist()]

    def evaluate(self, x: Tensor) -> list[float]:
        """What training would tell a search: the signal of each architecture."""
        return self.signal[self.rows(x)].tolist()

    @property
    def best(self) -> float:
        """The best true score of the table."""
        return float(self.truth.max())


def find(space: str, root: str | Path | None = None) -> Path:
    """Path of a table's file in ``root``, else in the folder that GRAPHLAB_DATA names.

    Raises:
        DatasetNotFoundError: it is not there; says where to put it.
    """
    name = _FILES[check.one_of("nag.tables", "space", space, _FILES)]
    folder = root if root is not None else os.environ.get(_VARIABLE, "")
    path = Path(folder).expanduser() / name
    if not folder or not path.is_file():
        raise DatasetNotFoundError(
            f"nag.tables: `root` must hold {name}, got {str(folder) or 'no folder'}; put the "
            f"table there and pass root= or set {_VARIABLE} (--root on the command line)"
        )
    return path


def datasets(space: str) -> tuple[str, ...]:
    """Datasets of a table."""
    check.one_of("nag.tables", "space", space, _FILES)
    if space == "nb201":
        return ("cifar10", "cifar100", "ImageNet16-120")
    return (
        "cora",
        "citeseer",
        "pubmed",
        "cs",
        "physics",
        "photo",
        "computers",
        "arxiv",
        "proteins",
    )


def load(space: str, dataset: str, root: str | Path | None = None) -> Table:
    """Read a table.

    NAS-Bench-201: the signal is the noisy 12-epoch validation accuracy of one run, the truth
    the 200-epoch test accuracy. NAS-Bench-Graph: validation and test accuracy; rows that
    compute the same function are averaged (26,206 rows, 23,822 functions).

    Args:
        space: ``nb201`` or ``nas_bench_graph``.
        dataset: One of :func:`datasets`.
        root: Folder of the files; default GRAPHLAB_DATA.

    Raises:
        DatasetNotFoundError: the file is not there.
        ValueError: no such dataset.
    """
    path = find(space, root)
    check.one_of("nag.tables", "dataset", dataset, datasets(space))
    with np.load(path, allow_pickle=False) as file:
        if space == "nb201":
            return _nb201(dict(file), dataset)
        return _nas_bench_graph(dict(file), dataset)


def _nb201(file: dict[str, np.ndarray], dataset: str) -> Table:
    space = NB201(dataset)
    column = datasets("nb201").index(dataset)
    ops = torch.from_numpy(file["ops"].astype(np.int64))
    ends = torch.zeros(len(ops), 1, dtype=torch.int64)
    x = torch.cat([ends, ops + 2, ends + 1], 1)
    return Table(
        space,
        dataset,
        x,
        torch.from_numpy(file["ep12"][:, 2 * column + 1].astype(np.float32)),
        torch.from_numpy(file["test200"][:, column].astype(np.float32)),
        space.costs(space.one_hot(x)),
        by_hash=False,
    )


def _nas_bench_graph(file: dict[str, np.ndarray], dataset: str) -> Table:
    space = NASBenchGraph()
    arch = file["arch_proteins" if dataset == "proteins" else "arch"].astype(np.int64)
    x = torch.from_numpy(arch)
    x[:, 1:] += space.labels.index("gat")
    place: dict[str, int] = {}
    group = torch.tensor([place.setdefault(h, len(place)) for h in space.hashes(x)])
    values = torch.from_numpy(file[dataset].astype(np.float64))
    count = torch.zeros(len(place), dtype=torch.float64)
    count.index_add_(0, group, torch.ones(len(x), dtype=torch.float64))
    total = torch.zeros(len(place), values.shape[1], dtype=torch.float64)
    mean = (total.index_add_(0, group, values) / count[:, None]).float()
    first = torch.full((len(place),), len(x)).scatter_reduce_(
        0, group, torch.arange(len(x)), "amin"
    )
    return Table(
        space,
        dataset,
        x[first],
        100 * mean[:, 0],
        100 * mean[:, 1],
        {"latency": mean[:, 2], "params": mean[:, 3]},
        by_hash=True,
    )
