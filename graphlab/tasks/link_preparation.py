"""From a link recipe to what training needs: the data set, its splits, loaders and plans."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphlab import sizes
from graphlab.datasets import Dataset
from graphlab.tasks import link_recipe
from graphlab.tasks.link_scoring import positives
from graphlab.tasks.preparation import make_store, plan_options, sampling, tell

if TYPE_CHECKING:
    from graphlab.outofcore import Store
    from graphlab.tasks.link import Split
    from graphlab.tasks.link_recipe import LinkRecipe


@dataclasses.dataclass(frozen=True)
class LinkPrepared:
    """Arguments of ``link.fit`` that a recipe stands for.

    Attributes:
        dataset: On disk where the recipe says so and all seeds share a split.
        split: Gives each seed its own split, on disk where the recipe says so; or None.
        loader: Function of the seed, or None for the whole graph.
    """

    dataset: Dataset
    split: Split | None
    loader: Callable[[int], Iterable[Any]] | None


@contextmanager
def prepared(recipe: LinkRecipe, run_dir: str | Path | None) -> Iterator[LinkPrepared]:
    """Load the data set and prepare its loaders; stores and plans live in the run folder.

    Without a run folder, and without ``loader.path``, they are made in a temporary folder
    that is removed at the end.
    """
    d = link_recipe.dataset(recipe.data)
    split = link_recipe.splitter(recipe.data.split)
    chosen = recipe.loader
    if chosen is None:
        yield LinkPrepared(d, split, None)
        return
    if not chosen.from_disk:
        last = _Last(split)

        def loader(seed: int) -> Iterable[Any]:
            from graphlab.sample import LinkNeighborLoader

            seeded = d if split is None else last(d, seed)
            return LinkNeighborLoader(
                seeded, **_pairs(recipe, seeded, seed), **sampling(chosen)
            )

        yield LinkPrepared(d, None if split is None else last, loader)
        return
    folder = chosen.path or run_dir
    if folder is not None:
        yield _from_disk(d, split, recipe, Path(folder))
        return
    with tempfile.TemporaryDirectory(prefix="graphlab-") as temporary:
        yield _from_disk(d, split, recipe, Path(temporary))


class _Last:
    """A split function that remembers the last seed's: it is asked for twice."""

    def __init__(self, split: Split | None) -> None:
        self._split = split
        self._made: tuple[int, Dataset] | None = None

    def __call__(self, d: Dataset, seed: int) -> Dataset:
        if self._made is None or self._made[0] != seed:
            assert self._split is not None
            self._made = (seed, self._split(d, seed))
        return self._made[1]


def _from_disk(
    d: Dataset, split: Split | None, recipe: LinkRecipe, folder: Path
) -> LinkPrepared:
    from graphlab import outofcore

    chosen = recipe.loader
    assert chosen is not None
    budget = sizes.parse(chosen.memory)
    stores: dict[int | None, Store] = {}

    def store_of(seed: int | None, made: Callable[[], Dataset]) -> Store:
        """The store of a seed's split; None: that of all seeds."""
        if seed not in stores:
            name = "store" if seed is None else f"store-{seed}"
            stores.clear()
            stores[seed] = make_store(made(), chosen, folder / name, budget)
        return stores[seed]

    def seeded(d: Dataset, seed: int) -> Dataset:
        assert split is not None
        return store_of(seed, lambda: split(d, seed)).dataset()

    shared = d if split is not None else store_of(None, lambda: d).dataset()

    def loader(seed: int) -> Iterable[Any]:
        if split is None:
            store = store_of(None, lambda: d)
        else:
            store = store_of(seed, lambda: split(d, seed))
        plan = outofcore.plan(
            store,
            path=folder / f"plan-{seed}",
            **_pairs(recipe, store.dataset(), seed),
            **sampling(chosen),
            **plan_options(chosen, recipe.fit.epochs),
        )
        tell(plan, folder)
        return plan.loader(device=recipe.fit.device)

    return LinkPrepared(shared, None if split is None else _Last(seeded), loader)


def _pairs(recipe: LinkRecipe, d: Dataset, seed: int) -> dict[str, Any]:
    """The training pairs of a seed, for a loader or a plan."""
    pos = positives(d, "train")
    size = recipe.fit.batch_size
    return {
        "edge_label_index": pos.contiguous(),
        "neg_sampling_ratio": 1.0,
        "batch_size": size,
        # As where the whole graph is encoded: no step of a few pairs at the end.
        "drop_last": pos.shape[1] > size,
        "seed": seed,
    }
