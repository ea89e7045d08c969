from __future__ import annotations

import json

import pytest
import torch

import graphlab as gl
from graphlab import nag
from graphlab.errors import DatasetNotFoundError
from graphlab.nag import spaces
from graphlab.tasks import nas, nas_generation


@pytest.fixture(scope="module")
def data():
    d = gl.datasets.generate(
        "sbm", num_nodes=150, num_edges=700, num_features=6, num_classes=3
    )
    return gl.datasets.split_random(d, train=0.3, val=0.2, runs=1)


def test_folds_hold_training_nodes_only_and_every_one_once(data):
    split = nas.folds(data, 3, seed=1)
    train, val = split.splits["train"], split.splits["val"]
    assert not (train & val).any()
    assert (train | val).all(1).nonzero()[:, 0].equal(data.ids("train"))
    assert (val.sum(1)[data.ids("train")] == 1).all()
    assert "test" not in split.splits
    for label in data.y.unique():
        held = val[data.y == label].sum(0)
        assert int(held.max() - held.min()) <= 1


def test_labels_outside_the_training_nodes_change_nothing(data):
    hidden = gl.Dataset(
        graph=data.graph, x=data.x, y=data.y.clone(), splits=data.splits
    )
    outside = torch.ones(data.num_nodes, dtype=torch.bool)
    outside[data.ids("train")] = False
    hidden.y[outside] = 0
    text = spaces.GNN().decode(spaces.GNN().sample(1, seed=2))[0]
    scores = [nas.TrainedScore(d, count=2, epochs=4)(text) for d in (data, hidden)]
    assert scores[0] == scores[1]


def test_a_search_on_training_nodes_resumes_and_refuses_other_settings(data, tmp_path):
    call = {"folds": 2, "epochs": 2, "final_seeds": [0], "run_dir": tmp_path / "run"}
    first = nas.search(data, evaluations=3, method="evolution", **call)
    lines = (tmp_path / "run" / "scores.jsonl").read_text()
    again = nas.search(data, evaluations=4, method="evolution", **call)
    assert again.found.architectures[:3] == first.found.architectures
    assert again.found.calls == 1
    assert (tmp_path / "run" / "scores.jsonl").read_text().startswith(lines)
    kept = json.loads((tmp_path / "run" / "result.json").read_text())
    assert kept["search"]["best"] == again.found.best
    assert kept["test"]["values"] == list(again.result.test.values)
    with pytest.raises(ValueError, match="epochs = 2 there and 3 now"):
        nas.search(data, evaluations=3, method="evolution", **{**call, "epochs": 3})


def test_bayesian_search_trains_generated_gnns(data):
    space = spaces.GNN()
    model = nag.Denoiser(space, hidden=16, blocks=1).fit(space.sample(100), steps=10)
    found = nas.search(
        data,
        evaluations=8,
        denoiser=model,
        folds=2,
        epochs=3,
        final_seeds=[],
        settings={"candidates": 16},
    )
    assert found.result is None
    classics = space.decode(space.classics())
    assert found.found.architectures[:4] == classics
    assert len(set(space.hashes(space.encode(found.found.architectures)))) == 8


def test_a_search_keeps_the_best_at_every_size_and_latency(data, tmp_path):
    call = {"method": "random", "folds": 2, "epochs": 1, "final_seeds": []}
    found = nas.search(data, evaluations=5, run_dir=tmp_path / "r", **call).found
    assert set(found.archive.edges) == {"params", "latency"}
    for cost in found.archive.edges:
        front = found.archive.front(cost)
        assert front[-1].score == max(found.scores)
        assert all(0 < e.costs[cost] < float("inf") for e in front)
    again = nas.search(data, evaluations=5, run_dir=tmp_path / "r", **call).found
    assert again.archive.elites == found.archive.elites  # not measured again
    costs = nas.Costs(data)
    small = "0,1,2,3|gcn,gcn,skip,skip|hidden=16|dropout=0.5|ends=plain"
    # Two maps and their offsets, 6 features and 3 classes.
    assert costs(small)["params"] == 6 * 16 + 16 + 16 * 3 + 3
    before = torch.get_rng_state()
    nas.Costs(data)(small)
    assert torch.get_rng_state().equal(before)


def test_a_search_without_features_says_so(data, tmp_path):
    bare = gl.Dataset(graph=data.graph, y=data.y, splits=data.splits)
    with pytest.raises(ValueError, match="`d` must have features, got none"):
        nas.search(bare, evaluations=2, run_dir=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_folds_refuse_what_they_cannot_split(data):
    with pytest.raises(ValueError, match="training nodes of every class"):
        nas.folds(data, 40)
    with pytest.raises(ValueError, match="`count` must be at least 2"):
        nas.folds(data, 1)


def test_scores_of_a_file_guide(tmp_path):
    space = spaces.NB201()
    x = space.sample(60, seed=0)
    path = tmp_path / "scores.jsonl"
    path.write_text(
        "".join(
            json.dumps({"architecture": t, "score": t.count("3x3")}) + "\n"
            for t in space.decode(x)
        )
    )
    model = nag.Denoiser(space, hidden=16, blocks=1).fit(x, steps=10)
    guide = nas.guidance_from(space, model, nas.read_scores(space, path), scale=0.7)
    made = nag.generate(model, 80, guidance=guide)
    plain = nag.generate(model, 80)
    count = [sum(t.count("3x3") for t in g.architectures) for g in (made, plain)]
    assert count[0] > 1.5 * count[1]
    path.write_text('{"architecture": "x"}\n')
    with pytest.raises(
        ValueError, match="architecture and score in every line, got line 1"
    ):
        nas_generation.read_scores(space, path)


@pytest.mark.data
def test_a_table_is_searched_by_validation_and_judged_by_test(real_data):
    found = nas.search_table(
        "nb201", "cifar10", evaluations=30, method="evolution", root=str(real_data)
    )
    (regret,) = found.regret
    assert len(regret) == 30
    assert all(0 <= value < 85 for value in regret)
    assert found.truth[0][-1] == pytest.approx(94.373 - regret[-1], abs=0.01)
    again = nas.describe(
        spaces.NB201(), found.found.best, "cifar10", root=str(real_data)
    )
    assert again["test"] == pytest.approx(found.truth[0][-1])
    with pytest.raises(ValueError, match="`dataset` must be one of 'cifar10'"):
        nas.search_table("nb201", "mnist", root=str(real_data))


def test_a_missing_table_says_where_to_put_it(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"must hold nb201\.npz"):
        nas.search_table("nb201", "cifar10", root=str(tmp_path))
