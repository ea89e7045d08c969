from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from graphlab.cli import main
from graphlab.errors import OutOfDiskError
from graphlab.tasks import demo


def test_the_small_demo_keeps_its_budget_and_cleans_up(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--small", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert "It needs up to" in shown.err
    assert found["equal_losses"] == {"generated-small": True}
    memory, disk = found["runs"]
    assert memory["test"]["values"] == disk["test"]["values"]
    assert memory["test"]["mean"] > 0.5
    assert disk["budget_kept"]
    loader = disk["loader"]
    assert loader["declared_memory_bytes"] == 4 * 2**20 < demo.SMALL.feature_bytes
    assert 0 < loader["peak_memory_bytes"] <= loader["declared_memory_bytes"]
    assert loader["device_bytes"] > 0
    page = Path(found["report"])
    assert "equal, bit for bit" in page.read_text()
    big = [
        p for p in Path("demo").rglob("*") if p.is_file() and p.stat().st_size > 2**20
    ]
    assert big == []

    # Again: nothing is trained, generated or packed; the table and the page are there.
    before = {p: p.stat().st_mtime_ns for p in Path("demo").rglob("metrics.jsonl")}
    page.unlink()
    assert main(["demo", "--small"]) == 0
    shown = capsys.readouterr()
    assert "(already done)" in shown.err
    assert "generating" not in shown.err
    assert "from disk" in shown.out
    assert page.is_file()
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(
        OutOfDiskError, match=r"expected .* free, found 1 B; free some space"
    ):
        demo.require_disk([demo.GENERATED], tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_the_real_graph_is_trained_only_where_its_file_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path))
    assert demo.cases() == [demo.GENERATED]
    (tmp_path / "amazon_computers.npz").touch()
    assert demo.cases() == [demo.REAL, demo.GENERATED]
    monkeypatch.delenv("GRAPHLAB_DATA")
    assert demo.cases() == [demo.GENERATED]
    assert demo.cases(small=True) == [demo.SMALL]


def test_different_losses_are_noticed(tmp_path):
    folders = []
    for name, loss in (("a", 1.0), ("b", 1.0000000000000002)):
        (tmp_path / name).mkdir()
        line = {"event": "epoch", "seed": 0, "epoch": 0, "loss": loss}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        folders.append(tmp_path / name)
    assert not demo.same_losses(folders)
    assert demo.same_losses([folders[0], folders[0]])
