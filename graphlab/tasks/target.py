"""Targets: ``package.module:Class`` and the short names of graphlab's own models."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from graphlab.tasks.calling import Factory
from graphlab.tasks.schema import ConfigError, nearest

ALIASES = {
    "adpa": "graphlab.models:ADPA",
    "dirgnn": "graphlab.models:DirGNN",
    "gat": "graphlab.models:GAT",
    "gcn": "graphlab.models:GCN",
    "gcnii": "graphlab.models:GCNII",
    "grand": "graphlab.models:GRAND",
    "magnet": "graphlab.models:MagNet",
    "mlp": "graphlab.models:MLP",
    "sage": "graphlab.models:SAGE",
    "sgc": "graphlab.models:SGC",
    "sign": "graphlab.models:SIGN",
}


def expand(target: str) -> str:
    """Write an alias as ``package.module:Class``.

    Raises:
        ConfigError: neither an alias nor of that form, with the nearest alias.

    Example:
        >>> expand("gcn")
        'graphlab.models:GCN'
    """
    if target in ALIASES:
        return ALIASES[target]
    module, colon, name = target.partition(":")
    if not (colon and module and name):
        raise ConfigError(
            f"recipe: `model.target` must be an alias or package.module:Class, "
            f"got {target!r}; {nearest(target, ALIASES)}"
        )
    return target


def load(target: str) -> Factory:
    """Import a target.

    Raises:
        ConfigError: no such alias, module or name in it, or it is no class or function.
    """
    path, _, name = expand(target).partition(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"recipe: `model.target` must be importable, got {target!r}: {error}; "
            "run from the folder that holds the module, or install it"
        ) from error
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(
                f"recipe: `model.target` must be in {path}, got {name!r}; "
                f"{nearest(part, (n for n in dir(found) if not n.startswith('_')))}"
            )
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"recipe: `model.target` must be a class, got {found!r}")
    factory: Factory = found
    return factory


def factory(target: str, arguments: Mapping[str, Any]) -> Factory:
    """Return a factory of models: a target with its arguments filled in.

    Raises:
        ConfigError: the target takes no argument of a name, with the nearest one.
    """
    made = load(target)
    named = {k: v for k, v in arguments.items() if k != "positional"}
    signature = inspect.signature(made).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in signature.values())
    for name in named:
        if name not in signature and not open_ended:
            known = [n for n in signature if n not in ("in_channels", "out_channels")]
            raise ConfigError(
                f"recipe: unknown key `model.{name}` of {target}; {nearest(name, known)}"
            )
    return functools.partial(made, *arguments.get("positional", ()), **named)
