"""From ten seeds to a leaderboard sheet, with the rules checked.

The graph here is a small stand-in that is written in OGB's raw layout, so the sheet says that
it must not be submitted; with the real folder under GRAPHLAB_DATA the same lines give the
sheet to submit. Entries for the official datasets are in benchmarks/leaderboard/.
"""

import gzip
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import graphlab as gl

root = Path(tempfile.mkdtemp())


def write(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, rows, fmt="%g", delimiter=",")


# The stand-in: <root>/ogbn_arxiv as OGB unpacks it, with 300 nodes.
rng = np.random.default_rng(0)
y = rng.integers(4, size=300)
pairs = rng.integers(300, size=(6000, 2))
edges = pairs[(y[pairs[:, 0]] == y[pairs[:, 1]]) | (rng.random(6000) < 0.1)]
raw, split = root / "ogbn_arxiv" / "raw", root / "ogbn_arxiv" / "split" / "time"
write(raw / "edge.csv.gz", edges)
write(raw / "num-node-list.csv.gz", [300])
write(raw / "num-edge-list.csv.gz", [len(edges)])
write(raw / "node-feat.csv.gz", (rng.normal(size=(300, 8)) + np.eye(8)[y]).round(3))
write(raw / "node-label.csv.gz", y)
for part, ids in (
    ("train", range(180)),
    ("valid", range(180, 240)),
    ("test", range(240, 300)),
):
    write(split / f"{part}.csv.gz", ids)

# 1. Train ten seeds; the epoch of the best validation score counts.
d = gl.datasets.load("ogbn-arxiv", root, undirected=True)
result = gl.tasks.node.fit(
    d,
    partial(gl.models.SAGE, hidden_channels=16, num_layers=2),
    seeds=range(10),
    epochs=10,
    run_dir=root / "run",
)

# 2. The sheet: refused where a rule is broken, and it lists what only you can fill in.
sheet = gl.report.ogb(
    result, method="SAGE", external_data=False, contact="you@example.org"
)
print(sheet)
print(f"may be submitted: {sheet.submittable}")
print(f"report: {gl.report.html(result, root / 'report.html')}")
