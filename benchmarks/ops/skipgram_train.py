"""skipgram_train against gensim 4.4: the same walks, the same positive pairs.

gensim trains K = 5 negatives of weight 1, its usual setting. Ours of equal quality is K = 3
of weight 4 from a pool of 64 a walk (cases ``blogcatalog_10_walks`` of
benchmarks.models.embedding); by default K = 1 of weight 5, which is about two points of F1
below at ten walks. The case "K = 5" has gensim's negatives, each drawn for its pair.

At the size of Youtube there is no peer (gensim takes over two hours); the bound is that
of reading and writing three rows a pair (head, context, negative): 3,072 bytes.

    GRAPHLAB_PEERS=.../bin/python python -m benchmarks.ops.skipgram_train --threads 1
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import graphlab as gl
from benchmarks import harness
from benchmarks.graphs import youtube_size
from benchmarks.harness import Case, Contender, Trial
from benchmarks.peers import run as peers
from graphlab import ops
from graphlab.ops import pages

DIM, LENGTH = 128, 40
POOLED = {"negatives": 1, "weight": 5.0, "pool": 64}
EQUAL = {"negatives": 3, "weight": 4.0, "pool": 64}
WORD2VEC = {"negatives": 5, "weight": 1.0, "pool": 0}
EDGES = {"negatives": 1, "weight": 5.0, "pool": 1}


def tables(nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    head = pages.empty((nodes, DIM), torch.float32)
    generator = torch.Generator().manual_seed(0)
    head.uniform_(-0.5 / DIM, 0.5 / DIM, generator=generator)
    return head, pages.empty((nodes, DIM), torch.float32)


def setup(
    g: gl.Graph,
    walks: int,
    shape: dict[str, Any],
    objective: dict[str, Any],
    peer: bool,
    seed: int,
) -> Trial:
    threads = torch.get_num_threads()
    ready = gl.graph.walk_graph(g, weighted=False)
    nodes = g.num_nodes
    weight = ready.strength.pow(0.75)
    draws = ops.alias_build(torch.tensor([0, nodes]), weight)
    alive = (ready.strength > 0).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    starts = alive[torch.randint(len(alive), (walks,), generator=generator)]
    length = 1 if objective is EDGES else LENGTH
    made = ops.random_walk(ready.ptr, ready.idx, starts, length, key=seed)
    head, tail = tables(nodes)
    pairs = ops.skipgram_train(head, tail, made, *draws, **shape, **objective).pairs

    def ours() -> Any:
        return ops.skipgram_train(
            head, tail, made, *draws, threads=threads, **shape, **objective
        )

    contenders = [Contender("graphlab", ours, notes=lambda t: {"pairs": t.pairs})]
    folder = tempfile.TemporaryDirectory()
    if peer and peers.python():
        path = Path(folder.name) / "walks.npy"
        np.save(path, made.numpy())
        contenders.append(
            Contender(
                "gensim",
                lambda: peers.word2vec("gensim", "--walks", str(path), threads=threads),
                seconds=lambda r: r["seconds"],
                notes=lambda r: {"pairs": pairs, **r},
            )
        )
    rows = 2 + objective["negatives"]
    return Trial(
        contenders,
        None,
        bytes=pairs * rows * DIM * 4 * 2,
        ops=pairs * 6 * DIM * (1 + objective["negatives"]),
        close=folder.cleanup,
    )


def cases(quick: bool) -> Iterable[Case]:
    count = 100 if quick else 4_000

    def blogcatalog() -> gl.Graph:
        return gl.datasets.load("blogcatalog").graph

    def youtube() -> gl.Graph:
        return youtube_size(0, quick=quick)

    both, forward = {"window": 10}, {"window": 5, "forward": True}
    edges = {"window": 1, "forward": True}
    table = [
        ("blogcatalog", "window 10", blogcatalog, count, both, POOLED, True),
        ("blogcatalog", "window 10, K = 3", blogcatalog, count, both, EQUAL, True),
        ("blogcatalog", "window 10, K = 5", blogcatalog, count, both, WORD2VEC, True),
        ("youtube size", "forward 5", youtube, 8 * count, forward, POOLED, False),
        ("youtube size", "window 10", youtube, 4 * count, both, POOLED, False),
        ("youtube size", "edges", youtube, 1000 * count, edges, EDGES, False),
    ]
    for graph, name, make, walks, shape, objective, peer in table:
        facts = {
            "graph": graph,
            "dim": DIM,
            "dtype": "float32",
            "walks": walks,
            **shape,
            **objective,
        }
        yield Case(
            f"{graph}, {name}",
            lambda seed, m=make, w=walks, s=shape, o=objective, p=peer: setup(
                m(), w, s, o, p, seed
            ),
            facts,
        )


if __name__ == "__main__":
    harness.main("skipgram_train", cases, repeats=3)
