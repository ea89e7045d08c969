"""Every leaderboard entry, end to end, on a tiny folder of OGB's raw layout."""

from __future__ import annotations

import gzip
import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "leaderboard"
ENTRIES = sorted(p.stem for p in SCRIPTS.glob("*_*.py"))
SPLITS = {"arxiv": "time", "products": "sales_ranking"}


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, rows, fmt="%g", delimiter=",")


@pytest.fixture(scope="module", params=sorted(SPLITS))
def folder(request, tmp_path_factory):
    """``<root>/ogbn_<name>``: 60 nodes in three communities, features that help."""
    root = tmp_path_factory.mktemp("ogb")
    top, rng = root / f"ogbn_{request.param}", np.random.default_rng(0)
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
    for part, ids in (("train", range(36)), ("valid", range(36, 48)), ("test", range(48, 60))):
        write_csv(top / "split" / SPLITS[request.param] / f"{part}.csv.gz", list(ids))
    return request.param, root


def run(entry, root, monkeypatch, tmp_path, *more):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.chdir(tmp_path)
    arguments = ["--root", str(root), "--epochs", "3", "--hidden-channels", "8", *more]
    monkeypatch.setattr("sys.argv", [f"{entry}.py", *arguments])
    runpy.run_path(str(SCRIPTS / f"{entry}.py"), run_name="__main__")


@pytest.mark.parametrize("entry", ENTRIES)
def test_ends_in_a_sheet(entry, folder, monkeypatch, tmp_path, capsys):
    name, root = folder
    if not entry.startswith(name):
        pytest.skip(f"{entry} is about another dataset")
    run(entry, root, monkeypatch, tmp_path)
    printed = capsys.readouterr().out
    assert f"# Leaderboard sheet: ogbn-{name}" in printed
    assert "| Runs | 10, seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in printed
    assert "the graph has 60 nodes, the official" in printed
    (sheet,) = tmp_path.rglob("sheet.md")
    assert sheet.read_text() in printed
    assert f"{entry}.py --root" in sheet.read_text()
    assert (sheet.parent / "report.html").is_file()


def test_fewer_runs_get_no_sheet(folder, monkeypatch, tmp_path):
    name, root = folder
    with pytest.raises(ValueError, match="must hold at least 10 runs, got 2"):
        run(f"{name}_sage", root, monkeypatch, tmp_path, "--runs", "2")


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_is_at_most_sixty_lines(entry):
    assert len((SCRIPTS / f"{entry}.py").read_text().splitlines()) <= 60
