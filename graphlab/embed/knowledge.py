"""Knowledge graphs: TransE, DistMult, ComplEx, RotatE on the block schedule."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from graphlab import check, progress
from graphlab.embed.partition import partition, rounds
from graphlab.ops import rng

# Names of random streams.
_START, _ORDER, _NEGATIVE = 251, 252, 253

Scorer = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def transe(h: Tensor, r: Tensor, t: Tensor, margin: float) -> Tensor:
    """``margin - |h + r - t|_1``: no symmetric relation but r = 0."""
    return margin - (h + r - t).abs().sum(-1)


def distmult(h: Tensor, r: Tensor, t: Tensor, margin: float) -> Tensor:
    """``sum h r t``: the same for (h, t) and (t, h), so all relations are symmetric."""
    return (h * r * t).sum(-1)


def complex_(h: Tensor, r: Tensor, t: Tensor, margin: float) -> Tensor:
    """``Re sum h r conj(t)``."""
    (ha, hb), (ra, rb), (ta, tb) = (x.chunk(2, -1) for x in (h, r, t))
    return ((ha * ra - hb * rb) * ta + (ha * rb + hb * ra) * tb).sum(-1)


def rotate(h: Tensor, r: Tensor, t: Tensor, margin: float) -> Tensor:
    """``margin - sum |h e^{ir} - t|``: r holds angles; relations compose and invert."""
    (ha, hb), (ta, tb) = h.chunk(2, -1), t.chunk(2, -1)
    cos, sin = r.cos(), r.sin()
    da, db = ha * cos - hb * sin - ta, ha * sin + hb * cos - tb
    return margin - (da.square() + db.square()).clamp(min=1e-12).sqrt().sum(-1)


SCORERS: dict[str, Scorer] = {
    "transe": transe,
    "distmult": distmult,
    "complex": complex_,
    "rotate": rotate,
}


class Ranking(NamedTuple):
    """Filtered ranks of the right entity among all.

    Attributes:
        mrr: Mean of 1 / rank.
        hits: Share of ranks up to 1, 3, 10.
        ranks: [2 T]: tails first, then heads; ties count half.
    """

    mrr: float
    hits: dict[int, float]
    ranks: Tensor


class KnowledgeEmbedding:
    """Vectors of entities and relations from triples (head, relation, tail).

    Self-adversarial negative sampling:
    ``-log s(f(h, r, t)) - sum_n p_n log s(-f(h, r, n))``, p the softmax of
    ``temperature f`` over the negatives, which replace the tail, and the head in the other
    half of the steps.

    Args:
        scorer: ``transe``, ``distmult``, ``complex`` or ``rotate``; or a function
            ``(h, r, t, margin) -> score``.
        dim: Width of an entity; even for ``complex`` and ``rotate``.
        epochs: Passes over the triples.
        negatives: Negatives of a triple.
        margin: Of ``transe`` and ``rotate``.
        temperature: Of the softmax.
        lr: Of Adam.
        batch_size: Triples of a step.
        partitions: Parts of the entities; a block of triples (head part, tail part) draws
            its negatives from the two parts it holds.
        seed: Names all draws.

    Attributes:
        entities: [N, dim], float32, in input order; after :meth:`fit`.
        relations: [R, dim] (``rotate``: [R, dim / 2] angles).

    Source:
        Bordes et al. 2013; Yang et al. 2015; Trouillon et al. 2016; Sun et al. 2019, whose
        loss this is; GraphVite trains the same on its grid.

    Example:
        >>> triples = torch.tensor([[0, 0, 1], [1, 0, 0], [2, 0, 3], [3, 0, 2]])
        >>> k = KnowledgeEmbedding("rotate", dim=8, epochs=2).fit(triples, 4)
        >>> k.entities.shape
        torch.Size([4, 8])
    """

    entities: Tensor
    relations: Tensor

    def __init__(
        self,
        scorer: str | Scorer = "rotate",
        dim: int = 64,
        *,
        epochs: int = 100,
        negatives: int = 32,
        margin: float = 6.0,
        temperature: float = 1.0,
        lr: float = 0.01,
        batch_size: int = 1024,
        partitions: int = 1,
        seed: int = 0,
    ) -> None:
        name = "KnowledgeEmbedding"
        if isinstance(scorer, str):
            check.one_of(name, "scorer", scorer, SCORERS)
        check.positive(name, "dim", dim)
        if scorer in ("complex", "rotate") and dim % 2:
            check.fail(ValueError, name, "dim", f"be even for {scorer}", dim)
        for argument, value in (
            ("epochs", epochs),
            ("negatives", negatives),
            ("batch_size", batch_size),
            ("partitions", partitions),
        ):
            check.positive(name, argument, value)
        self._name = scorer if isinstance(scorer, str) else "own"
        self._score: Scorer = SCORERS[scorer] if isinstance(scorer, str) else scorer
        self.dim, self.epochs, self.negatives = dim, epochs, negatives
        self.margin, self.temperature, self.lr = margin, temperature, lr
        self.batch_size, self.partitions, self.seed = batch_size, partitions, seed

    def fit(self, triples: Tensor, num_entities: int | None = None) -> Self:
        """Learn from triples.

        Args:
            triples: [T, 3], int64: head, relation, tail.
            num_entities: N; None: one more than the largest id.

        Raises:
            TypeError, ValueError, IndexError: wrong dtype or shape, an id out of range.
        """
        name = "KnowledgeEmbedding.fit"
        check.tensor(name, "triples", triples, dtypes=(torch.int64,), ndim=2)
        if triples.shape[1] != 3 or len(triples) == 0:
            got = list(triples.shape)
            check.fail(ValueError, name, "triples", "be [triples, 3], not 0", got)
        ends = triples[:, [0, 2]]
        n = int(ends.max()) + 1 if num_entities is None else num_entities
        check.ids_in_range(name, "triples", ends.reshape(-1), n)
        parts = min(self.partitions, n)
        degree = torch.bincount(ends.reshape(-1), minlength=n)
        placed = partition(degree, parts)
        rows = torch.stack(
            [placed.rank[triples[:, 0]], triples[:, 1], placed.rank[triples[:, 2]]], 1
        )
        count = int(triples[:, 1].max()) + 1
        table, relations = self._start(n, count)
        table = table[placed.node]
        edges = torch.tensor(placed.bounds[1:-1], dtype=torch.int64)
        part = torch.bucketize(rows, edges, right=True)
        block = part[:, 0] * parts + part[:, 2]
        optimiser = _RowAdam([table, relations], self.lr)
        begin = time.perf_counter()
        with progress.track("knowledge graph", self.epochs, "epochs") as line:
            for epoch in range(self.epochs):
                loss = torch.zeros(())
                for blocks in rounds(parts):
                    for h, t in blocks:
                        mine = (block == h * parts + t).nonzero()[:, 0]
                        loss = self._train(
                            rows[mine],
                            placed,
                            (h, t),
                            table,
                            relations,
                            optimiser,
                            epoch,
                        )
                # The rate falls to a tenth, as schedules of these models do.
                optimiser.lr = self.lr * 0.1 ** ((epoch + 1) / self.epochs)
                line.advance(1, f"loss {float(loss):.3f}")
        self.entities, self.relations = table[placed.rank].detach(), relations.detach()
        self.history = {"seconds": time.perf_counter() - begin}
        return self

    def score(self, triples: Tensor) -> Tensor:
        """Scores of triples [T, 3]."""
        h, r, t = triples.unbind(1)
        e = self.entities
        return self._score(e[h], self.relations[r], e[t], self.margin)

    def evaluate(self, test: Tensor, known: Tensor) -> Ranking:
        """Rank each test triple's tail, and head, among all entities.

        Args:
            test: [T, 3].
            known: [K, 3]: all true triples, train, valid and test; other right answers
                among them are left out of the ranking (filtered).
        """
        n = len(self.entities)
        ranks = []
        answers: dict[tuple[int, int, int], list[int]] = {}
        for h, r, t in known.tolist():
            answers.setdefault((0, h, r), []).append(t)
            answers.setdefault((1, t, r), []).append(h)
        everyone = torch.arange(n)
        for side in (0, 1):
            for h, r, t in test.tolist():
                fixed, right = (h, t) if side == 0 else (t, h)
                column = torch.full((n,), fixed)
                relation = torch.full((n,), r)
                triple = (
                    (column, relation, everyone)
                    if side == 0
                    else (everyone, relation, column)
                )
                scores = self.score(torch.stack(triple, 1))
                mine = scores[right].clone()
                scores[answers.get((side, fixed, r), [])] = -torch.inf
                higher = int((scores > mine).sum())
                equal = int((scores == mine).sum())
                ranks.append(1 + higher + equal / 2)
        found = torch.tensor(ranks, dtype=torch.float64)
        hits = {k: float((found <= k).double().mean()) for k in (1, 3, 10)}
        return Ranking(float((1 / found).mean()), hits, found)

    def _start(self, entities: int, relations: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(
            rng.key(self.seed, _START) & (2**63 - 1)
        )
        reach = (self.margin + 2) / self.dim
        if self._name in ("distmult", "complex"):
            reach = 1 / math.sqrt(self.dim)
        table = (torch.rand(entities, self.dim, generator=generator) * 2 - 1) * reach
        if self._name == "rotate":
            shape, reach = (relations, self.dim // 2), math.pi
        else:
            shape = (relations, self.dim)
        angles = (torch.rand(*shape, generator=generator) * 2 - 1) * reach
        return table, angles

    def _train(
        self,
        rows: Tensor,
        placed: Any,
        block: tuple[int, int],
        table: Tensor,
        relations: Tensor,
        optimiser: _RowAdam,
        epoch: int,
    ) -> Tensor:
        """One pass over the triples of a block; reads and writes its two parts only."""
        loss = torch.zeros(())
        if len(rows) == 0:
            return loss
        name = rng.key(self.seed, _ORDER, epoch, *block)
        order = torch.from_numpy(rng.permutation(name, len(rows)))
        for step, chosen in enumerate(order.split(self.batch_size)):
            h, r, t = rows[chosen].unbind(1)
            side = (epoch + step) % 2
            part = placed.rows(block[1 - side])
            key = rng.key(self.seed, _NEGATIVE, epoch, *block, step)
            draws = rng.bits(key, len(chosen) * self.negatives) >> 33
            wide = torch.from_numpy(draws.astype("int64"))
            n = part.start + wide * (part.stop - part.start) // 2**31
            n = n.view(len(chosen), self.negatives)
            ids, place = torch.cat([h, t, n.reshape(-1)]).unique(return_inverse=True)
            e = table[ids].requires_grad_()
            rel_ids, rel_place = r.unique(return_inverse=True)
            q = relations[rel_ids].requires_grad_()
            size = len(chosen)
            he, te = e[place[:size]], e[place[size : 2 * size]]
            ne = e[place[2 * size :]].view(size, self.negatives, -1)
            re = q[rel_place]
            positive = self._score(he, re, te, self.margin)
            if side == 0:
                negative = self._score(he[:, None], re[:, None], ne, self.margin)
            else:
                negative = self._score(ne, re[:, None], te[:, None], self.margin)
            share = (negative.detach() * self.temperature).softmax(1)
            soft = torch.nn.functional.softplus
            loss = (soft(-positive) + (share * soft(negative)).sum(1)).mean() / 2
            grads = torch.autograd.grad(loss, [e, q])
            optimiser.step(0, ids, grads[0])
            optimiser.step(1, rel_ids, grads[1])
            loss = loss.detach()
        return loss


class _RowAdam:
    """Adam that moves, and remembers, only the rows that a step touches."""

    def __init__(self, tables: list[Tensor], lr: float) -> None:
        self._tables, self.lr = tables, lr
        self._mean = [torch.zeros_like(t) for t in tables]
        self._square = [torch.zeros_like(t) for t in tables]
        self._steps = [torch.zeros(len(t), 1) for t in tables]

    def step(self, table: int, rows: Tensor, gradient: Tensor) -> None:
        mean, square = self._mean[table], self._square[table]
        steps = self._steps[table][rows] + 1
        self._steps[table][rows] = steps
        m = 0.9 * mean[rows] + 0.1 * gradient
        v = 0.999 * square[rows] + 0.001 * gradient.square()
        mean[rows], square[rows] = m, v
        fair_m, fair_v = m / (1 - 0.9**steps), v / (1 - 0.999**steps)
        self._tables[table][rows] -= self.lr * fair_m / (fair_v.sqrt() + 1e-8)
