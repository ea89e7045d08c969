"""``graphlab doctor``: what is active on this machine, and why the rest is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from graphlab.cli import output

# package -> (what it enables, extra that installs it)
_OPTIONAL = {
    "dgl": ("reading and writing DGL graphs", "dgl"),
    "ogb": ("the official OGB evaluators beside graphlab's own", "ogb"),
    "faiss": ("approximate nearest neighbours", "ann"),
    "optuna": ("graphlab tune", "search"),
    "botorch": ("Bayesian architecture search", "search"),
    "pyarrow": ("Parquet and CSV edge lists, columns and predictions", "arrow"),
    "tensorboard": ("the tensorboard sink of training", "track"),
}
_DISTRIBUTIONS = {"faiss": "faiss-cpu"}
_CPU_FLAGS = ("sse4_2", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(doctor)


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead.")
    ] = False,
) -> None:
    """Tell what is active here, what is not, and what would make it so.

    Example: [bold]graphlab doctor --json[/bold]
    """
    found = examine()
    if as_json:
        output.emit(found)
        return
    from graphlab.report import tables

    native = found["native"]
    on = "compiled kernels active" if native["cpu"] else "readable twins in use (slow)"
    reason = f": {native['reason']}" if native["reason"] else ""
    output.show(
        f"graphlab {found['graphlab']['version']}: {on}{reason}",
        tables.facts("Machine", found["machine"]),
        tables.facts("Software", found["software"]),
        tables.facts("Native library", native),
        tables.facts("CUDA", found["cuda"]),
        output.columns(found["ops"], "Ops", ["op", "cpu", "cuda"]),
        output.columns(
            found["optional"],
            "Optional packages",
            ["package", "version", "enables", "install"],
        ),
        tables.facts("Data", found["data"]),
    )


def examine() -> dict[str, Any]:
    """Collect the facts; imports torch and declares the ops."""
    import torch

    import graphlab
    from graphlab import native

    with warnings.catch_warnings():
        # The reason is in the status below; the warning would say it twice.
        warnings.simplefilter("ignore", RuntimeWarning)
        from graphlab import ops

        status = native.load()
    table = ops.backends()
    return {
        "graphlab": {
            "version": graphlab.__version__,
            "folder": str(Path(graphlab.__file__).parent),
        },
        "machine": _machine(),
        "software": {
            "python": platform.python_version(),
            "executable": sys.executable,
            "torch": torch.__version__,
            "threads of torch": torch.get_num_threads(),
            "compiler": _first_line("c++", "--version") or "none found",
            "nvcc": _nvcc(),
        },
        "native": {
            "mode": f"GRAPHLAB_NATIVE={status.mode}",
            "cpu": str(status.cpu or ""),
            "cuda": str(status.cuda or ""),
            "reason": status.reason,
            "torch built against": _built_against(status.cpu),
            "torch running": torch.__version__,
        },
        "cuda": _cuda(),
        "ops": [{"op": name, **row} for name, row in table.items()],
        "optional": _optional(),
        "data": _data(),
    }


def _machine() -> dict[str, Any]:
    from graphlab import sizes

    model, flags = platform.processor(), set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.platform(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "cpu features": " ".join(f for f in _CPU_FLAGS if f in flags) or "unknown",
        "memory": sizes.show(memory),
        "free on the disk here": sizes.show(shutil.disk_usage(".").free),
    }


def _built_against(library: Path | None) -> str:
    """The torch whose headers the library was compiled with, as setup.py noted in it."""
    if library is None:
        return ""
    import ctypes

    try:
        text = ctypes.c_char.in_dll(ctypes.CDLL(str(library)), "graphlab_built_with")
    except ValueError:
        return "not noted in the library; any torch >= 2.10 serves"
    return ctypes.string_at(ctypes.addressof(text)).decode()


def _cuda() -> dict[str, Any]:
    import torch

    if torch.version.cuda is None:
        return {"available": False, "reason": "this torch is a CPU build"}
    if not torch.cuda.is_available():
        return {"available": False, "reason": "no usable GPU or driver"}
    names = [
        torch.cuda.get_device_name(number)
        for number in range(torch.cuda.device_count())
    ]
    return {
        "available": True,
        "version": torch.version.cuda,
        "devices": ", ".join(names),
    }


def _nvcc() -> str:
    lines = _run("nvcc", "--version").splitlines()
    return lines[-1].strip() if lines else "none found"


def _first_line(*command: str) -> str:
    return next(iter(_run(*command).splitlines()), "")


def _run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout


def _optional() -> list[dict[str, str]]:
    rows = []
    for package, (enables, extra) in _OPTIONAL.items():
        version = ""
        if importlib.util.find_spec(package) is not None:
            try:
                version = importlib.metadata.version(
                    _DISTRIBUTIONS.get(package, package)
                )
            except importlib.metadata.PackageNotFoundError:
                version = "present"
        install = "" if version else f'pip install "graphlab[{extra}]"'
        rows.append(
            {
                "package": package,
                "version": version,
                "enables": enables,
                "install": install,
            }
        )
    return rows


def _data() -> dict[str, Any]:
    """What ``GRAPHLAB_DATA`` holds."""
    root = os.environ.get("GRAPHLAB_DATA", "")
    if not root:
        return {"GRAPHLAB_DATA": "not set; datasets.load finds only what root= names"}
    if not Path(root).is_dir():
        return {"GRAPHLAB_DATA": f"{root} is not a folder"}
    names = sorted(p.stem for p in Path(root).glob("*.npz"))
    names += sorted(p.name for p in Path(root).iterdir() if (p / "raw").is_dir())
    return {"GRAPHLAB_DATA": root, "datasets": ", ".join(names) or "none"}
