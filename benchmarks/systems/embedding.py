"""End to end on BlogCatalog: walks and training, against gensim on our walks and pecanpy.

The same budget: 5 walks of 40 steps from each node, window 10, width 128. Ours trains one
negative of weight 5, the peers five of weight 1. Peers take the time inside their own
process, without start-up, imports and reading of the graph.

    GRAPHLAB_PEERS=.../bin/python python -m benchmarks.systems.embedding
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

import graphlab as gl
from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from benchmarks.peers import run as peers

WALKS, LENGTH = 5, 40


def setup(seed: int) -> Trial:
    threads = torch.get_num_threads()
    g = gl.datasets.load("blogcatalog").graph
    folder = tempfile.TemporaryDirectory()
    ready = gl.graph.walk_graph(g, weighted=False)
    starts = torch.arange(g.num_nodes).repeat(WALKS)
    walks = gl.graph.random_walk(g, starts, LENGTH, seed=seed)
    np.save(Path(folder.name) / "walks.npy", walks.numpy())
    edges = Path(folder.name) / "edges.npz"
    np.savez(edges, ptr=ready.ptr.numpy(), idx=ready.idx.numpy())

    def ours() -> gl.embed.NodeEmbedding:
        return gl.embed.NodeEmbedding(
            seed=seed, walks_per_node=WALKS, walk_length=LENGTH, workers=threads
        ).fit(g)

    contenders = [
        Contender("graphlab", ours, notes=lambda e: {"pairs": e.history["pairs"]})
    ]
    if peers.python():
        given = ("--walks", f"{folder.name}/walks.npy")
        also = ("--edges", str(edges), "--walks-per-node", str(WALKS))
        contenders += [
            Contender(
                "gensim on our walks",
                lambda: peers.word2vec("gensim", *given, threads=threads),
                seconds=lambda r: r["end_to_end"],
                notes=lambda r: r,
            ),
            Contender(
                "pecanpy",
                lambda: peers.word2vec(
                    "pecanpy", *also, "--length", str(LENGTH), threads=threads
                ),
                seconds=lambda r: r["end_to_end"],
                notes=lambda r: r,
            ),
        ]
    return Trial(contenders, None, close=folder.cleanup)


def cases(quick: bool) -> Iterable[Case]:
    facts = {"graph": "blogcatalog", "dim": 128, "walks": WALKS, "length": LENGTH}
    yield Case("blogcatalog, 5 walks a node", setup, facts, warmups=0)


if __name__ == "__main__":
    harness.main("embedding", cases, repeats=3)
