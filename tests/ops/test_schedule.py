"""Schedules equal brute force; native and twin agree slot for slot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphlab.ops.schedule import Slots, next_use
from graphlab.ops.twins import schedule as twin


def trace_of(seed: int, batches: int, nodes: int, size: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    skew = nodes * generator.random((batches, size)) ** 2
    return [np.unique(row.astype(np.int64)) for row in skew]


def next_uses(trace: list[np.ndarray], nodes: int) -> list[torch.Tensor]:
    last = torch.full((nodes,), -1, dtype=torch.int32)
    found = []
    for batch in range(len(trace) - 1, -1, -1):
        next = torch.empty(len(trace[batch]), dtype=torch.int32)
        next_use(torch.from_numpy(trace[batch]), batch, last, next)
        found.append(next)
    return found[::-1]


def brute_misses(trace: list[np.ndarray], capacity: int) -> int:
    """Keep the rows whose next use is nearest, by looking ahead each time."""
    held: set[int] = set()
    misses = 0
    for t, batch in enumerate(trace):
        misses += sum(int(n) not in held for n in batch)

        def distance(node: int, t: int = t) -> int:
            later = (u for u in range(t + 1, len(trace)) if node in trace[u])
            return next(later, len(trace))

        wanted = {n: distance(n) for n in held | set(batch.tolist())}
        kept = sorted((d, n) for n, d in wanted.items() if d < len(trace))
        held = {n for _, n in kept[:capacity]}
    return misses


def least_misses(trace: list[np.ndarray], capacity: int) -> int:
    """The least misses of any choice: all sets that could be kept, tried out."""
    from itertools import combinations

    costs = {frozenset(): 0}
    for batch in trace:
        after: dict[frozenset, int] = {}
        for held, cost in costs.items():
            paid = cost + sum(int(n) not in held for n in batch)
            here = held | set(batch.tolist())
            for size in range(min(capacity, len(here)) + 1):
                for kept in combinations(sorted(here), size):
                    key = frozenset(kept)
                    after[key] = min(after.get(key, paid), paid)
        costs = after
    return min(costs.values())


def run(trace, keys, nodes, capacity, first=0, still=()):
    """Play a schedule and check that what it promises is there."""
    slots = Slots(nodes, capacity, len(trace), first=first)
    for place, node in enumerate(still):
        slots.slot[node] = place
    content = {place: node for place, node in enumerate(still)}
    misses = 0
    for batch, key in zip(trace, keys, strict=True):
        source, keep = slots.step(torch.from_numpy(batch), key)
        misses += slots.misses
        assert slots.misses == int((source < 0).sum())
        for node, s in zip(batch.tolist(), source.tolist(), strict=True):
            assert s < 0 or content[s] == node
        taken = keep[keep >= 0].tolist()
        assert len(set(taken)) == len(taken)
        assert all(first <= s < first + capacity for s in taken)
        assert bool((source[keep >= 0] < 0).all())
        for node, s in zip(batch.tolist(), keep.tolist(), strict=True):
            if s >= 0:
                content[s] = node
    return misses


@pytest.mark.parametrize("seed", range(40))
def test_misses_equal_brute_force(seed):
    generator = np.random.default_rng(seed)
    nodes, capacity = int(generator.integers(1, 40)), int(generator.integers(0, 30))
    trace = trace_of(seed, int(generator.integers(1, 80)), nodes, 9)
    keys = next_uses(trace, nodes)
    assert run(trace, keys, nodes, capacity) == brute_misses(trace, capacity)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 3),
)
def test_no_choice_misses_less(batches, capacity):
    trace = [np.array(b, dtype=np.int64) for b in batches]
    keys = next_uses(trace, 6)
    assert run(trace, keys, 6, capacity) == least_misses(trace, capacity)


def test_rows_that_stay_take_no_slot():
    trace = trace_of(3, 50, 60, 12)
    keys = next_uses(trace, 60)
    still = [0, 3, 1]
    found = run(trace, keys, 60, 10, first=3, still=still)
    rest = [b[~np.isin(b, still)] for b in trace]
    assert found == brute_misses(rest, 10)


@pytest.mark.parametrize("keys", [1, 63, 64, 65, 4096, 4097, 300_000])
def test_native_and_twin_agree_slot_for_slot(keys):
    generator = np.random.default_rng(keys)
    one, other = Slots(500, 40, keys, first=7), Slots(500, 40, keys, first=7)
    for _ in range(60):
        # Repeats too: trees that are disjoint may share nodes.
        n_id = torch.from_numpy(generator.integers(0, 500, 90))
        every = torch.from_numpy(generator.integers(-1, keys + 1, 500)).int()
        key = every[n_id]
        source, keep = one.step(n_id, key)
        again, kept = torch.empty_like(source), torch.empty_like(keep)
        misses = twin.belady_schedule(
            n_id,
            key,
            7,
            other.slot,
            other._links,
            other._heads,
            other._words,
            again,
            kept,
        )
        assert (one.misses, torch.equal(source, again), torch.equal(keep, kept)) == (
            misses,
            True,
            True,
        )
        assert torch.equal(one.slot, other.slot)
        taken = keep[keep >= 0].tolist()
        assert len(set(taken)) == len(taken)
    one.clear()
    assert bool((one.slot == -1).all())
    source, _ = one.step(n_id, key)
    assert bool((source == -1).all())


def test_a_key_may_be_anything_lru():
    """Other policies are other keys: the most recent rows stay."""
    trace = trace_of(5, 60, 50, 8)
    keys = [
        torch.full((len(b),), len(trace) - t, dtype=torch.int32)
        for t, b in enumerate(trace)
    ]
    held: dict[int, int] = {}
    expected = 0
    for t, batch in enumerate(trace):
        expected += sum(n not in held for n in batch.tolist())
        held |= dict.fromkeys(batch.tolist(), t)
        oldest = sorted(held, key=lambda n: held[n])
        # Equal recency may be cut anywhere: use a capacity that never cuts a batch.
        while len(held) > 1000:
            del held[oldest.pop(0)]
    assert run(trace, keys, 50, 1000) == expected


def test_next_use_of_repeats_is_outside_the_batch():
    last = torch.full((4,), -1, dtype=torch.int32)
    next = torch.empty(3, dtype=torch.int32)
    for run_it in (next_use, twin.next_use):
        last.fill_(-1)
        run_it(torch.tensor([2, 2, 1]), 5, last, next)
        assert next.tolist() == [-1, -1, -1]
        run_it(torch.tensor([2, 0, 2]), 4, last, next)
        assert next.tolist() == [5, -1, 5]
        assert last.tolist() == [4, 5, 4, -1]


def test_contract():
    n_id = torch.tensor([1, 0])
    last, next = torch.full((2,), -1, dtype=torch.int32), torch.zeros(2).int()
    ops = torch.ops.graphlab_io
    torch.library.opcheck(ops.next_use, (n_id, 0, last, next))
    s = Slots(2, 1, 3)
    arguments = (n_id, next, 0, s.slot, s._links, s._heads, s._words)
    torch.library.opcheck(
        ops.belady_schedule,
        (*arguments, next.clone(), next.clone()),
        test_utils="test_schema",
    )


INT = torch.zeros(1, dtype=torch.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: next_use(INT, 0, INT, INT), TypeError, "`n_id`"),
        (lambda: next_use(torch.zeros(2).long(), 0, INT, INT), ValueError, "2 entries"),
        (lambda: next_use(torch.tensor([9]), 0, INT, INT), RuntimeError, "range"),
        (lambda: Slots(2**31, 1, 1), ValueError, r"below 2\*\*31"),
        (lambda: Slots(1, -1, 1), ValueError, "`capacity` must be at least 0"),
        (lambda: Slots(2, 1, 1).step(torch.tensor([0]), INT[:0]), ValueError, "`key`"),
        (lambda: Slots(2, 1, 1).step(torch.tensor([2]), INT), RuntimeError, "`n_id`"),
        (
            lambda: Slots(2, 1, 1).step(torch.tensor([0]), INT + 2),
            RuntimeError,
            "`key`",
        ),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
