from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from graphlab import nag
from graphlab.nag import baselines, controls, spaces, surrogates
from graphlab.nag.acquisition import NAMES, acquire
from graphlab.nag.bayesian import Bayesian, History
from graphlab.nag.meta import MetaPredictor, TaskPrior, summary
from graphlab.nag.ranking import kendall_loss
from graphlab.nag.set_encoder import DatasetEncoder, SetPool, class_samples
from graphlab.nag.workers import Workers

SPACE = spaces.NB201()


def threes(text: str) -> float:
    return float(text.count("conv_3x3"))


@pytest.fixture(scope="module")
def denoiser():
    return nag.Denoiser(SPACE, hidden=16, blocks=1).fit(SPACE.sample(200), steps=20)


FAST = {"candidates": 30, "initial": 6}


@pytest.mark.parametrize("surrogate", surrogates.NAMES)
def test_the_search_beats_random_on_an_easy_objective(denoiser, surrogate):
    settings = {"ensemble": {"steps": 40}, "gp": {"iterations": 20}}
    found = nag.search(
        SPACE,
        threes,
        30,
        denoiser=denoiser,
        surrogate=surrogate,
        settings=settings.get(surrogate, {"members": 3, "trees": 30}),
        **FAST,
    )
    plain = nag.search(SPACE, threes, 30, method="random")
    late = [sum(r.scores[15:]) / 15 for r in (found, plain)]
    assert late[0] > late[1] + 0.5
    assert len(set(found.architectures)) == len(found.scores) == 30
    assert found.incumbents()[-1] == threes(found.best)


@pytest.mark.parametrize("method", baselines.NAMES)
def test_baselines_evaluate_nothing_twice_and_repeat(method):
    runs = [nag.search(SPACE, threes, 24, method=method, seed=3) for _ in range(2)]
    assert runs[0].architectures == runs[1].architectures
    assert len(set(runs[0].architectures)) == 24
    other = nag.search(SPACE, threes, 24, method=method, seed=4)
    assert other.architectures != runs[0].architectures


def test_local_search_reaches_the_optimum_of_a_smooth_objective():
    found = nag.search(SPACE, threes, 150, method="local")
    assert max(found.scores) == 6.0


@pytest.mark.parametrize("acquisition", NAMES)
def test_every_acquisition_searches(denoiser, acquisition):
    found = nag.search(
        SPACE,
        threes,
        12,
        denoiser=denoiser,
        acquisition=acquisition,
        settings={"steps": 5},
        **FAST,
    )
    assert len(found.scores) == 12


def test_acquisitions_are_their_formulas():
    draw = torch.Generator().manual_seed(0)
    mean, std = torch.tensor([0.2, 1.0]), torch.tensor([0.5, 0.1])
    normal = torch.distributions.Normal(0.0, 1.0)
    u = (mean - 0.6) / std
    ei = (mean - 0.6) * normal.cdf(u) + std * normal.log_prob(u).exp()
    assert acquire("ei", mean, std, 0.6, draw=draw).tolist() == pytest.approx(
        ei.tolist()
    )
    pi = acquire("pi", mean, std, 0.6, draw=draw)
    assert pi.tolist() == pytest.approx(normal.cdf(u).tolist(), rel=1e-4)
    assert acquire("ucb", mean, std, 0.6, draw=draw).tolist() == pytest.approx(
        [0.45, 1.05]
    )
    outputs = torch.tensor([[1.0, 2.0]])
    assert acquire("ts", mean, std, 0.6, draw=draw, outputs=outputs).equal(outputs[0])
    with pytest.raises(ValueError, match="`outputs` must be given for 'ts'"):
        acquire("ts", mean, std, 0.6, draw=draw)
    with pytest.raises(ValueError, match="must be one of 'ei', 'pi'"):
        acquire("kg", mean, std, 0.0, draw=draw)


