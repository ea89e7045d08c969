"""Test scores of link models in NCN's protocol on Cora and CiteSeer, seed by seed.

70/10/20, a new split for each seed, HR@100 of the epoch with the best validation HR@100,
published settings, graphlab's default mode. Beside each stand the heuristics on the same
pairs. Every finished (case, seed) is kept in the record, and a killed seed continues from its
last checkpoint, so the ten seeds may take several sittings.

    python -m benchmarks.models.link_accuracy                     all that is missing
    python -m benchmarks.models.link_accuracy --only cora_ncn     some cases
    python -m benchmarks.models.link_accuracy --quick             smoke test, nothing recorded
    python -m benchmarks.models.link_accuracy --show              the table so far
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from graphlab import datasets
from graphlab.evaluate import Scores, Stamp
from graphlab.models import link_model, link_preset
from graphlab.tasks import LinkResult, link

NAME = "link_accuracy"
# Published mean of HR@100 in percent; None: no published figure for it.
PUBLISHED = {
    "cora_ncn": 89.05,
    "cora_ncnc": 89.65,
    "cora_gae": 89.01,
    "citeseer_ncn": 91.56,
    "citeseer_ncnc": 93.47,
    "citeseer_gae": 91.78,
    "cora_refined-gae": 88.17,
    "citeseer_refined-gae": 92.40,
}
SEEDS = range(10)
RUNS = harness.RESULTS / "link_runs"


def run(case: str, seed: int, folder: Path, epochs: int | None = None) -> LinkResult:
    """Train one seed of a case; the folder is continued where it holds a part of it."""
    data, head = case.split("_", 1)
    preset = link_preset(data, head)
    settings = preset["fit"] if epochs is None else {**preset["fit"], "epochs": epochs}
    return link.fit(
        datasets.load(data),
        functools.partial(link_model, **preset["model"]),
        split=datasets.split_links_ncn,
        seeds=[seed],
        run_dir=folder,
        **settings,
    )


def record_of(case: str, seed: int, result: LinkResult) -> dict[str, Any]:
    outcome = result.runs[0]
    return {
        "case": case,
        "seed": seed,
        "published": PUBLISHED[case],
        "metric": result.metric,
        "test": outcome["test"],
        "valid": outcome["valid"],
        "best_epoch": outcome["best_epoch"],
        "epochs": outcome["epochs"],
        "seconds": outcome["seconds"],
        "parameters": result.num_parameters,
        "baselines": outcome["baselines"],
        "model": result.config["model"],
        "fit": result.config["fit"],
        "stamp": result.stamp.to_json(),
        "machine": harness.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="%(default)s")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--show", action="store_true", help="print the table, run nothing"
    )
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    cases = [case for case in PUBLISHED if chosen.only in case]
    harness.pin(chosen.threads)
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                result = run(case, 0, Path(folder) / case, epochs=2)
                print(f"{case}: {result.test}")
        return
    for case in [] if chosen.show else cases:
        for seed in range(chosen.seeds):
            done = {(r["case"], r["seed"]): r for r in harness.load(NAME)}
            if (case, seed) in done:
                continue
            result = run(case, seed, RUNS / case / f"seed-{seed}")
            done[case, seed] = record_of(case, seed, result)
            order = list(PUBLISHED)
            kept = sorted(
                done.values(), key=lambda r: (order.index(r["case"]), r["seed"])
            )
            harness.save(NAME, kept)
    print(table())


def table() -> str:
    """The cases so far: mean, deviation, interval, and what stands beside them."""
    lines = [NAME]
    records = harness.load(NAME)
    for case in PUBLISHED:
        mine = [r for r in records if r["case"] == case]
        if not mine:
            continue
        scores = scores_of(mine, "test")
        low, high = scores.interval()
        lines.append(
            f"{case}: {100 * scores.mean:.2f} ± {100 * scores.std:.2f} over "
            f"{len(mine)} seeds, 95 % interval {100 * low:.2f} to {100 * high:.2f}, "
            f"published {PUBLISHED[case]}"
        )
    for data in ("cora", "citeseer"):
        mine = [r for r in records if r["case"] == f"{data}_ncn"]
        for name in mine[0]["baselines"] if mine else ():
            values = [100 * r["baselines"][name] for r in mine]
            lines.append(f"{data} {name}: {sum(values) / len(values):.2f}")
    return "\n".join(lines)


def scores_of(records: list[dict[str, Any]], part: str) -> Scores:
    stamp = Stamp.from_json(records[0]["stamp"])
    seeds = tuple(r["seed"] for r in records)
    return Scores(tuple(r[part] for r in records), seeds, stamp)


if __name__ == "__main__":
    main()
