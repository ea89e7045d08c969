"""Dataset: a graph, named columns, labels, splits and meta."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from graphlab import check
from graphlab.datasets import masks
from graphlab.datasets.column import Column, as_column, gather, require_finite
from graphlab.graph import Graph


class Dataset:
    """A graph with named columns over its nodes and edges, labels, splits and meta.

    Args:
        graph: The graph.
        x: [N, F], node features: a tensor, an array, a scipy matrix or any Column.
        y: [N] class ids (-1: unlabelled), [N, C] multi-label 0/1, or float targets.
        splits: Mapping of ``train``, ``val``, ``test`` to bool masks [N] or [N, runs], or to
            arrays of node ids. No node may be in two splits of one run.
        edge_attr: [E, ...], by edge id, or a mapping of names to such columns.
        meta: Anything worth keeping that JSON can hold; ``name`` is used in messages.
        columns: More node columns by name.
        edge_splits: Pairs for link prediction, by split and name, such as
            ``{"val": {"edge": [2, P], "edge_neg": [2, Q]}}``.

    Raises:
        TypeError: not a Graph, wrong dtypes, ids instead of masks of wrong kind.
        ValueError: a column, label or mask of the wrong length; overlapping splits; labels
            below -1.
        IndexError: a split's node id out of range.

    Example:
        >>> import torch
        >>> g = Graph(torch.tensor([[0, 1], [1, 2]]))
        >>> d = Dataset(g, x=torch.eye(3), y=torch.tensor([0, 1, 1]), splits={"train": [0]})
        >>> d.train_mask, d.num_features, d.num_classes
        (tensor([ True, False, False]), 3, 2)
    """

    def __init__(
        self,
        graph: Graph,
        x: Any = None,
        y: Any = None,
        splits: Mapping[str, Any] | None = None,
        edge_attr: Any = None,
        meta: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
        edge_splits: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> None:
        given: object = graph
        if not isinstance(given, Graph):
            got = type(given).__name__
            remedy = "use gl.Graph(edge_index)"
            check.fail(TypeError, "Dataset", "graph", "be a Graph", got, remedy)
        self.graph = graph
        self.meta: dict[str, Any] = dict(meta or {})
        self.columns: dict[str, Tensor | Column] = {}
        self.edge_columns: dict[str, Tensor | Column] = {}
        self.splits: dict[str, Tensor] = {}
        self.edge_splits = masks.read_edge_splits(edge_splits or {}, self.num_nodes)
        self._y: Tensor | None = None
        if x is not None:
            self["x"] = x
        for name, column in (columns or {}).items():
            self[name] = column
        if y is not None:
            self.y = y
        if edge_attr is not None:
            if not isinstance(edge_attr, Mapping):
                edge_attr = {"edge_attr": edge_attr}
            for name, column in edge_attr.items():
                rows = graph.num_edges
                self.edge_columns[name] = as_column(name, column, rows, "edge")
        if splits:
            self.set_splits(splits)

    @classmethod
    def from_pyg(cls, data: Any) -> Dataset:
        """Take a PyG ``Data``: edges, weights, ``x``, ``y``, masks, and other columns.

        A tensor with one row per node is a node column, with one row per edge an edge column;
        other attributes are left out.
        """
        from graphlab.datasets.foreign import from_arrays
        from graphlab.interop import pyg

        return from_arrays(pyg.read(data))

    @classmethod
    def from_dgl(cls, graph: Any) -> Dataset:
        """Take a homogeneous ``DGLGraph``: ``feat`` as ``x``, ``label`` as ``y``, masks."""
        from graphlab.datasets.foreign import from_arrays
        from graphlab.interop import dgl

        return from_arrays(dgl.read(graph))

    def to_pyg(self) -> Any:
        """A PyG ``Data`` with dense columns; edge splits and meta are left out.

        Raises:
            BudgetError: the dense columns would not fit in memory.
        """
        from graphlab.datasets.foreign import to_arrays
        from graphlab.interop import pyg

        return pyg.write(to_arrays(self))

    def to_dgl(self) -> Any:
        """A ``DGLGraph`` with dense columns; ``x`` as ``feat``, ``y`` as ``label``."""
        from graphlab.datasets.foreign import to_arrays
        from graphlab.interop import dgl

        return dgl.write(to_arrays(self))

    def __getitem__(self, name: str) -> Tensor | Column:
        """The column of a name; ``d["y"]`` are the labels."""
        if name == "y" and self._y is not None:
            return self._y
        if name not in self.columns:
            held = ", ".join(repr(n) for n in self.columns) or "none"
            raise KeyError(f"Dataset: no column {name!r}; it has {held}")
        return self.columns[name]

    def __setitem__(self, name: str, column: Any) -> None:
        if name == "y":
            self.y = column
            return
        self.columns[name] = as_column(name, column, self.num_nodes, "node")

    def __contains__(self, name: object) -> bool:
        return name in self.columns or (name == "y" and self._y is not None)

    def __delitem__(self, name: str) -> None:
        self[name]
        if name == "y":
            self._y = None
        else:
            del self.columns[name]

    @property
    def x(self) -> Any:
        """[N, F], the column ``x``, or None."""
        return self.columns.get("x")

    @x.setter
    def x(self, column: Any) -> None:
        self["x"] = column

    @property
    def y(self) -> Tensor | None:
        """Labels: [N] class ids with -1 for unlabelled, [N, C] multi-label, or targets."""
        return self._y

    @y.setter
    def y(self, labels: Any) -> None:
        self._y = masks.read_labels(labels, self.num_nodes)

    @property
    def edge_attr(self) -> Any:
        """[E, ...], the edge column ``edge_attr``, or None."""
        return self.edge_columns.get("edge_attr")

    @property
    def train_mask(self) -> Tensor:
        """[N] or [N, runs], bool."""
        return self._split("train")

    @train_mask.setter
    def train_mask(self, mask: Any) -> None:
        self.set_splits({**self.splits, "train": mask})

    @property
    def val_mask(self) -> Tensor:
        """[N] or [N, runs], bool."""
        return self._split("val")

    @val_mask.setter
    def val_mask(self, mask: Any) -> None:
        self.set_splits({**self.splits, "val": mask})

    @property
    def test_mask(self) -> Tensor:
        """[N] or [N, runs], bool."""
        return self._split("test")

    @test_mask.setter
    def test_mask(self, mask: Any) -> None:
        self.set_splits({**self.splits, "test": mask})

    def set_splits(self, splits: Mapping[str, Any]) -> None:
        """Replace the splits; see the class for what is accepted."""
        self.splits = masks.read_splits(splits, self.num_nodes)

    def with_splits(self, splits: Mapping[str, Any]) -> Dataset:
        """The same dataset with other splits; columns are shared, not copied."""
        dataset = self._copy()
        dataset.set_splits(splits)
        return dataset

    def to_undirected(self, reduce: str = "mean") -> Dataset:
        """The same dataset with both directions of every edge; see Graph.to_undirected.

        An edge's columns come from the first stored edge between its nodes.
        """
        dataset = self._copy()
        dataset.graph, origin = self.graph.to_undirected_with_origin(reduce)
        dataset.edge_columns = {
            n: gather(c, origin) for n, c in self.edge_columns.items()
        }
        dataset.meta["directed"] = False
        return dataset

    def mask(self, split: str, run: int = 0) -> Tensor:
        """One run's mask of a split; a split of a single run serves every run. [N], bool."""
        stored = self._split(split)
        if stored.dim() == 1:
            return stored
        if not 0 <= run < stored.shape[1]:
            requirement = f"be in [0, {stored.shape[1]})"
            check.fail(IndexError, "Dataset.mask", "run", requirement, run)
        return stored[:, run]

    def ids(self, split: str, run: int = 0) -> Tensor:
        """Ascending node ids of a split. [n], int64."""
        return self.mask(split, run).nonzero()[:, 0]

    @property
    def num_runs(self) -> int:
        """Number of different splits held; 1 for masks [N], 0 without splits."""
        widths = [m.shape[1] if m.dim() == 2 else 1 for m in self.splits.values()]
        return max(widths, default=0)

    @property
    def num_nodes(self) -> int:
        """Nodes of the graph."""
        return self.graph.num_nodes

    @property
    def num_edges(self) -> int:
        """Directed edges of the graph."""
        return self.graph.num_edges

    @property
    def num_features(self) -> int:
        """Width of ``x``; 0 without."""
        shape = () if self.x is None else tuple(self.x.shape)
        return int(np.prod(shape[1:], dtype=np.int64)) if shape else 0

    @property
    def num_classes(self) -> int:
        """Classes of [N] class ids, labels of [N, C]; 0 for float targets and without y."""
        if self._y is None:
            return 0
        if self._y.dim() == 2:
            return int(self._y.shape[1])
        if self._y.dtype.is_floating_point:
            return 0
        return int(self._y.max()) + 1

    @property
    def name(self) -> str:
        """``meta["name"]``, or ``dataset``."""
        return str(self.meta.get("name", "dataset"))

    @property
    def nbytes(self) -> int:
        """Bytes held in memory: graph, columns, labels, masks, pairs. Stored columns: 0."""
        pairs = [t for part in self.edge_splits.values() for t in part.values()]
        held: list[Any] = [
            self.graph,
            *self.columns.values(),
            *self.edge_columns.values(),
            *self.splits.values(),
            *pairs,
        ]
        return sum(int(h.nbytes) for h in held) + (
            self._y.nbytes if self._y is not None else 0
        )

    def validate(self) -> None:
        """Read everything once and raise for what is wrong, with words.

        Raises:
            ValueError: NaN or infinite features (which rows), a node in a split without a
                label, an empty split.
            IndexError, ValueError: as :meth:`Graph.validate`.
        """
        self.graph.validate()
        for name, column in self.columns.items():
            require_finite(name, column)
        for name, column in self.edge_columns.items():
            require_finite(name, column)
        for split, mask in self.splits.items():
            runs = mask[:, None] if mask.dim() == 1 else mask
            empty = (~runs.any(0)).nonzero()
            if len(empty):
                got = f"none in run {int(empty[0])}"
                check.fail(ValueError, "Dataset.validate", split, "hold nodes", got)
            if self._y is None or self._y.dim() == 2:
                continue
            missing = self._y.isnan() if self._y.is_floating_point() else self._y < 0
            wrong = (runs.any(1) & missing).nonzero()
            if len(wrong):
                got = f"{len(wrong):,} without, such as node {int(wrong[0]):,}"
                requirement = "hold labelled nodes only"
                check.fail(ValueError, "Dataset.validate", split, requirement, got)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a folder that :func:`graphlab.datasets.open` reads back.

        Raises:
            ValueError: the folder holds a store already, unless ``overwrite``.
        """
        from graphlab.datasets.storage import save

        save(self, path, overwrite=overwrite)

    def __repr__(self) -> str:
        parts = [f"{self.num_nodes:,} nodes", f"{self.num_edges:,} edges"]
        parts += [f"{n}: {_describe(c)}" for n, c in self.columns.items()]
        if self._y is not None:
            parts.append(f"y: {_describe(self._y)}")
        parts += [f"{n} (edges): {_describe(c)}" for n, c in self.edge_columns.items()]
        if self.splits:
            parts.append(f"splits: {'/'.join(self.splits)} x {self.num_runs}")
        return f"Dataset({self.name!r}, {', '.join(parts)})"

    def _copy(self) -> Dataset:
        """A dataset that shares every array, but no dict."""
        dataset = copy.copy(self)
        dataset.meta = dict(self.meta)
        dataset.columns, dataset.edge_columns = (
            dict(self.columns),
            dict(self.edge_columns),
        )
        dataset.splits, dataset.edge_splits = dict(self.splits), dict(self.edge_splits)
        return dataset

    def _split(self, split: str) -> Tensor:
        split = masks.split_name("Dataset", split)
        if split not in self.splits:
            # An AttributeError, so that hasattr(d, "train_mask") answers.
            raise AttributeError(
                f"Dataset: {self.name!r} has no {split!r} split; make one with "
                "d = gl.datasets.split_random(d) or split_per_class(d)"
            )
        return self.splits[split]


def _describe(column: Tensor | Column) -> str:
    dtype = str(column.dtype).removeprefix("torch.")
    kind = "" if isinstance(column, Tensor) else f" {type(column).__name__}"
    return f"{list(column.shape)} {dtype}{kind}"
