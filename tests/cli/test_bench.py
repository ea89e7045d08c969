from __future__ import annotations

import json

import pytest

from graphlab.cli import main


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "benchmarks"
    (root / "ops").mkdir(parents=True)
    (root / "results").mkdir()
    main = 'if __name__ == "__main__":\n    '
    (root / "ops" / "good.py").write_text(f"{main}print('measured')\n")
    (root / "ops" / "bad.py").write_text(f"{main}raise SystemExit(3)\n")
    (root / "ops" / "helper.py").write_text("def table(): ...\n")
    record = '{"records": [{"machine": {"commit": "0123abc"}}]}'
    (root / "results" / "good.json").write_text(record)
    return root


def test_lists_benchmarks_with_their_records(checkout, capsys):
    assert main(["bench", "--folder", str(checkout), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["benchmarks"]
    assert rows == [
        {"name": "ops/bad", "record": None, "cases": 0, "commits": None},
        {"name": "ops/good", "record": "good.json", "cases": 1, "commits": "0123abc"},
    ]
    assert main(["bench", "--folder", str(checkout)]) == 0
    assert "ops/good" in capsys.readouterr().out


def test_records_in_folders_and_of_other_names_are_found(checkout, capsys):
    results, end = checkout / "results", 'if __name__ == "__main__":\n    ...\n'
    for folder in ("nodes", "nag"):
        (results / folder).mkdir()
    (checkout / "ops" / "disk.py").write_text(f'NAME = "nodes/disk"\n{end}')
    (checkout / "ops" / "nag_large.py").write_text(f'NAME, AT = "large", 3\n{end}')
    (checkout / "ops" / "modes.py").write_text(end)
    one = {"machine": {"commit": "0123abc"}}
    for name in ("nodes/disk", "nodes/modes"):
        (results / f"{name}.json").write_text(json.dumps({"records": [one, one]}))
    (results / "nag" / "large.json").write_text(json.dumps({"records": [{}], **one}))
    assert main(["bench", "--folder", str(checkout), "--json"]) == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)["benchmarks"]}
    assert rows["ops/disk"]["record"] == "nodes/disk.json"
    assert rows["ops/modes"]["record"] == "nodes/modes.json"
    assert rows["ops/nag_large"]["record"] == "nag/large.json"
    assert [rows[f"ops/{n}"]["cases"] for n in ("disk", "nag_large")] == [2, 1]
    assert {r["commits"] for r in rows.values() if r["record"]} == {"0123abc"}


def test_runs_benchmarks_and_reports_failures(checkout, capfd):
    assert main(["bench", "ops/good", "--folder", str(checkout), "--json"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["exit_codes"] == {"ops/good": 0}
    assert "measured" in shown.err
    assert main(["bench", "ops/bad", "--folder", str(checkout)]) == 1


def test_a_bare_name_is_enough_where_one_kind_has_it(checkout, capfd):
    assert main(["bench", "good", "--folder", str(checkout), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["exit_codes"] == {"ops/good": 0}


def test_unknown_names_and_folders(checkout, capsys):
    assert main(["bench", "ops/none", "--folder", str(checkout)]) == 2
    assert (
        "no benchmark ops/none; there are: ops/bad, ops/good" in capsys.readouterr().err
    )
    assert main(["bench", "--folder", str(checkout / "nowhere")]) == 1
    assert "benchmarks are part of the source checkout" in capsys.readouterr().err
