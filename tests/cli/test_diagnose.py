"""``graphlab diagnose`` and ``train node --direction``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import graphlab as gl
from graphlab.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> str:
    d = gl.datasets.generate("sbm", num_nodes=120, num_edges=900, num_features=6)
    e = d.graph.edge_index
    once = gl.Dataset(gl.Graph(e[:, e[0] < e[1]], num_nodes=120), x=d.x, y=d.y)
    gl.datasets.split_random(once, train=0.5, val=0.2, runs=2).save(tmp_path / "data")
    return str(tmp_path / "data")


def test_tables_and_plot(folder: str, tmp_path: Path, capsys) -> None:
    plot, out = tmp_path / "a.png", tmp_path / "a.json"
    assert main(["diagnose", folder, "--plot", str(plot), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "share ascending" in text
    assert "undirected" in text
    assert plot.stat().st_size > 5000
    assert json.loads(out.read_text())["verdict"] == "undirected"


def test_json_is_one_object(folder: str, capsys) -> None:
    assert main(["diagnose", folder, "--json", "--perm", "4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["orientation"]["alarm"] is True
    assert found["direction"] == "undirected"


def test_exit_codes(folder: str, capsys) -> None:
    assert main(["diagnose", folder, "--fail-on-artefact", "--perm", "2"]) == 1
    assert main(["diagnose", folder, "--split", "7"]) == 2
    assert "splits 0 .. 1" in capsys.readouterr().err
    assert main(["diagnose", "nowhere"]) == 1
    assert main(["diagnose", folder, "--labels", "test"]) == 1
    assert "'train', 'all', 'none'" in capsys.readouterr().err


@pytest.mark.parametrize("direction", ["auto", "undirected", "directed"])
def test_train_takes_a_direction(
    folder: str, direction: str, tmp_path: Path, capsys
) -> None:
    command = ["train", "node", "--data", folder, "--model", "sgc", "--runs", "2"]
    command += ["--epochs", "3", "--direction", direction, "--json"]
    assert main([*command, "--run-dir", str(tmp_path / "run")]) == 0
    json.loads(capsys.readouterr().out)
    state = json.loads((tmp_path / "run" / "seed-1" / "state.json").read_text())
    assert state.get("direction") == ("undirected" if direction == "auto" else None)


def test_a_wrong_direction_is_a_usage_error(folder: str, capsys) -> None:
    command = ["train", "node", "--data", folder, "--model", "sgc", "--direction", "up"]
    assert main(command) == 2
    assert "must be directed, undirected or auto" in capsys.readouterr().err
