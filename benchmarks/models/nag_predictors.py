"""Predictors compared: squared error and DiffKendall, beside a GP and boosted trees.

Trained on the validation signal of a few random architectures of a table, judged by Kendall's
tau with the true test accuracy over 2,000 others, and by the true accuracy of the best of 1,000
by prediction. Resumable.

    python -m benchmarks.models.nag_predictors [--seeds 10] [--summary]
"""

from __future__ import annotations

import argparse
import time

import torch
from scipy.stats import kendalltau

from benchmarks.models import nag_records as records
from graphlab.nag import surrogates, tables

NAME, SIZES = "predictors", (50, 100, 300)
CASES = [("nb201", d) for d in tables.datasets("nb201")]
CASES += [("nas_bench_graph", "cora"), ("nas_bench_graph", "arxiv")]
KINDS = {
    "MLP ensemble, squares": ("ensemble", "mse"),
    "MLP ensemble, DiffKendall": ("ensemble", "kendall"),
    "GP (botorch)": ("gp", "mse"),
    "boosted trees": ("boosting", "mse"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--summary", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    journal = records.Journal(NAME)
    for space, dataset in [] if chosen.summary else CASES:
        table = tables.load(space, dataset)
        case = f"{space} {dataset}"
        for seed in range(chosen.seeds):
            draw = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(table.signal), generator=draw)
            test = order[1000:3000]
            for size in SIZES:
                rows = order[:size]
                x, y = table.architectures[rows], table.signal[rows]
                for name, (kind, loss) in KINDS.items():
                    key = {"case": case, "size": size, "method": name, "seed": seed}
                    if journal.has(**key):
                        continue
                    began = time.process_time()
                    model = surrogates.make(kind, table.space, seed, loss=loss)
                    model.fit(x, y)
                    mean, _ = model.predict(table.architectures[test])
                    cpu = time.process_time() - began
                    truth = table.truth[test]
                    tau = float(kendalltau(mean.numpy(), truth.numpy()).statistic)
                    best = float(truth[:1000][mean[:1000].argmax()])
                    journal.add(**key, tau=tau, best=best, cpu=cpu)
        print(case, flush=True)
    summarise(journal)


def summarise(journal: records.Journal) -> None:
    rows = []
    for space, dataset in CASES:
        case = f"{space} {dataset}"
        for name in KINDS:
            cells = []
            for size in SIZES:
                runs = journal.of(case=case, method=name, size=size)
                if runs:
                    cells.append(records.show(records.over(r["tau"] for r in runs), 3))
            runs = journal.of(case=case, method=name, size=SIZES[-1])
            if len(cells) < len(SIZES):
                continue
            best = records.show(records.over(r["best"] for r in runs))
            cpu = records.over(r["cpu"] for r in runs)["mean"]
            first = case if name == next(iter(KINDS)) else ""
            rows.append((first, name, str(len(runs)), *cells, best, f"{cpu:.2f}"))
    columns = (
        "table",
        "predictor",
        "seeds",
        *(f"tau, {n} scores" for n in SIZES),
        "accuracy of the best of 1000, 300 scores",
        "CPU s, 300 scores",
    )
    note = (
        "Kendall's tau between prediction and true test accuracy of 2,000 architectures that "
        "were not trained on; mean and sample deviation over seeds."
    )
    records.save(NAME, "Predictors", columns, rows, note, journal.lines)


if __name__ == "__main__":
    main()
