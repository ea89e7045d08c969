"""LAGNN and its controls on Cora and CiteSeer, public split, paired seeds.

Every row has the width of the plain backbone: the first layer is split over the features and
one more channel, which is

    same            the features once more
    mean            the mean of the neighbours
    ridge           the conditional mean of a neighbour, linear, in closed form
    untrained       a generator with random weights
    cvae-collapsed  a generator whose posterior has collapsed (KL weight 100)
    cvae-kl1        the generator with the release's KL weight, 1
    cvae            the generator with free bits
    cvae-bald       the same, its weights chosen among at most eight by BALD of a trained GCN
    cvae-released   KL weight 1, weights chosen by the release's score (its opposite)

each with (``+c``) and without the consistency of K = 4 views; the last two only with it.
Generators are fitted once for each data set and shared by all seeds, as in the release. The
epoch is chosen by validation accuracy, the test set is read once a seed. Seeds are outermost,
so rows stay paired when a run is stopped; what is in the record is not run again, here or in
another checkout.

    graphlab bench lagnn                                 all that is missing
    python -m benchmarks.models.lagnn --only cora/gcn    cases whose name holds this
    python -m benchmarks.models.lagnn --quick            smoke test, nothing recorded
    python -m benchmarks.models.lagnn --show             the table so far
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks import harness
from benchmarks.models import lagnn_table, seeds
from benchmarks.models.lagnn_table import BUCKETS, DATA, PUBLISHED, SEEDS, bucket, rows
from graphlab import datasets, progress
from graphlab.datasets import Dataset
from graphlab.models import (
    GAT,
    GCN,
    GCNII,
    GRAND,
    ConditionalMeanAugmenter,
    LAConcat,
    LocalAugmenter,
)
from graphlab.models.lagnn_controls import NeighborMean, SameFeatures
from graphlab.models.lagnn_selection import selector
from graphlab.tasks import node

NAME = "lagnn"
KINDS: dict[str, Any] = {"gcn": GCN, "gat": GAT, "gcnii": GCNII, "grand": GRAND}
# Settings of LAGNN's scripts; widths are totals over both branches. As in the release training
# does not stop early: noise of 500 validation nodes ends rows long before their plateau. The
# release's 2000 epochs at 0.01 take a day here; 300 at 0.03 reach the same validation accuracy
# (Cora, cvae+c, seed 0: mean of 50 epochs 0.818 from epoch 250 on, as 1500 epochs at 0.01).
MODEL: dict[str, dict[str, dict[str, Any]]] = {
    "gcn": {
        "cora": {"hidden_channels": 16, "dropout": 0.5},
        "citeseer": {"hidden_channels": 16, "dropout": 0.5},
    },
    "gat": {
        "cora": {"hidden_channels": 64, "heads": 8, "dropout": 0.6},
        "citeseer": {"hidden_channels": 64, "heads": 8, "dropout": 0.6},
    },
    "gcnii": {
        "cora": {"hidden_channels": 64, "num_layers": 64, "dropout": 0.6, "theta": 0.5},
        "citeseer": {
            "hidden_channels": 256,
            "num_layers": 32,
            "dropout": 0.7,
            "theta": 0.6,
        },
    },
    "grand": {
        "cora": {"order": 8, "temperature": 0.5, "consistency": 1.0},
        "citeseer": {
            "order": 2,
            "temperature": 0.2,
            "consistency": 0.7,
            "input_dropout": 0.2,
            "dropout": 0.1,
            "drop_node": 0.0,
        },
    },
}
# GRAND alone has its own release's settings: with LAGNN's (no dropped nodes, sharper) the
# consistency pulls all nodes of CiteSeer into one class within 50 epochs.
PLAIN_GRAND: dict[str, dict[str, Any]] = {
    "cora": MODEL["grand"]["cora"],
    "citeseer": {
        "order": 2,
        "temperature": 0.3,
        "consistency": 0.7,
        "num_views": 2,
        "input_dropout": 0.0,
        "dropout": 0.2,
        "drop_node": 0.5,
    },
}
FIT: dict[str, Any] = {
    "epochs": 300,
    "patience": 300,
    "weight_decay": 5e-4,
}
LR = {"gcn": 0.03, "gat": 0.01, "gcnii": 0.01, "grand": 0.01}
VIEWS = {"num_views": 4, "temperature": 0.5, "pool": 10}
KL = {"cvae-collapsed": 100.0, "cvae-kl1": 1.0, "cvae-released": 1.0}
# Whether weights are chosen by BALD (None) or by the release's score.
SELECTED = {"cvae-bald": None, "cvae-released": "reference"}
AUGMENTER = {"latent": 10, "hidden": 256}
STEPS = {"steps": 1000, "batch_size": 64, "lr": 1e-3, "every": 100, "warn": False}


def cases() -> list[tuple[str, str, str, int]]:
    """(data, backbone, row, seed), in the order of running: seeds outermost."""
    out = []
    for backbone, count in SEEDS.items():
        for seed in range(count):
            out += [(d, backbone, row, seed) for d in DATA for row in rows(backbone)]
    return out


def augmenter(channel: str, d: Dataset, quick: bool = False) -> tuple[Any, Any]:
    """A channel, fitted, and the held-out evidence of a generator."""
    steps = STEPS | ({"steps": 20} if quick else {})
    if channel == "same":
        return SameFeatures(), None
    if channel == "mean":
        return NeighborMean().fit(d.x, d.graph), None
    if channel == "ridge":
        return ConditionalMeanAugmenter(d.num_features).fit(d.x, d.graph), None
    made = LocalAugmenter(d.num_features, kl=KL.get(channel, "free_bits"), **AUGMENTER)
    if channel == "untrained":
        torch.manual_seed(0)
        made = LocalAugmenter(d.num_features, likelihood="bernoulli", **AUGMENTER)
        return made, None
    if channel in SELECTED:
        steps["score"] = _score(d, SELECTED[channel], quick)
    history = made.fit(d.x, d.graph, **steps)
    return made, dataclasses.asdict(history[-1])


def _score(d: Dataset, compat: str | None, quick: bool) -> Callable[..., float]:
    """Disagreement of a GCN that is trained as the plain row is; test labels are not read."""
    name = str(d.meta["name"])
    fit = FIT | {"lr": LR["gcn"]} | ({"epochs": 2} if quick else {})
    case = (name, "gcn", "plain", 0)
    helper = train(d, case, None, fit | {"read_test": False}).model(0)
    ids = d.ids("train")
    assert d.y is not None
    return selector(helper, d.x, d.graph, ids, d.y[ids], compat=compat)


def factory(
    backbone: str, row: str, data: str, channel: Any
) -> Callable[[int, int], nn.Module]:
    """What trains in a row."""
    arguments = dict(MODEL[backbone][data])
    if backbone == "grand":
        extra = {} if row == "plain" else {"augmenter": channel}
        arguments = PLAIN_GRAND[data] if row == "plain" else arguments
        return lambda i, o: GRAND(i, o, normalise_rows=True, **arguments, **extra)
    arguments["normalise_rows"] = True
    if row == "plain":
        return lambda i, o: KINDS[backbone](i, o, **arguments)
    weight = 1.0 if row.endswith("+c") else 0.0
    return lambda i, o: LAConcat(
        i, o, channel, backbone, consistency=weight, **VIEWS, **arguments
    )


def train(d: Dataset, case: tuple[str, str, str, int], channel: Any, fit: Any) -> Any:
    data, backbone, row, seed = case
    return node.fit(d, factory(backbone, row, data, channel), seeds=[seed], **fit)


def buckets(d: Dataset, predicted: torch.Tensor) -> dict[str, list[int]]:
    """Correct and all test nodes by degree."""
    ids = d.ids("test")
    assert d.y is not None
    right = predicted[ids].argmax(1) == d.y[ids]
    degree = d.graph.in_degree()[ids]
    found = {}
    for low, high in BUCKETS:
        inside = (degree >= low) & (degree <= high)
        found[bucket(low, high)] = [int(right[inside].sum()), int(inside.sum())]
    return found


def keep(
    case: tuple[str, str, str, int], result: Any, d: Dataset, evidence: Any
) -> None:
    """Put one finished seed into the record of its row."""
    name = "/".join(case[:3])
    records = {r["case"]: r for r in harness.load(NAME)}
    record = records.setdefault(name, {"case": name, "runs": []})
    run = result.runs[0]
    kept = {k: run[k] for k in ("test", "valid", "best_epoch", "epochs", "seconds")}
    seed = case[3]
    kept |= {"seed": seed, "stamp": result.stamp.to_json()}
    kept["degrees"] = buckets(d, result.predict(d, seed=seed))
    others = [r for r in record["runs"] if r["seed"] != seed]
    record["runs"] = sorted([*others, kept], key=lambda r: r["seed"])
    runs = record["runs"]
    base, goal = PUBLISHED[case[1]][case[0]]
    records[name] = record | {
        "goal": None,
        "published": base if case[2] == "plain" else goal,
        "metric": "accuracy",
        "seeds": [r["seed"] for r in runs],
        "test": seeds.over([r["test"] for r in runs]),
        "valid": seeds.over([r["valid"] for r in runs]),
        "baselines": {},
        "parameters": result.num_parameters,
        "stamp": kept["stamp"],
        "machine": harness.machine(),
    }
    if evidence is not None:
        records[name]["evidence"] = evidence
    _save(records)


def _save(records: dict[str, Any]) -> None:
    order = list(dict.fromkeys("/".join(c[:3]) for c in cases()))
    names = [n for n in order if n in records]
    harness.save(
        NAME, [records[n] for n in [*names, *sorted(set(records) - set(names))]]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--seeds", type=int, default=10, help="%(default)s at most")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--show", action="store_true", help="print the table only")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    if chosen.show:
        print(lagnn_table.markdown(harness.load(NAME)))
        return
    held = {
        (*r["case"].split("/"), run["seed"])
        for r in harness.load(NAME)
        for run in r["runs"]
    }
    data: dict[str, Dataset] = {}
    channels: dict[tuple[str, str], tuple[Any, Any]] = {}
    for case in cases():
        name, backbone, row, seed = case
        wanted = chosen.only in "/".join(case[:3]) and seed < chosen.seeds
        if not wanted or (case in held and not chosen.quick):
            continue
        if chosen.quick and (seed or name != "cora" or backbone == "gcnii"):
            continue
        d = data.setdefault(name, datasets.load(name))
        channel = row.removesuffix("+c")
        key = (name, channel)
        if channel != "plain" and key not in channels:
            channels[key] = augmenter(channel, d, chosen.quick)
        fit = FIT | {"lr": LR[backbone]} | ({"epochs": 2} if chosen.quick else {})
        held_by, evidence = channels.get(key, (None, None))
        result = train(d, case, held_by, fit)
        progress.say(f"{name}/{backbone}/{row} seed {seed}: {result.test}")
        if not chosen.quick:
            keep(case, result, d, evidence)
    if not chosen.quick:
        print(lagnn_table.markdown(harness.load(NAME)))


if __name__ == "__main__":
    main()
