from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import torch

import graphlab as gl
from graphlab.embed import NodeEmbedding, scored
from graphlab.embed.partition import partition, rounds
from graphlab.embed.training import Training
from graphlab.embed.walker import Walker, WalkShape
from graphlab.errors import BudgetError, StoreError

SAMPLES = 150_000


@pytest.fixture(scope="module")
def sbm():
    return gl.datasets.generate("sbm", num_nodes=200, num_edges=2000, num_features=2)


def purity(emb: NodeEmbedding, y: torch.Tensor) -> float:
    """Share of the five nearest nodes that are of the same block; chance: 1 / blocks."""
    ids = emb.knn(torch.arange(len(y)), 5).ids
    return float((y[ids] == y[:, None]).float().mean())


def make(**change) -> NodeEmbedding:
    given = {"dim": 24, "samples": SAMPLES, "workers": 1, "window": 4} | change
    return NodeEmbedding(**given)


# Ways of training that a device knows, too.
WAYS = [
    {},
    {"method": "node2vec", "p": 4.0, "q": 0.5},
    {"method": "line", "window": None, "samples": 600_000},
    {"method": "line", "window": None, "order": 1, "samples": 600_000},
    {"compat": "reference", "window": None, "augmentation_step": 2},
    {"shrink_window": True, "num_negatives": 5, "negative_weight": 1.0},
]


@pytest.mark.parametrize(
    "change",
    [
        *WAYS,
        {"departure": "degree"},
        {"partitions": 4, "workers": 2},
        {"memory": "590KiB", "dim": 64},
    ],
    ids=lambda change: "-".join(change) or "default",
)
def test_blocks_are_found(sbm, change):
    """A chance of 1/7 a neighbour; training finds over half of them in every mode."""
    emb = make(**change).fit(sbm.graph)
    assert emb.vectors.shape == (200, change.get("dim", 24))
    assert emb.vectors.isfinite().all()
    assert purity(emb, sbm.y) > 0.5
    assert emb.history["pairs"] >= emb.history["settings"]["samples"]
    # The budget is met up to the pairs of one walk.
    assert emb.history["pairs"] <= emb.history["settings"]["samples"] + 400


