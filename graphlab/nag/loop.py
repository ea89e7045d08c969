"""The search: ask, evaluate, tell, keep an archive; resumable through its evaluator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag import baselines
from graphlab.nag.archive import Archive
from graphlab.nag.bayesian import Bayesian, Searcher
from graphlab.nag.denoiser import Denoiser
from graphlab.nag.evaluation import Evaluate, Evaluator
from graphlab.nag.space import SearchSpace

METHODS = ("bayesian", *baselines.NAMES)


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        method: How it searched.
        architectures: Evaluated ones, in order.
        scores: Of each, larger is better.
        archive: Elites by cost, or None.
        calls: Evaluations that were not answered by the cache.
    """

    method: str
    architectures: list[str]
    scores: list[float]
    archive: Archive | None
    calls: int

    @property
    def best(self) -> str:
        """The architecture of the best score, the first of equals."""
        return self.architectures[self.scores.index(max(self.scores))]

    def incumbents(self) -> list[float]:
        """Best score after each evaluation."""
        found, best = [], float("-inf")
        for score in self.scores:
            best = max(best, score)
            found.append(best)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        return {
            "method": self.method,
            "best": self.best,
            "score": max(self.scores),
            "evaluations": len(self.scores),
            "calls": self.calls,
            "architectures": self.architectures,
            "scores": self.scores,
            "archive": None if self.archive is None else self.archive.to_json(),
        }


def search(
    space: SearchSpace,
    evaluate: Evaluate | Evaluator,
    evaluations: int,
    *,
    method: str = "bayesian",
    denoiser: Denoiser | None = None,
    batch: int = 5,
    seed: int = 0,
    niches: Mapping[str, Sequence[float]] | None = None,
    cost_of: Callable[[str], Mapping[str, float]] | None = None,
    on_score: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> SearchResult:
    """Search a space for architectures of high score.

    Args:
        space: The search space.
        evaluate: Architecture's string -> score, larger is better; or an
            :class:`graphlab.nag.Evaluator`, for a cache on disk, workers and resume: a search
            is a function of its seed and the scores, so the same call with the same file goes
            on where a killed one was, without evaluating anything again.
        evaluations: How many; an architecture is evaluated once.
        method: ``bayesian``, or a baseline: ``random``, ``evolution``, ``local``,
            ``bananas``.
        denoiser: Generates the candidates of ``bayesian``; None: trained here, on 2,000
            uniform architectures of the space (no scores).
        batch: Proposals at a time; ``evolution`` and ``local`` take one.
        seed: Names all draws.
        niches: Cost name -> borders: keep a MAP-Elites archive over costs.
        cost_of: Architecture's string -> costs, for the archive; default the space's closed
            forms.
        on_score: Hears of every score.
        settings: More arguments of :class:`graphlab.nag.Bayesian`.

    Returns:
        Architectures and scores in order, and the archive.

    Raises:
        ValueError: a method, number or setting that cannot be.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> found = search(space, lambda text: text.count("3x3"), 12, method="random")
        >>> len(found.scores), found.incumbents()[-1] == max(found.scores)
        (12, True)
    """
    check.one_of("search", "method", method, METHODS)
    check.positive("search", "evaluations", evaluations)
    check.positive("search", "batch", batch)
    evaluator = (
        evaluate if isinstance(evaluate, Evaluator) else Evaluator(space, evaluate)
    )
    calls = evaluator.calls
    archive = None
    if niches is not None:
        archive = Archive(niches) if cost_of else _archive(space, niches)
    settings = {"by_hash": evaluator.by_hash, **settings}
    searcher = _searcher(space, method, denoiser, seed, settings)
    size = 1 if method in ("evolution", "local") else batch
    texts: list[str] = []
    scores: list[float] = []
    while len(scores) < evaluations:
        x = searcher.ask(min(size, evaluations - len(scores)))
        if not len(x):  # the space is used up
            break
        y = evaluator(x)
        searcher.tell(x, torch.tensor(y))
        for text, row, score in zip(space.decode(x), x, y, strict=True):
            texts.append(text)
            scores.append(score)
            if archive is not None:
                costs = cost_of(text) if cost_of else _costs(space, row)
                archive.add(text, score, costs)
            if on_score is not None:
                on_score(text, score)
    return SearchResult(method, texts, scores, archive, evaluator.calls - calls)


def _searcher(
    space: SearchSpace,
    method: str,
    denoiser: Denoiser | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Searcher:
    if method != "bayesian":
        more = sorted(set(settings) - {"by_hash"})
        if more:
            need = f"be empty for method={method!r}"
            check.fail(ValueError, "search", "settings", need, more)
        return baselines.make(method, space, seed, by_hash=settings["by_hash"])
    denoiser = denoiser or default_denoiser(space)
    return Bayesian(space, denoiser, seed=seed, **settings)


def default_denoiser(space: SearchSpace) -> Denoiser:
    """A small denoiser trained for a short while on 2,000 uniform architectures."""
    model = Denoiser(space, hidden=32, blocks=2)
    return model.fit(space.sample(2000, seed=0), steps=300)


def _archive(space: SearchSpace, niches: Mapping[str, Sequence[float]]) -> Archive:
    known = space.costs(space.one_hot(space.sample(1)))
    for name in niches:
        if name not in known:
            need = f"name costs of {space.name}: {', '.join(known) or 'it has none'}"
            check.fail(ValueError, "search", "niches", need, repr(name))
    return Archive(niches)


def _costs(space: SearchSpace, x: Tensor) -> dict[str, float]:
    found = space.costs(space.one_hot(x[None]))
    return {name: float(value[0]) for name, value in found.items()}
