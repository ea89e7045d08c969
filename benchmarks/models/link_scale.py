"""NCN at size: an epoch on a generated graph like ogbl-ppa, 10^8 pairs ranked, ogbl-ddi.

The graph is a Chung-Lu graph, not ppa: 576,289 nodes, about 30 million undirected edges, all
of which are training positives. The model has ppa's published settings (three GCN layers of
width 64 on a learned table of 58 ids). Each step encodes the whole graph without its batch,
so the batch decides what an epoch costs: the published 16,384 would encode it 1,850 times;
`--batch` says what was run. The evaluation ranks 100,000 positives among 1,000 uniform
targets each (MRR), block by block. `ddi-*` are an epoch and a validation on ogbl-ddi itself,
with the published settings of NCN and ours of Refined-GAE. Peak memory is the process's own,
everything in it; each part runs in a process of its own. The epoch takes long: stopped by
SIGTERM or Ctrl-C it goes on at its step when the same command is given again.

    python -m benchmarks.models.link_scale [--quick] [--only epoch]
"""

from __future__ import annotations

import argparse
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from benchmarks.graphs import chung_lu
from benchmarks.models.pamc_million import peak
from graphlab import Dataset, Graph, datasets
from graphlab.evaluate import LinkEvaluator
from graphlab.models import link_model, link_preset
from graphlab.tasks import Callback, link

NAME = "link_scale"
RUNS = harness.ROOT / "runs" / NAME
NODES, DRAWN, DECAY = 576_289, 32_000_000, 0.62
QUICK = (20_000, 200_000, 0.62)
POSITIVES, NEGATIVES, BLOCK = 100_000, 1_000, 1_000
PARTS = ("epoch", "evaluation", "ddi-ncn", "ddi-refined-gae")


