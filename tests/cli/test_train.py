from __future__ import annotations

import json
from pathlib import Path

import numpy as np
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
    d = datasets.generate("sbm", 1000, 8000, num_features=256, seed=0)
    d.meta["name"] = "toy"
    d.save(tmp_path / "data" / "toy")
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


SMALL = ["--fanout", "4,2", "--batch-size", "16", "--set", "model.hidden_channels=16"]


def train(*more):
    return main(["train", "node", "--data", "toy", "--model", "sage", *more])


def test_trains_in_memory_and_reports(place, capsys):
    assert train("--runs", "2", "--epochs", "3", "--json", *SMALL) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["seeds"] == [0, 1]
    assert len(found["test"]["values"]) == 2
    assert found["stamp"]["dataset"] == "toy"
    assert set(found["baselines"]) >= {"majority"}
    assert found["run_dir"] == "runs/toy-sage"
    page = Path(found["report"]).read_text()
    assert "graphlab train node --data toy --model sage --runs 2" in page
    assert "2 seeds, at most 3 epochs" in shown.err.splitlines()[0]


def test_from_disk_gives_the_losses_of_memory_inside_the_budget(place, capsys):
    common = ["--runs", "1", "--epochs", "3", *SMALL]
    assert train(*common, "--run-dir", "memory") == 0
    disk = ["--from-disk", "--memory", "700KiB", "--set", "loader.mode=replay"]
    assert train(*common, *disk, "--run-dir", "disk", "--json") == 0
    loader = json.loads(capsys.readouterr().out.split("\n{", 1)[1].join(["{", ""]))[
        "loader"
    ]
    assert (
        0 < loader["peak_memory_bytes"] <= loader["declared_memory_bytes"] == 700 * 1024
    )
    assert loader["device_bytes"] > 0

    def losses(run):
        lines = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["event"] == "epoch"]

    assert losses("memory") == losses("disk")
    assert len(losses("disk")) == 3


def test_a_budget_that_cannot_hold_says_what_would(place, capsys):
    assert train("--from-disk", "--memory", "10KiB", *SMALL) == 1
    assert "`memory` must be at least" in capsys.readouterr().err


def test_tables_end_with_the_path_of_the_page(place, capsys):
    assert train("--runs", "1", "--epochs", "1", *SMALL) == 0
    shown = capsys.readouterr()
    assert shown.out.rstrip().endswith("report: runs/toy-sage/report.html")
    assert "baseline: majority" in shown.out


def test_the_same_command_goes_on_another_gets_its_own_folder(place, capsys):
    for _ in range(2):
        assert train("--runs", "1", "--epochs", "1", *SMALL) == 0
    assert train("--runs", "1", "--epochs", "2", *SMALL) == 0
    assert sorted(p.name for p in Path("runs").iterdir()) == ["toy-sage", "toy-sage-2"]
    before = Path("runs/toy-sage/metrics.jsonl").read_text()
    assert (
        main(["train", "node", "--resume", "--run-dir", "runs/toy-sage", "--json"]) == 0
    )
    assert Path("runs/toy-sage/metrics.jsonl").read_text().count(
        "epoch"
    ) == before.count("epoch")


def test_own_models_and_missing_splits(place, capsys):
    d = datasets.load("toy")
    d.splits.clear()
    d.meta["name"] = "bare"
    d.save(place / "data" / "bare")
    (place / "work" / "mine.py").write_text(
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    def __init__(self, i, o, width=4):\n"
        "        super().__init__()\n"
        "        self.a, self.b = nn.Linear(i, width), nn.Linear(width, o)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.a(x).relu())\n"
    )
    arguments = [
        "--data",
        "bare",
        "--model",
        "mine:Mine",
        "--runs",
        "1",
        "--epochs",
        "2",
    ]
    assert main(["train", "node", *arguments, "--set", "model.width=8", "--json"]) == 0
    shown = capsys.readouterr()
    assert "bare brings no split: random 60/20/20" in shown.err
    assert json.loads(shown.out)["stamp"]["split"].startswith("split_random")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "give --data and --model, or --recipe"),
        (["--data", "toy"], 2, "give --data and --model, or --recipe"),
        (
            ["--data", "toy", "--model", "sage", "--memory", "1MiB"],
            2,
            "--memory only counts",
        ),
        (
            ["--data", "toy", "--model", "sage", "--fanout", "a"],
            2,
            "must be numbers as 15,10",
        ),
        (["--data", "toy", "--model", "sgae"], 2, "did you mean `sage`"),
        (["--data", "tyo", "--model", "sage"], 1, "did you mean toy"),
        (
            ["--data", "toy", "--model", "sage", "--set", "fit.rl=1"],
            2,
            "unknown key `fit.rl`",
        ),
        (["--resume"], 2, "--resume needs the run folder"),
        (["--resume", "--run-dir", "."], 1, "must be a run folder"),
        (["--recipe", "cora_gnc"], 2, "did you mean `cora_gcn`"),
    ],
)
def test_wrong_options_are_named(place, arguments, code, text, capsys):
    assert main(["train", "node", *arguments]) == code
    assert text in capsys.readouterr().err.splitlines()[-1]


