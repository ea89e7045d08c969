from __future__ import annotations

import subprocess
import sys

import torch

import graphlab as gl

WORKER = """
import sys, torch, graphlab as gl
from torch import distributed
distributed.init_process_group("gloo")
d = gl.datasets.generate("sbm", num_nodes=101, num_edges=800, num_features=2)
r = gl.tasks.embed.fit(d, dim=20, samples=60_000, window=3)
assert r.embedding.history["partitions"] == 2
torch.save(r.embedding.vectors, sys.argv[1] + f"/{distributed.get_rank()}.pt")
distributed.destroy_process_group()
"""


def test_two_processes_give_the_vectors_of_one(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", str(script), str(tmp_path)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    d = gl.datasets.generate("sbm", num_nodes=101, num_edges=800, num_features=2)
    one = gl.embed.NodeEmbedding(dim=20, samples=60_000, window=3, partitions=2)
    expected = one.fit(d.graph).vectors
    assert torch.equal(first, second)
    assert torch.equal(first, expected)
