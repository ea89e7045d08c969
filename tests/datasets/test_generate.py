from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.datasets import manifest, synthetic, topology
from graphlab.errors import BudgetError
from graphlab.outofcore import Store


def same(a: gl.Dataset, b: gl.Dataset) -> None:
    everything = torch.arange(a.num_nodes)
    assert torch.equal(a.graph.edge_index, b.graph.edge_index)
    assert torch.equal(a.x, b.x.gather(everything))
    assert torch.equal(a.y, b.y)
    assert all(torch.equal(a.splits[k], b.splits[k]) for k in ("train", "val", "test"))
    assert a.meta == b.meta


# 1001 nodes and 7 classes: nothing divides anything.
@pytest.mark.parametrize("kind", ["sbm", "rmat"])
def test_streaming_gives_the_same_data(tmp_path, kind, monkeypatch, threads):
    arguments = {"num_nodes": 1001, "num_edges": 50_000, "num_features": 17}
    arguments |= {"num_classes": 7, "seed": 5}
    whole = gl.datasets.generate(kind, **arguments)
    streamed = gl.datasets.generate(
        kind, **arguments, path=tmp_path / "s", memory="8MiB"
    )
    same(whole, streamed)
    assert Store.open(tmp_path / "s").verify() > 0
    peak = manifest.read(tmp_path / "s").provenance["peak_memory_bytes"]
    assert 0 < peak <= 8 * 2**20
    # Other cuts of the work change nothing: tasks, batches, buckets.
    monkeypatch.setattr(synthetic, "TASK", 999)
    monkeypatch.setattr(synthetic, "_rows", lambda width: 13)
    monkeypatch.setattr(topology, "BATCH_EDGES", 777)
    monkeypatch.setattr(topology, "_LEAST_BATCH", 100)
    same(whole, gl.datasets.generate(kind, **arguments, path=tmp_path / "t"))


def test_every_edge_can_be_drawn_alone():
    recipe = synthetic.Recipe(
        "sbm", 500, 1000, 3, 5, 0.5, 1.0, (0.25,) * 4, 0.5, 0.25, seed=1
    )
    source, target = recipe.edges(0, 1000)
    for start, stop in ((0, 1), (1, 2), (7, 500), (999, 1000), (500, 500)):
        a, b = recipe.edges(start, stop)
        assert torch.equal(a, source[start:stop])
        assert torch.equal(b, target[start:stop])
    assert torch.equal(recipe.features(100, 103), recipe.features(0, 500)[100:103])


@pytest.mark.parametrize("size", [2, 3, 10, 64, 65, 4097])
def test_the_shuffle_is_a_bijection(size):
    shuffle = synthetic.Bijection(size, key=size)
    ids = np.arange(size)
    there = shuffle.forward(ids)
    assert sorted(there.tolist()) == ids.tolist()
    assert np.array_equal(shuffle.backward(there), ids)


def test_the_shuffle_hides_locality():
    # Neighbours land about a third of the range apart, as independent places would; the
    # mean of 10^5 distances, each of deviation 0.236, errs by 0.004 with chance 1e-7.
    n = 100_000
    there = synthetic.Bijection(n, key=3).forward(np.arange(n))
    assert abs(np.abs(np.diff(there)).mean() / n - 1 / 3) < 0.004
    assert abs(np.corrcoef(np.arange(n), there)[0, 1]) < 0.02


