from __future__ import annotations

import functools
import inspect
import json
import math

import pytest
import torch
from torch import nn

from graphlab.datasets import Dataset
from graphlab.evaluate import metric
from graphlab.tasks import Callback, ConfigError, DivergedError, node
from graphlab.tasks.settings import FitSettings
from tests.tasks import toy

FAST = {"epochs": 12, "lr": 0.05}


@pytest.fixture(scope="module")
def d() -> Dataset:
    return toy.dataset()


@pytest.fixture(scope="module")
def result(d):
    return node.fit(d, toy.Mean, seeds=range(3), epochs=30, lr=0.05)


def test_learns_and_beats_the_majority(result):
    assert result.test.mean > 0.75
    assert 0.2 < result.baselines["majority"].mean < 0.45
    assert result.seeds == (0, 1, 2)
    assert len(set(result.test.values)) > 1
    assert result.num_parameters == 2 * 8 * 16 + 16 + 16 * 3 + 3


def test_scores_are_those_of_the_chosen_weights(d, result):
    for i, seed in enumerate(result.seeds):
        model = result.model(seed)
        with torch.no_grad():
            logits = model(d.x, d.graph.edge_index)
        for split, scores in (("val", result.valid), ("test", result.test)):
            ids = d.ids(split)
            assert metric("accuracy")(d.y[ids], logits[ids]) == scores.values[i]


class Record(Callback):
    def __init__(self) -> None:
        self.events: list[tuple] = []
        self.records: list[dict] = []

    def on_run_start(self, seed, config):
        self.events.append(("start", seed))

    def on_epoch_end(self, seed, record):
        self.records.append(dict(record))

    def on_run_end(self, seed, outcome):
        self.events.append(("end", seed, outcome["best_epoch"], outcome["epochs"]))

    def on_done(self, result):
        self.events.append(("done", result.seeds))


def test_the_first_epoch_of_best_validation_score_is_chosen(d):
    heard = Record()
    result = node.fit(d, toy.Mean, seeds=[4], epochs=25, lr=0.05, callbacks=[heard])
    valid = [r["valid"] for r in heard.records]
    best = valid.index(max(valid))
    assert heard.events == [("start", 4), ("end", 4, best, 25), ("done", (4,))]
    assert result.valid.values == (max(valid),)
    assert all("test" not in record for record in heard.records)


def test_patience_stops_and_eval_every_skips(d):
    heard = Record()
    fit = functools.partial(node.fit, d, toy.Mean, seeds=[0], callbacks=[heard])
    fit(epochs=500, lr=0.05, patience=7)
    _, _, best, epochs = heard.events[1]
    assert epochs == best + 8 < 500
    heard.records.clear()
    fit(epochs=8, lr=0.05, eval_every=3)
    evaluated = [r["epoch"] for r in heard.records if r["valid"] is not None]
    assert evaluated == [2, 5, 7]


def test_labels_of_the_test_set_choose_nothing(d):
    other = Dataset(d.graph, x=d.x, y=d.y.clone(), splits=d.splits, meta=d.meta)
    other.y[d.test_mask] = (other.y[d.test_mask] + 1) % 3
    first = node.fit(d, toy.Mean, seeds=[0], **FAST)
    second = node.fit(other, toy.Mean, seeds=[0], **FAST)
    assert first.runs[0]["best_epoch"] == second.runs[0]["best_epoch"]
    assert torch.equal(first.predict(d), second.predict(d))
    assert first.test.mean > second.test.mean


def test_the_test_set_can_be_left_alone(d):
    splits = {"train": d.train_mask, "val": d.val_mask}
    blind = Dataset(d.graph, x=d.x, y=d.y, splits=splits)
    result = node.fit(blind, toy.Mean, seeds=[0], read_test=False, **FAST)
    assert result.test is None
    assert result.to_json()["test"] is None
    assert result.runs[0]["test"] is None


def test_seeds_repeat_and_do_not_depend_on_each_other(d):
    together = node.fit(d, toy.Mean, seeds=[0, 1], **FAST)
    torch.rand(17)
    alone = node.fit(d, toy.Mean, seeds=[1], **FAST)
    assert together.valid.values[1:] == alone.valid.values
    assert torch.equal(together.predict(d, seed=1), alone.predict(d, seed=1))
    assert not torch.equal(together.predict(d, seed=0), alone.predict(d))


