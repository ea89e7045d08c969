from __future__ import annotations

import json

from graphlab.cli import main


def test_writes_a_page_into_the_run_folder(make_run, capsys):
    folder = make_run(disk=True)
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    shown = capsys.readouterr()
    assert "91.00 ± 1.00" in shown.out
    assert str(folder / "report.html") in shown.out


def test_writes_all_forms_and_names_them_in_json(make_run, tmp_path, capsys):
    runs = [make_run("a"), make_run("b", disk=True)]
    arguments = [
        "report",
        *map(str, runs),
        "--out",
        str(tmp_path / "page.html"),
        "--json",
    ]
    arguments += [
        "--markdown",
        str(tmp_path / "page.md"),
        "--plots",
        str(tmp_path / "plots"),
    ]
    assert main([*arguments, "--title", "Two runs"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert set(written) == {"html", "markdown", "curves", "memory", "timeline-b"}
    assert "<title>Two runs</title>" in (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.md").read_text().startswith("# SAGE on amazon_computers")


def test_a_sheet_is_refused_where_the_rules_refuse_it(make_run, tmp_path, capsys):
    sheet = tmp_path / "sheet.md"
    assert main(["report", str(make_run()), "--ogb", str(sheet)]) == 1
    assert "must be about an OGB dataset" in capsys.readouterr().err
    assert not sheet.exists()
