from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphlab import datasets
from graphlab.cli import main

FAST = [
    "--set",
    "model.hidden=[16]",
    "--set",
    "model.pretrain_epochs=2",
    "--epochs",
    "3",
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    d = datasets.generate(
        "sbm", num_nodes=120, num_edges=1200, num_features=8, num_classes=3, snr=3.0
    )
    d.save(tmp_path / "planted")
    return str(tmp_path / "planted")


def test_json_is_one_object_and_the_same_command_goes_on(store, capsys):
    command = ["train", "cluster", "--data", store, "--runs", "2", *FAST, "--json"]
    assert main(command) == 0
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert len(shown["test"]["values"]) == 2
    assert set(shown["baselines"]) == {
        "kmeans",
        "propagated",
        "spectral",
        "autoencoder",
    }
    assert "seed 1 (2 of 2)" in captured.err
    page = Path(shown["report"]).read_text()
    assert "<svg" in page
    assert "saw the classes" in page
    assert Path(shown["plot"]).read_bytes()[:4] == b"\x89PNG"
    assert main([*command[:-1], "--runs", "3"]) == 0
    captured = capsys.readouterr()
    assert "epoch chosen without classes" in captured.out
    assert "seed 0 (" not in captured.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ([], 2, "give --data or --recipe"),
        (["--data", "planted", "--runs", "0"], 2, "--runs"),
        (["--data", "./nowhere"], 1, "nowhere is not there"),
        (["--data", "x", "--set", "model.tao=1"], 2, "did you mean `tau`"),
        (["--data", "x", "--negatives", "all"], 1, "`negatives` must be one of"),
        (["--recipe", "amc"], 2, "did you mean `acm`"),
    ],
)
def test_wrong_input_is_answered_in_words(
    options, code, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cluster", *options]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