def test_predict_writes_every_node(place, capsys):
    assert train("--runs", "1", "--epochs", "2", *SMALL) == 0
    capsys.readouterr()
    assert main(["predict", "runs/toy-sage", "--out", "p.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "out": "p.npy",
        "run": "runs/toy-sage",
    }
    assert np.load("p.npy").shape == (1000,)
    assert main(["predict", "runs/toy-sage", "--out", "p.xlsx"]) == 1
    assert "`out` must end in .parquet" in capsys.readouterr().err


def test_tune_goes_by_validation_and_writes_a_recipe(place, capsys):
    Path("r.yaml").write_text(
        "data: toy\nmodel: {target: mlp, hidden_channels: 8}\nfit: {epochs: 3, seeds: 1}\n"
    )
    arguments = ["tune", "r.yaml", "--vary", "fit.lr=[0.1, 0.001]", "--trials", "3"]
    assert main([*arguments, "--out", "best.yaml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["trials"]) == 3
    assert found["best"]["valid"] == max(t["valid"] for t in found["trials"])
    assert main([*arguments]) == 0
    assert "fit.lr" in capsys.readouterr().out
    assert main(["train", "node", "--recipe", "best.yaml", "--epochs", "1"]) == 0
    for wrong in ("fit.lr", "fit.lr=3", "fit.lr=["):
        assert main(["tune", "r.yaml", "--vary", wrong]) == 2
    assert main(["tune", "r.yaml"]) == 2


def test_plan_make_explain_verify_info_clean(place, capsys):
    store = str(place / "data" / "toy")
    arguments = ["--fanout", "4,2", "--batch-size", "16", "--memory", "700KiB"]
    arguments += ["--mode", "replay", "--epochs", "2", "--out", "p"]
    assert main(["plan", "make", store, *arguments]) == 0
    assert "replay" in capsys.readouterr().out
    assert main(["plan", "explain", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == "replay"
    assert main(["plan", "explain", "p"]) == 0
    assert main(["plan", "info", "p", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.split("\n{", 1)[1].join(["{", ""]))
    assert facts["request"]["num_neighbors"] == [4, 2]
    assert main(["plan", "info", "p"]) == 0
    assert main(["plan", "verify", "p", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.split("\n{", 1)[1].join(["{", ""]))
    assert found["batches"] == 2 * facts["batches_per_epoch"]
    # The same command uses the plan that is there; another one is refused.
    assert main(["plan", "make", store, *arguments]) == 0
    assert main(["plan", "make", store, *arguments, "--seed", "1"]) == 1
    assert main(["plan", "make", store, *arguments, "--seed", "1", "--overwrite"]) == 0
    with open(next(Path("p").glob("pack-*.bin")), "r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))
    capsys.readouterr()
    assert main(["plan", "verify", "p"]) == 1
    assert "pack-" in capsys.readouterr().err
    assert main(["plan", "clean", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed_bytes"] > 0
    assert not Path("p").exists()
    Path("other").mkdir()
    assert main(["plan", "clean", "other"]) == 1
    assert Path("other").exists()


def test_rolling_plans(place, capsys):
    store = str(place / "data" / "toy")
    arguments = ["--fanout", "2", "--batch-size", "16", "--memory", "2MiB"]
    arguments += ["--mode", "rolling", "--policy", "static", "--disk", "16MiB"]
    assert main(["plan", "make", store, *arguments, "--out", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == "rolling"
    assert main(["plan", "explain", "p"]) == 0
    assert "> rolling" in capsys.readouterr().out
    assert main(["plan", "verify", "p"]) == 0
    assert main(["plan", "clean", "p"]) == 0
    wrong = [*arguments, "--resample-every", "0"]
    assert main(["plan", "make", store, *wrong, "--out", "q"]) == 1
    assert "resample_every" in capsys.readouterr().err
    assert main(["plan", "make", store, "--policy", "best", "--out", "q"]) == 1
    assert "one of 'belady'" in capsys.readouterr().err


def test_plans_of_own_nodes(place, capsys):
    np.save("ids.npy", np.arange(100))
    arguments = ["--fanout", "2", "--batch-size", "50", "--out", "p", "--json"]
    store = str(place / "data" / "toy")
    assert main(["plan", "make", store, "--nodes", "ids.npy", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["batches_per_epoch"] == 2
