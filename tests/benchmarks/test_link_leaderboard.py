"""Every link entry, end to end, on a tiny folder of OGB's raw layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.benchmarks.test_leaderboard import run, write_csv

SPLITS = {"collab": "time", "ppa": "throughput", "citation2": "time", "ddi": "target"}


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def write_folder(root, name):
    """``<root>/ogbl_<name>``: 90 nodes in communities, with OGB's dictionaries of pairs."""
    top, rng = root / f"ogbl_{name}", np.random.default_rng(0)
    group = np.arange(90) % 6
    pairs = rng.integers(90, size=(4000, 2))
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    near = (pairs[:, 0] != pairs[:, 1]) & (
        (group[pairs[:, 0]] == group[pairs[:, 1]]) | (rng.random(len(pairs)) < 0.03)
    )
    edges = rng.permutation(pairs[near])
    count = len(edges) // 5
    parts = {
        "test": edges[:count],
        "valid": edges[count : 2 * count],
        "train": edges[2 * count :],
    }
    write_csv(top / "raw" / "edge.csv.gz", parts["train"])
    write_csv(top / "raw" / "num-node-list.csv.gz", [90])
    write_csv(top / "raw" / "num-edge-list.csv.gz", [len(parts["train"])])
    if name == "ppa":
        write_csv(top / "raw" / "node-feat.csv.gz", np.eye(58)[np.arange(90) % 58])
    elif name != "ddi":
        write_csv(top / "raw" / "node-feat.csv.gz", np.eye(6)[group])
    known = {tuple(e) for e in edges}
    free = [p for p in rng.integers(90, size=(900, 2)) if p[0] < p[1]]
    free = np.array([p for p in free if tuple(p) not in known])[:240]
    folder = top / "split" / SPLITS[name]
    folder.mkdir(parents=True)
    for number, (part, held) in enumerate(parts.items()):
        if name == "citation2":
            kept = {"source_node": held[:, 0], "target_node": held[:, 1]}
            if part != "train":
                own = rng.integers(90, size=(len(held), 20))
                kept["target_node_neg"] = own
        else:
            kept = {"edge": held}
            if part != "train":
                kept["edge_neg"] = free[number * 120 : number * 120 + 120]
        torch.save(
            {k: torch.as_tensor(v) for k, v in kept.items()}, folder / f"{part}.pt"
        )
    return root


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("collab", "ncn"),
        ("ppa", "ncn"),
        ("citation2", "ncnc"),
        ("ddi", "ncn"),
        ("ddi", "refined-gae"),
    ],
)
def test_ends_in_a_sheet(name, head, tmp_path, monkeypatch, capsys):
    root = write_folder(tmp_path / "data", name)
    run(f"{name}_ncn", root, monkeypatch, tmp_path, "--head", head)
    printed = capsys.readouterr().out
    assert f"# Leaderboard sheet: ogbl-{name}" in printed
    assert "| Runs | 10, seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 |" in printed
    assert "the graph has 90 nodes, the official" in printed
    (sheet,) = tmp_path.rglob("sheet.md")
    assert sheet.read_text() in printed
    assert (sheet.parent / "report.html").is_file()


def test_an_unknown_head_is_named(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="--head must be one of ncn, ncnc"):
        run("ddi_ncn", tmp_path, monkeypatch, tmp_path, "--head", "seal")


def test_a_missing_folder_is_told_without_a_traceback(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="error: load: `name` must be a dataset in"):
        run("ddi_ncn", tmp_path, monkeypatch, tmp_path)
