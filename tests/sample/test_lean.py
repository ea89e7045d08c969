from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys
import graphlab.sample, graphlab.models
names = ("torch_geometric", "dgl", "sklearn", "pandas")
heavy = [m for m in names if m in sys.modules]
assert not heavy, heavy
import torch, graphlab as gl
d = gl.Dataset(graph=gl.Graph(torch.tensor([[0, 1], [1, 0]])), x=torch.eye(2))
loader = gl.sample.NeighborLoader(d, [1])
assert "torch_geometric" not in sys.modules
next(iter(loader))
assert "torch_geometric" in sys.modules
"""


def test_pyg_is_imported_at_the_first_batch():
    run = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
