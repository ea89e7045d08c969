"""Test scores of link models in NCN's protocol on Cora and CiteSeer, seed by seed.

70/10/20, a new split for each seed, HR@100 of the epoch with the best validation HR@100,
published settings; NCNC also in the clean mode, a case `-reference` as published. Beside each
stand the heuristics on the same pairs. Every finished (case, seed) is kept in the record, and
a killed seed continues from its last checkpoint, so ten seeds may take several sittings.

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

from benchmarks import harness
from benchmarks.models import seeds
from graphlab import datasets
from graphlab.models import link_model, link_preset
from graphlab.tasks import LinkResult, link

NAME = "link_accuracy"
# Published means of HR@100 (NCN's paper; GAE: the same encoder with the plain head;
# Refined-GAE: its readme).
PUBLISHED = {
    "cora_ncn": 0.8905,
    "cora_ncnc": 0.8965,
    "cora_ncnc-reference": 0.8965,
    "cora_gae": 0.8901,
    "citeseer_ncn": 0.9156,
    "citeseer_ncnc": 0.9347,
    "citeseer_ncnc-reference": 0.9347,
    "citeseer_gae": 0.9178,
    "cora_refined-gae": 0.8817,
    "citeseer_refined-gae": 0.9240,
}
RUNS = harness.ROOT / "runs" / NAME


def run(case: str, seed: int, folder: Path, epochs: int | None = None) -> LinkResult:
    """Train one seed of a case; the folder is continued where it holds a part of it."""
    data, head = case.split("_", 1)
    preset = link_preset(data, head.removesuffix("-reference"))
    if head == "ncnc":
        preset["model"]["compat"] = None
    settings = preset["fit"] if epochs is None else {**preset["fit"], "epochs": epochs}
    return link.fit(
        datasets.load(data),
        functools.partial(link_model, **preset["model"]),
        split=datasets.split_links_ncn,
        seeds=[seed],
        run_dir=folder,
        **settings,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--case", default="", help="one case")
    parser.add_argument("--seeds", type=int, default=10, help="%(default)s")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--show", action="store_true", help="print the table, run nothing"
    )
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    cases = [c for c in PUBLISHED if chosen.only in c and chosen.case in ("", c)]
    harness.pin(chosen.threads)
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            for case in cases:
                result = run(case, 0, Path(folder) / case, epochs=2)
                print(f"{case}: {result.test}")
        return
    if not chosen.show:
        seeds.run_missing(
            NAME,
            cases,
            range(chosen.seeds),
            PUBLISHED,
            list(PUBLISHED),
            lambda case, seed: run(case, seed, RUNS / case / f"seed-{seed}"),
        )
    print(seeds.table(NAME, list(PUBLISHED)))
    for data in ("cora", "citeseer"):
        for first, second in (
            ("ncn", "gae"),
            ("ncnc", "ncn"),
            ("ncnc", "gae"),
            ("ncnc-reference", "ncn"),
            ("ncnc", "ncnc-reference"),
        ):
            difference = seeds.paired(NAME, f"{data}_{first}", f"{data}_{second}")
            if difference:
                print(difference)


if __name__ == "__main__":
    main()