@pytest.mark.parametrize("homophily", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_sbm_edges_stay_inside_with_the_stated_probability(homophily):
    d = gl.datasets.generate("sbm", 3000, 40_000, num_classes=6, homophily=homophily)
    source, target = d.graph.edge_index
    inside = (d.y[source] == d.y[target]).float().mean().item()
    # 20,000 independent pairs; six standard deviations: false alarm 2e-9.
    slack = 6 * math.sqrt(homophily * (1 - homophily) / 20_000)
    assert abs(inside - homophily) <= slack
    assert (source != target).all()
    # The classes between are equally likely: chi-square with 29 degrees of freedom
    # exceeds 90 with chance 4e-8 (36 with a diagonal).
    pairs = torch.bincount(d.y[source] * 6 + d.y[target], minlength=36).reshape(6, 6)
    if homophily < 1:
        off = pairs[~torch.eye(6, dtype=torch.bool)].double()
        # Both directions are stored, so cells come in equal pairs: halve the statistic.
        assert (((off - off.mean()) ** 2) / off.mean()).sum() / 2 < 90


def test_sbm_is_undirected_and_edges_come_in_pairs():
    d = gl.datasets.generate("sbm", 100, 300, num_features=4)
    edge_index = d.graph.edge_index
    assert torch.equal(edge_index[:, ::2], edge_index[:, 1::2].flip(0))
    assert d.graph.is_undirected()
    assert d.meta["directed"] is False
    assert d.meta["generated"] is True
    assert d.meta["arguments"]["homophily"] == 0.8
    assert torch.bincount(d.y).tolist() == [10] * 10
    assert (int(d.train_mask.sum()), int(d.val_mask.sum())) == (60, 20)
    assert torch.equal(d.train_mask.int() + d.val_mask + d.test_mask, torch.ones(100))


def test_features_have_the_stated_signal_and_noise():
    n, width, snr = 20_000, 16, 2.0
    d = gl.datasets.generate("sbm", n, 2, width, num_classes=4, snr=snr, seed=3)
    means = torch.stack([d.x[d.y == c].mean(0) for c in range(4)])
    noise = d.x - means[d.y]
    # 320,000 values: the variance errs by 1.5 % with chance below 1e-9.
    assert abs(noise.var().item() - 1) < 0.015
    # A mean's length errs by 5000 ** -0.5 in each of 16 directions.
    torch.testing.assert_close(
        means.norm(dim=1), torch.full((4,), snr), atol=0.1, rtol=0
    )
    # Columns are independent of each other and of their neighbours in the row.
    correlation = torch.corrcoef(noise.T) - torch.eye(width)
    assert correlation.abs().max() < 6 / math.sqrt(n)


def test_rmat_is_skewed_without_locality():
    d = gl.datasets.generate("rmat", 4096, 60_000, 4, seed=1)
    degree = d.graph.out_degree()
    assert degree.max() > 10 * 60_000 / 4096
    # Hubs are spread over the ids, not gathered at low ones as R-MAT draws them.
    hubs = degree.topk(100).indices.double()
    assert abs(hubs.mean() / 4096 - 0.5) < 6 * 0.2887 / 10
    assert d.meta["directed"] is True
    assert d.meta["arguments"]["probabilities"] == [0.57, 0.19, 0.19, 0.05]
    flat = gl.datasets.generate("rmat", 4096, 60_000, probabilities=(0.25,) * 4)
    assert flat.x is None
    # Poisson of mean 15: 60 or more anywhere has chance below 1e-13.
    assert flat.graph.out_degree().max() < 60


def test_rmat_of_any_size_uses_all_nodes():
    d = gl.datasets.generate("rmat", 5, 2000, probabilities=(0.25,) * 4, num_classes=2)
    seen = torch.bincount(d.graph.edge_index.flatten(), minlength=5)
    # 4000 draws of 5: 800 +- 25.3 each; six deviations.
    assert (seen - 800).abs().max() < 160
    assert len(seen) == 5


def test_golden_draws():
    """The generator's numbers are part of its meaning: they do not change silently."""
    d = gl.datasets.generate("sbm", 50, 8, 2, num_classes=3, seed=7)
    r = gl.datasets.generate("rmat", 50, 4, num_classes=3, seed=7)
    assert d.graph.edge_index[:, ::2].tolist() == GOLDEN_SBM
    assert r.graph.edge_index.tolist() == GOLDEN_RMAT
    assert d.y[:8].tolist() == GOLDEN_Y
    expected = torch.tensor(GOLDEN_X)
    torch.testing.assert_close(d.x[:2], expected, atol=1e-6, rtol=0)


GOLDEN_SBM = [[11, 49, 23, 44], [27, 20, 30, 49]]
GOLDEN_RMAT = [[22, 30, 37, 31], [2, 31, 38, 32]]
GOLDEN_Y = [1, 0, 0, 1, 0, 2, 1, 1]
GOLDEN_X = [[-0.510118, 1.169389], [0.181635, -1.92177]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ba"}, "`kind` must be one of 'sbm', 'rmat', got 'ba'"),
        ({"num_nodes": 1}, "`num_nodes` must be at least 2"),
        ({"num_nodes": 2**32}, r"`num_nodes` must be below 2\^32"),
        ({"num_edges": 7}, "`num_edges` must be even"),
        ({"num_classes": 200}, "`num_classes` must be at most num_nodes = 100"),
        ({"homophily": 1.5}, r"`homophily` must be in \[0, 1\], got 1.5"),
        ({"snr": -1.0}, "`snr` must be at least 0"),
        ({"train": 0.9, "val": 0.2}, r"`train \+ val` must be in \[0, 1\]"),
        ({"probabilities": (0.5, 0.5, 0.5, 0.5)}, "must be four numbers of sum 1"),
        ({"path": "s", "dtype": "float8"}, "`dtype` must be one of 'source'"),
        ({"path": "s", "memory": "lots"}, "`memory` must be a size such as"),
    ],
)
def test_errors(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    arguments = {"kind": "sbm", "num_nodes": 100, "num_edges": 10} | change
    with pytest.raises(ValueError, match=message):
        gl.datasets.generate(**arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_too_small_says_what_would_do(tmp_path):
    with pytest.raises(
        BudgetError, match=r"`memory` must be at least .* MiB to hold the"
    ):
        gl.datasets.generate("sbm", 100, 10, path=tmp_path / "s", memory="64KiB")
    assert not (tmp_path / "s").exists()


def test_a_smaller_dtype_on_disk(tmp_path):
    arguments = ("sbm", 300, 600, 9)
    whole = gl.datasets.generate(*arguments)
    streamed = gl.datasets.generate(*arguments, path=tmp_path / "s", dtype="int8")
    assert streamed.x.stored == torch.int8
    read = streamed.x.gather(torch.arange(300))
    bound = whole.x.abs().amax(1, keepdim=True) / 127 / 2 * 1.001
    assert ((read - whole.x).abs() <= bound).all()
    with pytest.raises(ValueError, match="`folder` must not hold a store"):
        gl.datasets.generate(*arguments, path=tmp_path / "s")
    again = gl.datasets.generate(*arguments, path=tmp_path / "s", overwrite=True)
    same(whole, again)
