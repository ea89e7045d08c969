"""The training loop: walks to skip-gram workers, whole or block by block of a grid."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor

from graphlab import progress
from graphlab.embed import scored
from graphlab.embed.partition import Partition, rounds
from graphlab.embed.plan import MemoryPlan
from graphlab.embed.pool import PAIR_BYTES, PairPool
from graphlab.embed.tables import Tables
from graphlab.embed.walker import Walker
from graphlab.ops import alias_build, rng, skipgram_train
from graphlab.ops.skipgram import Tally

# Names of random streams.
_STEP, _BLOCK = 231, 232
# Walks of a call: enough that calls cost nothing, few enough for the progress line.
_MOST_WALKS = 2**15


@dataclasses.dataclass(frozen=True)
class Rule:
    """The objective and its schedule; see :func:`graphlab.ops.skipgram_train`.

    With ``score``, :func:`graphlab.embed.scored.train` trains instead of the op.
    """

    negatives: int
    weight: float
    pool: int
    rate: float
    floor: float
    decay: float
    reference: bool
    samples: int
    exponent: float
    score: scored.Scorer | None = None

    def rate_at(self, done: float) -> float:
        """Learning rate after ``done`` pairs: falls linearly, ends at the budget."""
        return self.rate * max(1 - done / self.samples, self.floor)


@dataclasses.dataclass
class State:
    """Where training stands; with the tables, all that a checkpoint needs."""

    walks: int = 0
    pairs: int = 0
    calls: int = 0
    seconds: float = 0.0
    loss: float = math.nan

    def add(self, tallies: list[Tally], pairs: int) -> None:
        """Count what was trained; the loss shown is a running mean."""
        self.calls += 1
        self.pairs += pairs
        losses = [t.loss for t in tallies if not math.isnan(t.loss)]
        if losses:
            new = sum(losses) / len(losses)
            self.loss = new if math.isnan(self.loss) else 0.9 * self.loss + 0.1 * new


class Exchange(Protocol):
    """Processes that own a tail part each and hand head parts around."""

    rank: int
    size: int

    def pass_on(self, head: Tensor, shape: tuple[int, int]) -> Tensor:
        """Send a head part to the process before this one; receive the next one's."""

    def gather(self, part: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
        """The parts of all processes, everywhere."""


class Training:
    """Trains tables until the budget of pairs is used.

    Args:
        walker: Makes walks.
        tables: Changed in place.
        parts: Rows of the tables.
        rule: Objective and schedule.
        plan: Parts, buffers, workers.
        seed: Names the draws.
        threads: Threads that share the tables where there is one part.
        state: Where to go on.
        devices: Where the blocks of a grid are trained, dealt in turn: parts are copied there
            and back. Empty: where the tables are.
        exchange: With it, this process trains the blocks of one tail part only.
        after: Called after each call (or round) of training, to save or to stop.
    """

    def __init__(
        self,
        walker: Walker,
        tables: Tables,
        parts: Partition,
        rule: Rule,
        plan: MemoryPlan,
        *,
        seed: int,
        threads: int,
        state: State,
        devices: Sequence[str] = (),
        exchange: Exchange | None = None,
        after: Callable[[State], None] = lambda state: None,
    ) -> None:
        self._walker, self._tables, self._parts = walker, tables, parts
        self._rule, self._plan, self._seed = rule, plan, seed
        self._threads, self.state, self._after = threads, state, after
        self._devices: list[torch.device | None] = [torch.device(d) for d in devices]
        self._devices = self._devices or [None]
        self._exchange = exchange
        self._pool = PairPool(
            walker, parts, plan, tables.folder if plan.streamed else None
        )
        self._held: Tensor | None = None
        strength = walker.graph.strength
        if strength.numel() and float(strength.max()) > 0:
            strength = strength / strength.max()
        weight = torch.where(strength > 0, strength.pow(rule.exponent), 0.0)
        # One alias row a part: a block draws its negatives from its own tail part.
        bounds = torch.tensor(parts.bounds)
        self._threshold, self._alias = (
            t.to(tables.device) for t in alias_build(bounds, weight)
        )
        # The next call's walks or pairs are made while devices train.
        self._maker: ThreadPoolExecutor | None = None
        if tables.device.type != "cpu" or (devices and not plan.streamed):
            self._maker = ThreadPoolExecutor(1)
        self._ahead: tuple[tuple[int, int], Future[Any]] | None = None

    def run(self) -> None:
        """Train to the end of the budget."""
        state, total = self.state, self._rule.samples
        what = f"embed ({total:.3g} pairs)"
        # Time of earlier parts of a resumed run counts, so that the total is known.
        before = state.seconds
        start = time.perf_counter()
        with progress.track(what, total, "samples", done=state.pairs) as line:
            try:
                while state.pairs < total:
                    done = state.pairs
                    if self._parts.parts == 1:
                        self._train_walks()
                    else:
                        self._train_grid()
                    state.seconds = before + time.perf_counter() - start
                    shown = "" if math.isnan(state.loss) else f"loss {state.loss:.3f}"
                    line.advance(state.pairs - done, shown)
                    self._after(state)
            finally:
                if self._maker is not None:
                    self._maker.shutdown(cancel_futures=True)

    def _common(self) -> dict[str, Any]:
        rule = self._rule
        return {
            "negatives": rule.negatives,
            "weight": rule.weight,
            "decay": rule.decay,
            "reference": rule.reference,
        }

    def _train_walks(self) -> None:
        """One call on walks; with several threads, they share the tables."""
        shape, state, rule = self._walker.shape, self.state, self._rule
        per_walk = shape.pairs()
        width = 4 * (shape.length + 1) + 8
        count = min(
            _MOST_WALKS,
            self._plan.buffers // (2 * width),
            # The last call ends at the budget, up to the pairs of a walk.
            math.ceil((rule.samples - state.pairs) / per_walk),
        )
        # Small calls of a small budget too: the rate is that of the pairs done.
        walks = self._take(state.walks, count)
        if rule.score is not None:
            tally = self._scored(
                self._tables.head,
                self._tables.tail,
                self._walker.pairs(walks, state.walks),
                slice(None),
                (
                    rule.rate_at(state.pairs),
                    rule.rate_at(state.pairs + count * per_walk),
                ),
                rng.key(self._seed, _STEP),
                state.pairs,
            )
            state.walks += count
            state.add([tally], tally.pairs)
            return
        tally = skipgram_train(
            self._tables.head,
            self._tables.tail,
            walks,
            self._threshold,
            self._alias,
            window=shape.window,
            forward=shape.forward,
            shrink=shape.shrink,
            pool=rule.pool,
            rate=rule.rate_at(state.pairs),
            rate_end=rule.rate_at(state.pairs + count * per_walk),
            threads=self._threads,
            key=rng.key(self._seed, _STEP),
            first=state.walks,
            **self._common(),
        )
        state.walks += count
        state.add([tally], tally.pairs)

    def _scored(
        self,
        head: Tensor,
        tail: Tensor,
        pairs: Tensor,
        rows: slice,
        rates: tuple[float, float],
        key: int,
        first: int,
    ) -> Tally:
        """Train pairs by autograd; ``rows`` of the negatives' distribution."""
        rule = self._rule
        assert rule.score is not None
        return scored.train(
            head,
            tail,
            pairs,
            self._threshold[rows].to(head.device),
            self._alias[rows].to(head.device),
            rule.score,
            dim=self._tables.dim,
            negatives=rule.negatives,
            weight=rule.weight,
            decay=rule.decay,
            rate=rates[0],
            rate_end=rates[1],
            key=key,
            first=first,
        )

    def _take(self, first: int, count: int) -> Tensor:
        """Walks on the trainer's device; those of the next call are begun."""
        walks: Tensor = self._made(self._make, (first, count))
        self._begin(self._make, (first + count, count))
        return walks

    def _made(self, make: Callable[[int, int], Any], what: tuple[int, int]) -> Any:
        """What was begun under these numbers, else made now."""
        if self._ahead is not None:
            # Waited for in any case: a walker makes one thing at a time.
            made = self._ahead[1].result()
            if self._ahead[0] == what:
                return made
        return make(*what)

    def _begin(self, make: Callable[[int, int], Any], what: tuple[int, int]) -> None:
        if self._maker is not None and what[1] > 0:
            self._ahead = what, self._maker.submit(make, *what)

    def _make(self, first: int, count: int) -> Tensor:
        walks = self._walker.walks(first, count)
        device = self._tables.device
        if device.type == "cpu":
            return walks
        return walks.pin_memory().to(device, non_blocking=True)

    def _train_grid(self) -> None:
        """One pool (or episode) of pairs, block by block."""
        state, parts = self.state, self._parts
        left = self._rule.samples - state.pairs
        pool, walks = self._made(self._pool.make, (state.walks, left))
        state.walks += walks
        left -= sum(len(pairs) for pairs in pool.values())
        self._begin(self._pool.make, (state.walks, left))
        begin, done = state.pairs, 0
        with ThreadPoolExecutor(self._plan.workers) as workers:
            for blocks in rounds(parts.parts):
                size = sum(len(pool[b]) for b in blocks)
                # All blocks of a round see the same part of the schedule.
                rates = (
                    self._rule.rate_at(begin + done),
                    self._rule.rate_at(begin + done + size),
                )
                if self._exchange is None:
                    calls = [
                        workers.submit(self._train_blocks, lot, pool, rates, device)
                        for lot, device in self._lots(blocks)
                    ]
                    tallies = [t for c in calls for t in c.result()]
                else:
                    tallies = [self._train_mine(blocks, pool, rates)]
                state.add(tallies, size)
                done += size
        self._pool.release()

    def _lots(
        self, blocks: list[tuple[int, int]]
    ) -> list[tuple[list[tuple[int, int]], torch.device | None]]:
        """Blocks of a round by who trains them; those of a lot follow each other."""
        if self._tables.shared:
            # Heads and tails are rows of one table: blocks of a round may share some.
            return [(blocks, self._devices[0])]
        if self._devices == [None]:
            return [([block], None) for block in blocks]
        count = len(self._devices)
        return [(blocks[k::count], device) for k, device in enumerate(self._devices)]

    def _train_mine(
        self, blocks: list[tuple[int, int]], pool: Any, rates: tuple[float, float]
    ) -> Tally:
        """This process's block of a round; then its head part goes on to the next one."""
        exchange, tables, parts = self._exchange, self._tables, self._parts
        assert exchange is not None
        block = blocks[exchange.rank]
        mine = parts.rows(exchange.rank)
        if self._held is None:
            self._held = tables.head[mine].clone()
        tail = tables.tail[mine]
        tally = self._steps(block, pool[block], rates, self._held, tail)
        following = (block[0] + 1) % parts.parts
        rows = parts.rows(following)
        shape = (rows.stop - rows.start, self._held.shape[1])
        self._held = exchange.pass_on(self._held, shape)
        if following == exchange.rank:
            tables.head[mine] = self._held
        return tally

    def _train_blocks(
        self,
        blocks: list[tuple[int, int]],
        pool: Any,
        rates: tuple[float, float],
        device: torch.device | None,
    ) -> list[Tally]:
        """Blocks of a round that one worker trains, one after the other."""
        return [self._train_block(b, pool[b], rates, device) for b in blocks]

    def _train_block(
        self,
        block: tuple[int, int],
        pairs: Any,
        rates: tuple[float, float],
        device: torch.device | None,
    ) -> Tally:
        """A block with its two parts, from and back to where the tables are."""
        head_part, tail_part = block
        tables = self._tables
        if len(pairs) == 0:
            return Tally(math.nan, 0)
        head = tables.part("head", head_part, device)
        shared = tables.shared and head_part == tail_part
        tail = head if shared else tables.part("tail", tail_part, device)
        tally = self._steps(block, pairs, rates, head, tail)
        tables.put("head", head_part, head)
        if not shared:
            tables.put("tail", tail_part, tail)
        return tally

    def _steps(
        self,
        block: tuple[int, int],
        pairs: Any,
        rates: tuple[float, float],
        head: Tensor,
        tail: Tensor,
    ) -> Tally:
        """Train a block's pairs; ids become rows of the two parts."""
        head_part, tail_part = block
        parts = self._parts
        if len(pairs) == 0:
            return Tally(math.nan, 0)
        rows = parts.rows(tail_part)
        base = torch.tensor(
            [parts.bounds[head_part], parts.bounds[tail_part]], dtype=torch.int32
        )
        name = rng.key(self._seed, _BLOCK, self.state.walks, head_part, tail_part)
        size, tallies = len(pairs), []
        step = max(1, self._plan.buffers // PAIR_BYTES)
        for first in range(0, size, step):
            local = pairs[first : first + step]
            local = (torch.as_tensor(local) - base).to(head.device)
            share = [(first + k) / size for k in (0, len(local))]
            rate, end = (rates[0] + (rates[1] - rates[0]) * s for s in share)
            if self._rule.score is not None:
                tallies.append(
                    self._scored(head, tail, local, rows, (rate, end), name, first)
                )
                continue
            tallies.append(
                skipgram_train(
                    head,
                    tail,
                    local,
                    self._threshold[rows].to(head.device),
                    self._alias[rows].to(head.device),
                    window=1,
                    forward=True,
                    pool=self._rule.negatives,
                    rate=rate,
                    rate_end=end,
                    key=name,
                    first=first,
                    **self._common(),
                )
            )
        return Tally(tallies[0].loss, sum(t.pairs for t in tallies))