def test_thompson_sampling_draws_whole_functions_of_a_gaussian_process():
    # Against the posterior's own mean and covariance; 4000 draws: standard errors are under
    # 0.016 deviations and 0.023 variances, Fourier features of the prior come on top.
    x, test = SPACE.sample(40, seed=0), SPACE.sample(20, seed=1)
    y = (x == 5).sum(1) + 0.3 * torch.randn(
        40, generator=torch.Generator().manual_seed(0)
    )
    model = surrogates.GaussianProcess(SPACE, seed=2).fit(x, y)
    drawn = model.outputs(test, draws=4000)
    mean, std = model.predict(test)
    assert ((drawn.mean(0) - mean) / std).abs().max() < 0.15
    exact = model._posterior(SPACE.one_hot(test)).distribution.covariance_matrix
    exact = exact.float() * model.std**2
    scale = std[:, None] * std
    assert ((drawn.T.cov() - exact) / scale).abs().max() < 0.25
    assert (exact / scale - torch.eye(20)).abs().max() > 0.5
    assert model.outputs(test).equal(model.outputs(test))
    other = surrogates.GaussianProcess(SPACE, seed=3).fit(x, y)
    assert not other.outputs(test).equal(model.outputs(test))
    search = Bayesian(SPACE, initial=5, surrogate="gp", acquisition="ts", candidates=40)
    search.tell(x, y)
    asked = search.ask(15)
    drawn = search.model.outputs(asked)[0]  # in the order of one function's values
    assert drawn.diff().max() <= 1e-5


def test_ranking_the_whole_space_is_a_pool():
    pool = SPACE.enumerate()
    search = Bayesian(SPACE, initial=5, pool=pool, settings={"steps": 5})
    first = search.ask(5)
    search.tell(first, first.float().sum(1))
    again = search.ask(4)
    assert not any((first == row).all(1).any() for row in again)


def test_a_used_up_space_ends_the_search():
    space = spaces.from_json({"nodes": [{"name": "a", "ops": ["x", "y", "z"]}]})
    found = nag.search(space, lambda text: 0.0, 10, method="random")
    assert sorted(found.architectures) == ["x", "y", "z"]


def test_wiring_spaces_search_and_evolve():
    space = spaces.NASBenchGraph()
    for method in ("evolution", "local"):
        found = nag.search(space, lambda t: float(t.count("gcn")), 40, method=method)
        assert max(found.scores) >= 2


def test_an_evaluator_caches_by_hash_and_resumes(tmp_path):
    calls = []

    def score(text: str) -> float:
        calls.append(text)
        return float(len(calls))

    path = tmp_path / "scores.jsonl"
    space = spaces.NASBenchGraph()
    twins = ["0,1,2,3|gcn,gat,skip,fc", "0,1,2,3|gcn,gat,fc,skip"]
    evaluator = nag.Evaluator(space, score, path=path)
    assert evaluator(space.encode(twins)) == [1.0, 1.0]
    assert len(calls) == 1
    with open(path, "a") as file:
        file.write('{"hash": "cut')  # a kill in the middle of a line
    again = nag.Evaluator(space, score, path=path)
    assert again(space.encode(twins)) == [1.0, 1.0]
    assert again(space.encode(["0,0,0,0|gcn,gcn,gcn,gcn"])) == [2.0]
    assert [json.loads(line)["score"] for line in path.read_text().splitlines()] == [
        1,
        2,
    ]
    whole = path.read_text()
    path.write_text(whole.rstrip("\n"))  # written by hand
    assert len(nag.Evaluator(space, score, path=path).records) == 2
    assert path.read_text() == whole
    for text, message in (
        ("nonsense\n", "line 1 unreadable"),
        ('{"hash": "a"}\n', "line 1 unreadable: 'score'"),
        ("notes", "something else in the last line"),
    ):
        path.write_text(text)
        with pytest.raises(OSError, match=message):
            nag.Evaluator(space, score, path=path)
        assert path.read_text() == text


def test_scores_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "scores.jsonl"
    evaluator = nag.Evaluator(SPACE, lambda text: float("nan"), path=path)
    with pytest.raises(ValueError, match=r"must give finite scores, got nan for"):
        evaluator(SPACE.sample(1))
    assert not path.exists()


@pytest.mark.parametrize("first", [True, False])
def test_local_search_moves_to_the_first_better_neighbour_or_sees_all(first):
    start = SPACE.sample(1, seed=0)
    search = baselines.LocalSearch(SPACE, first=first, by_hash=False)
    search.tell(start, torch.tensor([0.0]))
    near = search.ask(1)
    assert int((near != start).sum()) == 1
    search.tell(near, torch.tensor([1.0]))
    for _ in range(10):  # of 24 neighbours, none better
        x = search.ask(1)
        assert int((x != (near if first else start)).sum()) == 1
        search.tell(x, torch.tensor([-1.0]))


