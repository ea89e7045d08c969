from __future__ import annotations

import json

import pytest
import torch

from graphlab import report

TEN = {"test": [0.70 + 0.001 * i for i in range(10)], "valid": [0.72] * 10}


@pytest.fixture
def ten_runs(make_run):
    def make(name="run", **replaced):
        given = {
            "seeds": range(10),
            "scores": TEN,
            "dataset": "ogbn-arxiv",
            "epochs": 2,
        }
        result = replaced.pop("result", {})
        config = replaced.pop("config", {})
        given |= replaced
        stamp = {
            "dataset": given["dataset"],
            "split": "target" if "ddi" in given["dataset"] else "time",
            "protocol": "best validation",
            "metric": "accuracy",
            "commit": "0123abc",
        } | result.pop("stamp", {})
        config = {"dataset": {"num_nodes": 169_343}, "stamp": stamp} | config
        return make_run(name, result={"stamp": stamp} | result, config=config, **given)

    return make


def test_a_full_sheet(ten_runs):
    sheet = report.ogb(
        ten_runs(),
        method="SAGE",
        external_data=False,
        contact="a@b.c",
        code="https://code",
        paper="https://paper",
        hardware="2 cores",
    )
    test = torch.tensor(TEN["test"])
    assert sheet.fields["Test"] == f"{test.mean():.4f} ± {test.std():.4f} (accuracy)"
    assert sheet.fields["Validation"] == "0.7200 ± 0.0000 (accuracy)"
    assert sheet.fields["#Params"] == "123,456"
    assert sheet.fields["External data"] == "no"
    assert sheet.missing == ()
    assert sheet.submittable
    assert str(sheet).startswith("# Leaderboard sheet: ogbn-arxiv")
    assert "| Method | SAGE |" in sheet.markdown()


def test_what_only_a_person_knows_is_listed_as_missing(ten_runs):
    sheet = report.ogb(ten_runs())
    assert not sheet.submittable
    assert set(sheet.missing) >= {"Contact", "Code", "Paper", "External data"}
    assert "Still to fill in: " in str(sheet)
    assert sheet.fields["Method"] == "SAGE"


def test_another_graph_of_the_same_layout_is_a_rehearsal(ten_runs):
    sheet = report.ogb(ten_runs(config={"dataset": {"num_nodes": 120}}))
    assert not sheet.submittable
    assert "the graph has 120 nodes, the official ogbn-arxiv has 169,343" in str(sheet)


def test_papers100m_needs_three_runs(ten_runs):
    scores = {k: v[:3] for k, v in TEN.items()}
    folder = ten_runs(seeds=range(3), scores=scores, dataset="ogbn-papers100M")
    assert report.ogb(folder).fields["Runs"] == "3, seeds 0, 1, 2"


def test_parameters_of_all_stages_are_counted(ten_runs):
    result = {"parameters": {"model": 1000, "node2vec": 64_000}}
    sheet = report.ogb(ten_runs(config={"stages": ["node2vec"]}, result=result))
    assert sheet.fields["#Params"] == "65,000 (model 1,000, node2vec 64,000)"


def nine(values):
    return {k: v[:9] for k, v in values.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": range(9), "scores": nine(TEN)}, "must hold at least 10 runs, got 9"),
        ({"seeds": range(1, 11)}, r"must use seeds 0\.\.9, each once, got \[1, 2"),
        ({"seeds": [0] * 10}, r"must use seeds 0\.\.9, each once, got \[0, 0"),
        ({"finished": False}, "must be finished, got 10 finished seeds"),
        ({"dataset": "cora"}, "must be about an OGB dataset .* got 'cora'"),
        (
            {"result": {"stamp": {"split": "random"}}},
            "must use the official split, 'time', got 'random'",
        ),
        (
            {"config": {"trained_on": ["train", "valid"]}},
            "must train on training labels only, got labels of train and valid",
        ),
        (
            {"result": {"parameters": {}}},
            "parameters of all stages, got none for model",
        ),
        ({"config": {"stages": ["line"]}}, "of all stages, got none for line"),
        (
            {"result": {"valid": {"values": [0.7]}}},
            "must hold one valid score a seed, got 1 for 10 seeds",
        ),
        (
            {"result": {"test": {"values": TEN["test"], "std": 0.00287228}}},
            r"must state sample standard deviations \(ddof=1\)",
        ),
    ],
)
def test_what_the_rules_refuse_is_refused(ten_runs, change, message):
    with pytest.raises(ValueError, match=message):
        report.ogb(ten_runs(**change))


def test_collab_may_train_on_validation_edges(ten_runs):
    folder = ten_runs(dataset="ogbl-collab", config={"trained_on": ["train", "valid"]})
    assert report.ogb(folder).fields["Dataset"] == "ogbl-collab"


def test_underscores_in_the_folder_name_are_the_same_dataset(ten_runs):
    assert report.ogb(ten_runs(dataset="ogbn_arxiv")).fields["Dataset"] == "ogbn-arxiv"


def test_the_command_is_on_the_sheet(ten_runs):
    folder = ten_runs()
    command = json.loads((folder / "config.json").read_text())["command"]
    assert report.ogb(folder).fields["Command"] == command
