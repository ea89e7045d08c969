"""Recipes of link runs as YAML: data with its split, model, fit.

::

    data: {name: cora, split: {kind: ncn}}
    model: {target: ncnc, hidden_channels: 256, jumping: true, scale: 4.3}
    fit: {seeds: 10, batch_size: 1152, lr: 0.0043, head_lr: 0.0024}

``loader`` is left out where the whole graph is encoded at every step.
The published settings are recipes by name, such as ``cora_ncnc``: see :func:`names`.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, field_validator

from graphlab import datasets
from graphlab.tasks import preparation, recipe, schema, target
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.link_settings import LinkSettings
from graphlab.tasks.schema import ConfigError, Strict

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.link import Split
    from graphlab.tasks.link_result import LinkResult

# Data sets with published settings, as they are named in GRAPHLAB_DATA, and the heads.
PUBLISHED = (
    "cora",
    "citeseer",
    "pubmed",
    "ogbl-collab",
    "ogbl-ppa",
    "ogbl-citation2",
    "ogbl-ddi",
)
HEADS = {"gae": "gae", "ncn": "ncn", "ncnc": "ncnc", "refined-gae": "hadamard"}
OwnNegatives = Literal["hard", "random"]
_FACTORY = "graphlab.models:link_model"


class LinkSplitRecipe(Strict):
    """How edges are split; ``given``: as the data set brings it.

    ``ncn``: 70/10/20 of NCN, a new one for each seed. ``random``: one split by
    ``split_links``. ``heart``: HeaRT's files in ``folder``. With ``hard_negatives`` or
    ``random_negatives`` each positive of validation and test gets so many of its own, by
    the functions of these names in :mod:`graphlab.evaluate`; score them with ``mrr``.
    """

    kind: Literal["given", "ncn", "random", "heart"] = "given"
    exact: bool = True
    val: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    negatives: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0)
    folder: str | None = None
    hard_negatives: int | None = Field(default=None, ge=2)
    random_negatives: int | None = Field(default=None, ge=2)

    @property
    def own(self) -> tuple[OwnNegatives, int] | None:
        """Which negatives each positive gets of its own, and how many."""
        if self.hard_negatives is not None:
            return "hard", self.hard_negatives
        if self.random_negatives is not None:
            return "random", self.random_negatives
        return None


class LinkDataRecipe(Strict):
    """Which data set, which split, what is done to the features."""

    name: str
    root: str | None = None
    split: LinkSplitRecipe = Field(default_factory=LinkSplitRecipe)
    normalize_features: bool = False
    drop_features: bool = False


class LinkLoaderRecipe(recipe.SamplingRecipe):
    """Batches of pairs with the sampled graph around them.

    ``fit.batch_size`` counts their positives. The first hop takes all neighbours, of which
    pairs have common ones.
    """

    num_neighbors: tuple[int, ...] = (-1, 10)


class LinkFitRecipe(LinkSettings):
    """Keywords of :func:`graphlab.tasks.link.fit`; ``seeds`` is a number or a list."""

    seeds: int | tuple[int, ...] = 10

    @property
    def seed_list(self) -> list[int]:
        """The seeds, of which a number means the first so many."""
        seeds = self.seeds
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


class LinkRecipe(Strict):
    """A whole link run; see the module's text."""

    task: Literal["link"] = "link"
    data: LinkDataRecipe
    loader: LinkLoaderRecipe | None = None
    model: dict[str, Any]
    fit: LinkFitRecipe = Field(default_factory=LinkFitRecipe)

    @field_validator("data", mode="before")
    @classmethod
    def _a_name_is_enough(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data

    @field_validator("model", mode="before")
    @classmethod
    def _a_target_is_enough(cls, model: Any) -> Any:
        return {"target": model} if isinstance(model, str) else model

    def to_yaml(self) -> str:
        """Write all keys, defaults too, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def names() -> list[str]:
    """Names of the recipes with published settings.

    Example:
        >>> names()[:4]
        ['citeseer_gae', 'citeseer_ncn', 'citeseer_ncnc', 'citeseer_refined-gae']
    """
    return sorted(f"{data}_{head}" for data in PUBLISHED for head in HEADS)


def published(data: str, head: str) -> dict[str, Any]:
    """Return the published settings of a pair as the keys of a recipe."""
    from graphlab.models import link_preset

    preset = link_preset(data, head)
    model = {"target": _FACTORY, **preset["model"]}
    split = {"kind": "given" if data.startswith("ogbl") else "ncn"}
    fit = dict(preset["fit"])
    if data == "ogbl-citation2":
        fit |= {"negatives": "targets", "exclude_batch": False, "clip": 1.0}
    return {"data": {"name": data, "split": split}, "model": model, "fit": fit}


def load(
    source: str | Path | Mapping[str, Any] | LinkRecipe, overrides: Iterable[str] = ()
) -> LinkRecipe:
    """Read a link recipe, apply overrides and check every key.

    Args:
        source: Path of a YAML file, a name of :func:`names`, a mapping, or a recipe.
        overrides: ``a.b=c`` each, ``c`` a YAML value: ``fit.lr=0.1``, ``model.depth=2``.

    Raises:
        ConfigError: an unknown key or recipe, with the nearest known one; a value that
            cannot be; text that is no YAML mapping.

    Example:
        >>> load("cora_ncnc", ["fit.epochs=3"]).fit.epochs
        3
    """
    if isinstance(source, LinkRecipe):
        tree: Any = source.model_dump(mode="json")
    elif isinstance(source, Mapping):
        tree = copy.deepcopy(dict(source))
    elif str(source) in names():
        data, _, head = str(source).rpartition("_")
        tree = published(data, head)
    else:
        if not Path(source).is_file():
            hint = schema.nearest(str(source), names())
            raise ConfigError(
                "recipe: `recipe` must be a YAML file or the name of a link recipe, got "
                f"{str(source)!r}; {hint}"
            )
        tree = recipe.read_tree(source)
    for text in overrides:
        recipe.override(tree, text)
    built = schema.build(LinkRecipe, tree, "recipe")
    if "target" not in built.model:
        raise ConfigError("recipe: `model.target` must be given")
    if built.loader is not None and built.fit.negatives != "pairs":
        raise ConfigError(
            "recipe: `fit.negatives` must be pairs where a loader draws them, got "
            f"{built.fit.negatives}; leave out loader"
        )
    return built.model_copy(update={"model": expanded(built.model)})


def expanded(model: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``ncn`` as graphlab's factory with that head; check the arguments.

    Raises:
        ConfigError: an unknown target or argument.
    """
    arguments = dict(model)
    name = str(arguments.pop("target"))
    if name in HEADS:
        arguments = {"head": HEADS[name], **arguments}
        name = _FACTORY
    elif ":" not in name:
        known = ", ".join(HEADS)
        raise ConfigError(
            f"recipe: `model.target` must be one of {known} or package.module:Class, "
            f"got {name!r}; {schema.nearest(name, HEADS)}"
        )
    target.factory(name, arguments)
    return {"target": name, **arguments}


def run_recipe(
    source: str | Path | Mapping[str, Any] | LinkRecipe,
    *,
    overrides: Iterable[str] = (),
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> LinkResult:
    """Run a link recipe: data, split, model, training.

    Args:
        source: See :func:`load`.
        overrides: See :func:`load`.
        run_dir: The run folder; the resolved recipe is in its config.json.
        callbacks: Hear of runs and epochs.

    Returns:
        The result of :func:`graphlab.tasks.link.fit`.
    """
    from graphlab.tasks import link, link_preparation

    resolved = load(source, overrides)
    arguments = dict(resolved.model)
    factory = target.factory(arguments.pop("target"), arguments)
    with link_preparation.prepared(resolved, run_dir) as ready:
        return link.fit(
            ready.dataset,
            factory,
            split=ready.split,
            loader=ready.loader,
            seeds=resolved.fit.seed_list,
            run_dir=run_dir,
            callbacks=callbacks,
            **resolved.fit.model_dump(exclude={"seeds"}),
            notes={"recipe": resolved.model_dump(mode="json")},
        )


def dataset(chosen: LinkDataRecipe) -> Dataset:
    """Load the data set of a recipe, undirected, with the split that all seeds share."""
    d = datasets.load(chosen.name, chosen.root)
    # OGB's citation2 is directed: link models see it both ways round, as published.
    d = d if d.graph.is_undirected() else d.to_undirected()
    if chosen.normalize_features and d.x is not None:
        d.x = preparation.row_normalized(d.x)
    if chosen.drop_features and d.x is not None:
        del d["x"]
    split = chosen.split
    if split.kind == "random":
        d = datasets.split_links(
            d,
            val=split.val,
            test=split.test,
            negatives=split.negatives,
            seed=split.seed,
        )
    elif split.kind == "heart":
        if split.folder is None:
            raise ConfigError("recipe: `data.split.folder` must be given for heart")
        d = datasets.read_heart(d, split.folder)
    if split.kind != "ncn" and split.own is not None:
        d = with_own_negatives(d, *split.own)
    return d


def splitter(chosen: LinkSplitRecipe) -> Split | None:
    """The function that gives each seed its own split, or None where all share one."""
    if chosen.kind != "ncn":
        return None
    split: Callable[[Dataset, int], Dataset] = functools.partial(
        datasets.split_links_ncn, exact=chosen.exact
    )
    own = chosen.own
    if own is None:
        return split
    return lambda d, seed: with_own_negatives(split(d, seed), *own)


def with_own_negatives(d: Dataset, kind: OwnNegatives, number: int) -> Dataset:
    """The data set with each positive's own negatives, of our generators."""
    from graphlab.evaluate import hard_negatives, random_negatives

    result = d.with_splits(d.splits)
    val, test = (d.edge_splits[split]["edge"] for split in ("val", "test"))
    result.edge_splits = {"train": d.edge_splits["train"]}
    for split, pos, known in (("val", val, None), ("test", test, val)):
        if kind == "hard":
            own = hard_negatives(d.graph, pos, d.x, number=number, known=known)
        else:
            own = random_negatives(d.graph, pos, number=number, known=known)
        result.edge_splits[split] = {"edge": pos, "edge_neg_own": own}
    name, bracket, rest = str(d.meta.get("link_split", "given")).partition("(")
    named = f"{name}, {number} {kind} negatives{bracket}{rest}"
    result.meta["link_split"] = named
    return result
