"""Test accuracy of the node recipes, ten seeds each, beside what needs no graph.

Every case is a recipe that graphlab brings, run as it is: the epoch of best validation
accuracy is chosen, the test set is read once a seed. A killed run continues where it was,
finished cases are kept.

    python -m benchmarks.models.node_baselines                    all cases
    python -m benchmarks.models.node_baselines cora_gcn           one of them
    python -m benchmarks.models.node_baselines --quick            two seeds, nothing recorded
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from graphlab.tasks import Result, recipe

NAME = "node_baselines"
# Case -> least mean test accuracy that the project asks of it.
CASES = {"cora_gcn": 0.810, "citeseer_gcn": 0.700}
RUNS = harness.ROOT / "runs" / NAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), help="%(default)s")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    unknown = set(chosen.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    harness.pin(chosen.threads)
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            for case in chosen.cases:
                quick = ["fit.seeds=2", "fit.epochs=20"]
                path = Path(folder) / case
                show(case, recipe.run_recipe(case, overrides=quick, run_dir=path))
        return
    records = {record["case"]: record for record in harness.load(NAME)}
    for case in chosen.cases:
        result = recipe.run_recipe(case, run_dir=RUNS / case)
        records[case] = record_of(case, result)
        harness.save(NAME, [records[name] for name in CASES if name in records])
        show(case, result)


def record_of(case: str, result: Result) -> dict[str, Any]:
    """What is kept of a case."""
    scores = result.to_json()
    kept = ("metric", "test", "valid", "seeds", "stamp", "baselines", "parameters")
    return {
        "case": case,
        "goal": CASES[case],
        **{key: scores[key] for key in kept},
        "epochs": [run["best_epoch"] + 1 for run in result.runs],
        "recipe": result.config["recipe"],
        "machine": harness.machine(),
    }


def show(case: str, result: Result) -> None:
    low, high = result.test.interval()
    controls = ", ".join(f"{name} {s}" for name, s in result.baselines.items())
    print(
        f"{case}: test {result.test} (95 % interval {low:.4f} to {high:.4f}, goal "
        f"{CASES[case]}), valid {result.valid}; without the graph: {controls}"
    )


if __name__ == "__main__":
    main()
