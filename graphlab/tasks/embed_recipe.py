"""Recipes of embeddings: a run as YAML: data, embed, evaluate.

::

    data: blogcatalog
    embed: {method: deepwalk, dim: 128, window: 10}
    evaluate: {protocols: [deepwalk], train_shares: [0.1, 0.5, 0.9]}
"""

from __future__ import annotations

import importlib.resources
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from graphlab.embed import NodeEmbedding
from graphlab.tasks import schema
from graphlab.tasks.schema import ConfigError, Strict


class EvaluateRecipe(Strict):
    """See :func:`graphlab.tasks.embed.fit`."""

    protocols: tuple[str, ...] = ()
    train_shares: tuple[float, ...] = (0.1, 0.5, 0.9)
    repeats: int = Field(default=10, ge=1)
    normalize: bool = False
    hide_edges: float | None = Field(default=None, gt=0, lt=1)


class EmbedRecipe(Strict):
    """A whole run; ``embed`` holds arguments of NodeEmbedding."""

    data: str
    embed: dict[str, Any]
    evaluate: EvaluateRecipe = Field(default_factory=EvaluateRecipe)

    def call(self) -> dict[str, Any]:
        """Arguments of :func:`graphlab.tasks.embed.fit`."""
        e = self.evaluate
        return {
            "method": "deepwalk",
            **self.embed,
            "evaluate": list(e.protocols),
            "train_shares": list(e.train_shares),
            "repeats": e.repeats,
            "normalize": e.normalize,
            "hide_edges": e.hide_edges,
        }


def names() -> list[str]:
    """Names of the recipes that graphlab brings."""
    found = (entry.name for entry in _folder().iterdir())
    return sorted(n.removesuffix(".yaml") for n in found if n.endswith(".yaml"))


def load(source: str | Path) -> EmbedRecipe:
    """Read a recipe and check every key.

    Args:
        source: Path of a YAML file, or the name of a recipe that graphlab brings.

    Raises:
        ConfigError: an unknown recipe or key, with the nearest known one.

    Example:
        >>> load("blogcatalog_deepwalk").data
        'blogcatalog'
    """
    path = Path(source)
    if str(source) in names():
        text = (_folder() / f"{source}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        hint = schema.nearest(str(source), names())
        raise ConfigError(
            f"embed: `recipe` must be a YAML file or the name of a recipe, got "
            f"{str(source)!r}; {hint}"
        )
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"embed: {source} must be YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"embed: {source} must hold the keys data, embed, evaluate")
    recipe = schema.build(EmbedRecipe, tree, "embed")
    _require_known(recipe.embed)
    return recipe


def arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``name=value`` texts, values as YAML, into arguments of NodeEmbedding.

    Example:
        >>> arguments(["window=5", "compat=reference"])
        {'window': 5, 'compat': 'reference'}
    """
    out: dict[str, Any] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"embed: an argument must be name=value, got {text!r}")
        out[name.strip()] = yaml.safe_load(value)
    _require_known(out)
    return out


def _require_known(given: dict[str, Any]) -> None:
    known = set(inspect.signature(NodeEmbedding.__init__).parameters) - {"self"}
    known |= {"steps", "mu", "theta"}  # ProNE's
    for name in given:
        if name not in known:
            hint = schema.nearest(name, known)
            raise ConfigError(f"embed: unknown key `{name}`; {hint}")


def _folder() -> Any:
    return importlib.resources.files("graphlab.tasks") / "recipes" / "embed"