def test_the_callers_generator_is_left_alone(d):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    result = node.fit(d, toy.Mean, seeds=[0], **FAST)
    result.predict(d)
    assert torch.equal(torch.rand(4), expected)


def test_each_seed_takes_its_own_split_run():
    d = toy.dataset(runs=2)
    result = node.fit(d, toy.Mean, seeds=[5, 6, 7], **FAST)
    with torch.no_grad():
        for i, seed in enumerate(result.seeds):
            ids = d.ids("test", i % 2)
            logits = result.model(seed)(d.x, d.graph.edge_index)
            expected = metric("accuracy")(d.y[ids], logits[ids])
            assert result.test.values[i] == expected


def test_loader_by_seed_evaluates_exactly_and_sums_stats(d):
    heard = Record()
    result = node.fit(
        d,
        toy.Mean,
        loader=lambda seed: toy.Loader(d, d.ids("train"), seed),
        seeds=[0, 1],
        epochs=6,
        lr=0.05,
        callbacks=[heard],
    )
    assert result.test.mean > 0.7
    assert result.loader_stats == {"hits": 48, "misses": 0, "peak_memory_bytes": 1000}
    assert heard.records[0]["loader"]["hits"] == 4
    assert "exact inference" in result.stamp.protocol


def test_loaders_made_for_a_seed_are_closed_with_it(d):
    closed = []

    class Closing(toy.Loader):
        def close(self):
            closed.append(self.seed)

    def make(seed):
        return Closing(d, d.ids("train"), seed)

    node.fit(d, toy.Mean, loader=make, seeds=[3, 4], epochs=1)
    assert closed == [3, 4]
    node.fit(d, toy.Mean, loader=make(5), seeds=[3, 4], epochs=1)
    assert closed == [3, 4]  # a loader of the caller's stays open
    with pytest.raises(DivergedError):
        node.fit(d, Blown, loader=make, seeds=[6], **FAST)
    assert closed == [3, 4, 6]


def test_sampled_evaluation_is_in_the_protocol(d):
    def evaluate(ids):
        return toy.Loader(d, ids, size=50)

    arguments = {"loader": toy.Loader(d, d.ids("train")), "seeds": [0], "epochs": 4}
    exact = node.fit(d, toy.Mean, **arguments)
    sampled = node.fit(
        d, toy.Mean, eval_loader=evaluate, final_inference="sampled", **arguments
    )
    # One layer, and the toy loader takes all neighbours: both are exact.
    assert sampled.test.values == exact.test.values
    assert "sampled neighbourhoods" in sampled.stamp.protocol
    with pytest.raises(ValueError, match="differ in protocol"):
        sampled.test.minus(exact.test)
    with pytest.raises(
        ValueError, match="`eval_loader` must hold each of the 60 nodes"
    ):
        node.fit(
            d, toy.Mean, eval_loader=lambda ids: toy.Loader(d, ids[1:]), **arguments
        )
    with pytest.raises(ValueError, match="`eval_loader` must be given for"):
        node.fit(d, toy.Mean, final_inference="sampled", **arguments)


def test_validation_and_test_nodes_in_a_loader_are_refused(d):
    ids = torch.cat([d.ids("train"), d.ids("val")])
    with pytest.raises(
        ValueError, match="give only training nodes of split 0, got node"
    ):
        node.fit(d, toy.Mean, loader=toy.Loader(d, ids), seeds=[0], **FAST)


@pytest.mark.parametrize("name", ["roc_auc", "f1_micro", "f1_macro"])
def test_multi_label_and_metrics(d, name):
    y = nn.functional.one_hot(d.y, 3)
    y[:, 2] |= y[:, 0]
    multi = Dataset(d.graph, x=d.x, y=y.to(torch.uint8), splits=d.splits)
    result = node.fit(multi, toy.Mean, seeds=[0], metric=name, epochs=40, lr=0.05)
    assert result.metric == name
    assert result.test.mean > result.baselines["majority"].mean + 0.1
    probability = result.predict(multi)
    assert probability.shape == (d.num_nodes, 3)
    assert not torch.allclose(probability.sum(1), torch.ones(d.num_nodes))


def test_two_classes_by_one_logit(d):
    y = (d.y == 0).long()
    binary = Dataset(d.graph, x=d.x, y=y, splits=d.splits)
    result = node.fit(
        binary,
        lambda: toy.Mean(toy.WIDTH, 1),
        seeds=[0],
        metric="roc_auc",
        class_weights="balanced",
        epochs=30,
        lr=0.05,
    )
    assert result.test.mean > 0.85
    probability = result.predict(binary)
    torch.testing.assert_close(probability.sum(1), torch.ones(d.num_nodes))


