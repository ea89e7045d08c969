"""What users install: sdist and wheel, with and without torch, with and without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).parents[2]
# The wheel is compiled as users compile it; later builds need not be fast, only to work.
QUICK = {"CXXFLAGS": "-O0"}
TORCH = torch.__version__.split("+")[0]
PROBE = """
import torch
from graphlab import native, ops
out = ops.segment_reduce(torch.ones(3, 2), torch.tensor([0, 2, 3]))
assert out.tolist() == [[2.0, 2.0], [1.0, 1.0]]
print("native" if native.load().cpu else "twin")
"""


def run(*command: object, **env: str) -> str:
    """Run a command that must succeed; return what it prints on both channels."""
    done = subprocess.run(
        [str(c) for c in command],
        env={**os.environ, **env},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist of the checkout and the wheel that is built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    checkout = tmp_path_factory.mktemp("checkout") / "graphlab"
    run("git", "clone", "--quiet", ROOT, checkout)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout]
    run(*build, GRAPHLAB_NATIVE="require")
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture
def with_torch(tmp_path: Path) -> Path:
    """Python of a fresh environment that sees torch and the rest, but not graphlab."""
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    outer = [p for p in sys.path if p.endswith("site-packages")]
    (Path(site.strip()) / "outer.pth").write_text("\n".join(outer) + "\n")
    # Where setup.py looks for headers, since an isolated build does not see outer.pth.
    (Path(site.strip()) / "torch").symlink_to(Path(torch.__file__).parent)
    return python


def test_sdist_holds_sources_headers_and_licence(built):
    with tarfile.open(built[0]) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for wanted in (
        "LICENSE",
        "README.md",
        "graphlab/py.typed",
        "cpp_ext/cpu/segment.cpp",
        "cpp_ext/include/rng.h",
    ):
        assert wanted in names, wanted
    tracked = subprocess.run(
        ["git", "ls-files", "cpp_ext", "graphlab"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(tracked) <= names
    assert not [n for n in names if n.startswith(("tests/results", ".venv", "build/"))]


def test_wheel_is_abi3_and_complete(built):
    assert "-cp311-abi3-" in built[1].name
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    package = subprocess.run(
        ["git", "ls-files", "graphlab"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(package) <= names
    assert [n for n in names if n.startswith("graphlab/_C.") and n.endswith(".so")]
    strangers = {n.split("/")[0] for n in names if ".dist-info" not in n} - {"graphlab"}
    assert not strangers


def test_wheel_runs_native(built, with_torch):
    run(with_torch, "-m", "pip", "install", "--quiet", "--no-deps", built[1])
    assert run(with_torch, "-c", PROBE, GRAPHLAB_NATIVE="require").strip() == "native"


def test_source_with_torch_present_builds_native_and_fetches_no_torch(
    built, with_torch
):
    install = [
        with_torch,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--no-deps",
        built[0],
    ]
    log = run(*install, GRAPHLAB_NATIVE="require", **QUICK)
    assert "torch-" not in log
    assert run(with_torch, "-c", PROBE).strip() == "native"


def test_source_without_compiler_installs_and_says_so(built, with_torch):
    install = [with_torch, "-m", "pip", "install", "-v", "--no-cache-dir", "--no-deps"]
    install += [built[0]]
    log = run(*install, CXX="/nonexistent/g++")
    assert "native kernels were not built" in log
    warned = subprocess.run(
        [str(with_torch), "-c", PROBE], cwd="/", capture_output=True, text=True
    )
    assert warned.stdout.strip() == "twin"
    assert "is not built" in warned.stderr
    assert run(with_torch, "-c", PROBE, GRAPHLAB_NATIVE="skip").strip() == "twin"


def test_require_without_compiler_fails(built, with_torch):
    install = [str(with_torch), "-m", "pip", "install", "--no-cache-dir", "--no-deps"]
    install += [str(built[0])]
    env = {**os.environ, "CXX": "/nonexistent/g++", "GRAPHLAB_NATIVE": "require"}
    done = subprocess.run(install, env=env, cwd="/", capture_output=True, text=True)
    assert done.returncode != 0
    assert "/nonexistent/g++" in done.stdout + done.stderr


def test_empty_environment_gets_everything_by_one_command(built, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    # Only the version of torch is held: an unpinned one is gigabytes of CUDA.
    held = tmp_path / "held.txt"
    held.write_text(f"torch=={TORCH}\n")
    env = {"PIP_CONSTRAINT": str(held), "PIP_BUILD_CONSTRAINT": str(held), **QUICK}
    run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", built[0], **env)
    assert run(python, "-c", PROBE, GRAPHLAB_NATIVE="require").strip() == "native"
    assert "Usage" in run(python.with_name("graphlab"), "--help")
