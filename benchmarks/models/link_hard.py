"""MRR among random and among hard negatives: where common neighbours pay.

NCN's 70/10/20, a new split for each seed; each positive has 100 negatives of its own, drawn
uniformly or by graphlab's generator of hard ones (which is not HeaRT's list, see
`graphlab.evaluate.hard_negatives`). The same settings for every data set but for those that
are published; the heuristics stand beside on the same pairs. Resumable by (case, seed).

    python -m benchmarks.models.link_hard [--only cora] [--show] [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.models import seeds
from graphlab.models import link_preset
from graphlab.tasks import LinkResult, link_recipe

NAME = "link_hard"
DATA = ("cora", "citeseer", "amazon_computers", "coauthor_physics")
HEADS = ("ncn", "ncnc", "gae", "refined-gae")
KINDS = ("random", "hard")
SEEDS = range(5)
NUMBER = 100
CASES = [f"{data}/{kind}/{head}" for data in DATA for head in HEADS for kind in KINDS]
RUNS = harness.ROOT / "runs" / NAME
# Without published settings: those of Cora on larger batches, and fewer epochs.
PLAIN = {"batch_size": 16_384, "epochs": 30, "eval_every": 3}


def recipe_of(case: str, seed: int) -> dict[str, Any]:
    data, kind, head = case.split("/")
    preset = link_preset(data if data in ("cora", "citeseer") else "cora", head)
    fit = {**preset["fit"], "metric": "mrr", "seeds": [seed]}
    if data not in ("cora", "citeseer"):
        fit |= PLAIN
    return {
        "data": {
            "name": data,
            "split": {"kind": "ncn", "exact": False, f"{kind}_negatives": NUMBER},
        },
        "model": {"target": "graphlab.models:link_model", **preset["model"]},
        "fit": fit,
    }


def run(case: str, seed: int) -> LinkResult:
    """Train one seed of a case; its folder is continued where it holds a part of it."""
    folder = RUNS / case.replace("/", "-") / f"seed-{seed}"
    return link_recipe.run_recipe(recipe_of(case, seed), run_dir=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--quick", action="store_true", help="smoke test, not recorded")
    parser.add_argument(
        "--show", action="store_true", help="print the table, run nothing"
    )
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="%(default)s")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    cases = [case for case in CASES if chosen.only in case]
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                tree = recipe_of(case, 0)
                tree["fit"] |= {"epochs": 1}
                result = link_recipe.run_recipe(tree, run_dir=Path(folder) / case)
                print(f"{case}: {result.test}")
        return
    if not chosen.show:
        seeds.run_missing(NAME, cases, SEEDS[: chosen.seeds], {}, CASES, run)
    print(seeds.table(NAME, CASES))


if __name__ == "__main__":
    main()
