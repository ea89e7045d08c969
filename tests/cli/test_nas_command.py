from __future__ import annotations

import json

import pytest

import graphlab as gl
from graphlab.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    d = gl.datasets.generate("sbm", num_nodes=100, num_edges=400, num_features=5)
    gl.datasets.split_random(d, train=0.4, val=0.2, runs=1).save(tmp_path / "sbm")
    return tmp_path


def run(command, capsys):
    assert main(command.split()) == 0
    return json.loads(capsys.readouterr().out)


def test_train_generate_and_draw(folder, capsys):
    about = run("nas train --space nb201 --steps 4 --out d.safetensors --json", capsys)
    assert about["architectures"] == 7812
    made = run(
        "nas generate --space nb201 --denoiser d.safetensors --count 30 "
        "--plot cells.png --json",
        capsys,
    )
    wanted = {"validity", "uniqueness", "novelty", "seconds", "architectures"}
    assert wanted <= set(made)
    assert made["validity"] == 1.0
    assert len(made["architectures"]) == 30
    assert (folder / "cells.png").stat().st_size > 10_000
    assert main("nas generate --denoiser d.safetensors --count 12".split()) == 0
    shown = capsys.readouterr().out
    assert "uniform" in shown
    assert "and 2 more" in shown


def test_search_trains_and_resumes(folder, capsys):
    command = (
        "nas search --data ./sbm --method random --evaluations 2 --folds 2 --epochs 2 "
        "--runs 1 --run-dir out --json"
    )
    found = run(command, capsys)
    assert found["search"]["calls"] == 2
    assert len(found["test"]["values"]) == 1
    assert (folder / "out" / "best.png").exists()
    assert (folder / "out" / "front.png").exists()
    again = run(command, capsys)
    assert again["search"]["calls"] == 0
    assert again["test"]["values"] == found["test"]["values"]
    assert main(command.removesuffix(" --json").split()) == 0
    shown = capsys.readouterr().out
    assert "Best at each cost" in shown
    assert f": {found['search']['best']}\n" in shown
    made = run(
        "nas evaluate 0,1,2,3|gcn,gat,fc,skip|hidden=16|dropout=0.2|weight_decay=0.0005|"
        "lr=0.01 --data ./sbm --runs 1 --epochs 2 --json",
        capsys,
    )
    assert len(made["test"]["values"]) == 1


@pytest.mark.data
def test_search_of_a_table(folder, capsys, real_data):
    command = (
        f"nas search --space nb201 --data cifar10 --method local --root {real_data}"
    )
    assert main([*command.split(), "--evaluations", "12", "--runs", "2"]) == 0
    assert "over the average architecture" in capsys.readouterr().out
    assert (folder / "runs" / "nas-nb201-cifar10" / "regret.png").exists()


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("nas train --space nb301", 1, "`name` must be one of nb201"),
        ("nas train --method gan --steps 1", 1, "`method` must be one of"),
        ("nas generate --plot cells.txt", 2, "--plot must end in .png"),
        ("nas generate --min-unique 0.5", 2, "--min-unique go with --scores"),
        ("nas generate --denoiser x", 1, "expected a saved denoiser"),
        ("nas search --space mobilenetv3", 2, "has no evaluator here"),
        ("nas search --method random --surrogate gp", 2, "are of --method bayesian"),
        ("nas search --data nothing --method random", 1, "nothing"),
        ("nas evaluate x --space nb201", 1, "must be an architecture of nb201"),
    ],
)
def test_wrong_input_is_told_in_one_line(folder, capsys, command, code, message):
    assert main(command.split()) == code
    shown = capsys.readouterr().err.splitlines()
    assert message in shown[-1]
    assert not any("Traceback" in line for line in shown)
