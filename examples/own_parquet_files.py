"""Your own Parquet and NumPy files to training from disk inside a memory budget.

Three files, as people have them: edges (two columns), features (an array by node), labels
(node and label). `Store.convert` reads them in bounded memory; `plan` decides what stays in
memory and packs the rest, batch by batch; training then reads only what it needs.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import graphlab as gl

folder = Path(tempfile.mkdtemp())

# Stand-ins for your files: 20,000 nodes with 64 features in 8 communities.
rng = np.random.default_rng(0)
num_nodes, num_edges = 20_000, 100_000
label = rng.integers(8, size=num_nodes)
source = rng.integers(num_nodes, size=num_edges)
# Four edges of five lead into the source's own community.
members = np.argsort(label, kind="stable")
first = np.searchsorted(label[members], np.arange(9))
inside = rng.integers(first[label[source]], first[label[source] + 1])
target = np.where(
    rng.random(num_edges) < 0.8,
    members[inside],
    rng.integers(num_nodes, size=num_edges),
)
x = rng.normal(size=(num_nodes, 64)).astype(np.float32)
x[np.arange(num_nodes), label] += 1.0
pq.write_table(pa.table({"source": source, "target": target}), folder / "edges.parquet")
pq.write_table(
    pa.table({"id": np.arange(num_nodes), "label": label}), folder / "labels.parquet"
)
np.save(folder / "features.npy", x)

# 1. Convert; the same as `graphlab data convert --edges ... --out store/ --memory 256MiB`.
store = gl.outofcore.Store.convert(
    {
        "edges": folder / "edges.parquet",
        "features": folder / "features.npy",
        "labels": folder / "labels.parquet",
    },
    folder / "store",
    memory="256MiB",
)
print(store)

# 2. Plan: sample the epochs ahead, keep the most used rows, pack the others by batch.
d = gl.datasets.split_random(store.dataset(), train=0.3, val=0.1, runs=1, seed=0)
epochs = 3
plan = gl.outofcore.plan(
    store,
    num_neighbors=[10, 5],
    input_nodes=d.ids("train"),
    batch_size=128,
    epochs=epochs,
    seed=0,
    memory="4MiB",
    disk="1GiB",
    path=folder / "plan",
)
print(plan.explain())

# 3. Train; batches and losses are those of the loader in memory, bit for bit.
result = gl.tasks.node.fit(
    d,
    partial(gl.models.SAGE, hidden_channels=32, num_layers=2),
    loader=plan.loader(),
    seeds=[0],
    epochs=epochs,
    run_dir=folder / "run",
)
print(f"test accuracy {result.test}")
print(f"report: {gl.report.html(result, folder / 'report.html')}")
