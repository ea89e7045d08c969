from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import graphlab as gl
from graphlab.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    d = gl.datasets.generate("sbm", num_nodes=120, num_edges=900, num_features=2)
    d.save(tmp_path / "sbm")
    np.savetxt(tmp_path / "edges.txt", d.graph.edge_index.T.numpy(), fmt="%d")
    return tmp_path


def test_run_eval_and_plot(folder, capsys):
    command = (
        "embed run ./sbm --dim 16 --samples 1e5 --out v.bin --evaluate labels --json"
    )
    assert main([*command.split(), "--shares", "50", "--repeats", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["deepwalk@50%/f1_micro"]["mean"] > 0.5
    assert (folder / "runs/sbm-deepwalk/vectors.npy").exists()
    assert (folder / "runs/sbm-deepwalk/config.json").exists()
    command = "embed eval v.bin --data ./sbm --shares 50 --repeats 2 --json"
    assert main(command.split()) == 0
    again = json.loads(capsys.readouterr().out)
    name = "deepwalk@50%/f1_micro"
    assert again["scores"][name]["values"] == found["scores"][name]["values"]
    assert main("embed plot v.bin --data ./sbm --out p.png".split()) == 0
    assert (folder / "p.png").stat().st_size > 10_000
    assert main("embed plot v.bin --out p.svg --json".split()) == 0


def test_an_edge_list_and_links(folder, capsys):
    command = (
        "embed run edges.txt --method line --dim 16 --samples 2e5 --evaluate links"
    )
    assert main(command.split()) == 0
    shown = capsys.readouterr()
    assert "graphvite/auc" in shown.out
    assert "node2vec/auc" in shown.out
    assert "samples/s" in shown.out
    assert "memory: " in shown.err


@pytest.mark.parametrize("method", ["prone", "spectral"])
def test_baselines(folder, capsys, method):
    command = f"embed run ./sbm --method {method} --dim 8 --evaluate graphvite --json"
    assert main([*command.split(), "--shares", "50", "--repeats", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["graphvite@50%/f1_micro"]["mean"] > 0.5


def test_recipe(folder, capsys):
    (folder / "r.yaml").write_text(
        "data: ./sbm\nembed: {method: node2vec, dim: 16, p: 4, q: 2, samples: 50000}\n"
        "evaluate: {protocols: [deepwalk], train_shares: [0.5], repeats: 2}\n"
    )
    assert main("embed run --recipe r.yaml --json".split()) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "node2vec"


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("embed run", 2, "give GRAPH, or --recipe"),
        ("embed run ./sbm --out v.foo", 1, "`path` must end in one of .npy"),
        ("embed run none", 1, "none"),
        ("embed run ./sbm --method walk", 1, "`method` must be one of"),
        ("embed run ./sbm --evaluate all", 2, "--evaluate must be labels, graphvite"),
        (
            "embed run ./sbm --set windw=3",
            2,
            "unknown key `windw`; did you mean `window`?",
        ),
        ("embed run ./sbm --evaluate labels,links", 1, "`hide_edges` must be given"),
        ("embed run edges.txt --evaluate labels", 1, "`d` must have labels"),
        ("embed run ./sbm --shares 120", 2, "--shares must be between 0 and 100"),
        ("embed run --recipe none", 2, "`recipe` must be a YAML file or the name"),
        (
            "embed run ./sbm --memory 20KiB --samples 100",
            1,
            "`memory` must be at least",
        ),
        ("embed eval none.npy --data ./sbm", 1, "there is no file none.npy"),
        ("embed plot none.npy --out p.gif", 2, "--out must end in .png"),
    ],
)
def test_errors_are_one_line(folder, capsys, command, code, message):
    assert main(command.split()) == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_vectors_of_another_graph_are_refused(folder, capsys):
    gl.embed.save(folder / "v.npy", torch.ones(3, 2))
    assert main("embed eval v.npy --data ./sbm".split()) == 1
    assert "must hold one row for each of 120 nodes" in capsys.readouterr().err