def test_a_small_space_is_searched_to_its_end():
    history = History(SPACE, by_hash=False)
    every = SPACE.enumerate()
    history.add(every[:-2], torch.zeros(len(every) - 2))
    draw = torch.Generator().manual_seed(0)
    assert {tuple(x) for x in history.random(5, draw).tolist()} == {
        tuple(x) for x in every[-2:].tolist()
    }


def test_a_resumed_search_evaluates_nothing_again(tmp_path):
    path = tmp_path / "scores.jsonl"
    first = nag.Evaluator(SPACE, threes, path=path, by_hash=False)
    nag.search(SPACE, first, 9, method="evolution", seed=1)
    second = nag.Evaluator(SPACE, threes, path=path, by_hash=False)
    found = nag.search(SPACE, second, 15, method="evolution", seed=1)
    straight = nag.search(SPACE, threes, 15, method="evolution", seed=1)
    assert found.architectures == straight.architectures
    assert found.calls == 6


def pid(text):
    return float(os.getpid())


def odd(text):
    if text == "bad":
        raise RuntimeError("odd one out")
    return float(len(text))


def gone(process):
    """Whether it has ended, collected or not."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            in "ZX"
        )
    except OSError:
        return True


def test_workers_score_the_same_and_stay_between_rounds():
    x = SPACE.sample(8, seed=0)
    with nag.Evaluator(SPACE, pid, workers=2, by_hash=False) as evaluator:
        first = set(evaluator(x[:4]))
        pool = evaluator._processes._pool
        second = set(evaluator(x[4:]))
        assert evaluator._processes._pool is pool
        assert os.getpid() not in first | second
        assert len(first | second) <= 2
        assert not any(gone(int(worker)) for worker in first | second)
    assert all(gone(int(worker)) for worker in first | second)
    with nag.Evaluator(SPACE, len, workers=2, by_hash=False) as other:
        assert other(x) == [float(len(t)) for t in SPACE.decode(x)]


def test_a_failing_worker_loses_no_other_result_and_the_next_round_works():
    workers = Workers(odd, 2)
    found = []
    with pytest.raises(RuntimeError, match="odd one out"):
        found.extend(run[:2] for run in workers.run(["a", "bad", "bb", "ccc"]))
    assert sorted(found) == [("a", 1.0), ("bb", 2.0), ("ccc", 3.0)]
    assert [text for text, _, _ in workers.run(["d"])] == ["d"]
    workers.close()


SLOW = """
import os, sys, time
from graphlab import nag
def slow(text):
    print(os.getpid(), flush=True)
    time.sleep(600)
if __name__ == "__main__":
    space = nag.spaces.NB201()
    nag.Evaluator(space, slow, workers=2)(space.sample(5, seed=0))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_search(tmp_path, how):
    (tmp_path / "search.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "search.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        workers = [int(process.stdout.readline()) for _ in range(2)]
        if how is signal.SIGINT:  # as a terminal does: to all of them
            os.killpg(process.pid, how)
            process.wait(timeout=20)
        else:
            process.kill()
        until = time.monotonic() + 20
        while not all(gone(worker) for worker in workers):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.kill()
        _, complaint = process.communicate()
    if how is signal.SIGINT:
        assert complaint.rstrip().endswith("KeyboardInterrupt")
        assert complaint.count("Traceback") == 1


def test_the_archive_keeps_a_front():
    found = nag.search(
        SPACE, threes, 40, method="random", niches={"params": [0.3, 0.6, 0.9]}
    )
    archive = found.archive
    front = archive.front("params")
    assert [e.score for e in front] == sorted({e.score for e in front})
    assert [e.costs["params"] for e in front] == sorted(
        e.costs["params"] for e in front
    )
    assert 0 < archive.coverage <= 1
    with pytest.raises(ValueError, match="`niches` must name costs of nb201"):
        nag.search(SPACE, threes, 2, method="random", niches={"latency": [1.0]})


def test_of_equal_scores_the_cheaper_leads():
    archive = nag.Archive({"params": [5.0], "latency": [5.0]})
    assert archive.add("first", 0.5, {"params": 2.0, "latency": 2.0})
    assert not archive.add("same", 0.5, {"params": 2.0, "latency": 2.0})
    assert not archive.add("mixed", 0.5, {"params": 1.0, "latency": 3.0})
    assert archive.add("cheaper", 0.5, {"params": 1.0, "latency": 2.0})
    assert [e.architecture for e in archive.front("params")] == ["cheaper"]


def test_kendall_loss_is_a_soft_rank_correlation():
    draw = torch.Generator().manual_seed(0)
    y = torch.randn(30, generator=draw)
    from scipy.stats import kendalltau

    guess = y + torch.randn(30, generator=draw)
    tau = kendalltau(guess.numpy(), y.numpy()).statistic
    assert -float(kendall_loss(1e4 * guess, y)) == pytest.approx(tau, abs=1e-5)
    given = guess.clone().double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: kendall_loss(p, y.double()), (given,))