@pytest.mark.parametrize(
    "change", [{}, {"partitions": 2}, {"method": "line", "window": None}]
)
def test_a_seed_repeats_to_the_bit(sbm, change):
    first, again = (make(**change).fit(sbm.graph) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    assert torch.equal(first.context, again.context)
    other = make(**change, seed=1).fit(sbm.graph)
    assert not torch.equal(first.vectors, other.vectors)


def test_a_grid_is_the_same_with_any_number_of_workers(sbm):
    one, two, three = (
        make(partitions=4, workers=w).fit(sbm.graph).vectors for w in (1, 2, 3)
    )
    assert torch.equal(one, two)
    assert torch.equal(one, three)


@pytest.mark.parametrize("change", [{}, {"memory": "590KiB", "dim": 64}, {"order": 1}])
def test_a_grid_over_devices_is_that_over_workers(sbm, change):
    """The CPU stands in for GPUs: parts are copied to a device and back."""
    one = make(partitions=4, **change).fit(sbm.graph)
    two, three = (
        make(partitions=4, devices=["cpu"] * n, **change).fit(sbm.graph) for n in (2, 3)
    )
    for other in (two, three):
        assert torch.equal(one.vectors, other.vectors)
        assert torch.equal(one.context, other.context)


def test_pairs_made_ahead_are_those_of_their_turn(sbm, monkeypatch):
    monkeypatch.setattr("graphlab.embed.plan.BUFFERS", 2**20)
    begun = []
    begin = Training._begin
    monkeypatch.setattr(
        Training, "_begin", lambda self, *a: begun.append(a[1]) or begin(self, *a)
    )
    one = make(partitions=2).fit(sbm.graph)
    assert len(begun) > 5
    two = make(partitions=2, devices=["cpu", "cpu"]).fit(sbm.graph)
    assert torch.equal(one.vectors, two.vectors)


def test_devices_bring_their_number_of_parts(sbm):
    assert make(devices=["cpu"] * 3).plan(sbm.graph).parts == 3
    assert make(devices=["cpu"]).plan(sbm.graph).parts == 2
    assert make(devices=["cpu"], memory="590KiB", dim=64).plan(sbm.graph).streamed


def test_streamed_tables_are_those_of_the_grid(sbm):
    """Disk changes how many pairs a block has at a time: quality agrees."""
    streamed = make(memory="590KiB", dim=64).fit(sbm.graph)
    assert streamed.history["streamed"]
    whole = make(dim=64, partitions=streamed.history["partitions"]).fit(sbm.graph)
    assert not whole.history["streamed"]
    assert abs(purity(streamed, sbm.y) - purity(whole, sbm.y)) < 0.1


def test_plan_is_told_and_a_budget_that_cannot_hold_is_refused(sbm, capsys):
    make().fit(sbm.graph)
    assert "memory: " in capsys.readouterr().err
    plan = make(memory="590KiB", dim=64).plan(sbm.graph)
    assert plan.streamed
    assert plan.total <= 590 * 1024
    assert plan.buffers <= 64 * 2**20
    with pytest.raises(BudgetError, match=r"`memory` must be at least .* got 60.0 KiB"):
        make(memory="60KiB").fit(sbm.graph)


def test_large_tables_are_ordered_where_they_lie(sbm, monkeypatch):
    one = make(samples=20_000).fit(sbm.graph)
    monkeypatch.setattr("graphlab.embed.tables._SMALL", 0)
    two = make(samples=20_000).fit(sbm.graph)
    assert torch.equal(one.vectors, two.vectors)
    assert torch.equal(one.context, two.context)
    assert two.vectors.is_contiguous()


def test_vectors_stand_in_input_order():
    # Two triangles that no edge joins.
    edges = torch.tensor([[0, 2, 4, 1, 3, 5], [2, 4, 0, 3, 5, 1]])
    g = gl.Graph(edges).to_undirected()
    emb = make(samples=40_000, dim=16, window=2).fit(g)
    assert emb.knn([0, 1], 2).ids.sort().values.tolist() == [[2, 4], [3, 5]]


def test_isolated_nodes_and_dead_ends_are_no_problem():
    g = gl.Graph(torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=6)
    emb = make(samples=2_000, dim=16).fit(g)
    assert emb.vectors.isfinite().all()
    grid = make(samples=2_000, dim=16, partitions=3).fit(g)
    assert grid.vectors.isfinite().all()


def test_resume_after_a_checkpoint_is_exact(sbm, tmp_path):
    whole = make().fit(sbm.graph)

    emb = make(checkpoint=tmp_path / "c")
    asked = iter([False] * 3)
    # Small calls, so that there is a middle to stop in.
    import graphlab.embed.training as training

    before, training._MOST_WALKS = training._MOST_WALKS, 100
    try:
        with pytest.raises(
            KeyboardInterrupt, match=r"interrupted after .* pairs; saved"
        ):
            emb.fit(sbm.graph, stop=lambda: next(asked, True))
        again = make(checkpoint=tmp_path / "c").fit(sbm.graph)
        small = make().fit(sbm.graph)
    finally:
        training._MOST_WALKS = before
    assert torch.equal(again.vectors, small.vectors)
    assert again.history["pairs"] == small.history["pairs"] == whole.history["pairs"]
    with pytest.raises(ValueError, match=r"`checkpoint` must be of the same settings"):
        make(checkpoint=tmp_path / "c", seed=3).fit(sbm.graph)
    damaged = next((tmp_path / "c").glob("head-*.bin"))
    damaged.write_bytes(b"short")
    with pytest.raises(StoreError, match="head-"):
        make(checkpoint=tmp_path / "c").fit(sbm.graph)


KILLED = """
import sys, torch, graphlab as gl
import graphlab.embed.training as training
training._MOST_WALKS = 100
d = gl.datasets.generate("sbm", num_nodes=200, num_edges=2000, num_features=2)
gl.embed.NodeEmbedding(dim=24, samples=3_000_000, workers=1, window=4,
                       checkpoint=sys.argv[1], checkpoint_seconds=0.0).fit(d.graph)
"""


def test_a_killed_fit_leaves_a_whole_checkpoint(sbm, tmp_path, monkeypatch):
    folder = tmp_path / "c"
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    for _ in range(600):
        if (folder / "state.json").exists() or run.poll() is not None:
            break
        time.sleep(0.05)
    time.sleep(0.2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert (folder / "state.json").exists()
    monkeypatch.setattr("graphlab.embed.training._MOST_WALKS", 100)
    again = make(samples=3_000_000, checkpoint=folder).fit(sbm.graph)
    whole = make(samples=3_000_000).fit(sbm.graph)
    assert torch.equal(again.vectors, whole.vectors)


def test_walks_made_ahead_are_the_same_walks(sbm, monkeypatch):
    """The hand-over of a GPU, on the CPU: a thread makes the next call's walks."""
    from concurrent.futures import ThreadPoolExecutor

    from graphlab.embed import training

    monkeypatch.setattr(training, "_MOST_WALKS", 50)
    expected = make().fit(sbm.graph).vectors
    before = training.Training.__init__

    def with_maker(self, *args, **kwargs):
        before(self, *args, **kwargs)
        self._maker = ThreadPoolExecutor(1)

    monkeypatch.setattr(training.Training, "__init__", with_maker)
    assert torch.equal(make().fit(sbm.graph).vectors, expected)


@pytest.mark.parametrize("passes", [1, 4])
def test_orders_sorted_ahead_are_the_same_orders(sbm, passes):
    shape = WalkShape(4, 2, False, False, "node", 1.0, 1.0)
    parts = partition(sbm.graph.out_degree(), 1)
    plain, ahead = (
        Walker(sbm.graph, parts, shape, 0, False, ahead=a) for a in (False, True)
    )
    for first in range(0, passes * 200, 90):
        assert torch.equal(plain.walks(first, 90), ahead.walks(first, 90))
    # A resumed run begins in the middle.
    assert torch.equal(plain.walks(750, 3), ahead.walks(750, 3))


def test_warm_start(sbm):
    first = make().fit(sbm.graph)
    warm = make(init=first, samples=1, lr=1e-9).fit(sbm.graph)
    torch.testing.assert_close(warm.vectors, first.vectors, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"`init` must be \[200, 24\], got \[3, 24\]"):
        make(init=torch.zeros(3, 24)).fit(sbm.graph)


def test_weights_are_followed():
    """Node 0 has a heavy edge to 1 and a light one to 2."""
    edges = torch.tensor([[0, 1, 0, 2, 1, 3, 2, 4], [1, 0, 2, 0, 3, 1, 4, 2]])
    weight = torch.tensor([50.0, 50, 0.1, 0.1, 1, 1, 1, 1])
    g = gl.Graph(edges, 5, weight)
    emb = make(samples=40_000, dim=16, window=1).fit(g)
    score = emb.vectors[0] @ emb.context.T
    assert score[1] > score[2]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "walk"}, ValueError, "`method` must be one of 'deepwalk', 'line'"),
        ({"dim": 0}, ValueError, "`dim` must be at least 1, got 0"),
        ({"p": 2.0}, ValueError, "`p` must be 1 for other methods than node2vec"),
        ({"lr": -1.0}, ValueError, "`lr` must be positive and finite, got -1.0"),
        (
            {"augmentation_step": 2},
            ValueError,
            "`augmentation_step` must be given alone",
        ),
        ({"epochs": 1}, ValueError, "`epochs` must be given without `samples`"),
        ({"order": 3}, ValueError, "`order` must be 1 or 2, got 3"),
        ({"compat": "paper"}, ValueError, "`compat` must be one of 'reference'"),
        ({"workers": 0}, ValueError, "`workers` must be at least 1, got 0"),
        ({"devices": "cpu"}, TypeError, "`devices` must be a list of names"),
        ({"devices": []}, ValueError, "`devices` must name a device"),
        (
            {"devices": ["cpu", "tpu"]},
            ValueError,
            "`devices` must be cpu, or cuda where",
        ),
        (
            {"device": "cpu", "devices": ["cpu"]},
            ValueError,
            "`device` must be left out",
        ),
        ({"device": "tpu"}, ValueError, "`device` must be auto, cpu, or cuda where"),
        ({"dtype": "int8"}, ValueError, "`dtype` must be one of 'float32'"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        make(**change)


def test_use_before_fit_and_graphs_without_edges_are_refused():
    with pytest.raises(ValueError, match=r"must be fitted, .*; call fit"):
        make().knn([0])
    with pytest.raises(ValueError, match="`g` must have edges, got none"):
        make().fit(gl.Graph(torch.empty(2, 0, dtype=torch.int64), 3))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_rounds_are_orthogonal_and_meet_every_block_once(parts):
    seen = []
    for blocks in rounds(parts):
        assert len({h for h, _ in blocks}) == len({t for _, t in blocks}) == parts
        seen += blocks
    assert sorted(seen) == [(h, t) for h in range(parts) for t in range(parts)]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_are_equal_in_size_and_degree(parts):
    generator = torch.Generator().manual_seed(0)
    degree = torch.randint(1, 100, (203,), generator=generator)
    p = partition(degree, parts)
    assert torch.equal(p.rank[p.node], torch.arange(203))
    sizes = torch.tensor(p.bounds).diff()
    assert sizes.max() - sizes.min() <= 1
    sums = torch.stack([degree[p.node[p.rows(i)]].sum() for i in range(parts)])
    assert sums.max() - sums.min() <= 100


def shifted(h, t):
    return (h * t).sum(-1) + 0.0


@pytest.mark.parametrize("change", [{}, {"partitions": 2}])
@pytest.mark.parametrize("scorer", ["distance", shifted])
def test_another_score_finds_blocks_and_repeats(sbm, scorer, change):
    given = {"samples": 40_000, "scorer": scorer, "lr": 0.1, **change}
    emb, again = (make(**given).fit(sbm.graph) for _ in range(2))
    assert purity(emb, sbm.y) > 0.4
    assert torch.equal(emb.vectors, again.vectors)
    assert emb.history["pairs"] >= 40_000


def test_a_step_of_another_score_is_gradient_descent():
    """Pairs that share no rows: the tables move by the gradient of the objective."""
    generator = torch.Generator().manual_seed(0)
    head, tail = torch.randn(2, 4, 16, generator=generator)
    before = [t.double().clone().requires_grad_() for t in (head, tail)]
    pairs = torch.tensor([[0, 1], [2, 3]], dtype=torch.int32)
    ones = torch.full((4,), 2**31 - 1, dtype=torch.int32)
    alias = torch.arange(4, dtype=torch.int32)
    draws = gl.ops.negative_sample(ones, alias, 6, key=5, first=0).view(2, 3).long()
    loss = 0
    for (u, v), drawn in zip(pairs.tolist(), draws, strict=True):
        for row, sign, w in [(v, 1, 1.0), *((n, -1, 2.0) for n in drawn)]:
            f = scored.distance(before[0][u, :10], before[1][row, :10])
            loss = loss - w * torch.nn.functional.logsigmoid(sign * f)
            squares = (
                before[0][u, :10].square().sum() + before[1][row, :10].square().sum()
            )
            loss = loss + w * 0.01 / 2 * squares
    gradients = torch.autograd.grad(loss, before)
    scored.train(
        head,
        tail,
        pairs,
        ones,
        alias,
        scored.distance,
        dim=10,
        negatives=3,
        weight=2.0,
        decay=0.01,
        rate=0.05,
        rate_end=0.0,
        key=5,
        first=0,
    )
    for table, start, gradient in zip((head, tail), before, gradients, strict=True):
        wanted = (start - 0.05 * gradient).detach().float()
        torch.testing.assert_close(table, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scorer": "cosine"}, "`scorer` must be one of 'dot', 'distance'"),
        ({"scorer": "distance", "compat": "reference"}, "`scorer` must be 'dot' with"),
    ],
)
def test_scorers_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        make(window=None, **change)


def test_a_score_of_another_shape_is_named(sbm):
    emb = make(scorer=lambda h, t: h * t)
    with pytest.raises(ValueError, match=r"`scorer` must give \[128, 2\]"):
        emb.fit(sbm.graph)


def test_sorting_the_edges_counts_too():
    """Many edges on few nodes: what comes before the tables takes the most."""
    edges = torch.randint(
        50, (2, 1_100_000), generator=torch.Generator().manual_seed(0)
    )
    g = gl.Graph(edges, 50, edge_weight=torch.ones(edges.shape[1]))
    plan = make(dim=16).plan(g)
    assert plan.total == plan.prepare > plan.resident_bytes + plan.graph + plan.buffers
    assert "sorting edges before that: 92.3 MiB" in str(plan)
    with pytest.raises(
        BudgetError, match=r"at least 92.3 MiB, which sorting the edges"
    ):
        make(dim=16, memory="80MiB").plan(g)


def test_a_budget_too_small_leaves_no_run_folder(sbm, tmp_path):
    with pytest.raises(BudgetError):
        gl.tasks.embed.fit(sbm, dim=16, memory="1KiB", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
