"""The search closed on real training: GNNs for Cora and CiteSeer against tuned GCN and GAT.

Each search trains 16 candidates on three folds of the public split's training nodes; GCN and
GAT are tuned over width, depth, dropout, weight decay and learning rate with as many
evaluations of the same kind. The best of each is then trained on the public split with three
seeds, stopped by validation nodes; the test set is read there, once a seed. Resumable.

    python -m benchmarks.models.nag_training [--seeds 10] [--summary]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from benchmarks.models import nag_records as records
from benchmarks.models import seeds
from graphlab import datasets, models, nag, progress
from graphlab.nag import controls
from graphlab.nag.spaces.gnn import SETTINGS
from graphlab.tasks import nas

# The searches of GNNs begin with GCN, GAT and SAGE of two layers and APPNP: tasks.nas.
NAME, EVALUATIONS, FINAL = "training", 16, 3
DATA = ("cora", "citeseer")
METHODS = ("graphlab", "GCN tuned", "GAT tuned", "random GNN")


def settings_space() -> nag.SearchSpace:
    """Settings of GCN and GAT: those of the GNN space, and the number of layers."""
    choices = {k: v for k, v in SETTINGS.items() if k != "ends"}
    choices |= {"layers": ("2", "3")}
    labels = [f"{n}={c}" for n, values in choices.items() for c in values]
    allowed = torch.zeros(len(choices), len(labels), dtype=torch.bool)
    start = 0
    for node, values in enumerate(choices.values()):
        allowed[node, start : start + len(values)] = True
        start += len(values)
    return nag.SearchSpace("settings", labels, allowed, names=list(choices))


def tuned(kind: Any) -> Any:
    def make(inputs: int, outputs: int, architecture: str) -> torch.nn.Module:
        given = dict(part.split("=") for part in architecture.split("|"))
        return kind(
            inputs,
            outputs,
            hidden_channels=int(given["hidden"]),
            num_layers=int(given["layers"]),
            dropout=float(given["dropout"]),
            normalise_rows=True,
        )

    return make


def run(
    data: str, method: str, seed: int, model: nag.Denoiser | None
) -> dict[str, Any]:
    d = datasets.load(data)
    settings: dict[str, Any] = {}
    if method.endswith("tuned"):
        space = settings_space()
        settings = {"model": tuned(getattr(models, method.split()[0]))}
        # The same searcher; over settings alone it needs no generator.
        settings["denoiser"] = nag.Denoiser(space, hidden=16, blocks=1).fit(
            space.sample(500), steps=50
        )
    else:
        space = nag.spaces.GNN()
        settings["denoiser"] = model
    found = nas.search(
        d,
        space=space,
        evaluations=EVALUATIONS,
        method="random" if method.startswith("random") else "bayesian",
        seed=seed,
        epochs=200,
        final_seeds=range(FINAL * seed, FINAL * (seed + 1)),
        **settings,
    )
    assert found.result is not None
    assert found.result.test is not None
    return {
        "test": list(found.result.test.values),
        "valid": list(found.result.valid.values),
        "folds": max(found.found.scores),
        "average": sum(found.found.scores) / len(found.found.scores),
        "best": found.found.best,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--summary", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    progress.set_quiet(True)
    journal = records.Journal(NAME)
    model = None
    for seed in range(0 if chosen.summary else chosen.seeds):
        for data in DATA:
            for method in METHODS:
                if journal.has(data=data, method=method, seed=seed):
                    continue
                if model is None:
                    space = nag.spaces.GNN()
                    model = nag.Denoiser(space, hidden=32, blocks=2)
                    model.fit(space.sample(8000, seed=0), steps=400)
                began = time.process_time()
                found = run(data, method, seed, model)
                journal.add(
                    data=data,
                    method=method,
                    seed=seed,
                    cpu=time.process_time() - began,
                    **found,
                )
                print(data, method, seed, found, flush=True)
    summarise(journal)


def summarise(journal: records.Journal) -> None:
    rows, kept = [], []
    for data in DATA:
        drawn = [r["average"] for r in journal.of(data=data, method="random GNN")]
        for method in METHODS:
            runs = journal.of(data=data, method=method)
            if not runs:
                continue
            test = records.over(100 * sum(r["test"]) / len(r["test"]) for r in runs)
            valid = records.over(100 * sum(r["valid"]) / len(r["valid"]) for r in runs)
            folds = records.over(100 * r["folds"] for r in runs)
            average = sum(drawn) / max(len(drawn), 1)
            gain = "-"
            if drawn:
                found = records.over(
                    controls.relative_improvement(r["folds"], average) for r in runs
                )
                gain = records.show(found, 1)
            beside = "-"
            if method == "graphlab":
                pairs = [journal.of(data=data, method=m) for m in METHODS[1:3]]
                beside = ", ".join(
                    seeds.cell(_tests(runs), _tests(p), 1) for p in pairs
                )
            cpu = records.over(r["cpu"] for r in runs)["mean"]
            rows.append(
                (
                    data if method == METHODS[0] else "",
                    method,
                    str(len(runs)),
                    records.show(test),
                    records.show(valid),
                    records.show(folds),
                    gain,
                    beside,
                    f"{cpu:.0f}",
                )
            )
            kept.append({"data": data, "method": method, "test": test, "valid": valid})
    columns = (
        "data",
        "method",
        "searches",
        "test, %",
        "validation, %",
        "folds of training nodes, %",
        "relative improvement on folds, %",
        "over tuned GCN, over tuned GAT",
        "CPU s a search",
    )
    note = (
        f"{EVALUATIONS} evaluations a search, three trainings each; mean and sample deviation "
        f"over searches of the mean of {FINAL} final trainings. `random GNN` draws from the "
        "space of the search uniformly and keeps the best on the folds; the relative "
        "improvement is over the mean of all that it drew. Differences of test accuracy are "
        "paired by search, with 95 % intervals, in points."
    )
    title = "Searched GNNs against tuned GCN and GAT"
    records.save(NAME, title, columns, rows, note, kept, journal.lines)


def _tests(runs: list[dict[str, Any]]) -> dict[int, float]:
    return {r["seed"]: sum(r["test"]) / len(r["test"]) for r in runs}


if __name__ == "__main__":
    main()
