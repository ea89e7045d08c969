"""From a recipe to what training needs: the data set, its loaders, its stores and plans."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from graphlab import datasets, files, progress, sizes
from graphlab.datasets import Dataset, SparseColumn
from graphlab.tasks.scoring import EvalLoader

# What a plan costs and where its rows are; the report of the run shows it.
PLAN_TEXT = "plan.txt"

if TYPE_CHECKING:
    from graphlab.outofcore import Plan, Store
    from graphlab.tasks.recipe import (
        DataRecipe,
        LoaderRecipe,
        Recipe,
        SamplingRecipe,
        SplitRecipe,
    )


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Arguments of ``node.fit`` that a recipe stands for.

    Attributes:
        dataset: With splits; on disk where the recipe says so.
        loader: Function of the seed, or None for full batch.
        eval_loader: Function of node ids, or None for exact evaluation.
        settings: Settings of fit that follow from the loader.
    """

    dataset: Dataset
    loader: Callable[[int], Iterable[Any]] | None
    eval_loader: EvalLoader | None
    settings: dict[str, Any]


@contextmanager
def prepared(recipe: Recipe, run_dir: str | Path | None) -> Iterator[Prepared]:
    """Load the data set and prepare its loaders; store and plans live in the run folder.

    Without a run folder, and without ``loader.path``, they are made in a temporary folder
    that is removed at the end.
    """
    d = dataset(recipe.data)
    if recipe.loader is None:
        yield Prepared(d, None, None, {})
        return
    if not recipe.loader.from_disk:
        yield _from_memory(d, recipe.loader, recipe.fit.seed_list)
        return
    chosen = recipe.loader.path or run_dir
    if chosen is not None:
        yield _from_disk(d, recipe, Path(chosen))
        return
    with tempfile.TemporaryDirectory(prefix="graphlab-") as folder:
        yield _from_disk(d, recipe, Path(folder))


def dataset(recipe: DataRecipe) -> Dataset:
    """Load, split and normalise the data set of a recipe."""
    d = datasets.load(
        recipe.name, recipe.root, splits=recipe.splits, undirected=recipe.undirected
    )
    if recipe.split is not None:
        d = _split(d, recipe.split)
    if recipe.normalize_features:
        d.x = row_normalized(d.x)
    return d


def _split(d: Dataset, chosen: SplitRecipe) -> Dataset:
    if chosen.kind == "random":
        return datasets.split_random(
            d,
            train=chosen.train,
            val=chosen.val,
            runs=chosen.runs,
            seed=chosen.seed,
            stratified=chosen.stratified,
        )
    return datasets.split_per_class(
        d,
        per_class=chosen.per_class,
        num_val=chosen.num_val,
        num_test=chosen.num_test,
        runs=chosen.runs,
        seed=chosen.seed,
    )


def row_normalized(x: Any) -> Tensor | SparseColumn:
    """Divide each row by its sum; rows that sum to zero stay as they are.

    Args:
        x: [N, F], a tensor or a SparseColumn, which stays sparse.

    Example:
        >>> row_normalized(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
        tensor([[0.2500, 0.7500],
                [0.0000, 0.0000]])
    """
    if isinstance(x, SparseColumn):
        count = np.diff(x.ptr)
        data = np.broadcast_to(x.data, x.idx.shape).astype(np.float32)
        row = np.repeat(np.arange(len(count)), count)
        sums = np.bincount(row, weights=data, minlength=len(count))
        sums[sums == 0] = 1.0
        scaled = (data / sums[row]).astype(np.float32)
        return SparseColumn(x.ptr, x.idx, scaled, (x.shape[0], x.shape[1]))
    dense = x if isinstance(x, Tensor) else x.gather(torch.arange(x.shape[0]))
    dense = dense if dense.is_floating_point() else dense.float()
    total = dense.sum(1, keepdim=True)
    return dense / torch.where(total == 0, torch.ones_like(total), total)


def _sampling(chosen: LoaderRecipe) -> dict[str, Any]:
    return {**sampling(chosen), "batch_size": chosen.batch_size}


