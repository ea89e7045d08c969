from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import typer

from graphlab.cli import app, main, output
from graphlab.errors import StoreError


def commands(group, path=()):
    """Every command of the application, with its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL = sorted(commands(typer.main.get_command(app.app)))


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example(command, capsys):
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr()
    assert "Usage: graphlab" in shown.out
    assert "Example:" in shown.out
    assert f"graphlab {' '.join(command)}" in " ".join(
        shown.out.split("Example:")[1].split()
    )
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_command_can_answer_in_json(command, capsys):
    assert main([*command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no-such-command"], "No such command 'no-such-command'"),
        (["doctor", "--no-such-option"], "No such option: --no-such-option"),
        (["report"], "Missing argument 'runs'"),
        (["data", "convert"], "name the folder to write with --out"),
        (["data", "convert", "--out", "s"], "either the name of a dataset or --edges"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, text, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith(f"error: {text}") or text in line
    assert "--help` shows the usage" in line


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_without_a_command_the_help_is_shown(arguments, capsys):
    assert main(arguments) == 2
    assert "Usage: graphlab" in "".join(capsys.readouterr())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("graphlab 0.")


def test_a_failure_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("error: report.read: `run_dir` must be a run folder")


def test_debug_shows_the_traceback_wherever_it_stands(tmp_path):
    for arguments in (
        ["--debug", "report", str(tmp_path)],
        ["report", str(tmp_path), "--debug"],
    ):
        with pytest.raises(ValueError, match="must be a run folder"):
            main(arguments)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("f: `x` must be\n positive"), "error: f: `x` must be positive"),
        (KeyError("no column 'a'"), "error: no column 'a'"),
        (
            StoreError("s/x.bin", 5, "a row", "the end"),
            "error: s/x.bin at byte 5: expected",
        ),
        (
            ZeroDivisionError("division"),
            "error: ZeroDivisionError: division (--debug shows",
        ),
        (OSError(), "error: OSError"),
    ],
)
def test_errors_become_lines(error, line, capsys):
    assert app._failed(error) == 1
    assert capsys.readouterr().err.startswith(line)


PROBE = """
import sys, time
from graphlab.cli import app, output
@app.app.command()
def slow():
    output.resume_with("graphlab slow --resume")
    print("ready", flush=True)
    time.sleep(30)
sys.exit(app.main(["slow"]))
"""


def test_ctrl_c_is_130_and_says_how_to_go_on():
    process = subprocess.Popen(
        [sys.executable, "-c", PROBE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    expected = (
        "interrupted; nothing was left half-written; go on with: graphlab slow --resume"
    )
    assert err.strip() == expected


def test_an_interrupted_job_says_where_it_stands(monkeypatch, capsys):
    @app.app.command("stops", hidden=True)
    def stops():
        raise KeyboardInterrupt("stopped at epoch 3; call again")

    monkeypatch.setattr(output, "_resume", "")
    monkeypatch.setattr(output, "_stopped", "")
    assert main(["stops"]) == 130
    app.app.registered_commands.pop()
    assert (
        capsys.readouterr().err.strip()
        == "stopped at epoch 3; run the same command again"
    )


def test_json_is_alone_on_stdout(capsys):
    with output.only_json():
        print("a model that prints")
        output.emit({"a": float("nan"), "b": (1, {"c": "x"}), 3: None})
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"a": None, "b": [1, {"c": "x"}], "3": None}
    assert shown.err == "a model that prints\n"


def test_help_loads_nothing_heavy():
    probe = (
        "import sys; from graphlab.cli import main; main(['--help']);"
        "print([m for m in ('torch', 'numpy', 'matplotlib', 'pydantic') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr


def test_python_dash_m():
    run = subprocess.run(
        [sys.executable, "-m", "graphlab", "--version"], capture_output=True, text=True
    )
    assert run.returncode == 0
    assert run.stdout.startswith("graphlab ")
