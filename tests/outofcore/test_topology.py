"""Sampling from a graph on disk, in its files' order, equals sampling in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphlab import Dataset, Graph
from graphlab.outofcore import Store, build_rolling, layout, plan
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.request import Request, Samples
from graphlab.outofcore.topology import GraphFiles
from graphlab.sample import LinkNeighborLoader, NeighborLoader
from graphlab.sample.sampler import NeighborSampler
from tests.outofcore.test_plan import assert_epochs_equal


@pytest.fixture(params=["sorted", "edge ids"])
def store(tmp_path, request):
    generator = np.random.default_rng(1)
    row = (3000 * generator.random(30000) ** 3).astype(np.int64)
    col = (3000 * generator.random(30000) ** 2).astype(np.int64)
    if request.param == "sorted":
        order = np.argsort(col, kind="stable")
        row, col = row[order], col[order]
    graph = Graph(torch.from_numpy(np.stack([row, col])), num_nodes=3000)
    x = torch.from_numpy(generator.standard_normal((3000, 64), dtype=np.float32))
    found = Store.convert(Dataset(graph, x=x), tmp_path / "store")
    assert (found.manifest.topology.edge_id is None) == (request.param == "sorted")
    return found


def samples_of(store, sampler, request, memory, gap=2**14):
    ledger = Ledger(memory, "plan")
    files = GraphFiles.of(store, memory, gap)
    numbers = range(request.total)
    samples = Samples(sampler, request, numbers, ledger, files, threads=2)
    try:
        yield from samples
        assert 0 < ledger.peak <= memory
        assert samples.groups > 0
    finally:
        samples.close()
    assert ledger.held == 0


@pytest.mark.parametrize("fanout", [[4, 3, 2], [-1, 2], [0, 3]], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"replace": True}, {"disjoint": True}], ids=str
)
def test_samples_are_equal(store, fanout, options):
    graph = store.graph
    sampler = NeighborSampler(graph, fanout, seed=5, **options)
    request = Request(torch.arange(0, 3000, 20), 32, 2, 5, True, False)
    per_epoch = len(request.batches(0))
    for memory, gap in ((4 * 2**20, 256), (64 * 2**20, 2**14)):
        count = 0
        for number, found, positions in samples_of(
            store, sampler, request, memory, gap
        ):
            epoch, batch = divmod(number, per_epoch)
            assert torch.equal(positions, request.batches(epoch)[batch])
            seeds = request.input_nodes[positions]
            expected = sampler.sample(seeds, epoch=epoch, batch=batch)
            for one, other in zip(found, expected, strict=True):
                same_ = (
                    torch.equal(one, other) if torch.is_tensor(one) else one == other
                )
                assert same_
            count += 1
        assert count == request.total


def test_groups_shrink_where_memory_is_scarce(store):
    sampler = NeighborSampler(store.graph, [-1, -1], seed=0)
    request = Request(torch.arange(96), 6, 1, 0, True, False)
    groups = []
    for memory in (4 * 2**20, 256 * 2**20):
        samples = Samples(
            sampler,
            request,
            range(request.total),
            Ledger(memory, "plan"),
            GraphFiles.of(store, memory, 0),
            threads=1,
        )
        assert len(list(samples)) == 16
        groups.append(samples.groups)
        samples.close()
    assert groups[0] > groups[1]


def test_batches_too_large_are_sampled_from_the_map(store, capsys):
    from graphlab.progress import set_quiet

    set_quiet(False)
    sampler = NeighborSampler(store.graph, [-1, -1, -1], seed=0)
    request = Request(torch.arange(3000), 3000, 1, 0, False, False)
    files = GraphFiles.of(store, 2**20, 0)
    ledger = Ledger(2 * files.least_bytes + 2**16, "plan")
    samples = Samples(sampler, request, range(1), ledger, files, threads=1)
    (_, found, _), *rest = samples
    samples.close()
    assert not rest
    expected = sampler.sample(torch.arange(3000), epoch=0, batch=0)
    assert torch.equal(found.n_id, expected.n_id)
    assert samples.groups == 0
    assert "too small to read the graph in order" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["replay", "rolling", "direct"])
def test_plans_of_a_graph_larger_than_memory(tmp_path, mode, monkeypatch):
    # As where the system could not keep the map's pages either.
    monkeypatch.setattr(build_rolling, "available", lambda: 0)
    generator = np.random.default_rng(0)
    edge_index = torch.from_numpy(generator.integers(0, 4000, (2, 2_000_000)))
    x = torch.from_numpy(generator.standard_normal((4000, 8), dtype=np.float32))
    dataset = Dataset(Graph(edge_index, num_nodes=4000), x=x)
    store = Store.convert(dataset, tmp_path / "store")
    given = {
        "num_neighbors": [3, 2],
        "batch_size": 32,
        "input_nodes": torch.arange(1000),
    }
    made = plan(store, **given, memory="15MiB", mode=mode, path=tmp_path / "p")
    assert made.job.topology_bytes > made.memory
    assert made.job.graph_files is not None
    loader = made.loader()
    assert_epochs_equal(loader, NeighborLoader(dataset, **given), 1)
    assert loader.stats()["peak_memory_bytes"] <= made.memory
    loader.close()
    # The same plan where the graph is in memory.
    if mode == "replay":
        other = plan(store, **given, memory="64MiB", mode=mode, path=tmp_path / "q")
        assert other.job.graph_files is None
        name = "samples-00000.idx"
        tables = [
            layout.read_index(p.path / name, p.body["files"][name])
            for p in (made, other)
        ]
        assert (tables[0] == tables[1]).all()


def test_pairs(store):
    dataset = store.dataset()
    pairs = dataset.graph.edge_index[:, ::90].contiguous()
    given = {"edge_label_index": pairs, "neg_sampling_ratio": 1.0, "batch_size": 40}
    for disjoint in (False, True):
        expected = LinkNeighborLoader(dataset, [3, 2], disjoint=disjoint, **given)
        made = plan(
            store,
            [3, 2],
            disjoint=disjoint,
            **given,
            memory="64MiB",
            mode="replay",
            path=store.path.parent / f"p{disjoint}",
        )
        request, sampler = made.job.request, made.job.sampler
        samples = samples_of(store, sampler, request, 2**26)
        for (_, found, _), batch in zip(samples, expected, strict=True):
            assert torch.equal(found.n_id, batch.n_id)
            assert torch.equal(found.e_id, batch.e_id)
            if disjoint:
                assert torch.equal(found.batch, batch.batch)
