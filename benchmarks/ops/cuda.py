"""The CUDA kernels against torch on the same device; where torch has no such op, against our
CPU kernels on all cores. Bounds count bytes at the speed of a copy inside the device's memory,
every row of `x` anew for each entry: what is read twice may come from a cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from benchmarks import harness
from benchmarks.graphs import chung_lu, rmat, youtube_size
from benchmarks.harness import Case, Contender, Trial
from graphlab import graph, models, ops
from graphlab.embed import NodeEmbedding
from graphlab.graph import Graph

# Without a device, `--quick` runs the script on the CPU.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GRAPH = "R-MAT, 1M nodes, 10M edges, relabelled at random"


@cache
def edges(seed: int, quick: bool) -> tuple[Tensor, Tensor, int]:
    row, col, num_nodes = rmat(seed, quick=quick)
    return row.to(DEVICE), col.to(DEVICE), num_nodes


@cache
def rows(seed: int, quick: bool) -> tuple[Tensor, Tensor, int]:
    row, col, num_nodes = edges(seed, quick)
    ptr, idx, _ = ops.csr_build(row, col, num_nodes, num_nodes)
    return ptr, idx, num_nodes


def close(mine: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-2)


def equal(mine: Tensor, expected: Tensor) -> None:
    if not torch.equal(mine.cpu(), expected.cpu()):
        raise AssertionError("results differ")


def pair(
    ours: Callable[[], Any],
    name: str,
    theirs: Callable[[], Any],
    size: int,
    agree: Callable[[Any, Any], None] = close,
) -> Trial:
    contenders = [Contender("graphlab", ours), Contender(name, theirs, ["torch"])]
    return Trial(contenders, agree, bytes=size, device=DEVICE)


def on_both(run: Callable[..., Any], *tensors: Any) -> Trial:
    """The same call here and on the CPU: equal results."""
    there = [t.cpu() if isinstance(t, Tensor) else t for t in tensors]
    return pair(lambda: run(*tensors), "graphlab, CPU", lambda: run(*there), 0, equal)


def build(quick: bool, seed: int) -> Trial:
    row, col, num_nodes = edges(seed, quick)

    def theirs() -> torch.Tensor:
        edge_id = torch.argsort(row, stable=True)
        torch.bincount(row, minlength=num_nodes).cumsum(0)
        return col[edge_id].int()

    return pair(
        lambda: ops.csr_build(row, col, num_nodes, num_nodes)[1],
        "torch.argsort",
        theirs,
        row.numel() * 24,
        equal,
    )


def gather(quick: bool, width: int, seed: int) -> Trial:
    generator = torch.Generator().manual_seed(seed)
    count = 10_000 if quick else 1_000_000
    source = torch.randn(count, width, generator=generator).to(DEVICE)
    index = torch.randint(count, (count // 5,), generator=generator).to(DEVICE)
    return pair(
        lambda: ops.gather_rows(source, index),
        "torch.index_select",
        lambda: source.index_select(0, index),
        index.numel() * width * 8,
    )


def multiply(quick: bool, width: int, seed: int) -> Trial:
    ptr, idx, num_nodes = rows(seed, quick)
    x = torch.randn(num_nodes, width, device=DEVICE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        values = torch.ones(idx.numel(), device=DEVICE)
        matrix = torch.sparse_csr_tensor(ptr.int(), idx, values, (num_nodes, num_nodes))
    return pair(
        lambda: ops.spmm(ptr, idx, x),
        "torch.sparse.mm",
        lambda: torch.sparse.mm(matrix, x),
        idx.numel() * (4 * width + 4) + num_nodes * (4 * width + 8),
    )


def reduce(quick: bool, width: int, seed: int) -> Trial:
    ptr, idx, num_nodes = rows(seed, quick)
    src = torch.randn(idx.numel(), width, device=DEVICE)
    return pair(
        lambda: ops.segment_reduce(src, ptr),
        "torch.segment_reduce",
        lambda: torch.segment_reduce(src, "sum", offsets=ptr, axis=0, unsafe=True),
        src.nbytes + num_nodes * (8 + 4 * width),
    )


def softmax(quick: bool, width: int, seed: int) -> Trial:
    ptr, idx, num_nodes = rows(seed, quick)
    src = torch.randn(idx.numel(), width, device=DEVICE)
    row = torch.repeat_interleave(torch.arange(num_nodes, device=DEVICE), ptr.diff())

    def theirs() -> Tensor:
        most = src.new_zeros(num_nodes, width)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            most.index_reduce_(0, row, src, "amax", include_self=False)
        powers = (src - most[row]).exp()
        return powers / src.new_zeros(num_nodes, width).index_add_(0, row, powers)[row]

    return pair(
        lambda: ops.segment_softmax(src, ptr),
        "torch.index_reduce",
        theirs,
        2 * src.nbytes + num_nodes * 8,
    )


def contrast(quick: bool, width: int, seed: int) -> Trial:
    """exp of products over edges, summed for each row: the positives of PamC."""
    ptr, idx, num_nodes = rows(seed, quick)
    u = torch.nn.functional.normalize(torch.randn(num_nodes, width, device=DEVICE))
    row = torch.repeat_interleave(torch.arange(num_nodes, device=DEVICE), ptr.diff())

    def theirs() -> Tensor:
        powers = (u[row] * u[idx]).sum(1).exp()
        return u.new_zeros(num_nodes).index_add_(0, row, powers)

    return pair(
        lambda: ops.sddmm_exp_sum(ptr, idx, u)[1],
        "torch, an edge a row",
        theirs,
        idx.numel() * (4 * width + 4) + num_nodes * (4 * width + 16),
    )


def sample(quick: bool, seed: int) -> Trial:
    ptr, idx, num_nodes = rows(seed, quick)
    seeds = torch.randperm(num_nodes, generator=torch.Generator().manual_seed(seed))

    def run(*graph: Tensor) -> Tensor:
        return ops.neighbor_sample(*graph, [15, 10, 5], key=seed).n_id

    return on_both(run, ptr, idx, seeds[:1024].to(DEVICE))


def walk(quick: bool, p: float, q: float, seed: int) -> Trial:
    ready = graph.walk_graph(youtube_size(seed, quick=quick), weighted=False)
    alive = (ready.strength > 0).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    count = 10_000 if quick else 1_000_000
    starts = alive[torch.randint(len(alive), (count,), generator=generator)]

    def run(*graph: Tensor) -> Tensor:
        return ops.random_walk(*graph, 40, p=p, q=q, key=seed)

    return on_both(run, *(t.to(DEVICE) for t in (ready.ptr, ready.idx, starts)))


def common(quick: bool, seed: int) -> Trial:
    nodes, count = (10_000, 50_000) if quick else (1_000_000, 5_000_000)
    ptr, idx = chung_lu(nodes, count, 0.5, seed)
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(nodes, (2, 65_536), generator=generator)
    edge = torch.randint(len(idx), (65_536,), generator=generator)
    joined = torch.stack([torch.searchsorted(ptr, edge, right=True) - 1, idx[edge]])
    pairs = torch.cat([pairs, joined], 1)
    return on_both(ops.common_neighbors, *(t.to(DEVICE) for t in (ptr, idx, pairs)))


def blank(nodes: int, dtype: torch.dtype, seed: int) -> tuple[Any, ...]:
    """Two tables of 128 columns, an alias table, a generator."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    head, tail = (
        torch.empty(nodes, 128, dtype=dtype, device=DEVICE).uniform_(
            -0.5 / 128, 0.5 / 128, generator=generator
        )
        for _ in range(2)
    )
    tables = [
        t.to(DEVICE)
        for t in ops.alias_build(torch.tensor([0, nodes]), torch.ones(nodes))
    ]
    return head, tail, tables, generator


