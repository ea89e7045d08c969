"""Directed propagation out of core: equal to memory, inside a budget, read by ADPA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.errors import BudgetError
from graphlab.graph import DirectedOperators
from graphlab.models import ADPA
from graphlab.outofcore import Store, propagate
from graphlab.outofcore.propagate import PropagatedColumn
from graphlab.tasks import inference

PIECES = 2 * 8 * 2**20


@pytest.fixture
def d() -> gl.Dataset:
    return gl.datasets.generate("rmat", num_nodes=300, num_edges=2000, num_features=7)


@pytest.mark.parametrize("from_store", [False, True])
def test_blocks_give_the_rows_of_memory(
    d: gl.Dataset, from_store: bool, tmp_path: Path
) -> None:
    source = Store.convert(d, tmp_path / "source") if from_store else d
    # Room for two columns a block, so four blocks.
    memory = PIECES + 2 * 4 * 300 * (13 + 24) + 100
    store = propagate(source, tmp_path / "rows", hops=2, r=0.3, memory=memory)
    expected = DirectedOperators(d.graph, r=0.3).propagate(d.x, 2)
    ids = torch.tensor([5, 0, 299])
    rows = store.x.gather(ids)
    assert torch.equal(rows.view(3, 13, 7), expected[ids])
    assert not (tmp_path / "rows" / "blocks").exists()
    made = store.dataset()
    assert torch.equal(made.y, d.y)
    assert made.meta["propagated"]["slots"] == 13
    store.verify()


def test_adpa_trains_on_the_rows(d: gl.Dataset, tmp_path: Path) -> None:
    store = propagate(d, tmp_path / "rows", hops=1, patterns=["A", "T"])
    held = store.dataset()
    torch.manual_seed(0)
    inside = ADPA(7, 10, hops=1, patterns=["A", "T"]).eval()
    torch.manual_seed(0)
    outside = ADPA(21, 10, hops=1, patterns=["A", "T"], precomputed=True).eval()
    batch = next(
        iter(gl.sample.NeighborLoader(held, [0], batch_size=16, shuffle=False))
    )
    nodes = batch.n_id[:16]
    torch.testing.assert_close(
        outside(batch.x, batch.edge_index)[:16], inside(d.x, d.graph)[nodes]
    )


def test_node_fit_trains_and_scores_on_the_rows(tmp_path: Path) -> None:
    d = gl.datasets.generate("sbm", num_nodes=300, num_edges=1800, num_features=6)
    d = gl.datasets.split_random(d, train=0.5, val=0.2, runs=1)
    held = propagate(d, tmp_path / "rows", hops=1).dataset()

    def loader(seed: int) -> gl.sample.NeighborLoader:
        return gl.sample.NeighborLoader(
            held, [0], batch_size=50, input_nodes=held.ids("train"), seed=seed
        )

    def adpa(width: int, classes: int) -> ADPA:
        return ADPA(width, classes, hops=1, precomputed=True)

    # So little memory that scores are made piece by piece.
    r = gl.tasks.node.fit(
        held, adpa, loader=loader, seeds=[0], epochs=12, lr=0.02, memory=4096
    )
    assert r.test.mean > r.baselines["majority"].mean + 0.3
    assert r.predict(held).shape == (300, 10)


def test_rows_made_otherwise_are_refused(tmp_path: Path) -> None:
    d = gl.datasets.generate("sbm", num_nodes=60, num_edges=300, num_features=3)
    d = gl.datasets.split_random(d, train=0.5, val=0.2, runs=1)
    store = propagate(d, tmp_path / "rows", hops=1, patterns=["A", "T"], r=0.3)
    assert store.dataset().meta["propagated"]["degree"] == "in_out"
    held = store.dataset()
    held.columns["x"] = held.x.gather(torch.arange(60))

    def fit(**options: object) -> None:
        def adpa(width: int, classes: int) -> ADPA:
            return ADPA(width, classes, hops=1, precomputed=True, **options)

        gl.tasks.node.fit(held, adpa, seeds=[0], epochs=1)

    fit(patterns=["A", "T"], r=0.3)
    said = r"ADPA: `x` must hold rows made with r = 0.5, got r = 0.3"
    with pytest.raises(ValueError, match=said):
        fit(patterns=["A", "T"])
    with pytest.raises(
        ValueError, match=r"patterns = \['A', 'AT'\], decay = 'reference'"
    ):
        fit(patterns=["A", "AT"], r=0.3, compat="reference")
    model = ADPA(9, 10, hops=1, patterns=["T", "A"], r=0.3, precomputed=True)
    with pytest.raises(ValueError, match="`x` must hold rows made with patterns"):
        inference.exact(model, held)
    model.require_rows(None)  # of rows that do not say


def test_half_precision_rows(d: gl.Dataset, tmp_path: Path) -> None:
    store = propagate(d, tmp_path / "rows", hops=1, dtype="float16")
    expected = DirectedOperators(d.graph).propagate(d.x, 1).flatten(1)
    rows = store.x.gather(torch.arange(300))
    torch.testing.assert_close(rows.float(), expected, rtol=2e-3, atol=2e-3)


def test_a_budget_that_cannot_hold_says_what_would(
    d: gl.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match="`memory` must be at least"):
        propagate(d, tmp_path / "rows", memory=1000)
    assert not (tmp_path / "rows").exists()


def test_no_features(tmp_path: Path) -> None:
    d = gl.datasets.generate("rmat", num_nodes=30, num_edges=90)
    with pytest.raises(ValueError, match="`source` must have features"):
        propagate(d, tmp_path / "rows")


def test_rows_of_blocks_in_any_order(tmp_path: Path) -> None:
    blocks = [torch.randn(9, 2, 3).numpy(), torch.randn(9, 2, 1).numpy()]
    files = [tmp_path / f"rows-{i}.npy" for i in range(2)]
    for file, block in zip(files, blocks, strict=True):
        np.save(file, block)
    rows = PropagatedColumn(files)
    whole = torch.from_numpy(np.concatenate(blocks, 2)).view(9, 8)
    for ids in ([2, 3, 4, 5], [7, 0, 0, 8], [6], []):
        wanted = torch.tensor(ids, dtype=torch.int64)
        assert torch.equal(rows.gather(wanted), whole[wanted])
