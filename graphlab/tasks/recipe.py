"""Recipes: a training run as YAML: data, loader, model, fit.

::

    data: {name: cora, normalize_features: true}
    model: {target: gcn, hidden_channels: 64}
    fit: {seeds: 10, epochs: 200, lr: 0.01}

``loader`` is left out for full-batch training. ``target`` is an alias or the
``package.module:Class`` of any module, which gets the other keys as arguments.
"""

from __future__ import annotations

import copy
import importlib.resources
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from graphlab import sizes
from graphlab.tasks import preparation, schema, target
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.result import Result
from graphlab.tasks.schema import ConfigError, Strict
from graphlab.tasks.settings import FitSettings


class SplitRecipe(Strict):
    """A split, where the data set brings none or another is wanted.

    ``train``, ``val`` and ``stratified`` are shares for ``random``; ``per_class``,
    ``num_val`` and ``num_test`` numbers of nodes for ``per_class``.
    """

    kind: Literal["random", "per_class"] = "random"
    train: float = Field(default=0.6, gt=0, lt=1)
    val: float = Field(default=0.2, gt=0, lt=1)
    stratified: bool = False
    per_class: int = Field(default=20, ge=1)
    num_val: int = Field(default=500, ge=1)
    num_test: int | None = Field(default=None, ge=1)
    runs: int = Field(default=10, ge=1)
    seed: int = Field(default=0, ge=0)


class DataRecipe(Strict):
    """Which data set, which split, what is done to the features."""

    name: str
    root: str | None = None
    splits: str | None = None
    undirected: bool | None = None
    split: SplitRecipe | None = None
    normalize_features: bool = False


class SamplingRecipe(Strict):
    """How batches are sampled, from memory or from disk.

    ``memory``, ``disk``, ``mode``, ``policy``, ``node_order``, ``device_memory``,
    ``resample_every`` and ``sampled_epochs`` go to :func:`graphlab.outofcore.plan`,
    ``layout`` to ``Store.convert``; they count only with ``from_disk``.
    """

    num_neighbors: tuple[int, ...] = (15, 10)
    replace: bool = False
    weighted: bool = False
    method: Literal["uniform", "labor"] = "uniform"
    from_disk: bool = False
    memory: int | str = "2GiB"
    disk: int | str | None = None
    mode: str = "auto"
    policy: str | None = None
    node_order: Literal["discovery", "packed"] = "discovery"
    device_memory: int | str | None = None
    sampled_epochs: int | None = Field(default=None, ge=1)
    resample_every: int | None = Field(default=None, ge=1)
    layout: Literal["source", "dense"] = "dense"
    path: str | None = None

    @field_validator("memory", "disk", "device_memory")
    @classmethod
    def _a_size(cls, size: int | str | None) -> int | str | None:
        if size is not None:
            sizes.parse(size)
        return size


class LoaderRecipe(SamplingRecipe):
    """Sampled batches of nodes.

    ``evaluation`` says how validation nodes are scored while training; how the chosen
    weights are, says ``fit.final_inference``.
    """

    batch_size: int = Field(default=1024, ge=1)
    evaluation: Literal["exact", "sampled"] = "exact"


class FitRecipe(FitSettings):
    """Keywords of :func:`graphlab.tasks.node.fit`; ``seeds`` is a number or a list."""

    seeds: int | tuple[int, ...] = 10

    @property
    def seed_list(self) -> list[int]:
        """The seeds, of which a number means the first so many."""
        seeds = self.seeds
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


class Recipe(Strict):
    """A whole training run; see the module's text."""

    data: DataRecipe
    loader: LoaderRecipe | None = None
    model: dict[str, Any]
    fit: FitRecipe = Field(default_factory=FitRecipe)

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


