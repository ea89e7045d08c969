"""Every leaderboard entry, end to end, on a tiny folder of OGB's raw layout."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "leaderboard"
SPLITS = {"arxiv": "time", "products": "sales_ranking"}
ENTRIES = sorted(p.stem for name in SPLITS for p in SCRIPTS.glob(f"{name}_*.py"))


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, rows, fmt="%g", delimiter=",")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    return {name: write_folder(tmp_path_factory.mktemp(name), name) for name in SPLITS}


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def write_folder(root, name):
    """``<root>/ogbn_<name>``: 60 nodes in three communities, features that help."""
    top, rng = root / f"ogbn_{name}", np.random.default_rng(0)
    y = np.arange(60) % 3
    pairs = rng.integers(60, size=(600, 2))
    near = y[pairs[:, 0]] == y[pairs[:, 1]]
    edges = pairs[near | (rng.random(600) < 0.1)]
    x = rng.normal(size=(60, 4)) + np.eye(4)[y]
    write_csv(top / "raw" / "edge.csv.gz", edges)
    write_csv(top / "raw" / "num-node-list.csv.gz", [60])
    write_csv(top / "raw" / "num-edge-list.csv.gz", [len(edges)])
    write_csv(top / "raw" / "node-feat.csv.gz", x.round(3))
    write_csv(top / "raw" / "node-label.csv.gz", y)
    parts = {"train": range(36), "valid": range(36, 48), "test": range(48, 60)}
    for part, ids in parts.items():
        write_csv(top / "split" / SPLITS[name] / f"{part}.csv.gz", list(ids))
    return root


def run(entry, root, monkeypatch, tmp_path, *more):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    arguments = ["--root", str(root), "--epochs", "3", "--hidden-channels", "8"]
    arguments += ["--threads", "1", *more]
    monkeypatch.setattr("sys.argv", [f"{entry}.py", *arguments])
    runpy.run_path(str(SCRIPTS / f"{entry}.py"), run_name="__main__")


@pytest.mark.parametrize("entry", ENTRIES)
def test_ends_in_a_sheet(entry, roots, monkeypatch, tmp_path, capsys):
    name = entry.partition("_")[0]
    root = roots[name]
    run(entry, root, monkeypatch, tmp_path)
    printed = capsys.readouterr().out
    assert f"# Leaderboard sheet: ogbn-{name}" in printed
    assert "| Runs | 10, seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in printed
    assert "the graph has 60 nodes, the official" in printed
    (sheet,) = tmp_path.rglob("sheet.md")
    assert sheet.read_text() in printed
    assert f"{entry}.py --root" in sheet.read_text()
    assert (sheet.parent / "report.html").is_file()


def test_fewer_runs_get_no_sheet(roots, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="must hold at least 10 runs, got 2"):
        run("arxiv_mlp", roots["arxiv"], monkeypatch, tmp_path, "--runs", "2")


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_at_most_sixty_lines(entry):
    assert len((SCRIPTS / f"{entry}.py").read_text().splitlines()) <= 60