def test_class_weights_move_decisions(d):
    heavy = node.fit(d, toy.Mean, seeds=[0], class_weights=[50.0, 1.0, 1.0], **FAST)
    plain = node.fit(d, toy.Mean, seeds=[0], **FAST)
    share = [(r.predict(d).argmax(1) == 0).float().mean() for r in (heavy, plain)]
    assert share[0] > share[1] + 0.05
    with pytest.raises(ValueError, match="be 'balanced' or 3 weights, none below 0"):
        node.fit(d, toy.Mean, seeds=[0], class_weights=[1.0], **FAST)


class Blown(toy.Mean):
    """Puts out infinities from its fourth training step on."""

    steps = 0

    def forward(self, x, edge_index):
        out = super().forward(x, edge_index)
        self.steps += self.training
        return out * math.inf if self.training and self.steps > 3 else out


def test_diverging_stops_with_the_place(d):
    place = r"got nan at seed 0, epoch 3, batch 0; lower `lr` = 0.05"
    with pytest.raises(DivergedError, match=place):
        node.fit(d, Blown, seeds=[0], **FAST)


def test_json_holds_what_the_command_line_promises(result):
    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for part in ("test", "valid"):
        assert set(value[part]) == {"mean", "std", "values"}
    assert value["seeds"] == [0, 1, 2]
    assert {"dataset", "split", "protocol", "commit"} <= set(value["stamp"])
    assert value["stamp"]["dataset"] == "toy"
    assert set(value["baselines"]["majority"]) == {"mean", "std"}
    assert value["metric"] == "accuracy"
    assert value["seconds"] > 0
    assert value["run_dir"] is None


def test_other_splits_make_other_stamps(d):
    other = toy.dataset(seed=1)
    first = node.fit(d, toy.Mean, seeds=[0], epochs=1)
    second = node.fit(other, toy.Mean, seeds=[0], epochs=1)
    with pytest.raises(ValueError, match="differ in masks"):
        first.test.minus(second.test)


def test_keywords_are_the_settings():
    signature = inspect.signature(node.fit).parameters
    for name, field in FitSettings.model_fields.items():
        assert signature[name].default == field.default, name


class Short(nn.Module):
    """Puts out one row, whatever the nodes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (x * self.weight)[:60, 0]


def test_bad_arguments_are_refused_with_words(d):
    def refused(error, message, model=toy.Mean, data=d, **arguments):
        with pytest.raises(error, match=message):
            node.fit(data, model, **{"seeds": [0], "epochs": 1, **arguments})

    def without(**changed):
        parts = {"x": d.x, "y": d.y, "splits": d.splits, **changed}
        return Dataset(d.graph, **parts)

    refused(TypeError, "a factory of modules, got the module Mean", toy.Mean(8, 3))
    refused(TypeError, "a factory of modules, got int", 3)
    refused(TypeError, "make torch.nn.Modules, got a factory of int", lambda: 3)
    refused(ConfigError, "`epochs` must be greater than or equal to 1, got 0", epochs=0)
    refused(ConfigError, "`lr` must be greater than 0, got -1", lr=-1)
    refused(ConfigError, "`metric` must be one of accuracy, roc_auc", metric="acc")
    refused(ConfigError, "`memory` must be a size such as", memory="much")
    refused(ValueError, r"name each seed once, got \[\]", seeds=[])
    refused(ValueError, r"name each seed once, got \[1, 1\]", seeds=[1, 1])
    refused(ValueError, "`d` must have labels, got none", data=without(y=None))
    refused(ValueError, "have features, got none", data=without(x=None))
    refused(ValueError, r"got \[N\] float32; cast", data=without(y=d.y.float()))
    refused(ValueError, "have a train split, got none", data=without(splits=None))
    unlabelled = d.y.clone()
    unlabelled[d.ids("val")[3]] = -1
    refused(ValueError, "1 without, such as node", data=without(y=unlabelled))
    refused(TypeError, "be iterable once an epoch", loader=iter(()))
    refused(TypeError, "be an iterable of batches", loader=lambda seed: seed)
    refused(ValueError, "give at least one batch", loader=[])
    refused(ValueError, r"one row for each of 240 nodes, got shape \[60\]", Short)