def load(
    source: str | Path | Mapping[str, Any] | Recipe, overrides: Iterable[str] = ()
) -> Recipe:
    """Read a recipe, apply overrides and check every key.

    Args:
        source: Path of a YAML file, name of a recipe that graphlab brings (see
            :func:`names`), a mapping, or a recipe.
        overrides: ``a.b=c`` each, ``c`` a YAML value: ``fit.lr=0.1``,
            ``loader.num_neighbors=[10,5]``, ``loader=null``.

    Raises:
        ConfigError: an unknown key or recipe, with the nearest known one; a value that
            cannot be; text that is no YAML mapping.

    Example:
        >>> load({"data": "cora", "model": "gcn"}, ["fit.lr=0.1"]).fit.lr
        0.1
    """
    if isinstance(source, Recipe):
        tree: Any = source.model_dump(mode="json")
    elif isinstance(source, Mapping):
        tree = copy.deepcopy(dict(source))
    else:
        tree = read_tree(source)
    for text in overrides:
        override(tree, text)
    recipe = schema.build(Recipe, tree, "recipe")
    if "target" not in recipe.model:
        raise ConfigError("recipe: `model.target` must be given")
    sampled = recipe.loader is not None and recipe.loader.evaluation == "sampled"
    if recipe.fit.final_inference == "sampled" and not sampled:
        raise ConfigError(
            "recipe: `fit.final_inference` can be sampled only with "
            "loader.evaluation=sampled"
        )
    model = dict(recipe.model)
    name = str(model.pop("target"))
    target.factory(name, model)
    expanded = {"target": target.expand(name), **model}
    return recipe.model_copy(update={"model": expanded})


def names() -> list[str]:
    """Names of the recipes that graphlab brings."""
    folder = importlib.resources.files("graphlab.tasks") / "recipes"
    found = [entry.name for entry in folder.iterdir()]
    return sorted(n.removesuffix(".yaml") for n in found if n.endswith(".yaml"))


def run_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    overrides: Iterable[str] = (),
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Run a recipe: data, loader, model, training.

    Args:
        recipe: See :func:`load`.
        overrides: See :func:`load`.
        run_dir: The run folder; the resolved recipe is in its config.json.
        callbacks: Hear of runs and epochs.

    Returns:
        The result of :func:`graphlab.tasks.node.fit`.

    Raises:
        ConfigError: as :func:`load`.
        DatasetNotFoundError: the data set is not there.
        BudgetError: a memory or disk budget cannot hold.
    """
    from graphlab.tasks import node

    resolved = load(recipe, overrides)
    arguments = dict(resolved.model)
    factory = target.factory(arguments.pop("target"), arguments)
    fit = resolved.fit.model_dump(exclude={"seeds"})
    with preparation.prepared(resolved, run_dir) as ready:
        return node.fit(
            ready.dataset,
            factory,
            loader=ready.loader,
            eval_loader=ready.eval_loader,
            seeds=resolved.fit.seed_list,
            run_dir=run_dir,
            callbacks=callbacks,
            **{**fit, **ready.settings},
            notes={"recipe": resolved.model_dump(mode="json")},
        )


def read_tree(source: str | Path) -> Any:
    """Read the keys of a YAML file, or of a recipe that graphlab brings.

    Raises:
        ConfigError: neither; or no YAML mapping.
    """
    path = Path(source)
    if isinstance(source, str) and source in names():
        folder = importlib.resources.files("graphlab.tasks") / "recipes"
        text = (folder / f"{source}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        hint = schema.nearest(str(source), names())
        raise ConfigError(
            f"recipe: `recipe` must be a YAML file or the name of a recipe, got "
            f"{str(source)!r}; {hint}"
        )
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe: {source} must be YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(
            f"recipe: {source} must hold the keys data, model, fit; "
            f"got {type(tree).__name__}"
        )
    return tree


def override(tree: dict[str, Any], text: str) -> None:
    """Set one key of nested mappings; mappings that are missing on the way are made."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.strip().split(".")):
        raise ConfigError(f"recipe: an override must be a.b=value, got {text!r}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe: the value of {text!r} must be YAML") from error
    # YAML 1.1 reads 1e-3, without a dot, as text.
    if isinstance(parsed, str):
        try:
            parsed = float(parsed) if "e" in parsed.lower() else parsed
        except ValueError:
            pass
    put(tree, path.strip(), parsed)


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings; mappings that are missing on the way are made.

    Raises:
        ConfigError: something on the way is a value.
    """
    keys = path.split(".")
    place = tree
    for key in keys[:-1]:
        inner = place.get(key)
        if isinstance(inner, str) and key in ("data", "model"):
            inner = {"name" if key == "data" else "target": inner}
        place[key] = {} if inner is None else inner
        place = place[key]
        if not isinstance(place, dict):
            raise ConfigError(f"recipe: `{key}` in {path} must hold keys, not a value")
    place[keys[-1]] = value