def sampling(chosen: SamplingRecipe) -> dict[str, Any]:
    """What the loaders in memory and :func:`graphlab.outofcore.plan` both take."""
    return {
        "num_neighbors": list(chosen.num_neighbors),
        "replace": chosen.replace,
        "weighted": chosen.weighted,
        "method": chosen.method,
    }


def _from_memory(d: Dataset, chosen: LoaderRecipe, seeds: list[int]) -> Prepared:
    from graphlab.sample import NeighborLoader

    def loader(seed: int) -> Iterable[Any]:
        ids = d.ids("train", seeds.index(seed) % d.num_runs)
        return NeighborLoader(d, input_nodes=ids, seed=seed, **_sampling(chosen))

    return _evaluated(d, loader, chosen, {})


def _from_disk(d: Dataset, recipe: Recipe, folder: Path) -> Prepared:
    from graphlab import outofcore

    chosen, seeds = recipe.loader, recipe.fit.seed_list
    assert chosen is not None
    budget = sizes.parse(chosen.memory)
    store = make_store(d, chosen, folder / "store", budget)
    stored = store.dataset()

    def loader(seed: int) -> Iterable[Any]:
        run = seeds.index(seed) % stored.num_runs
        plan = outofcore.plan(
            store,
            input_nodes=stored.ids("train", run),
            seed=seed,
            path=folder / f"plan-{seed}",
            **_sampling(chosen),
            **plan_options(chosen, recipe.fit.epochs),
        )
        tell(plan, folder)
        return plan.loader(device=recipe.fit.device)

    # What inference adds must keep to the budget too, where nothing else is said.
    settings = {} if recipe.fit.memory is not None else {"memory": chosen.memory}
    return _evaluated(stored, loader, chosen, settings)


def plan_options(chosen: SamplingRecipe, epochs: int) -> dict[str, Any]:
    """What only :func:`graphlab.outofcore.plan` takes, for a run of so many epochs."""
    sampled_epochs = chosen.sampled_epochs or epochs
    if chosen.resample_every is not None or chosen.mode == "rolling":
        sampled_epochs = 1  # one at a time, while training
    return {
        "epochs": sampled_epochs,
        "memory": chosen.memory,
        "disk": chosen.disk,
        "mode": chosen.mode,
        "node_order": chosen.node_order,
        "device_memory": chosen.device_memory,
        "resample_every": chosen.resample_every,
        **({} if chosen.policy is None else {"policy": chosen.policy}),
    }


def tell(plan: Plan, folder: Path) -> None:
    """Say what a plan costs, and keep it for the report."""
    told = str(plan.explain())
    progress.say(told)
    with files.publish(folder / PLAN_TEXT) as file:
        file.write(told.encode())


def make_store(d: Dataset, chosen: SamplingRecipe, path: Path, budget: int) -> Store:
    """Write a data set as a store, or open the one that is there."""
    from graphlab import outofcore

    if (path / "manifest.json").exists():
        return outofcore.Store.open(path)
    if isinstance(d.x, SparseColumn) and chosen.layout == "dense":
        if d.x.nbytes <= budget:
            progress.say(
                f"note: as a sparse column the features are {sizes.show(d.x.nbytes)} and "
                "fit in memory; loader.layout=source keeps them so"
            )
        progress.say(f"store: writing {sizes.show(d.x.dense_nbytes)} of features")
    return outofcore.Store.convert(d, path, memory=chosen.memory, layout=chosen.layout)


def _evaluated(
    d: Dataset,
    loader: Callable[[int], Iterable[Any]],
    chosen: LoaderRecipe,
    settings: dict[str, Any],
) -> Prepared:
    if chosen.evaluation == "exact":
        return Prepared(d, loader, None, settings)
    from graphlab.sample import NeighborLoader

    def eval_loader(ids: Tensor) -> Iterable[Any]:
        # Seed and epoch stay the same, so that epochs are compared on the same samples.
        return NeighborLoader(
            d, input_nodes=ids, seed=0, shuffle=False, **_sampling(chosen)
        )

    return Prepared(d, loader, eval_loader, settings)
