from __future__ import annotations

import json

from graphlab.cli import doctor, main


def test_doctor_tells_what_is_active(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    ops = {row["op"]: row["cpu"] for row in found["ops"]}
    assert ops["graphlab::segment_reduce"] in ("native", "twin")
    assert found["native"]["mode"].startswith("GRAPHLAB_NATIVE=")
    assert found["software"]["torch"] == found["native"]["torch running"]
    assert found["machine"]["cores"] >= 1
    if found["native"]["cpu"]:
        assert found["native"]["torch built against"].startswith("torch 2.")
    packages = {row["package"]: row for row in found["optional"]}
    assert packages["pyarrow"]["enables"].startswith("Parquet")
    for row in packages.values():
        assert bool(row["version"]) != bool(row["install"])


def test_doctor_prints_tables(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    for title in ("Machine", "Ops", "Optional packages", "Data"):
        assert title in shown.out


def test_what_is_missing_comes_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(doctor._OPTIONAL, "no_such_package", ("wonders", "ann"))
    (row,) = [r for r in doctor._optional() if r["package"] == "no_such_package"]
    assert row["install"] == 'pip install "graphlab[ann]"'


def test_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("GRAPHLAB_DATA", raising=False)
    assert "not set" in doctor._data()["GRAPHLAB_DATA"]
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path / "nowhere"))
    assert "is not a folder" in doctor._data()["GRAPHLAB_DATA"]
    (tmp_path / "cora.npz").touch()
    (tmp_path / "ogbn_arxiv" / "raw").mkdir(parents=True)
    monkeypatch.setenv("GRAPHLAB_DATA", str(tmp_path))
    assert doctor._data()["datasets"] == "cora, ogbn_arxiv"
