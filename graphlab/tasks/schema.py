"""Settings from keyword arguments and YAML: unknown keys and bad values named in words."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from graphlab.errors import GraphlabError


class ConfigError(GraphlabError, ValueError):
    """A setting is unknown or has a value that cannot be.

    Attributes:
        exit_code: What the command line ends with: it was used wrongly.
    """

    exit_code = 2


class Strict(BaseModel):
    """Settings that cannot change and accept no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Settings = TypeVar("Settings", bound=Strict)


def build(kind: type[Settings], values: Mapping[str, Any], function: str) -> Settings:
    """Make settings from values.

    Args:
        kind: Class of the settings.
        values: Their fields; missing ones get their defaults.
        function: What is being called, for messages.

    Raises:
        ConfigError: an unknown key, with the nearest known one; a value that cannot be.

    Example:
        >>> class Steps(Strict):
        ...     epochs: int = 10
        >>> build(Steps, {"epochs": 3}, "fit")
        Steps(epochs=3)
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        problems = [_in_words(kind, problem) for problem in error.errors()]
        raise ConfigError(f"{function}: {'; '.join(problems)}") from None


def nearest(name: str, known: Iterable[str]) -> str:
    """Write ``did you mean ...``, or what there is where nothing is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if not near:
        return f"there are {', '.join(known)}"
    # Of equally near names, the one that begins alike: slips are rarer in first letters.
    best = max(near, key=lambda k: (_likeness(name, k), _alike_so_far(name, k)))
    return f"did you mean `{best}`?"


def _alike_so_far(name: str, other: str) -> int:
    pairs = itertools.takewhile(lambda p: p[0] == p[1], zip(name, other, strict=False))
    return sum(1 for _ in pairs)


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, name).ratio()


def _in_words(kind: type[BaseModel], problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] == "extra_forbidden":
        known = _fields(kind, path[:-1])
        return f"unknown key `{name}`; {nearest(path[-1], known)}"
    if problem["type"] == "missing":
        return f"`{name}` must be given"
    rule = problem["msg"][:1].lower() + problem["msg"][1:]
    rule = rule.removeprefix("input should ").removeprefix("value error, ")
    return f"`{name}` must {rule}, got {problem['input']!r}"


def _fields(kind: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields of the settings found along a path of keys."""
    for part in path:
        field = kind.model_fields.get(part)
        if field is None:  # a branch of a union, which pydantic names in the path
            continue
        inner = field.annotation
        candidates = [inner, *getattr(inner, "__args__", ())]
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                kind = candidate
                break
    return list(kind.model_fields)
