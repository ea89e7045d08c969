"""MRR among random and among hard negatives: where common neighbours pay.

NCN's 70/10/20, a new split for each seed; each positive has 100 negatives of its own, drawn
uniformly or by graphlab's generator of hard ones (which is not HeaRT's list, see
`graphlab.evaluate.hard_negatives`). A model is trained once and scored on both kinds: for each
kind with the weights of the epoch whose validation MRR on negatives of that kind is best.
Heuristics stand beside on the same pairs. Cora and CiteSeer have their published settings.

The two larger sets take Cora's with width 64, and, as the stamps say, a random part of the
pairs: the graph holds all training edges, but of these only so many are learned from, and only
so many positives are scored. NCNC draws 16 neighbours of each node there, in training and in
evaluation. Resumable by (data, head, seed).

    python -m benchmarks.models.link_hard [--only cora] [--show] [--quick]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from benchmarks import harness
from benchmarks.models import seeds
from graphlab import Dataset, datasets, progress
from graphlab.models import link_model, link_preset
from graphlab.tasks import Callback, LinkResult, link, link_recipe
from graphlab.tasks.link_scoring import LinkScorer, inputs
from graphlab.tasks.link_settings import LinkSettings

NAME = "link_hard"
DATA = ("cora", "citeseer", "amazon_computers", "coauthor_physics")
HEADS = ("ncn", "ncnc", "gae", "refined-gae")
KINDS = ("random", "hard")
SEEDS = range(5)
NUMBER = 100
ORDER = [f"{data}/{kind}/{head}" for data in DATA for kind in KINDS for head in HEADS]
# Pairs of the larger sets: learned from, and scored.
LARGE = {"train": 65_536, "val": 500, "test": 1_000}
# Settings of the larger sets, which have no published ones.
LARGE_FIT = {"batch_size": 4_096, "epochs": 10, "eval_every": 2}
LARGE_MODEL = {"hidden_channels": 64}
LARGE_NCNC = {"train_limit": 16, "test_limit": 16}


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The split of a seed with negatives of one kind, and what needs no model."""

    d: Dataset
    scorer: LinkScorer
    heuristics: dict[str, float]


class Chosen(Callback):
    """Keeps the weights of the epoch with the best validation score on other negatives."""

    def __init__(self, scorer: LinkScorer) -> None:
        self.scorer = scorer
        self.model: nn.Module | None = None
        self.valid, self.epoch = float("-inf"), -1
        self.weights: dict[str, torch.Tensor] = {}

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        if record["valid"] is None or self.model is None:
            return
        valid = self.scorer.validation(self.model)
        if valid > self.valid:
            self.valid, self.epoch = valid, record["epoch"]
            self.weights = {k: v.clone() for k, v in self.model.state_dict().items()}

    def scores(self) -> dict[str, Any]:
        """Validation and test score of the weights that were kept."""
        assert self.model is not None
        self.model.load_state_dict(self.weights)
        return {**self.scorer.final(self.model), "best_epoch": self.epoch}


def preset(data: str, head: str) -> dict[str, dict[str, Any]]:
    """Arguments of ``link_model`` and ``link.fit``."""
    large = data not in ("cora", "citeseer")
    chosen = link_preset("cora" if large else data, head)
    fit = {**chosen["fit"], "metric": "mrr", "eval_every": 10}
    model = chosen["model"]
    if large:
        fit |= LARGE_FIT
        model |= LARGE_MODEL | (LARGE_NCNC if head == "ncnc" else {})
    return {"model": model, "fit": fit}


@functools.lru_cache(maxsize=1)
def loaded(data: str) -> tuple[Dataset, Any]:
    """The data set, undirected, and its features as models take them."""
    d = datasets.load(data).to_undirected()
    return d, inputs(d, torch.device("cpu"))


@functools.lru_cache(maxsize=2)
def pairs(data: str, kind: str, seed: int) -> Pairs:
    """The pairs of a seed with negatives of a kind; all heads see the same."""
    d, x = loaded(data)
    d = datasets.split_links_ncn(d, seed, exact=False)
    if data not in ("cora", "citeseer"):
        d = _part(d, seed)
    d = link_recipe.with_own_negatives(d, kind, NUMBER)
    settings = LinkSettings(metric="mrr", baselines="all")
    scorer = LinkScorer(d, x, settings, torch.device("cpu"))
    return Pairs(d, scorer, scorer.heuristics())


def _part(d: Dataset, seed: int) -> Dataset:
    """The split with a random part of its positives; the graph keeps all training edges."""
    generator = torch.Generator().manual_seed(seed)
    result = d.with_splits(d.splits)
    counts = []
    for split, count in LARGE.items():
        edge = d.edge_splits[split]["edge"]
        kept = torch.randperm(edge.shape[1], generator=generator)[:count].sort().values
        result.edge_splits[split] = {"edge": edge[:, kept]}
        counts.append(f"{len(kept):,}")
    name, bracket, rest = str(d.meta["link_split"]).partition("(")
    result.meta["link_split"] = (
        f"{name}, {'/'.join(counts)} of its pairs{bracket}{rest}"
    )
    return result


def run(
    data: str, head: str, seed: int, epochs: int | None = None
) -> dict[str, LinkResult]:
    """Train one seed of a head, and score it on both kinds of negatives."""
    settings = preset(data, head)
    random, hard = (pairs(data, kind, seed) for kind in KINDS)
    chosen = Chosen(hard.scorer)

    def factory(in_channels: int, num_nodes: int) -> nn.Module:
        chosen.model = link_model(in_channels, num_nodes, **settings["model"])
        return chosen.model

    fit = settings["fit"] if epochs is None else settings["fit"] | {"epochs": epochs}
    result = link.fit(
        random.d, factory, seeds=[seed], callbacks=[chosen], baselines="none", **fit
    )
    result.config["model"] = {
        "target": "graphlab.models:link_model",
        **settings["model"],
    }
    return {
        "random": _as(result, random, {}),
        "hard": _as(result, hard, chosen.scores()),
    }


def _as(result: LinkResult, of: Pairs, scores: dict[str, Any]) -> LinkResult:
    """The result of a run as one on the pairs of a kind."""
    outcome = {**result.runs[0], **scores, "baselines": of.heuristics}
    split = str(of.d.meta["link_split"]).partition("(")[0]
    stamp = dataclasses.replace(
        result.stamp, split=f"{split}, a new one for each seed", masks=""
    )
    return dataclasses.replace(result, runs=(outcome,), stamp=stamp)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="data/head with this text")
    parser.add_argument("--quick", action="store_true", help="smoke test, not recorded")
    parser.add_argument(
        "--show", action="store_true", help="print the table, run nothing"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="%(default)s")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    todo = [
        (data, head)
        for data in DATA
        for head in HEADS
        if chosen.only in f"{data}/{head}"
    ]
    if chosen.quick:
        for data, head in todo:
            for kind, result in run(data, head, 0, epochs=1).items():
                print(f"{data}/{kind}/{head}: {result.runs[0]['test']:.4f}")
        return
    if chosen.show:
        todo = []
    # Seed by seed, so that all lines have as many.
    for seed in SEEDS[: chosen.seeds]:
        for data, head in todo:
            cases = {kind: f"{data}/{kind}/{head}" for kind in KINDS}
            if not any(seeds.missing(NAME, case, [seed]) for case in cases.values()):
                continue
            progress.say(f"{NAME}: {data}/{head}, seed {seed}")
            for kind, result in run(data, head, seed).items():
                seeds.keep(NAME, cases[kind], None, result, ORDER)
    print(seeds.table(NAME, ORDER))


if __name__ == "__main__":
    main()
