"""Your own edge list, with names, to a trained model: no features needed.

A CSV with two columns of names is all there is. Features are made from the structure (degrees
and those of the neighbours), some nodes carry a label, and the model labels the others.
"""

import csv
import random
import tempfile
from functools import partial
from pathlib import Path

import torch

import graphlab as gl

folder = Path(tempfile.mkdtemp())

# A stand-in for your file: groups of eight people that talk as a ring, a star or all to all.
random.seed(0)
kind_of, edges = {}, []
for group in range(300):
    people = [f"person-{group}-{i}" for i in range(8)]
    kind = random.choice(["ring", "star", "team"])
    kind_of |= dict.fromkeys(people, kind)
    if kind == "ring":
        edges += zip(people, people[1:] + people[:1], strict=True)
    elif kind == "star":
        edges += [(people[0], other) for other in people[1:]]
    else:
        edges += [(a, b) for a in people for b in people if a < b]
    if group:  # one acquaintance outside
        edges.append((random.choice(people), f"person-{random.randrange(group)}-0"))
with open(folder / "edges.csv", "w", newline="") as file:
    csv.writer(file).writerows([("source", "target"), *edges])

# 1. Read; names become ids, and are kept.
graph = gl.Graph.from_edge_list(folder / "edges.csv").to_undirected()
print(graph)

# 2. Features from the structure: own degree, mean degree of neighbours and of theirs.
ptr, idx, _ = graph.csc()
columns = [graph.in_degree().float().log1p()]
for _ in range(3):
    columns.append(gl.ops.spmm(ptr, idx, columns[-1][:, None], reduce="mean")[:, 0])
x = torch.stack(columns, dim=1)
x = (x - x.mean(0)) / x.std(0)

# 3. Labels by name: half of the people are labelled, the others are to be told.
kinds = sorted(set(kind_of.values()))
y = torch.tensor([kinds.index(kind_of[name]) for name in graph.node_names])
d = gl.Dataset(graph=graph, x=x, y=y, meta={"name": "who-talks-to-whom"})
d = gl.datasets.split_random(d, train=0.5, val=0.2, runs=2, seed=0)

# 4. Train two seeds, and print what the model says about somebody.
result = gl.tasks.node.fit(
    d,
    partial(gl.models.SAGE, hidden_channels=32, num_layers=2),
    seeds=range(2),
    epochs=60,
    run_dir=folder / "run",
)
print(f"test accuracy {result.test}")
person = int(d.ids("test")[0])
says = kinds[int(result.predict(d)[person].argmax())]
print(
    f"{graph.node_names[person]} is in a {says} ({kind_of[graph.node_names[person]]} in truth)"
)
print(f"report: {gl.report.html(result, folder / 'report.html')}")
