"""PamCGC against the release's objective on the same auto-encoders, beside baselines.

For each data set and seed an auto-encoder is trained once; every method begins from it, with
the alpha, beta, order, tau and learning rate that the release gives for the set. What is
compared is the accuracy of the labels of the epoch with the largest modularity, which no class
has chosen.
A killed run goes on at the seed where it was.

    python -m benchmarks.models.pamc                       all sets, reference and ours
    python -m benchmarks.models.pamc acm --methods scgc    another method
    python -m benchmarks.models.pamc --quick               two seeds, few epochs, not recorded
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import harness
from graphlab import datasets
from graphlab.evaluate import Difference
from graphlab.models import PamCGC
from graphlab.tasks import ClusterResult, cluster

NAME = "pamc"
RUNS = harness.ROOT / "runs" / NAME
# Set -> preset.
SETS = {"acm": "acm", "dblp_cluster": "dblp", "citeseer": "citeseer", "usps": "usps"}
METHODS: dict[str, dict[str, Any]] = {
    "reference": {"compat": "reference"},
    "ours": {},
    # SCGC*: full negatives, with its own settings.
    "scgc": {},
}


def factory(method: str, preset: str, quick: bool) -> Any:
    if method == "scgc":
        preset = f"scgc_{preset}"
    changes = dict(METHODS[method])
    if quick:
        changes |= {"epochs": 3, "pretrain_epochs": 1, "hidden": (16,)}
    return partial(PamCGC.preset, preset, **changes)


def run(
    data: str, method: str, seeds: range, folder: Path, quick: bool
) -> ClusterResult:
    return cluster.fit(
        datasets.load(data),
        factory(method, SETS[data], quick),
        seeds=seeds,
        run_dir=folder / f"{data}-{method}",
        # The baselines are the same for every method.
        baselines=cluster.BASELINES if method == "ours" else (),
        autoencoders=folder / "autoencoders",
    )


def record_of(
    data: str, method: str, result: ClusterResult, reference: ClusterResult | None
) -> dict[str, Any]:
    made = result.to_json()
    kept = ("metric", "test", "valid", "valid_metric", "seeds", "stamp", "scores")
    record = {
        "case": f"{data} {method}",
        "goal": None,
        **{key: made[key] for key in kept},
        "baselines": made["baselines"],
        "baseline_scores": made["baseline_scores"],
        "epochs": made["epochs"],
        "seconds": {
            part: [round(r["parts"][part], 2) for r in result.runs]
            for part in result.runs[0]["parts"]
        },
        "settings": METHODS[method],
        "versus_reference": None,
        "machine": harness.machine(),
    }
    if reference is not None and method != "reference":
        record["versus_reference"] = {
            metric: against(
                result.scores["chosen"][metric].values,
                reference.scores["chosen"][metric].values,
            )
            for metric in ("accuracy", "nmi", "ari", "f1_macro")
        }
    return record


def against(ours: tuple[float, ...], theirs: tuple[float, ...]) -> dict[str, Any]:
    """Paired difference over the seeds that both have."""
    from scipy.stats import wilcoxon

    pairs = list(zip(ours, theirs, strict=False))
    values = tuple(a - b for a, b in pairs)
    if len(values) < 2:
        return {"mean": values[0], "interval": None, "clear": False}
    difference = Difference(values)
    some = any(v != 0 for v in values)
    return {
        "mean": difference.mean,
        "interval": list(difference.interval()),
        "clear": difference.is_clear,
        "wins": sum(v > 0 for v in values),
        "seeds": len(values),
        "wilcoxon_p": float(wilcoxon(values).pvalue) if some else 1.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help="%(default)s")
    parser.add_argument("--methods", nargs="*", default=["reference", "ours"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    for given, known in ((chosen.sets, SETS), (chosen.methods, METHODS)):
        unknown = set(given) - set(known)
        if unknown:
            parser.error(f"no {', '.join(unknown)}; there are {', '.join(known)}")
    torch.set_num_threads(chosen.threads)
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            go(chosen, range(2), Path(folder))
        return
    go(chosen, range(chosen.seeds), RUNS)


def go(chosen: Any, seeds: range, folder: Path) -> None:
    for data in chosen.sets:
        # Seed by seed, so that what is finished is paired at any time.
        for last in seeds:
            results: dict[str, ClusterResult] = {}
            for method in chosen.methods:
                upto = range(last + 1)
                results[method] = run(data, method, upto, folder, chosen.quick)
                chosen_score = results[method].scores["chosen"]["accuracy"].values[-1]
                print(f"{data} {method} seed {last}: {chosen_score:.4f}", flush=True)
            if chosen.quick:
                continue
            keep(data, results)


def keep(data: str, results: dict[str, ClusterResult]) -> None:
    records = {record["case"]: record for record in harness.load(NAME)}
    reference = results.get("reference")
    if reference is None and (RUNS / f"{data}-reference").exists():
        reference = ClusterResult.load(RUNS / f"{data}-reference")
    for method, result in results.items():
        record = record_of(data, method, result, reference)
        records[record["case"]] = record
        show(record)
    order = [f"{d} {m}" for d in SETS for m in METHODS]
    harness.save(NAME, [records[case] for case in order if case in records])


def show(record: dict[str, Any]) -> None:
    def mean(part: str, metric: str = "accuracy") -> str:
        return f"{100 * record['scores'][part][metric]['mean']:.2f}"

    text = (
        f"{record['case']}: {len(record['seeds'])} seeds, chosen {mean('chosen')}, last "
        f"{mean('last')}, (by classes {mean('best_epoch_by_classes')})"
    )
    if record["versus_reference"]:
        gap = record["versus_reference"]["accuracy"]
        text += (
            f"; against the reference {100 * gap['mean']:+.2f}, clear: {gap['clear']}"
        )
    print(text, flush=True)


if __name__ == "__main__":
    main()