class Watch(Callback):
    """Keeps what each epoch says of itself."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, Any]] = []

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        self.seen.append(record)


def graph_and_edges(quick: bool) -> tuple[Graph, torch.Tensor]:
    nodes, drawn, decay = QUICK if quick else (NODES, DRAWN, DECAY)
    ptr, idx = chung_lu(nodes, drawn, decay)
    row = torch.repeat_interleave(torch.arange(nodes), ptr.diff())
    half = (row < idx).nonzero()[:, 0]
    return Graph.from_csc(ptr, idx), torch.stack([row[half], idx[half].long()])


def factory() -> Any:
    settings = link_preset("ogbl-ppa", "ncn")["model"]
    return functools.partial(link_model, **settings)


def epoch(quick: bool, batch: int, run_dir: Path) -> dict[str, Any]:
    g, edges = graph_and_edges(quick)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(58, (g.num_nodes, 1), generator=generator)
    held = torch.randint(g.num_nodes, (2, 2, 1_000), generator=generator)
    d = Dataset(graph=g, x=ids.float(), meta={"name": "chung-lu"})
    d.edge_splits = {
        "train": {"edge": edges},
        "val": {"edge": held[0], "edge_neg": held[1]},
    }
    before = peak()
    watch = Watch()
    fit = link_preset("ogbl-ppa", "ncn")["fit"]
    link.fit(
        d,
        factory(),
        seeds=[0],
        callbacks=[watch],
        baselines="none",
        read_test=False,
        run_dir=run_dir,
        **{**fit, "epochs": 1, "batch_size": batch},
    )
    (record,) = watch.seen
    steps = edges.shape[1] // batch or 1
    return {
        "seconds": record["seconds"],
        "steps": steps,
        "seconds_per_step": record["seconds"] / steps,
        "loss": record["loss"],
        "train_pairs": edges.shape[1],
        "batch": batch,
        "peak_resident_bytes": peak(),
        "peak_before_training": before,
    }


def evaluation(quick: bool) -> dict[str, Any]:
    g, edges = graph_and_edges(quick)
    torch.manual_seed(0)
    model = factory()(1, g.num_nodes).eval()
    ids = torch.randint(58, (g.num_nodes, 1)).float()
    count = 2_000 if quick else POSITIVES
    pos = edges[:, torch.randperm(edges.shape[1])[:count]]
    evaluator = LinkEvaluator("mrr")
    before = peak()
    start = time.perf_counter()
    with torch.no_grad():
        h = model.encode(ids, g)
    encoded = time.perf_counter() - start
    with model.caching():
        for first in range(0, count, BLOCK):
            part = pos[:, first : first + BLOCK]
            size = part.shape[1]
            targets = torch.randint(g.num_nodes, (size, NEGATIVES))
            both = torch.cat([part[1][:, None], targets], 1)
            pairs = torch.stack([part[0][:, None].expand_as(both), both]).flatten(1)
            scores = model.score(ids, g, pairs, h=h, batch_size=pairs.shape[1])
            scores = scores.view(size, -1)
            evaluator.update(scores[:, 0], scores[:, 1:])
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "encode_seconds": encoded,
        "pairs": count * (NEGATIVES + 1),
        "pairs_per_second": count * (NEGATIVES + 1) / (seconds - encoded),
        "mrr_untrained": evaluator.compute(),
        "peak_resident_bytes": peak(),
        "peak_before_scoring": before,
    }


def ddi(head: str, quick: bool) -> dict[str, Any]:
    d = datasets.load("ogbl-ddi")
    preset = link_preset("ogbl-ddi", head)
    before = peak()
    watch = Watch()
    link.fit(
        d,
        functools.partial(link_model, **preset["model"]),
        seeds=[0],
        callbacks=[watch],
        baselines="none",
        read_test=False,
        **{**preset["fit"], "epochs": 1 if quick else 2},
    )
    first, last = watch.seen[0], watch.seen[-1]
    return {
        "seconds": last["seconds"],
        "first_epoch_seconds": first["seconds"],
        "validation_seconds": last["eval_seconds"],
        "valid_hits@20": [record["valid"] for record in watch.seen],
        "loss": last["loss"],
        "batch": preset["fit"]["batch_size"],
        "peak_resident_bytes": peak(),
        "peak_before_training": before,
    }


def facts(part: str) -> dict[str, Any]:
    if part.startswith("ddi"):
        head = part.removeprefix("ddi-")
        return {"graph": "ogbl-ddi", "model": f"{head}, settings of ogbl-ddi"}
    return {
        "graph": f"Chung-Lu, {NODES:,} nodes, {DRAWN:,} undirected edges drawn, "
        f"weights (rank + 10)^-{DECAY}",
        "model": "ncn, settings of ogbl-ppa",
        "dtype": "float32",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke test, not recorded")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--batch", type=int, default=1 << 20, help="%(default)s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help="in this process")
    chosen = parser.parse_args()
    wanted = [chosen.only] if chosen.only else list(PARTS)
    if not chosen.here:
        for part in wanted:
            again = [*sys.argv[1:], "--here", "--only", part]
            module = [sys.executable, "-m", "benchmarks.models.link_scale"]
            subprocess.run([*module, *again], check=True)
        return
    harness.pin(chosen.threads)
    part = wanted[0]
    if part == "epoch":
        if chosen.quick:
            with tempfile.TemporaryDirectory() as folder:
                notes = epoch(True, chosen.batch, Path(folder))
        else:
            notes = epoch(False, chosen.batch, RUNS)
            shutil.rmtree(RUNS)
    elif part == "evaluation":
        notes = evaluation(chosen.quick)
    else:
        notes = ddi(part.removeprefix("ddi-"), chosen.quick)
    print(part, notes)
    seconds = round(notes["seconds"], 2)
    record = {
        "case": part if part.startswith("ddi") else f"NCN {part}, ppa-like",
        "seed": 0,
        "threads": chosen.threads,
        "facts": facts(part),
        "ours": "graphlab",
        "agreement": "not comparable",
        "contenders": {
            "graphlab": {
                **dict.fromkeys(("median", "q1", "q3", "best"), seconds),
                "repeats": 1,
                "versions": {},
                "notes": notes,
            }
        },
        "ratio": None,
        "best_peer": None,
        "bound": None,
        "machine": harness.machine(),
    }
    if not chosen.quick:
        harness.keep(NAME, record)


if __name__ == "__main__":
    main()
