"""Time of sampling: the release's predictor-corrector setting against ours, guided.

NAS-Bench-201, 256 samples, one thread. The release: 1000 steps of two calls each of its network
with a noise-aware predictor's gradient in both; some steps are timed (their cost is constant)
and scaled up. Ours: the whole sampler with everything in it.

    OUT=... python -m benchmarks.models.nag_speed             time (run it alone)
    python -m benchmarks.models.nag_speed --accuracy          train both for equal time, guide
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from benchmarks.models import nag_records as records
from graphlab import nag
from graphlab.nag import spaces, tables

BATCH, TIMED, STEPS = 256, 3, 1000
SECONDS = 60.0  # of training, for either


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--summary", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    journal = records.Journal("speed")
    if chosen.accuracy:
        accuracy(journal)
    elif not chosen.summary:
        timing(journal)
    summarise(journal)


def timing(journal: records.Journal) -> None:
    space = spaces.NB201()
    x = space.sample(64)
    y = torch.randn(64)
    reference = nag.Denoiser(space, "diffusionnag", compat="reference")
    noisy = nag.NoiseAwarePredictor(reference).fit(x, y, steps=1)
    guide = nag.Guidance(method="noisy", noisy=noisy, scale=0.96)
    reference.sample(8, guidance=guide, steps=1)
    contenders: dict[str, Any] = {
        "release": lambda: reference.sample(BATCH, guidance=guide, steps=TIMED)
    }
    predictor = nag.Ensemble(space, steps=5).fit(x, y)
    objective = nag.Objective(space, predictor.relaxed)
    for method in ("masked", "edm"):
        kind: Any = method
        model = nag.Denoiser(space, kind)
        ours = nag.Guidance(objective, scale=0.6, method="both")
        contenders[method] = lambda model=model, ours=ours: model.sample(
            BATCH, guidance=ours
        )
        contenders[method]()
    for repeat in range(5):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            seconds = time.perf_counter() - began
            if name == "release":
                seconds *= STEPS / TIMED
            journal.add(part="time", method=name, repeat=repeat, seconds=seconds)


def accuracy(journal: records.Journal) -> None:
    """Equal training time, the same 300 scores; guided samples of both."""
    for dataset in tables.datasets("nb201"):
        table = tables.load("nb201", dataset)
        space = table.space
        draw = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(table.signal), generator=draw)[:300]
        x, y = table.architectures[rows], table.signal[rows]
        order = torch.randperm(len(table.signal), generator=draw)
        train = table.architectures[order[: len(order) // 2]]
        for method in ("release", "masked", "edm"):
            if journal.has(part="accuracy", data=dataset, method=method):
                continue
            guides = []
            if method == "release":
                model = nag.Denoiser(space, "diffusionnag", compat="reference")
                steps = _steps(model, train, 64)
                # The release's rate, 2e-5, is for 250,000 steps.
                model.fit(train, steps=steps, batch=64, lr=5e-4)
                noisy = nag.NoiseAwarePredictor(model).fit(x, y, steps=1000)
                for scale in (0.8, 0.96):
                    guides.append(
                        nag.Guidance(method="noisy", noisy=noisy, scale=scale)
                    )
            else:
                kind: Any = method
                model = nag.Denoiser(space, kind)
                steps = _steps(model, train, 256)
                model.fit(train, steps=steps)
                predictor = nag.Ensemble(space, steps=300).fit(x, y)
                objective = nag.Objective(space, predictor.relaxed)
                for scale in (0.65, 0.8):
                    guides.append(nag.Guidance(objective, scale=scale, method="both"))
            for guide in guides:
                made = model.sample(32, guidance=guide, seed=1)
                good = made[space.is_valid(made)]
                found = table.truth[table.rows(good)] if len(good) else torch.tensor([])
                quality = nag.measure(space, made)
                journal.add(
                    part="accuracy",
                    data=dataset,
                    method=method,
                    scale=guide.scale,
                    validity=quality.validity,
                    uniqueness=quality.uniqueness,
                    accuracy=float(found.mean()) if len(found) else None,
                    train_steps=steps,
                )
                print(journal.lines[-1], flush=True)


def _steps(model: nag.Denoiser, x: torch.Tensor, batch: int) -> int:
    """Optimiser steps that fit into the training time."""
    probe = nag.Denoiser(
        model.space,
        "diffusionnag" if model.method == "diffusionnag" else "masked",
    )
    probe.fit(x, steps=2, batch=batch)
    began = time.process_time()
    probe.fit(x, steps=4, batch=batch)
    return max(10, int(4 * SECONDS / (time.process_time() - began)))


def summarise(journal: records.Journal) -> None:
    rows = []
    times = {
        m: sorted(r["seconds"] for r in journal.of(part="time", method=m))
        for m in ("release", "masked", "edm")
    }
    for method, seconds in times.items():
        if not seconds:
            continue
        middle = seconds[len(seconds) // 2]
        ratio = times["release"][len(times["release"]) // 2] / middle
        cells = []
        for dataset in tables.datasets("nb201"):
            some = journal.of(part="accuracy", data=dataset, method=method)
            cells.append("; ".join(_cell(r) for r in some) or "-")
        rows.append(
            (
                method,
                f"{middle:.2f}",
                f"{seconds[0]:.2f} .. {seconds[-1]:.2f}",
                f"{1000 * middle / BATCH:.2f}",
                f"{ratio:.0f}",
                *cells,
            )
        )
    columns = (
        "sampler",
        "seconds for 256, median",
        "range",
        "ms a sample",
        "times faster",
        *(f"guided mean accuracy, {d}" for d in tables.datasets("nb201")),
    )
    note = (
        f"Guided samples of NAS-Bench-201, one thread. The release's time is {TIMED} of its "
        f"{STEPS} steps scaled up. Accuracies: 32 samples at each of two scales; "
        f"networks trained {SECONDS:.0f} s of processor time each on half of the cells, "
        "predictors on the same 300 scores; of the release's samples at most one in 32 is "
        "valid then. It trains for 250,000 iterations, which is days here: its accuracy at its "
        "own budget is not measured."
    )
    if rows:
        title = "Sampling: the release's setting and ours"
        records.save("speed", title, columns, rows, note, journal.lines)


def _cell(r: dict[str, Any]) -> str:
    """Accuracy of the valid samples at one scale, and how many are unique and valid."""
    accuracy = "-" if r["accuracy"] is None else f"{r['accuracy']:.2f}"
    unique, valid = 100 * r["uniqueness"], 100 * r["validity"]
    return f"{accuracy} ({unique:.0f} % unique, {valid:.0f} % valid)"


if __name__ == "__main__":
    main()