def train(quick: bool, dtype: torch.dtype, seed: int) -> Trial:
    """Pairs at random over 10M nodes: three rows of 128 read and written for each."""
    nodes, count = (10_000, 100_000) if quick else (10_000_000, 20_000_000)
    head, tail, tables, generator = blank(nodes, dtype, seed)
    walks = torch.randint(
        nodes, (count, 2), generator=generator, dtype=torch.int32, device=DEVICE
    )

    def ours() -> Any:
        return ops.skipgram_train(
            head, tail, walks, *tables, window=1, forward=True, negatives=1
        )

    note = {"pairs": count}
    return Trial(
        [Contender("graphlab", ours, notes=lambda _: note)],
        None,
        bytes=count * 3 * 128 * dtype.itemsize * 2,
        device=DEVICE,
    )


def train_windows(quick: bool, dtype: torch.dtype, seed: int) -> Trial:
    """Walks of 41 nodes, windows of 5, negatives from 64 a walk, as an embedding trains.

    Its head row is read and written once for a place of the walk, two rows for each pair.
    """
    nodes, count = (10_000, 2_000) if quick else (10_000_000, 250_000)
    head, tail, tables, generator = blank(nodes, dtype, seed)
    shape = {"generator": generator, "dtype": torch.int32, "device": DEVICE}
    walks = torch.randint(nodes, (count, 41), **shape)

    def ours() -> Any:
        objective = {"negatives": 1, "weight": 5.0, "pool": 64}
        return ops.skipgram_train(head, tail, walks, *tables, window=5, **objective)

    pairs = count * (41 * 10 - 30)
    return Trial(
        [Contender("graphlab", ours, notes=lambda _: {"pairs": pairs})],
        None,
        bytes=(2 * pairs + 41 * count) * 128 * dtype.itemsize * 2,
        device=DEVICE,
    )


