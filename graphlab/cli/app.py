"""The typer application, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer
import typer.core

from graphlab._version import __version__
from graphlab.cli import (
    bench,
    data,
    demo,
    diagnose,
    doctor,
    embed,
    nas,
    output,
    plan,
    predict,
    report,
    train,
    tune,
)

_USAGE = 2
_INTERRUPTED = 130


class _Root(typer.core.TyperGroup):
    """Keeps what an interrupted command says; typer would drop the message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            output.stopped(str(stop))
            raise


app = typer.Typer(
    name="graphlab",
    cls=_Root,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"graphlab {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")
    ] = False,
) -> None:
    """Graph learning on graphs larger than memory.

    Begin with [bold]graphlab demo[/bold]; [bold]graphlab doctor[/bold] tells what is active.
    """


demo.add_to(app)
data.add_to(app)
train.add_to(app)
predict.add_to(app)
tune.add_to(app)
plan.add_to(app)
embed.add_to(app)
diagnose.add_to(app)
nas.add_to(app)
report.add_to(app)
bench.add_to(app)
doctor.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 failed, 2 usage, 130 Ctrl-C.

    Args:
        arguments: Default: those of the process.

    Example:
        >>> main(["--version"])
        graphlab ...
        0
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    quiet = output.only_json() if "--json" in arguments else nullcontext()
    if not {"", os.getcwd()} & set(sys.path):
        # Models of one's own lie in the current folder; a script's path has only its own.
        sys.path.append(os.getcwd())
    before, sys.argv = sys.argv, ["graphlab", *arguments]
    try:
        # Runs record the command as it is typed, whatever started the process.
        with quiet:
            code = app(args=arguments, prog_name="graphlab", standalone_mode=False)
        # typer turns Ctrl-C into this code; older versions into Abort.
        if code == _INTERRUPTED:
            return _interrupted()
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except Exception as error:
        if debug:
            raise
        return _failed(error)
    finally:
        sys.argv = before


def _interrupted() -> int:
    print(f"\n{output.interrupted()}", file=sys.stderr)
    return _INTERRUPTED


def _failed(error: Exception) -> int:
    """Print one line about an error and choose the exit code."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _usage(error)
    # What users can act on comes with words of ours; anything else is a defect of ours.
    expected = (ValueError, TypeError, IndexError, OSError, ImportError, KeyError)
    from graphlab.errors import GraphlabError

    # str() of a KeyError is the repr of its message.
    message = str(error.args[0]) if isinstance(error, KeyError) else str(error)
    text = " ".join(message.split()) or type(error).__name__
    if not isinstance(error, (GraphlabError, *expected)):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    print(f"error: {text}", file=sys.stderr)
    return int(getattr(error, "exit_code", 1))


def _usage(error: Exception) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if not message and context is not None:  # no arguments: the help was asked for
        print(context.get_help(), file=sys.stderr)
        return _USAGE
    path = context.command_path if context is not None else "graphlab"
    print(f"error: {message} (`{path} --help` shows the usage)", file=sys.stderr)
    return int(error.exit_code)  # type: ignore[attr-defined]
