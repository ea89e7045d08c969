"""Build of the native libraries; everything else is in pyproject.toml.

``GRAPHLAB_NATIVE`` = ``auto`` (default: build if possible, else install without),
``require`` (a failed build fails the install) or ``skip`` (pure Python).
``GRAPHLAB_CUDA`` = ``1`` builds ``_C_cuda`` wherever nvcc is, ``0`` never does; unset, it
is built where nvcc is found and the installed torch is a CUDA build.

The libraries use the LibTorch stable ABI only: one binary serves every torch >= 2.10, so it
does not matter which torch's headers are found.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
SOURCES = Path("cpp_ext")
MODE = os.environ.get("GRAPHLAB_NATIVE", "auto")
TORCH_TARGET = "0x020a000000000000"  # 2.10, the floor in pyproject.toml
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    # No fused multiply-add by the compiler's choice: the same bits on every x86-64 level.
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
]
NVCC_FLAGS = [
    "-std=c++20",
    "-O3",
    "-Xcompiler",
    "-fPIC",
    "-Xcompiler",
    "-fvisibility=hidden",
]
DEFINES = [f"-DTORCH_TARGET_VERSION={TORCH_TARGET}"]

if MODE not in ("auto", "require", "skip"):
    sys.exit(f"GRAPHLAB_NATIVE must be auto, require or skip, got {MODE!r}")


def torch_root() -> Path | None:
    """The folder of an installed torch, found without importing it."""
    found = importlib.util.find_spec("torch")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent
    # pip builds in isolation, but with the target interpreter: look beside it.
    beside = Path(sysconfig.get_path("purelib")) / "torch"
    return beside if (beside / "include").is_dir() else None


def want_cuda(torch: Path) -> bool:
    asked = os.environ.get("GRAPHLAB_CUDA")
    if asked is not None:
        return asked == "1"
    version = (torch / "version.py").read_text()
    return (
        shutil.which("nvcc") is not None and "cuda: Optional[str] = None" not in version
    )


def compile_jobs() -> int:
    """Compilers to run at once: one per core, but never less than 2 GiB for each."""
    pages, page = os.sysconf("SC_AVPHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, pages * page // 2**31))


class BuildNative(build_ext):
    """Compile `_C` (and `_C_cuda`); keep objects that are newer than what they include."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if MODE == "require":
                raise
            self.extensions = []
            print(
                f"graphlab: native kernels were not built ({error}); the readable twins "
                "will be used. GRAPHLAB_NATIVE=require shows this as an error.",
                file=sys.stderr,
            )

    def build_extension(self, ext: Extension) -> None:
        torch = torch_root()
        if torch is None:
            raise RuntimeError("no torch headers found: install torch>=2.10 first")
        cuda = ext.name.endswith("_C_cuda")
        work = ROOT / self.build_temp / ext.name
        work.mkdir(parents=True, exist_ok=True)
        headers = [*SOURCES.glob("include/*"), Path(__file__)]
        newest = max((ROOT / h).stat().st_mtime for h in headers)
        includes = [f"-I{SOURCES}/include", f"-isystem{torch}/include"]
        if cuda:
            command = [
                shutil.which("nvcc") or "nvcc",
                *NVCC_FLAGS,
                *DEFINES,
                "-DUSE_CUDA",
            ]
            for arch in os.environ.get("TORCH_CUDA_ARCH_LIST", "8.0;9.0").split(";"):
                number = arch.replace(".", "").replace("+PTX", "")
                command.append(f"-gencode=arch=compute_{number},code=sm_{number}")
            includes = [i.replace("-isystem", "-isystem=") for i in includes]
        else:
            more = shlex.split(os.environ.get("CXXFLAGS", ""))
            command = [os.environ.get("CXX", "g++"), *CXX_FLAGS, *more, *DEFINES]

        def compile_one(source: str) -> str:
            target = work / (Path(source).name + ".o")
            changed = max(newest, (ROOT / source).stat().st_mtime)
            if not target.exists() or target.stat().st_mtime < changed:
                print(f"compiling {source}", flush=True)
                call = [*command, *includes, "-c", source, "-o", str(target)]
                subprocess.run(call, cwd=ROOT, check=True)
            return str(target)

        with ThreadPoolExecutor(compile_jobs()) as pool:
            objects = list(pool.map(compile_one, ext.sources))
        objects.append(compile_note(torch, command[0], work))
        output = Path(self.get_ext_fullpath(ext.name))
        output.parent.mkdir(parents=True, exist_ok=True)
        link = [os.environ.get("CXX", "g++"), "-shared", *objects, f"-L{torch}/lib"]
        link += ["-Wl,--no-as-needed", "-ltorch_cpu", "-ltorch", "-lc10"]
        if cuda:
            link += cuda_link_flags(torch, work)
        # A new inode: a process that has the old library mapped keeps running.
        fresh = output.with_name(f".{output.name}.tmp")
        subprocess.run([*link, "-o", str(fresh)], cwd=ROOT, check=True)
        os.replace(fresh, output)