@pytest.mark.parametrize("loss", ["mse", "kendall"])
def test_predictors_rank_held_out_architectures(loss):
    x = SPACE.sample(300, seed=0)
    y = SPACE.costs(SPACE.one_hot(x))["flops"]
    model = nag.Ensemble(SPACE, loss=loss, steps=80).fit(x[:200], y[:200])
    mean, std = model.predict(x[200:])
    assert -float(kendall_loss(1e4 * mean, y[200:])) > 0.6
    assert float(std.min()) >= 0


def test_set_pooling_ignores_order():
    torch.manual_seed(0)
    pool = SetPool(6)
    rows = torch.rand(2, 7, 6)
    order = torch.randperm(7)
    assert torch.allclose(pool(rows), pool(rows[:, order]), atol=1e-5)


def test_class_samples_describe_a_data_set():
    import graphlab as gl

    edges = torch.randint(90, (2, 400))
    x, y = torch.rand(90, 6), torch.arange(90) % 3
    graph = gl.Graph(edges, num_nodes=90)
    samples = class_samples(x, y, graph, per_class=5, seed=1)
    assert samples.shape == (3, 5, 40)
    assert bool(samples.isfinite().all())
    assert DatasetEncoder()(samples).shape == (56,)


def test_a_meta_predictor_tells_data_sets_apart():
    x = SPACE.sample(200, seed=0)
    up = SPACE.costs(SPACE.one_hot(x))["params"]
    tables = {"a": (x, up), "b": (x, -up)}
    given = {"a": [torch.tensor([1.0, 0.0])], "b": [torch.tensor([0.0, 1.0])]}
    model = MetaPredictor(SPACE, statistics=2, hidden=32).fit(tables, given, steps=200)
    test = SPACE.sample(100, seed=1)
    want = SPACE.costs(SPACE.one_hot(test))["params"]
    for name, sign in (("a", 1), ("b", -1)):
        got = model.predict(test, given[name][0])
        assert -float(kendall_loss(1e4 * got, sign * want)) > 0.5
    assert summary("cora").shape == (4,)
    with pytest.raises(ValueError, match="must be one of 'cora'"):
        summary("karate")


def test_a_task_prior_follows_its_probes():
    draw = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 50, generator=draw)
    prior = TaskPrior(torch.stack([one, two]), noise=0.1)
    prior.unit = 3.0
    rows = list(range(8))
    for truth in (one, two):
        mean, std = prior.predict(rows, 5 + 3 * truth[rows])
        assert -float(kendall_loss(1e4 * mean[8:], truth[8:])) > 0.5
        assert float(std[rows].mean()) <= float(std.mean())


def test_controls():
    scores = torch.tensor([[3.0, 1.0, 2.0], [2.0, 1.0, 3.0], [3.0, 1.0, 2.0]])
    assert controls.mean_rank(scores).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "grid"}, "`method` must be one of 'bayesian', 'random'"),
        ({"evaluations": 0}, "`evaluations` must be at least 1"),
        ({"method": "random", "scale": 0.1}, "`settings` must be empty"),
        ({"surrogate": "svm"}, "`surrogate` must be one of 'ensemble', 'gp'"),
        ({"acquisition": "kg"}, "`acquisition` must be one of 'ei'"),
    ],
)
def test_wrong_searches_are_refused(denoiser, given, message):
    call = {"evaluations": 4, **given}
    if call.get("method", "bayesian") == "bayesian":
        call["denoiser"] = denoiser
    with pytest.raises(ValueError, match=message):
        nag.search(SPACE, threes, **call)
