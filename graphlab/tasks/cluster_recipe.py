"""Recipes of clusterings: data, model, fit as YAML.

::

    data: {name: acm}
    model: {preset: acm, epochs: 200}
    fit: {seeds: 10}
"""

from __future__ import annotations

import importlib.resources
import inspect
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from graphlab.tasks import cluster, schema
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.cluster_result import ClusterResult
from graphlab.tasks.recipe import override
from graphlab.tasks.schema import ConfigError, Strict


class ClusterData(Strict):
    """Which data set; ``knn`` and ``metric`` count where it has no edges."""

    name: str
    root: str | None = None
    knn: int = Field(default=3, ge=1)
    metric: Literal["euclidean", "cosine", "overlap"] = "euclidean"


class ClusterFit(Strict):
    """Keywords of :func:`graphlab.tasks.cluster.fit`; ``seeds`` is a number or a list."""

    seeds: int | tuple[int, ...] = 10
    n_clusters: int | None = Field(default=None, ge=1)
    baselines: tuple[str, ...] = cluster.BASELINES
    score_epochs: bool = True

    @property
    def seed_list(self) -> list[int]:
        """The seeds, of which a number means the first so many."""
        seeds = self.seeds
        return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


class ClusterRecipe(Strict):
    """A whole clustering run; ``model`` holds arguments of PamCGC, or ``preset``."""

    data: ClusterData
    model: dict[str, Any] = Field(default_factory=dict)
    fit: ClusterFit = Field(default_factory=ClusterFit)

    @field_validator("data", mode="before")
    @classmethod
    def _a_name_is_enough(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


def names() -> list[str]:
    """Names of the recipes that graphlab brings."""
    folder = importlib.resources.files("graphlab.tasks") / "recipes" / "cluster"
    found = [entry.name for entry in folder.iterdir()]
    return sorted(n.removesuffix(".yaml") for n in found if n.endswith(".yaml"))


def load(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()
) -> ClusterRecipe:
    """Read a recipe, apply overrides and check every key.

    Args:
        source: Path of a YAML file, name of a recipe that graphlab brings, or a mapping.
        overrides: ``a.b=c`` each, ``c`` a YAML value.

    Raises:
        ConfigError: an unknown key or recipe, with the nearest known one; a value that
            cannot be.

    Example:
        >>> load({"data": "acm", "model": {"preset": "acm"}}, ["model.epochs=5"]).model
        {'preset': 'acm', 'epochs': 5}
    """
    if isinstance(source, Mapping):
        tree = {k: dict(v) if isinstance(v, Mapping) else v for k, v in source.items()}
    else:
        tree = _read(source)
    for text in overrides:
        override(tree, text)
    recipe = schema.build(ClusterRecipe, tree, "recipe")
    # Checks the values too, before anything is read.
    factory(recipe)(seed=0)
    return recipe


def factory(recipe: ClusterRecipe) -> Any:
    """Factory of the recipe's estimators, called with a seed.

    Raises:
        ConfigError: an argument that PamCGC does not take, or a preset that is not there.
    """
    from graphlab.models import PamCGC
    from graphlab.models.pamc_presets import PRESETS

    arguments = dict(recipe.model)
    preset = arguments.pop("preset", None)
    if preset is not None:
        if preset not in PRESETS:
            near = schema.nearest(str(preset), PRESETS)
            raise ConfigError(f"recipe: no preset {preset!r}; {near}")
        arguments = {**PRESETS[preset], **arguments}
    known = [n for n in inspect.signature(PamCGC).parameters if n != "seed"]
    for name in arguments:
        if name not in known:
            near = schema.nearest(name, [*known, "preset"])
            raise ConfigError(f"recipe: unknown key `model.{name}`; {near}")
    return partial(PamCGC, **arguments)


def run(
    recipe: ClusterRecipe,
    *,
    run_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    autoencoders: str | Path | None = None,
) -> ClusterResult:
    """Run a recipe.

    Raises:
        DatasetNotFoundError: the data set is not there.
    """
    from graphlab import datasets

    d = datasets.load(recipe.data.name, recipe.data.root)
    fit = recipe.fit
    # Seeds may be added to a run; they stand in the config beside the recipe.
    noted = recipe.model_dump(mode="json")
    noted["fit"].pop("seeds")
    return cluster.fit(
        d,
        factory(recipe),
        n_clusters=fit.n_clusters,
        seeds=fit.seed_list,
        run_dir=run_dir,
        callbacks=callbacks,
        graph=cluster.graph_of(d, knn=recipe.data.knn, metric=recipe.data.metric),
        baselines=fit.baselines,
        autoencoders=autoencoders,
        score_epochs=fit.score_epochs,
        notes={"recipe": noted},
    )


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if isinstance(source, str) and source in names():
        folder = importlib.resources.files("graphlab.tasks") / "recipes" / "cluster"
        text = (folder / f"{source}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        near = schema.nearest(str(source), names())
        raise ConfigError(
            f"recipe: `recipe` must be a YAML file or the name of a recipe, got "
            f"{str(source)!r}; {near}"
        )
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe: {source} must be YAML: {error}") from error
    if not isinstance(tree, dict):
        got = type(tree).__name__
        raise ConfigError(
            f"recipe: {source} must hold the keys data, model, fit; got {got}"
        )
    return tree
