"""Your own edge list, with names, to vectors of its nodes: DeepWalk and nearest neighbours.

A CSV with two columns of names is all there is. The vectors go to a file that numpy reads and
to a Dataset's column, from which any model here can train.
"""

import csv
import random
import tempfile
from pathlib import Path

import numpy as np
import torch

import graphlab as gl

folder = Path(tempfile.mkdtemp())

# A stand-in for your file: four circles of fifty friends, with a few friends outside.
random.seed(0)
people = [f"circle-{c}/person-{i}" for c in range(4) for i in range(50)]
with open(folder / "edges.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["source", "target"])
    for circle in range(4):
        inside = people[50 * circle : 50 * circle + 50]
        writer.writerows(random.sample(inside, 2) for _ in range(300))
    writer.writerows(random.sample(people, 2) for _ in range(60))

# 1. Read; names become ids, and are kept.
graph = gl.Graph.from_edge_list(folder / "edges.csv").to_undirected()
print(graph)

# 2. Train. One worker repeats to the bit; more are faster.
model = gl.embed.NodeEmbedding("deepwalk", dim=16, epochs=300, seed=0, workers=1)
model.fit(graph)

# 3. Save; rows are in the order of ids.
model.save(folder / "vectors.npy")
print(np.load(folder / "vectors.npy").shape)

# 4. Whom is a person like?
names = graph.node_names
near, _ = model.knn(torch.tensor([0]), k=5)
print(names[0], "is near", *(names[i] for i in near[0].tolist()))
circle = names[0].split("/")[0]
share = np.mean([names[i].startswith(circle) for i in near[0].tolist()])
print(f"{100 * share:.0f} % of them are in the same circle")

# 5. A column like any other.
d = gl.Dataset(graph=graph, x=model.vectors)
d["emb"] = model.vectors
