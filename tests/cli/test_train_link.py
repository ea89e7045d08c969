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
        (["--data", "toy", "--model", "ncn", "--metric", "acc"], 2, "hits@K, mrr"),
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
