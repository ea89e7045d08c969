from __future__ import annotations

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_training_on_ones_own_graph_runs_as_printed(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 100, (800, 2), generator=generator).tolist()
    lines = ["source,target", *(f"{source},{target}" for source, target in edges)]
    Path("edges.csv").write_text("\n".join(lines) + "\n")
    num_nodes = len({node for edge in edges for node in edge})
    torch.save(torch.randn(num_nodes, 8, generator=generator), "x.pt")
    torch.save(torch.randint(0, 3, (num_nodes,), generator=generator), "y.pt")
    exec(compile(code, str(README), "exec"), {})
    mean, std = map(float, capsys.readouterr().out.split())
    assert 0 <= mean <= 1
    assert std >= 0
    assert "<html" in Path("report.html").read_text()
