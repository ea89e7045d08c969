"""gensim and pecanpy, in an environment of their own; prints one JSON object.

Run by benchmarks.ops.skipgram_train and benchmarks.systems.embedding with the interpreter
that GRAPHLAB_PEERS names; needs gensim, and pecanpy for ``pecanpy``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time

import numpy as np


def train(sentences, a):
    """gensim's skip-gram with negative sampling; the time of train() alone, and of all."""
    from gensim.models import Word2Vec

    begin = time.perf_counter()
    model = Word2Vec(
        vector_size=a.dim,
        window=a.window,
        min_count=0,
        sg=1,
        hs=0,
        negative=5,
        sample=0,
        alpha=0.025,
        min_alpha=0.0001,
        workers=a.threads,
        shrink_windows=a.shrink,
        seed=0,
    )
    model.build_vocab(sentences)
    ready = time.perf_counter()
    model.train(sentences, total_examples=len(sentences), epochs=1)
    end = time.perf_counter()
    return model, end - ready, end - begin


def gensim(a):
    walks = np.load(a.walks)
    begin = time.perf_counter()
    sentences = [[str(n) for n in walk if n >= 0] for walk in walks]
    model, seconds, _ = train(sentences, a)
    whole = time.perf_counter() - begin
    return model.wv, {"seconds": seconds, "end_to_end": whole}


def pecanpy(a):
    from pecanpy import pecanpy as peers

    edges = np.load(a.edges)
    begin = time.perf_counter()
    graph = peers.FirstOrderUnweighted(p=1, q=1, workers=a.threads)
    indptr, indices = edges["ptr"], edges["idx"]
    ids = [str(i) for i in range(len(indptr) - 1)]
    graph.indptr = indptr.astype(np.uint32)
    graph.indices = indices.astype(np.uint32)
    graph.set_node_ids(ids)
    graph.preprocess_transition_probs()
    sentences = graph.simulate_walks(a.walks_per_node, a.length)
    walked = time.perf_counter() - begin
    model, seconds, _ = train(sentences, a)
    whole = time.perf_counter() - begin
    return model.wv, {"seconds": seconds, "walks": walked, "end_to_end": whole}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["gensim", "pecanpy"])
    parser.add_argument("--walks")
    parser.add_argument("--edges")
    parser.add_argument("--out")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--walks-per-node", type=int, default=5)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--shrink", action="store_true")
    a = parser.parse_args()
    vectors, result = {"gensim": gensim, "pecanpy": pecanpy}[a.what](a)
    if a.out:
        ids = sorted(int(k) for k in vectors.index_to_key)
        np.savez(a.out, ids=ids, vectors=np.stack([vectors[str(i)] for i in ids]))
    packages = ["gensim", "numpy"] + (["pecanpy"] if a.what == "pecanpy" else [])
    result["versions"] = {p: importlib.metadata.version(p) for p in packages}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
