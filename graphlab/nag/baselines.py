"""Classical searches as ask-and-tell: random, evolution, local search, BANANAS-like."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.acquisition import acquire
from graphlab.nag.bayesian import History, Searcher, _key
from graphlab.nag.predictors import Ensemble
from graphlab.nag.space import SearchSpace

NAMES = ("random", "evolution", "local", "bananas")


def make(
    name: str, space: SearchSpace, seed: int = 0, *, by_hash: bool = True
) -> Searcher:
    """Make a baseline with its usual settings.

    Raises:
        ValueError: an unknown name.
    """
    check.one_of("baseline", "name", name, NAMES)
    kinds = {
        "random": RandomSearch,
        "evolution": RegularisedEvolution,
        "local": LocalSearch,
        "bananas": Bananas,
    }
    found: Searcher = kinds[name](space, seed=seed, by_hash=by_hash)
    return found


class RandomSearch:
    """Uniform architectures, none twice.

    Example:
        >>> from graphlab.nag import spaces
        >>> RandomSearch(spaces.NB201()).ask(3).shape
        torch.Size([3, 8])
    """

    def __init__(
        self, space: SearchSpace, *, seed: int = 0, by_hash: bool = True
    ) -> None:
        self.history, self._seed = History(space, by_hash=by_hash), seed

    def ask(self, count: int) -> Tensor:
        """Propose architectures."""
        draw = torch.Generator().manual_seed(_key(self._seed, len(self.history.y)))
        return self.history.random(count, draw)

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Take scores in."""
        self.history.add(x, y)


class RegularisedEvolution(RandomSearch):
    """Mutate the best of a random sample of the population; the oldest dies.

    Args:
        space: The space.
        population: Living architectures.
        sample: Drawn to find a parent.
        seed: Names all draws.
        by_hash: See :class:`graphlab.nag.bayesian.History`.

    Source:
        Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI
        2019; population 20 and sample 5 as the reference card's measurements.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 20,
        sample: int = 5,
        seed: int = 0,
        by_hash: bool = True,
    ) -> None:
        super().__init__(space, seed=seed, by_hash=by_hash)
        self._size, self._sample = population, sample
        self._living: deque[tuple[Tensor, float]] = deque(maxlen=population)

    def ask(self, count: int) -> Tensor:
        """Propose mutants."""
        done = len(self.history.y)
        draw = torch.Generator().manual_seed(_key(self._seed, done))
        if done < self._size:
            return self.history.random(min(count, self._size - done), draw)
        found = torch.empty(0, self.history.space.num_nodes, dtype=torch.int64)
        for _ in range(50 * count):
            if len(found) >= count:
                break
            picks = torch.randint(len(self._living), (self._sample,), generator=draw)
            parent = max((self._living[i] for i in picks.tolist()), key=lambda p: p[1])
            child = mutate(self.history.space, parent[0], draw)
            found = self.history.fresh(torch.cat([found, child[None]]))
        return found if len(found) else self.history.random(count, draw)

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Take scores in; each newcomer ends the oldest life."""
        super().tell(x, y)
        self._living.extend(zip(x, y.tolist(), strict=True))


class LocalSearch(RandomSearch):
    """Move to a better neighbour; start anew where none is better.

    Args:
        space: The space.
        first: Move to the first neighbour that is better; False: evaluate all neighbours and
            move to the best.
        seed: Names all draws.
        by_hash: See :class:`graphlab.nag.bayesian.History`.

    Source:
        White et al., "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        first: bool = True,
        seed: int = 0,
        by_hash: bool = True,
    ) -> None:
        super().__init__(space, seed=seed, by_hash=by_hash)
        self._first = first
        self._queue: list[Tensor] = []
        self._at: tuple[Tensor, float] | None = None
        self._best: tuple[Tensor, float] | None = None

    def ask(self, count: int) -> Tensor:
        """Propose untried neighbours, one start at a time."""
        done = len(self.history.y)
        draw = torch.Generator().manual_seed(_key(self._seed, done))
        better = (
            self._best is not None
            and self._at is not None
            and self._best[1] > self._at[1]
        )
        if better and (self._first or not self._queue):
            self._at = self._best
            self._expand(draw)
        if not self._queue:
            self._at = self._best = None
            return self.history.random(1, draw)
        taken, self._queue = self._queue[:count], self._queue[count:]
        return torch.stack(taken)

    def tell(self, x: Tensor, y: Tensor) -> None:
        """Take scores in."""
        super().tell(x, y)
        for row, score in zip(x, y.tolist(), strict=True):
            if self._best is None or score > self._best[1]:
                self._best = (row, score)
        if self._at is None and self._best is not None:
            self._at = self._best
            self._expand(
                torch.Generator().manual_seed(_key(self._seed, len(self.history.y), 1))
            )

    def _expand(self, draw: torch.Generator) -> None:
        if self._at is None:
            return
        near = self.history.fresh(self.history.space.neighbours(self._at[0]))
        order = torch.randperm(len(near), generator=draw)
        self._queue = list(near[order])


class Bananas(RandomSearch):
    """Mutants of the best architectures, ranked by an ensemble with independent Thompson draws.

    Args:
        space: The space.
        initial: Random evaluations first.
        candidates: Mutants a round.
        seed: Names all draws.
        by_hash: See :class:`graphlab.nag.bayesian.History`.

    Source:
        White et al., "BANANAS", AAAI 2021: five networks, ITS, mutations of the best; one-hot
        instead of path encoding, which the other surrogates here do not have either.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        initial: int = 10,
        candidates: int = 100,
        seed: int = 0,
        by_hash: bool = True,
    ) -> None:
        super().__init__(space, seed=seed, by_hash=by_hash)
        self._initial, self._candidates = initial, candidates

    def ask(self, count: int) -> Tensor:
        """Propose the most promising mutants."""
        done = len(self.history.y)
        draw = torch.Generator().manual_seed(_key(self._seed, done))
        if done < self._initial:
            return self.history.random(min(count, self._initial - done), draw)
        space = self.history.space
        model = Ensemble(space, seed=_key(self._seed, done, 1))
        model.fit(self.history.x, self.history.y)
        parents = self.history.top(10)
        mutants = [
            mutate(space, parents[i % len(parents)], draw, times=1 + i % 2)
            for i in range(self._candidates)
        ]
        pool = self.history.fresh(torch.stack(mutants))
        if not len(pool):
            return self.history.random(count, draw)
        mean, std = model.predict(pool)
        value = acquire("its", mean, std, self.history.best, draw=draw)
        return pool[value.argsort(descending=True, stable=True)[:count]]


def mutate(
    space: SearchSpace, x: Tensor, draw: torch.Generator, times: int = 1
) -> Tensor:
    """Change random nodes of an architecture [V] to other labels that are allowed."""
    for _ in range(times):
        for _ in range(100):
            node = space.free[int(torch.randint(len(space.free), (1,), generator=draw))]
            allowed = space.masks(x[None])[0, node].clone()
            allowed[int(x[node])] = False
            labels = allowed.nonzero()[:, 0]
            if not len(labels):
                continue
            other = x.clone()
            other[node] = labels[int(torch.randint(len(labels), (1,), generator=draw))]
            other = space.canonical(other[None])[0]
            if bool(space.is_valid(other[None])[0]) and not other.equal(x):
                x = other
                break
    return x