def epoch(quick: bool, seed: int) -> Trial:
    """A training step of a GCN on the whole graph; PyG keeps its normalised edges, too."""
    from torch_geometric import nn

    row, col, num_nodes = rmat(seed, quick=True) if quick else arxiv_size(seed)
    g = Graph(torch.stack([row, col]), num_nodes)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_nodes, 128, generator=generator).to(DEVICE)
    y = torch.randint(40, (num_nodes,), generator=generator).to(DEVICE)
    there = torch.stack([row, col]).to(DEVICE)

    def step(model: torch.nn.Module, structure: Any) -> Callable[[], Tensor]:
        model = model.to(DEVICE).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

        def run() -> Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x, structure), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return run

    ours = step(models.GCN(128, 40, 256, num_layers=3, dropout=0.5), g)
    theirs = step(nn.GCN(128, 256, 3, 40, dropout=0.5, cached=True), there)
    peer = Contender("PyG", theirs, ["torch-geometric"])
    return Trial([Contender("graphlab", ours), peer], None)


def arxiv_size(seed: int) -> tuple[Tensor, Tensor, int]:
    """Nodes and edges of ogbn-arxiv, both directions: ends fall off as ranks do."""
    ptr, idx = chung_lu(169_343, 1_166_243, 0.5, seed)
    row = torch.repeat_interleave(torch.arange(len(ptr) - 1), ptr.diff())
    return row, idx.long(), len(ptr) - 1


def embed(quick: bool, seed: int) -> Trial:
    """A whole fit: walks made on the CPU, handed over, trained on the device."""
    g = youtube_size(seed, quick=quick)
    samples = 1_000_000 if quick else 1_000_000_000

    def fit(**change: Any) -> Any:
        given = {"dim": 128, "samples": samples, "window": 5, "seed": seed}
        return NodeEmbedding(**given | change).fit(g).history

    def told(history: Any) -> dict[str, Any]:
        kept = ("pairs", "seconds", "prepare_seconds", "samples_per_second")
        return {key: history[key] for key in kept}

    return Trial([Contender("graphlab", lambda: fit(device=DEVICE), notes=told)], None)


def cases(quick: bool) -> Iterable[Case]:
    if DEVICE == "cpu" and not quick:
        raise SystemExit("benchmark cuda: no CUDA device here")
    facts = {"graph": GRAPH, "dtype": "float32", "device": DEVICE}

    def case(
        op: str, make: Callable[..., Trial], repeats: int = 20, **more: Any
    ) -> Case:
        name = " ".join(
            f"{k} {v}" for k, v in more.items() if k not in ("graph", "dtype")
        )
        told = facts | more
        # Single runs would measure the launch.
        return Case(
            f"cuda {op} {name}".strip(),
            make,
            told,
            repeats=repeats,
            loops=1 if quick else 10,
        )

    yield case("csr_build", lambda seed: build(quick, seed))
    for width in (16, 64, 128, 256):
        for op, make in (("gather_rows", gather), ("spmm", multiply)):
            run = lambda seed, w=width, m=make: m(quick, w, seed)  # noqa: E731
            yield case(op, run, width=width)
    yield case("segment_reduce", lambda seed: reduce(quick, 16, seed), width=16)
    yield case("segment_softmax", lambda seed: softmax(quick, 8, seed), width=8)
    for width in (16, 64):
        run = lambda seed, w=width: contrast(quick, w, seed)  # noqa: E731
        yield case("sddmm_exp_sum", run, width=width)
    batch = {"fanout": "15, 10, 5", "seeds": 1024}
    yield case("neighbor_sample", lambda seed: sample(quick, seed), **batch)
    youtube = "R-MAT of Youtube's size, 1.14M nodes, 9.9M entries"
    skewed = "Chung-Lu, 1M nodes, 5M edges; 131,072 pairs, half of them edges"
    for p, q in ((1.0, 1.0), (4.0, 2.0)):
        run = lambda seed, p=p, q=q: walk(quick, p, q, seed)  # noqa: E731
        yield case("random_walk", run, 5, p=p, q=q, graph=youtube)
    yield case("common_neighbors", lambda seed: common(quick, seed), 5, graph=skewed)
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        run = lambda seed, d=dtype: train(quick, d, seed)  # noqa: E731
        told = {"graph": "10M nodes, pairs at random", "dtype": name}
        if DEVICE == "cuda" or dtype == torch.float32:
            yield case(f"skipgram_train {name}", run, 5, width=128, **told)
            run = lambda seed, d=dtype: train_windows(quick, d, seed)  # noqa: E731
            told["graph"] = "10M nodes, walks at random"
            yield case(f"skipgram_train {name} windows", run, 5, width=128, **told)
    arxiv = "Chung-Lu of ogbn-arxiv's size, 169,343 nodes"
    run = lambda seed: epoch(quick, seed)  # noqa: E731
    yield case("GCN training step", run, 10, graph=arxiv, layers=3, width=256)
    yield Case(
        "cuda embedding, 1e9 pairs",
        lambda seed: embed(quick, seed),
        facts | {"graph": youtube, "width": 128},
        repeats=1,
        warmups=0,
    )


if __name__ == "__main__":
    harness.main("cuda", cases)
