"""Bayesian optimisation whose candidates come from guided generation; ask and tell."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag import surrogates
from graphlab.nag.acquisition import NAMES as ACQUISITIONS
from graphlab.nag.acquisition import acquire
from graphlab.nag.denoiser import Denoiser
from graphlab.nag.guidance import Guidance
from graphlab.nag.objective import Objective
from graphlab.nag.space import LISTED, SearchSpace


class Searcher(Protocol):
    """Proposes architectures and learns from their scores."""

    def ask(self, count: int) -> Tensor:
        """Propose architectures that were not evaluated: int64 [count, V]."""

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Learn scores [B] of architectures [B, V]; larger is better."""


class History:
    """What was evaluated: architectures, scores, and what is used up.

    Args:
        space: The space.
        by_hash: Architectures that compute the same count as one, so that none is proposed
            twice; False: each string for itself.
    """

    def __init__(self, space: SearchSpace, *, by_hash: bool = True) -> None:
        self.space, self.by_hash = space, by_hash
        self.x = torch.empty(0, space.num_nodes, dtype=torch.int64)
        self.y = torch.empty(0)
        self.seen: set[object] = set()

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take scores in."""
        self.x, self.y = torch.cat([self.x, x]), torch.cat([self.y, y.float()])
        self.seen |= set(self._keys(x))

    def _keys(self, x: Tensor) -> list[object]:
        if self.by_hash:
            return list(self.space.hashes(x))
        return [tuple(row) for row in x.tolist()]

    def fresh(self, x: Tensor) -> Tensor:
        """Rows of ``x`` that were not evaluated, each once, in order: int64 [n, V]."""
        rows = list({tuple(row): None for row in x.tolist()})
        unique = torch.tensor(rows, dtype=torch.int64).view(-1, self.space.num_nodes)
        kept: dict[object, int] = {}
        for place, key in enumerate(self._keys(unique)):
            if key not in self.seen:
                kept.setdefault(key, place)
        return unique[list(kept.values())]

    def random(self, count: int, draw: torch.Generator) -> Tensor:
        """Uniform architectures that were not evaluated; fewer where the space ends."""
        found = self.fresh(self.space.sample(4 * count + 16, generator=draw))
        if len(found) < count and self.space.size <= LISTED:
            every = self.space.canonical(self.space.enumerate())
            order = torch.randperm(len(every), generator=draw)
            found = self.fresh(torch.cat([found, every[order]]))
        return found[:count]

    @property
    def best(self) -> float:
        """Best score so far."""
        return float(self.y.max())

    def top(self, count: int) -> Tensor:
        """The best architectures so far: [count, V]."""
        return self.x[self.y.argsort(descending=True, stable=True)[:count]]


class Bayesian:
    """Each round: fit a surrogate, generate guided candidates, evaluate the most promising.

    Candidates are samples of the denoiser guided by the surrogate, and untried neighbours of
    the best architectures so far, so that the pool holds both new regions and the surroundings
    of what is good.

    Args:
        space: The search space.
        denoiser: A trained one; None: the pool is uniform (the control without diffusion).
        surrogate: ``ensemble``, ``gp`` or ``boosting``.
        acquisition: ``ei``, ``pi``, ``ucb``, ``its`` or ``ts`` (one function a round); see
            :func:`graphlab.nag.acquisition.acquire`.
        initial: Random evaluations before the first surrogate.
        candidates: Generated in a round.
        scale: Of the guidance, in [0, 1].
        guidance: ``gradient``, ``resample`` or ``both``; None: the gradient where the
            surrogate has one. Candidates are ranked afterwards, so many different ones are
            worth more than samples of the exact target, of which resampling makes copies.
        refine: Share of candidates that differ from good architectures in one node.
        costs: Cost name -> weight in the guidance; see :class:`graphlab.nag.Objective`.
        loss: Of an ``ensemble``: ``mse`` or ``kendall``.
        settings: More arguments of the surrogate.
        seed: Names all draws.
        pool: Candidates to rank instead of generating: the control that ranks all.
        by_hash: See :class:`History`.
        start: Architectures [n, V] that are evaluated first, such as well-known ones; they
            count among the ``initial`` ones.

    Source:
        An et al., "DiffusionNAG", ICLR 2024, describe the loop and did not release it; ours
        follows White et al., "BANANAS", AAAI 2021, with generated candidates.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> search = Bayesian(space, initial=4, candidates=32, settings={"steps": 10})
        >>> for _ in range(2):
        ...     x = search.ask(4)
        ...     search.tell(x, (x == 5).sum(1).float())
        >>> len(search.history.y)
        8
    """

    def __init__(
        self,
        space: SearchSpace,
        denoiser: Denoiser | None = None,
        *,
        surrogate: str = "ensemble",
        acquisition: str = "ei",
        initial: int = 10,
        candidates: int = 200,
        scale: float = 0.5,
        guidance: str | None = None,
        refine: float = 0.5,
        costs: dict[str, float] | None = None,
        loss: str = "mse",
        settings: dict[str, Any] | None = None,
        seed: int = 0,
        pool: Tensor | None = None,
        by_hash: bool = True,
        start: Tensor | None = None,
    ) -> None:
        check.one_of("search", "surrogate", surrogate, surrogates.NAMES)
        check.one_of("search", "acquisition", acquisition, ACQUISITIONS)
        for argument, value in (("initial", initial), ("candidates", candidates)):
            check.positive("search", argument, value)
        if not 0 <= refine <= 1:
            check.fail(ValueError, "search", "refine", "be in [0, 1]", refine)
        self.space, self.denoiser = space, denoiser
        self._surrogate, self._acquisition = surrogate, acquisition
        self._initial, self._candidates = initial, candidates
        self._scale, self._refine, self._guidance = scale, refine, guidance
        self._costs, self._loss, self._settings = costs, loss, settings or {}
        self._seed, self._pool = seed, pool
        none = torch.empty(0, space.num_nodes, dtype=torch.int64)
        self._start = none if start is None else start
        self.history = History(space, by_hash=by_hash)
        self.model: surrogates.Surrogate | None = None

    def ask(self, count: int) -> Tensor:
        """Propose architectures: int64 [count, V]."""
        check.positive("ask", "count", count)
        done = len(self.history.y)
        draw = torch.Generator().manual_seed(_key(self._seed, done))
        if done < self._initial:
            wanted = min(count, self._initial - done)
            more = self.history.random(wanted, draw)
            return self.history.fresh(torch.cat([self._start, more]))[:wanted]
        model = surrogates.make(
            self._surrogate,
            self.space,
            _key(self._seed, done, 1),
            loss=self._loss,
            **self._settings,
        )
        self.model = model
        model.fit(self.history.x, self.history.y)
        pool = self.history.fresh(self._generate(model, draw))
        if not len(pool):
            return self.history.random(count, draw)
        mean, std = model.predict(pool)
        value = acquire(
            self._acquisition,
            mean,
            std,
            self.history.best,
            draw=draw,
            outputs=model.outputs(pool) if self._acquisition == "ts" else None,
        )
        chosen = pool[value.argsort(descending=True, stable=True)[:count]]
        if len(chosen) < count:
            more = self.history.random(count, draw)
            chosen = self.history.fresh(torch.cat([chosen, more]))[:count]
        return chosen

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Take scores in."""
        self.history.add(x, y)

    def _generate(self, model: surrogates.Surrogate, draw: torch.Generator) -> Tensor:
        if self._pool is not None:
            return self._pool
        count = self._candidates
        if self.denoiser is None:
            return self.space.sample(count, generator=draw)
        objective = Objective(
            self.space,
            model.relaxed,
            costs=self._costs,
            differentiable=model.differentiable,
        )
        method: Any = "gradient" if model.differentiable else "resample"
        method = self._guidance or method
        guidance = Guidance(objective, scale=self._scale, method=method, moves=4)
        seed = int(torch.randint(2**31, (1,), generator=draw))
        near = self._near(round(self._refine * count), draw)
        rest = count - round(self._refine * count)
        if not rest:
            return near
        made = self.denoiser.sample(rest, guidance=guidance, seed=seed)
        return torch.cat([made, near])

    def _near(self, count: int, draw: torch.Generator) -> Tensor:
        """So many untried neighbours, those of the best architecture first."""
        found = self.history.x[:0]
        for x in self.history.top(len(self.history.y)):
            if len(found) >= count:
                break
            near = self.space.neighbours(x)
            near = near[torch.randperm(len(near), generator=draw)]
            found = self.history.fresh(torch.cat([found, near]))
        return found[:count]


def _key(*numbers: int) -> int:
    """One seed from several numbers, the same on every machine."""
    return zlib.crc32(repr(numbers).encode())
