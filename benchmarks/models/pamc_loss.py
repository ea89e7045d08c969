"""The PamC loss, forward and backward: fused, as the release composes it, and with all nodes.

All contenders compute ``compat="reference"`` on the same graph, but for the last, whose
negatives are all nodes (SCGC); it runs up to where its N x N matrices no longer fit. Memory is
what one call adds to the process at its peak, measured in a process of its own.

    python -m benchmarks.models.pamc_loss
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from benchmarks.harness import Case, Contender, Trial
from graphlab import memory
from graphlab.graph import Graph, influence
from graphlab.models import PamCLoss

NAME = "pamc_loss"
K, DIM, DEGREE, TOPK, TAU = 10, 10, 10, 16, 0.5
SIZES = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}


def inputs(num_nodes: int, seed: int) -> tuple[Tensor, Graph, Tensor]:
    """Embeddings around K centres, influence of a planted partition, clusters."""
    generator = torch.Generator().manual_seed(seed)
    assign = torch.randint(K, (num_nodes,), generator=generator)
    order = assign.argsort()
    start = torch.searchsorted(assign[order], torch.arange(K + 1))
    source = torch.randint(num_nodes, (num_nodes * DEGREE // 2,), generator=generator)
    block = assign[source]
    size = start[block + 1] - start[block]
    draw = torch.rand(len(source), generator=generator)
    inside = order[start[block] + (draw * size).long().clamp(max=size - 1)]
    outside = torch.randint(num_nodes, source.shape, generator=generator)
    stays = torch.rand(len(source), generator=generator) < 0.8
    edges = torch.stack([source, torch.where(stays, inside, outside)])
    graph = Graph(edges, num_nodes).to_undirected()
    centres = torch.randn(K, DIM, generator=generator)
    z = centres[assign] + 0.5 * torch.randn(num_nodes, DIM, generator=generator)
    return z, influence(graph, 2, topk=TOPK), assign


def fused(z: Tensor, w: Graph, assign: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    loss = PamCLoss(TAU, compat="reference")
    return lambda: both(z, lambda leaf: loss(leaf, w, assign=assign, k=K))


def unfused(z: Tensor, w: Graph, assign: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """The steps of the release: rows gathered for each edge, a one-hot [N, K, d] product."""
    source, target = w.edge_index
    weight = w.edge_weight
    own = source == target
    assert weight is not None

    def loss(leaf: Tensor) -> Tensor:
        cosine = F.cosine_similarity(leaf[target], leaf[source], dim=1)
        each = torch.exp(TAU * cosine.masked_fill(own, 0.0))
        positive = torch.zeros(len(z)).index_add(0, target, weight * each)
        hot = F.one_hot(assign, K).to(z.dtype)
        centre = (hot[:, :, None] * leaf[:, None, :]).sum(0)
        between = F.cosine_similarity(centre[:, None], centre[None], dim=2)
        between = between.masked_fill(torch.eye(K, dtype=torch.bool), 0.0)
        negative = torch.exp(TAU * between).sum(1)
        return torch.log(negative + 1e-10).mean() - torch.log(positive + 1e-10).mean()

    return lambda: both(z, loss)


def all_nodes(
    z: Tensor, w: Graph, assign: Tensor
) -> Callable[[], tuple[Tensor, Tensor]]:
    """SCGC: negatives are all nodes, in N x N matrices; W dense too."""
    num_nodes = len(z)
    source, target = w.edge_index
    assert w.edge_weight is not None
    dense = torch.zeros(num_nodes, num_nodes)
    dense[target, source] = w.edge_weight

    def loss(leaf: Tensor) -> Tensor:
        unit = F.normalize(leaf, dim=1)
        own = torch.eye(num_nodes, dtype=torch.bool)
        each = torch.exp(TAU * (unit @ unit.t()).masked_fill(own, 0.0))
        return -torch.log((dense * each).sum(1) / each.sum(1) + 1e-8).mean()

    return lambda: both(z, loss)


CONTENDERS = {"graphlab": fused, "unfused": unfused, "all nodes": all_nodes}


def both(z: Tensor, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    leaf = z.detach().requires_grad_()
    value = loss(leaf)
    (grad,) = torch.autograd.grad(value, leaf)
    return value.detach(), grad


def peak(contender: str, num_nodes: int, seed: int) -> int:
    """Bytes that a call adds to a process at its peak."""
    command = [sys.executable, "-m", "benchmarks.models.pamc_loss", "--peak"]
    command += [contender, str(num_nodes), str(seed)]
    # Every tensor of any size is mapped and unmapped: freed memory is not there to reuse.
    given = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(
        command,
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **given},
    )
    return int(done.stdout)


def measure_peak(contender: str, num_nodes: int, seed: int) -> None:
    torch.set_num_threads(2)
    # What libraries take at their first call is no cost of the loss.
    CONTENDERS[contender](*inputs(500, seed))()
    call = CONTENDERS[contender](*inputs(num_nodes, seed))
    # What is kept between epochs, the transpose of the graph, is made at the first call.
    if contender == "graphlab":
        call()
    Path("/proc/self/clear_refs").write_text("5")
    before = harness.process_bytes("VmRSS")
    call()
    print(harness.process_bytes("VmHWM") - before)


def setup(num_nodes: int, seed: int) -> Trial:
    data = inputs(num_nodes, seed)

    def agree(mine: Any, theirs: Any) -> None:
        torch.testing.assert_close(mine[0], theirs[0], rtol=1e-5, atol=1e-5)
        scale = float(theirs[1].abs().max())
        torch.testing.assert_close(mine[1], theirs[1], rtol=1e-3, atol=1e-3 * scale)

    contenders = [
        Contender(
            name,
            CONTENDERS[name](*data),
            ["torch"] if name != "graphlab" else [],
        )
        for name in ("graphlab", "unfused")
    ]
    edges = data[1].num_edges
    # Forward: a row, a weight and an index an edge, a scalar written. Backward: a row, an
    # index and the scalar in both directions, the place in the transpose.
    padded = 64
    return Trial(
        contenders,
        agree,
        bytes=edges * (3 * padded + 12 + 12 + 4 + 16) + 6 * num_nodes * padded,
        ops=3 * 2 * edges * DIM,
    )


def setup_full(num_nodes: int, seed: int) -> Trial:
    data = inputs(num_nodes, seed)
    names = ("graphlab", "all nodes")
    contenders = [Contender(name, CONTENDERS[name](*data)) for name in names]
    # Another loss: only the work is compared.
    return Trial(contenders, None)


def cases(quick: bool) -> Iterable[Case]:
    sizes = {"1k": 1_000} if quick else SIZES
    for label, num_nodes in sizes.items():
        facts = {
            "graph": f"planted partition, {num_nodes:,} nodes, influence of order 2, at most "
            f"{TOPK} positives a node",
            "dim": DIM,
            "clusters": K,
            "dtype": "float32",
        }
        repeats = {"1M": 3, "100k": 10}.get(label)
        yield Case(
            f"{label} nodes",
            lambda seed, n=num_nodes: setup(n, seed),
            facts,
            repeats=repeats,
        )
        # Eight N x N float32 matrices: W, products, exponentials and their gradients.
        needed = 8 * 4 * num_nodes**2
        if needed < memory.available():
            yield Case(
                f"{label} nodes, against all nodes as negatives",
                lambda seed, n=num_nodes: setup_full(n, seed),
                facts,
                repeats=3,
            )


def add_ratios() -> None:
    """Measure memory where it is not, and put its ratio and the slope into the records."""
    records = harness.load(NAME)
    times = {}
    for record in records:
        found = record["contenders"]
        size = SIZES[record["case"].split()[0]]
        for name, entry in found.items():
            if not entry["notes"].get("peak_bytes"):
                entry["notes"] = {"peak_bytes": peak(name, size, record["seed"])}
        peaks = {name: entry["notes"]["peak_bytes"] for name, entry in found.items()}
        peer = next(name for name in peaks if name != "graphlab")
        record["memory_ratio"] = round(peaks[peer] / peaks["graphlab"], 3)
        print(record["case"], peaks, f"memory ratio {record['memory_ratio']}")
        if peer == "unfused":
            times[size] = found["graphlab"]["median"]
            if len(times) > 1:
                first = min(times)
                slope = math.log(times[size] / times[first]) / math.log(size / first)
                record["slope"] = round(slope, 4)
                print(f"log-log slope from {first:,} to {size:,} nodes: {slope:.3f}")
    if records:
        harness.save(NAME, records)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        measure_peak(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        harness.main(NAME, cases)
        if "--quick" not in sys.argv:
            add_ratios()
