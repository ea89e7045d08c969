"""LA-SAGE on a generated graph of a million nodes: from disk, and the same from memory.

The generator is fitted on rows read from the store; each batch decodes only its own nodes.
Both runs train one epoch of sampled batches; every loss must be the same to the bit.

    python -m benchmarks.systems.lagnn_disk
    python -m benchmarks.systems.lagnn_disk --quick    small, nothing recorded
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks import harness
from graphlab import datasets
from graphlab.models import LAConcat, LocalAugmenter
from graphlab.outofcore import Store, plan
from graphlab.sample import NeighborLoader

NAME = "nodes/lagnn_disk"
FOLDER = Path(os.environ.get("GRAPHLAB_BENCH", "/tmp/graphlab-bench"))
FANOUT, BATCH = [10, 5], 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    nodes, edges, width = 1_000_000, 10_000_000, 64
    if chosen.quick:
        nodes, edges = 20_000, 200_000
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"sbm-{nodes}-{edges}-{width}-lagnn"
    if not (path / "manifest.json").exists():
        datasets.generate(
            "sbm", nodes, edges, width, path=path, train=0.05, overwrite=True
        )
    store = Store.open(path)
    d = store.dataset()
    train = d.ids("train")
    augmenter = LocalAugmenter(width, latent=8, hidden=128, kl="free_bits")
    start = time.perf_counter()
    history = augmenter.fit(d.x, d.graph, steps=50 if chosen.quick else 300, warn=False)
    fitted = time.perf_counter() - start
    folder = Path(tempfile.mkdtemp(prefix="lagnn-", dir=FOLDER))
    try:
        made = plan(
            store,
            FANOUT,
            train,
            batch_size=BATCH,
            memory="128MiB",
            path=folder / "plan",
        )
        with_disk = epoch(made.loader(), augmenter, width, d.num_classes)
        stats = made.loader().stats()
    finally:
        shutil.rmtree(folder)
    d.x = d.x.gather(torch.arange(nodes))
    loader = NeighborLoader(d, FANOUT, batch_size=BATCH, input_nodes=train, seed=0)
    in_memory = epoch(loader, augmenter, width, d.num_classes)
    record = {
        "case": f"LA-SAGE, {nodes:,} nodes",
        "facts": {
            "graph": f"generated planted partition, {nodes:,} nodes, {edges:,} edges, "
            f"{width} float32 features, 10 classes",
            "fanout": FANOUT,
            "batch": BATCH,
            "memory": "128MiB",
            "train": len(train),
        },
        "batches": len(with_disk["losses"]),
        "equal": with_disk["losses"] == in_memory["losses"],
        "last_losses": with_disk["losses"][-3:],
        "seconds": {"disk": with_disk["seconds"], "memory": in_memory["seconds"]},
        "generator": {
            "seconds": fitted,
            "steps": history[-1].step,
            "elbo": history[-1].elbo,
            "kl": history[-1].kl,
            "active_units": history[-1].active_units,
        },
        "declared_memory_bytes": stats.get("declared_memory_bytes"),
        "threads": chosen.threads,
        "machine": harness.machine(),
    }
    print(record)
    if not chosen.quick:
        harness.save(NAME, [record])


def epoch(loader: Iterable[Any], augmenter: Any, width: int, classes: int) -> Any:
    """One epoch; draws are named by the batch's number."""
    torch.manual_seed(0)
    model = LAConcat(width, classes, augmenter, "sage", hidden_channels=64, num_views=2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    start = time.perf_counter()
    for number, batch in enumerate(loader):
        torch.manual_seed(number)
        views = model.views(
            batch.x, batch.edge_index, batch.num_sampled_nodes, batch.num_sampled_edges
        )
        y = batch.y[: batch.batch_size]
        each = [functional.cross_entropy(v[: batch.batch_size], y) for v in views]
        loss = torch.stack(each).mean() + model.consistency(views)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return {"losses": losses, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