def compile_note(torch: Path, compiler: str, work: Path) -> str:
    """Put into the library what it was built with; `graphlab doctor` reads it there."""
    text = (torch / "version.py").read_text()
    version = re.search(r"__version__ = '([^']+)'", text)
    called = subprocess.run([compiler, "--version"], capture_output=True, text=True)
    name = next(iter(called.stdout.splitlines()), compiler).replace('"', "")
    note = f"torch {version[1] if version else 'unknown'}, {name}"
    source = work / "note.c"
    visible = '__attribute__((visibility("default"), used))'
    source.write_text(f'{visible} const char graphlab_built_with[] = "{note}";\n')
    call = [os.environ.get("CXX", "g++"), "-xc", "-fPIC", "-c", str(source), "-o"]
    subprocess.run([*call, f"{source}.o"], check=True)
    return f"{source}.o"


def cuda_link_flags(torch: Path, work: Path) -> list[str]:
    """Name libtorch_cuda as needed, also where the torch at hand is a CPU build."""
    flags = ["-ltorch_cuda"]
    if not (torch / "lib" / "libtorch_cuda.so").exists():
        stub = work / "libtorch_cuda.so"
        source = work / "stub.c"
        source.write_text("")
        soname = "-Wl,-soname,libtorch_cuda.so"
        subprocess.run(
            ["gcc", "-shared", soname, "-o", str(stub), str(source)], check=True
        )
        flags = [f"-L{work}", *flags]
    nvcc = shutil.which("nvcc")
    if nvcc is not None:
        # nvcc on the path may be a script or a link: it knows where its toolkit is.
        told = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", "-c", os.devnull],
            capture_output=True,
            text=True,
        ).stderr
        found = re.search(r"^#\$ TOP=(.+?)\s*$", told, re.MULTILINE)
        toolkit = Path(found.group(1) if found else Path(nvcc).parent.parent).resolve()
        flags += [f"-L{toolkit}/lib64", f"-L{toolkit}/lib"]
        flags += ["-lcudart_static", "-lrt", "-lpthread", "-ldl"]
    return flags


def extensions() -> list[Extension]:
    if MODE == "skip":
        return []
    cpu = sorted(str(p.relative_to(ROOT)) for p in (ROOT / SOURCES).glob("cpu/*.cpp"))
    built = [Extension("graphlab._C", cpu, py_limited_api=True)]
    torch = torch_root()
    if torch is not None and want_cuda(torch):
        cuda = sorted(
            str(p.relative_to(ROOT)) for p in (ROOT / SOURCES).glob("cuda/*.cu")
        )
        built.append(Extension("graphlab._C_cuda", cuda, py_limited_api=True))
    return built


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if MODE != "skip" else {},
    # Only where no torch is at hand, and only for this build: style.md section 3.2.
    setup_requires=["torch>=2.10"] if MODE != "skip" and torch_root() is None else [],
)
