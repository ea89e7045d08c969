"""Scores of architectures by training on folds of the training nodes, costs, final training."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graphlab import check, files
from graphlab.datasets import load
from graphlab.models import SearchedGNN
from graphlab.models.searched import parse
from graphlab.ops import rng
from graphlab.tasks import calling, labels, node
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.runs import read_json
from graphlab.tasks.scoring import DivergedError

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.result import Result

# Names the random stream of the folds.
_FOLDS = 801
_SETTINGS = ("lr", "weight_decay")
_SMOOTH = 5  # epochs
_PASSES = 3


def folds(d: Dataset, count: int = 3, seed: int = 0) -> Dataset:
    """Split the training nodes alone: cross-validation masks [N, count], no test set.

    Every class is spread evenly over the folds. Validation and test nodes of the data set
    are in no mask, so nothing that is chosen by these folds has seen them.

    Args:
        d: With a training split and class ids.
        count: Folds.
        seed: Names the draws.

    Returns:
        The data set with ``train`` and ``val`` masks over its training nodes.

    Raises:
        ValueError: fewer than two folds, or a class with fewer training nodes than folds.
    """
    check.positive("nas.folds", "count", count, least=2)
    ids = d.ids("train")
    if d.y is None or d.y.dim() != 1:
        got = "none" if d.y is None else f"{d.y.dim()} dimensions"
        check.fail(ValueError, "nas.folds", "d.y", "hold one class id a node", got)
    y = d.y[ids]
    masks = {
        split: torch.zeros(d.num_nodes, count, dtype=torch.bool)
        for split in ("train", "val")
    }
    for label in y.unique().tolist():
        members = ids[y == label]
        if len(members) < count:
            need = f"hold at least {count} training nodes of every class"
            got = f"{len(members)} of class {label}"
            check.fail(ValueError, "nas.folds", "d", need, got, "use fewer folds")
        order = members[
            torch.from_numpy(
                rng.permutation(rng.key(seed, _FOLDS, int(label)), len(members))
            )
        ]
        for fold in range(count):
            masks["train"][order, fold] = True
            held = order[fold::count]
            masks["train"][held, fold] = False
            masks["val"][held, fold] = True
    return d.with_splits(masks)


class TrainedScore:
    """Score of an architecture: mean accuracy over folds of the training nodes.

    All folds are read at the same epoch, the best one of their mean over five epochs: a fold
    has few nodes, and the best epoch of each alone would reward noisy training.
    Can be sent to worker processes: the data set is read there by name.

    Args:
        data: Name of a data set, or the data set.
        root: Folder of data sets.
        count: Folds; each trains once.
        epochs: Of each training; with few, what learns fast would win.
        seed: Of folds, first weights and dropout.
        model: Makes the model from (architecture, in_channels, out_channels); default
            :class:`graphlab.models.SearchedGNN`.
    """

    def __init__(
        self,
        data: str | Dataset,
        *,
        root: str | None = None,
        count: int = 3,
        epochs: int = 200,
        seed: int = 0,
        model: Callable[..., torch.nn.Module] = SearchedGNN,
    ) -> None:
        self.data, self.root, self.count = data, root, count
        self.epochs, self.seed, self.model = epochs, seed, model
        self._split: Dataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_split": None}

    def __call__(self, architecture: str) -> float:
        """Train on every fold; accuracy on the nodes left out, 0 where training diverges."""
        if self._split is None:
            d = load(self.data, self.root) if isinstance(self.data, str) else self.data
            self._split = folds(d, self.count, self.seed)
        seeds = range(self.seed * self.count, (self.seed + 1) * self.count)
        curves = _Curves()
        try:
            train(
                self._split,
                architecture,
                seeds=seeds,
                epochs=self.epochs,
                patience=None,
                read_test=False,
                model=self.model,
                callbacks=[curves],
            )
        except DivergedError:
            return 0.0
        mean = torch.tensor(list(curves.by_seed.values())).mean(0)
        width = min(_SMOOTH, len(mean))
        return float(mean.unfold(0, width, 1).mean(1).max())


class Costs:
    """Costs of an architecture as trained: ``params``, and ``latency`` in milliseconds.

    Latency is the least of up to three forward passes over the whole graph on this machine's
    CPU, behind a first one that prepares the graph; passes end after a second.

    Args:
        d: The data set.
        model: Makes the model from (architecture, in_channels, out_channels).
        path: JSON file that keeps what was measured, so that it is not measured again.

    Raises:
        StoreError: a damaged file.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=50, num_edges=100, num_features=8)
        >>> found = Costs(d)("0,1,2,3|gcn,gcn,skip,skip|hidden=4|ends=plain")
        >>> int(found["params"]), found["latency"] > 0
        (86, True)
    """

    def __init__(
        self,
        d: Dataset,
        model: Callable[..., torch.nn.Module] = SearchedGNN,
        path: Path | None = None,
    ) -> None:
        self._widths = d.num_features, labels.num_outputs("nas.search", d)
        self._model, self._path = model, path
        self._whole = calling.WholeGraph(d, torch.device("cpu"))
        self._known: dict[str, dict[str, float]] = {}
        if path is not None and path.exists():
            self._known = read_json(path)

    def __call__(self, architecture: str) -> dict[str, float]:
        """Measure an architecture, unless it is known."""
        if architecture not in self._known:
            self._known[architecture] = self._measure(architecture)
            if self._path is not None:
                files.publish_json(self._path, self._known)
        return self._known[architecture]

    @torch.no_grad()
    def _measure(self, architecture: str) -> dict[str, float]:
        with torch.random.fork_rng(devices=[]):
            made = self._model(*self._widths, architecture=architecture).eval()
        seconds: list[float] = []
        while len(seconds) < 2 or (len(seconds) <= _PASSES and sum(seconds) < 1.0):
            began = time.perf_counter()
            self._whole.run(made)
            seconds.append(time.perf_counter() - began)
        return {
            "params": float(sum(p.numel() for p in made.parameters())),
            "latency": 1000 * min(seconds[1:]),
        }


class _Curves(Callback):
    """Validation accuracy by seed and epoch."""

    def __init__(self) -> None:
        self.by_seed: dict[int, list[float]] = {}

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        self.by_seed.setdefault(seed, []).append(record["valid"])


def train(
    d: Dataset,
    architecture: str,
    *,
    seeds: Iterable[int] = range(10),
    epochs: int = 300,
    patience: int | None = 100,
    read_test: bool = True,
    run_dir: str | Path | None = None,
    model: Callable[..., torch.nn.Module] = SearchedGNN,
    callbacks: Iterable[Callback] = (),
) -> Result:
    """Train an architecture with the node task; its string names ``lr`` and ``weight_decay``.

    Args:
        d: The data set, with the splits that count.
        architecture: See :class:`graphlab.models.SearchedGNN`.
        seeds: Each trains once.
        epochs: At most.
        patience: Epochs without a better validation score.
        read_test: False leaves the test set alone.
        run_dir: Run folder of :func:`graphlab.tasks.node.fit`.
        model: Makes the model.
        callbacks: Of :func:`graphlab.tasks.node.fit`.

    Returns:
        As :func:`graphlab.tasks.node.fit`.
    """
    settings = parse(architecture)[2] if model is SearchedGNN else _pairs(architecture)
    given = {k: float(v) for k, v in settings.items() if k in _SETTINGS}
    factory = functools.partial(model, architecture=architecture)
    return node.fit(
        d,
        factory,
        seeds=seeds,
        epochs=epochs,
        patience=patience,
        read_test=read_test,
        run_dir=run_dir,
        callbacks=list(callbacks),
        **given,  # type: ignore[arg-type]
    )


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split("|") if "=" in part)
