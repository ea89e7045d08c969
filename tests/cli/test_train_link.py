from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from graphlab import datasets
from graphlab.cli import main


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working folder, and GRAPHLAB_DATA with the generated graph ``toy``."""
    d = datasets.generate("sbm", 200, 900, num_features=8, seed=0).to_undirected()
    d.meta["name"] = "toy"
    d.save(tmp_path / "data" / "toy")
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def train(*more):
    small = ["--set", "model.hidden_channels=8", "--metric", "hits@20"]
    arguments = ["--data", "toy", "--epochs", "2", "--runs", "2", *small, *more]
    return main(["train", "link", *arguments])


@pytest.mark.parametrize("model", ["ncn", "ncnc", "gae", "refined-gae"])
def test_trains_and_prints_one_object_with_the_heuristics(place, capsys, model):
    assert train("--model", model, "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["metric"] == "hits@20"
    assert found["seeds"] == [0, 1]
    assert len(found["test"]["values"]) == len(found["valid"]["values"]) == 2
    assert {"common_neighbors", "adamic_adar", "cosine"} <= set(found["baselines"])
    assert found["stamp"]["split"].startswith("ncn-70/10/20")
    assert found["run_dir"] == f"runs/toy-{model}"
    assert "ncn split, hits@20; 2 seeds" in shown.err
    page = Path(found["report"]).read_text()
    assert f"--model {model}" in page
    assert "resource_allocation" in page


def test_the_table_shows_heuristics_beside_the_score(place, capsys):
    assert train("--model", "ncn") == 0
    shown = capsys.readouterr().out
    assert "adamic_adar" in shown
    assert "report: runs/toy-ncn/report.html" in shown


def test_a_finished_run_is_not_run_again_and_resumes(place, capsys):
    assert train("--model", "ncn", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert train("--model", "ncn", "--json") == 0
    assert json.loads(capsys.readouterr().out)["test"] == first["test"]
    assert (
        main(["train", "link", "--resume", "--run-dir", "runs/toy-ncn", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["test"] == first["test"]


def test_a_damaged_config_is_named(place, capsys):
    Path("cut").mkdir()
    Path("cut/config.json").write_text("{")
    assert main(["train", "link", "--resume", "--run-dir", "cut"]) == 1
    assert "cut/config.json: expected a JSON object" in capsys.readouterr().err


def test_hard_negatives_and_a_recipe_file(place, capsys):
    recipe = {
        "data": {"name": "toy", "split": {"kind": "random", "hard_negatives": 10}},
        "model": {"target": "ncn", "hidden_channels": 8},
        "fit": {"seeds": 1, "epochs": 1, "metric": "mrr"},
    }
    Path("mine.yaml").write_text(json.dumps(recipe))
    assert main(["train", "link", "--recipe", "mine.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metric"] == "mrr"
    assert "10 hard negatives" in found["stamp"]["split"]
    arguments = ["--recipe", "mine.yaml", "--set", "data.split.hard_negatives=null"]
    arguments += ["--set", "data.split.random_negatives=10", "--json"]
    assert main(["train", "link", *arguments]) == 0
    other = json.loads(capsys.readouterr().out)
    assert "10 random negatives" in other["stamp"]["split"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "ncn"], 2, "give --data and --model, or --recipe"),
        (["--data", "toy", "--model", "ncm"], 2, "did you mean `ncn`"),
        (["--data", "toyy", "--model", "ncn"], 1, "did you mean toy"),
        (
            ["--data", "toy", "--model", "ncn", "--metric", "acc"],
            2,
            "`fit.metric` must be hits@K, mrr, auc or ap, got 'acc'",
        ),
        (
            ["--data", "toy", "--model", "ncn", "--metric", "mrr"],
            1,
            r"`metric` must be hits@K, auc or ap, got mrr.*data.split.random_negatives",
        ),
        (
            ["--data", "toy", "--model", "ncn", "--metric", "hits@9999"],
            1,
            "at least K = 9999",
        ),
        (
            ["--data", "toy", "--model", "ncn", "--runs", "0"],
            2,
            "Invalid value for .--runs",
        ),
        (["--data", "toy", "--model", "ncn", "--set", "fit.lrr=1"], 2, "fit.lrr"),
        (["--data", "toy", "--model", "ncn", "--set", "model.dept=1"], 2, "depth"),
        (["--recipe", "cora_ncm"], 2, "cora_ncn"),
        (["--resume"], 2, "--resume needs the run folder"),
        (["--resume", "--run-dir", "nowhere"], 1, "must be a run folder"),
    ],
)
def test_errors_say_what_to_do(place, capsys, arguments, code, message):
    import re

    assert main(["train", "link", *arguments]) == code
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error)
    assert "Traceback" not in error


def losses(run):
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["event"] == "epoch"]


def test_from_disk_gives_the_losses_of_memory_and_shows_its_plan(place, capsys):
    common = ["--model", "ncn", "--fanout=-1,3", "--batch-size", "100"]
    assert train(*common, "--run-dir", "memory") == 0
    disk = ["--from-disk", "--memory", "900KiB", "--set", "loader.mode=replay"]
    capsys.readouterr()
    assert train(*common, *disk, "--run-dir", "disk", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert losses("memory") == losses("disk")
    assert len(losses("disk")) == 4  # two seeds, two epochs
    assert (
        found["test"]["values"]
        == json.loads(Path("memory/result.json").read_text())["test"]["values"]
    )
    assert "fanout -1, 3, from disk inside 900KiB" in shown.err
    # The plan goes from the task to its folder, and on to the page.
    told = Path("disk/plan.txt").read_text()
    assert "> replay" in told
    line = next(line for line in told.splitlines() if "batches an epoch" in line)
    assert line in Path(found["report"]).read_text()
    assert {p.name for p in Path("disk").glob("store-*")} == {"store-0", "store-1"}
    assert {p.name for p in Path("disk").glob("plan-*")} == {"plan-0", "plan-1"}


def test_a_shared_split_has_one_store(place):
    common = ["--model", "gae", "--set", "data.split.kind=random", "--fanout", "4"]
    assert train(*common, "--run-dir", "memory") == 0
    disk = ["--from-disk", "--set", "loader.mode=rolling", "--memory", "4MiB"]
    assert train(*common, *disk, "--run-dir", "disk") == 0
    assert losses("memory") == losses("disk")
    assert [p.name for p in Path("disk").glob("store*")] == ["store"]


def test_options_that_do_not_fit(place, capsys):
    assert train("--model", "ncn", "--memory", "1MiB") == 2
    assert "--memory only counts with --from-disk" in capsys.readouterr().err
    wrong = ["--set", "fit.negatives=targets"]
    assert train("--model", "ncn", "--fanout", "3", *wrong) == 2
    assert "`fit.negatives` must be pairs" in capsys.readouterr().err


def test_plans_of_pairs(place, capsys):
    d = datasets.split_links(datasets.load("toy"), seed=0)
    d.save("store")
    arguments = ["--fanout", "3", "--memory", "2MiB", "--mode", "replay"]
    pairs = ["--edges", "train", "--negatives", "1", "--batch-size", "100"]
    given = ["plan", "make", "store", *arguments, *pairs, "--node-order", "packed"]
    assert main([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    count = d.edge_splits["train"]["edge"].shape[1]
    assert found["batches_per_epoch"] == -(-count // 100)
    assert found["node_order"] == "packed"
    assert main(["plan", "verify", "plan", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["intact"]
    both = ["--edges", "all", "--nodes", "train", "--out", "q"]
    assert main(["plan", "make", "store", *both]) == 2
    assert main(["plan", "make", "store", "--negatives", "1", "--out", "q"]) == 2
    assert main(["plan", "make", "store", "--edges", "tests", "--out", "q"]) == 1
    assert "one of all, train, val, test" in capsys.readouterr().err
    for option in ("--edges", "--nodes"):
        wrong = [option, "nothing.npy", "--out", "q"]
        assert main(["plan", "make", "store", *wrong]) == 1
        wanted = f"`{option}` must name a .npy file that is there, got {Path.cwd()}"
        assert wanted in capsys.readouterr().err
