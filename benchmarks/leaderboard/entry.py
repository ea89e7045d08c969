"""What every leaderboard entry shares: its arguments, and the sheet at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

import graphlab as gl


def arguments(text: str, **defaults: int | float | str) -> argparse.Namespace:
    """Parse ``--root --runs --out`` and one option for each default."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument(
        "--root", help="folder of OGB's raw folders; default: GRAPHLAB_DATA"
    )
    parser.add_argument("--runs", type=int, default=10, help="seeds 0 .. runs - 1")
    parser.add_argument(
        "--out", default="runs/leaderboard", help="where runs and sheets go"
    )
    parser.add_argument(
        "--threads", type=int, help="threads of torch; default: its own choice"
    )
    for name, value in defaults.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help="%(default)s")
    chosen = parser.parse_args()
    if chosen.threads:
        import torch

        torch.set_num_threads(chosen.threads)
    return chosen


def finish(result: gl.tasks.Result, args: argparse.Namespace, method: str) -> None:
    """Write the page and the sheet beside the run, and print the sheet."""
    folder = Path(result.run_dir)
    gl.report.html(result, folder / "report.html")
    sheet = gl.report.ogb(result, method=method, external_data=False)
    (folder / "sheet.md").write_text(str(sheet))
    print(sheet)
    print(f"written: {folder / 'sheet.md'}, {folder / 'report.html'}")
