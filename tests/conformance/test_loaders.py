"""What every loader of node batches keeps, in memory or from disk."""

from __future__ import annotations

import json
import threading
import time

import pytest
import torch

from graphlab.sample import NeighborLoader

STATS = {
    "device_bytes",
    "useful_bytes",
    "hits",
    "misses",
    "stall_seconds",
    "seconds",
    "limit_seconds",
    "declared_memory_bytes",
    "peak_memory_bytes",
}
TENSORS = ("x", "y", "edge_index", "n_id", "e_id", "input_id")
COUNTS = ("batch_size", "num_sampled_nodes", "num_sampled_edges")


def assert_same(ours, theirs):
    for name in TENSORS:
        assert torch.equal(ours[name], theirs[name]), name
        assert ours[name].dtype == theirs[name].dtype, name
    for name in COUNTS:
        assert ours[name] == theirs[name], name


def assert_all_same(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(a, b)


def test_fields_agree_with_the_graph(make, dataset):
    inputs = dataset.ids("train")
    for batch in make():
        n_id, size = batch.n_id, batch.batch_size
        assert batch.input_id.shape == (size,)
        assert torch.equal(n_id[:size], inputs[batch.input_id])
        assert len(n_id.unique()) == len(n_id)
        assert torch.equal(batch.x, dataset.x[n_id])
        assert torch.equal(batch.y, dataset.y[n_id])
        assert batch.num_nodes == len(n_id)
        source, target = batch.edge_index
        assert torch.equal(
            dataset.graph.edge_index[:, batch.e_id], n_id[batch.edge_index]
        )
        assert bool((target.diff() >= 0).all())
        assert sum(batch.num_sampled_nodes) == len(n_id)
        assert sum(batch.num_sampled_edges) == len(batch.e_id) == len(source)
        assert batch.num_sampled_nodes[0] == size
        assert len(batch.num_sampled_edges) == 2
        for name in ("edge_index", "n_id", "e_id", "input_id"):
            assert batch[name].dtype == torch.int64


def test_no_target_has_more_neighbours_than_asked_for(make, dataset):
    degree = dataset.graph.in_degree()
    for batch in make(num_neighbors=[4]):
        found = torch.bincount(batch.edge_index[1], minlength=batch.batch_size)
        expected = degree[batch.n_id[: batch.batch_size]].clamp(max=4)
        assert torch.equal(found[: batch.batch_size], expected)
        assert len(batch.e_id.unique()) == len(batch.e_id)


def test_an_epoch_holds_each_input_once(make):
    loader = make()
    batches = list(loader)
    assert len(batches) == len(loader) == 7
    seen = torch.cat([b.input_id for b in batches])
    assert sorted(seen.tolist()) == list(range(100))


def test_the_batches_are_those_in_memory(make, dataset):
    reference = NeighborLoader(
        dataset, [4, 3], batch_size=16, input_nodes="train", seed=3, prefetch=0
    )
    loader = make()
    for _ in range(2):
        assert_all_same(loader, reference)


def test_iterating_again_is_the_next_epoch_and_set_epoch_chooses_one(make):
    loader = make()
    epochs = [list(loader), list(loader)]
    assert not torch.equal(epochs[0][0].n_id, epochs[1][0].n_id)
    for chosen in (1, 0):
        loader.set_epoch(chosen)
        assert_all_same(loader, epochs[chosen])


def test_leaving_an_epoch_midway_starts_the_next_one(make):
    loader = make()
    for _ in loader:
        break
    fresh = make()
    fresh.set_epoch(1)
    assert_all_same(loader, fresh)


def test_another_seed_is_another_sample(make):
    assert not torch.equal(next(iter(make())).n_id, next(iter(make(seed=4))).n_id)


@pytest.mark.parametrize("done", range(8))
def test_resume_is_exact_at_every_batch(make, done):
    whole = make()
    expected = [*whole, *whole]
    stopped = make()
    iterator = iter(stopped)
    for _ in range(done):
        next(iterator)
    state = json.loads(json.dumps(stopped.state_dict()))
    del iterator
    resumed = make()
    resumed.load_state_dict(state)
    got = list(resumed)
    if done < 7:
        # The rest of epoch 0; then epoch 1 follows.
        assert_all_same(got, expected[done:7])
        got = list(resumed)
    assert_all_same(got, expected[7:])


def test_a_state_keeps_its_place_when_the_training_loop_names_the_epoch(make):
    stopped = make()
    expected = list(stopped)
    stopped.set_epoch(0)
    iterator = iter(stopped)
    for _ in range(3):
        next(iterator)
    resumed = make()
    resumed.load_state_dict(stopped.state_dict())
    resumed.set_epoch(0)
    assert_all_same(resumed, expected[3:])


def test_state_after_an_epoch_is_the_next_ones_beginning(make):
    loader = make()
    list(loader)
    fresh = make()
    fresh.load_state_dict(loader.state_dict())
    assert_all_same(fresh, loader)


def test_a_state_of_other_batches_is_refused(make):
    state = make(seed=4).state_dict()
    with pytest.raises(
        ValueError, match="`state` must come from a loader with seed = 3"
    ):
        make().load_state_dict(state)


def test_stats_account_for_the_epoch(make, dataset):
    loader = make()
    rows = sum(len(batch.n_id) for batch in loader)
    stats = loader.stats()
    assert stats.keys() >= STATS
    assert stats["hits"] + stats["misses"] == rows
    assert stats["useful_bytes"] >= rows * 12 * 4
    assert 0 <= stats["stall_seconds"] <= stats["seconds"]
    assert 0 <= stats["limit_seconds"]
    assert 0 < stats["peak_memory_bytes"]


def test_a_loader_dropped_midway_leaves_no_thread(make):
    before = threading.active_count()
    loader = make()
    iterator = iter(loader)
    next(iterator)
    del iterator, loader
    deadline = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_pyg_trims_the_batches(make):
    from torch_geometric.utils import trim_to_layer

    batch = next(iter(make()))
    x, edge_index, _ = trim_to_layer(
        1, batch.num_sampled_nodes, batch.num_sampled_edges, batch.x, batch.edge_index
    )
    assert len(x) == sum(batch.num_sampled_nodes[:2])
    assert edge_index.shape[1] == batch.num_sampled_edges[0]
    assert int(edge_index.max()) < len(x)


def test_seeds_without_neighbours(make, dataset):
    batch = next(iter(make(input_nodes=torch.tensor([290, 295, 299]))))
    assert sorted(batch.n_id.tolist()) == [290, 295, 299]
    assert batch.edge_index.shape == (2, 0)
    assert batch.num_sampled_nodes == [3, 0, 0]
    assert batch.num_sampled_edges == [0, 0]
