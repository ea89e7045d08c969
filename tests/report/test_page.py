from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pytest

from graphlab import report
from graphlab.report import plots, tables

VOID = {"meta", "br", "img", "link", "hr"}


class Checker(HTMLParser):
    """Balanced tags, unique ids, and no reference that leaves the page."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            assert key not in ("src", "onclick", "onload"), (tag, key)
            if key in ("href", "xlink:href"):
                assert value.startswith("#"), value
            if key == "id":
                self.ids.append(value)
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def check_page(path):
    text = path.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    outside = re.findall(
        r"url\((?!#)[^)]*\)|@import|https?://(?!www\.w3\.org/)\S+", text
    )
    assert outside == []
    figures = [i for i in checker.ids if i.endswith("figure_1")]
    assert len(figures) == len(set(figures))
    return text, " ".join(checker.words)


def test_a_page_is_self_contained_and_says_what_was_run(make_run, tmp_path):
    folder = make_run(disk=True)
    text, words = check_page(report.html(folder, tmp_path / "page.html"))
    assert "SAGE on amazon_computers" in words
    assert "91.00 ± 1.00 % test accuracy over 3 seeds" in words
    assert "Memory budget kept: at most 30.0 MiB of 32.0 MiB" in words
    assert "graphlab train node --data amazon_computers --model sage" in words
    assert "baseline: MLP" in words
    assert "How each number was obtained" in words
    assert "491,722" in words
    assert text.count("<svg") == 3
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_configurations_that_differ_name_their_runs(make_run, tmp_path):
    other = {"loader": {"num_neighbors": [5, 5], "batch_size": 512}}
    runs = [make_run("a"), make_run("b", config=other)]
    _, words = check_page(report.html(runs, tmp_path / "page.html"))
    assert "a: [10, 5]; b: [5, 5]" in words
    assert words.count("loader.batch_size") == 1


def test_a_broken_budget_is_shown_as_broken(make_run, tmp_path):
    folder = make_run(disk=True, peak=40 * 2**20)
    text, words = check_page(report.html(folder, tmp_path / "page.html"))
    assert "Memory budget exceeded: 40.0 MiB of 32.0 MiB" in words
    assert 'class="verdict bad"' in text


def test_an_unfinished_run_gets_a_page(make_run, tmp_path):
    folder = make_run(finished=False)
    _, words = check_page(report.html(folder, tmp_path / "page.html"))
    assert "run (unfinished)" in words
    (folder / "metrics.jsonl").unlink()
    _, words = check_page(report.html(folder, tmp_path / "page.html"))
    assert "No seed is finished yet" in words


def test_runs_of_one_stamp_share_a_table_others_do_not(make_run, tmp_path):
    runs = [make_run("memory"), make_run("disk", disk=True)]
    other = make_run("cora", dataset="cora")
    text, words = check_page(report.html([*runs, other], tmp_path / "page.html"))
    assert text.count("<h3>Results</h3>") == 2
    assert "SAGE on cora" in words
    with pytest.raises(ValueError, match="same dataset, split, protocol and metric"):
        tables.results([report.read(runs[0]), report.read(other)])


def test_text_of_users_is_escaped(make_run, tmp_path):
    config = {"command": "graphlab train --data '<script>alert(1)</script>'"}
    folder = make_run("<b>run", config=config)
    text, _ = check_page(report.html(folder, tmp_path / "page.html"))
    assert "&lt;script&gt;alert(1)" in text


def test_the_plan_is_shown_as_it_was_printed(make_run, tmp_path):
    config = {"explain": "mode    bytes\nreplay  12"}
    page = report.html(make_run(disk=True, config=config), tmp_path / "page.html")
    text, _ = check_page(page)
    assert '<pre class="plan">mode    bytes\nreplay  12</pre>' in text


def test_title_and_intro(make_run, tmp_path):
    page = report.html(
        make_run(), tmp_path / "p.html", title="My title", intro="My intro."
    )
    _, words = check_page(page)
    assert "My title" in words
    assert "My intro." in words


def test_a_result_is_reported_through_its_run_folder(make_run, tmp_path):
    class Result:
        stamp = "any"
        run_dir = make_run()

    check_page(report.html(Result(), tmp_path / "page.html"))
    Result.run_dir = None
    with pytest.raises(ValueError, match="must have a run folder to report from"):
        report.html(Result(), tmp_path / "page.html")
    with pytest.raises(
        TypeError, match="must be a Result or the path of a run folder, got int"
    ):
        report.html(3, tmp_path / "page.html")
    with pytest.raises(ValueError, match="must hold at least one run, got none"):
        report.html([], tmp_path / "page.html")


def test_markdown_holds_the_tables(make_run):
    text = report.markdown([make_run("memory"), make_run("disk", disk=True)])
    assert "| memory | 91.00 ± 1.00 | 92.00 ± 1.00 | 3 | 500 ms |" in text
    assert (
        "| disk | 40.0 MiB | 36.0 MiB | 90.0 % | 10.0 % | 30.0 MiB | 32.0 MiB | yes |"
        in text
    )
    assert "| baseline: MLP | 85.00 ± 1.00 | - | 2 | - |" in text


def test_a_table_escapes_pipes_and_prints_on_a_terminal():
    table = report.Table("T", ("a", "b"), [("x|y", "1")], note="n")
    assert "| x\\|y | 1 |" in table.markdown()
    from rich.console import Console

    console = Console(width=60, record=True, file=io.StringIO())
    console.print(table.rich())
    assert "x|y" in console.export_text()


def test_an_upright_table_names_each_value():
    table = report.Table("T", ("run", "read", "kept"), [("a", "1 B", "yes")]).upright()
    assert table.title == "T: a"
    assert table.rows == [("read", "1 B"), ("kept", "yes")]


def test_facts_flatten_and_leave_out_what_is_empty():
    table = tables.facts(
        "F", {"a": {"b": 1234, "c": None}, "d": True, "seed": 2026, "e": ""}
    )
    assert table.rows == [("a.b", "1,234"), ("d", "yes"), ("seed", "2026")]


def test_plots_say_none_where_there_is_nothing_to_draw(make_run):
    run = report.read(make_run())
    assert plots.timeline(run) is None
    assert plots.memory([run]) is None
    (run.folder / "metrics.jsonl").unlink()
    assert plots.curves([report.read(run.folder)]) is None


def test_plots_show_the_recorded_numbers(make_run, tmp_path):
    run = report.read(make_run(disk=True, seeds=(0,)))
    figure = plots.curves([run])
    loss, valid = figure.axes
    assert list(loss.lines[0].get_ydata()) == pytest.approx(
        [2 / (e + 1) for e in range(6)]
    )
    assert list(valid.lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]
    left, _ = plots.timeline(run).axes
    assert left.patches[0].get_data().values.tolist() == [36.0] * 6
    assert left.patches[1].get_data().values.tolist() == [40.0] * 6
    (axis,) = plots.memory([run]).axes
    assert axis.patches[0].get_width() == 30.0
    written = plots.save_all([run], tmp_path / "plots")
    assert set(written) == {"curves", "memory", "timeline-run"}
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in written.values())


def test_svg_follows_the_text_colour_and_repeats_bit_for_bit(make_run):
    run = report.read(make_run())
    first, second = (plots.svg(plots.curves([run]), name="n") for _ in range(2))
    assert first == second
    assert "currentColor" in first
    assert plots._INK not in first


def test_the_mean_stops_where_the_first_seed_stopped(make_run):
    path = make_run() / "metrics.jsonl"
    kept = [
        line
        for line in map(json.loads, path.read_text().splitlines())
        if not (line["seed"] == 1 and line.get("epoch", 0) > 2)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in kept))
    figure = plots.curves([report.read(path.parent)])
    assert list(figure.axes[0].lines[-1].get_xdata()) == [1, 2, 3]
