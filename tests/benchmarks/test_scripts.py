from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "common_neighbors",
        "common_neighbors_strategies",
        "csr_build",
        "gather_rows",
        "random_walk",
        "segment",
        "spgemm_topk",
        "spmm",
    ],
)
def test_op_benchmark_runs_and_contenders_agree(name):
    command = [sys.executable, "-m", f"benchmarks.ops.{name}", "--quick"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}\ncase")
    # Strategies are compared with the automatic choice among them.
    ours = "auto" if name.endswith("_strategies") else "graphlab"
    assert ours in done.stdout


@pytest.mark.slow
def test_a_step_equals_the_releases_formulation():
    command = [sys.executable, "-m", "benchmarks.models.link_epoch", "--quick"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "ncnc step" in done.stdout
