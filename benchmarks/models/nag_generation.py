"""Quality of generated architectures: validity, uniqueness, novelty, guided accuracy.

`quality`: 1000 samples of each space by each back-end, trained on half of a listable space (or
20,000 architectures of a larger one), beside uniform sampling. `guided`: NAS-Bench-201; a
predictor trained on 300 random cells (12-epoch validation) guides 1000 samples; their mean
200-epoch test accuracy stands beside the best of 64 random cells by the same predictor. The
first seed has a sweep of scales; then every seed has the strongest guidance that leaves half of
the samples unique (``generate(min_unique=...)``), where no accuracy has a say. The row `listed,
tilt` needs no generator: all cells are listed, ranked by the same predictor and drawn in
proportion to exp(scale * prediction), as strongly as leaves half unique. Resumable.

    python -m benchmarks.models.nag_generation [--seeds 10] [--only quality] [--summary]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from benchmarks.models import nag_records as records
from benchmarks.models.nag_large import space as large_space
from graphlab import nag
from graphlab.nag import spaces, tables
from graphlab.nag.space import LISTED

SCALES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
GUIDES = (
    ("masked", "gradient"),
    ("masked", "resample"),
    ("masked", "both"),
    ("masked", "noisy"),
    ("masked", "free"),
    ("edm", "both"),
)
# No generator: the whole space, listed.
LISTING = ("listed", "tilt")
COUNT = 1000
FOUND = "half unique"
STRONGEST, LEAST = 0.95, 0.5


def every_space() -> dict[str, nag.SearchSpace]:
    found = {name: spaces.open(name) for name in spaces.names()}
    return found | {"user DAG": large_space()}


def split(space: nag.SearchSpace) -> torch.Tensor:
    """Half of a listable space, else 20,000 draws."""
    if space.size > LISTED:
        return space.sample(20_000, seed=0)
    x = space.enumerate()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[: len(x) // 2]]


def quality(journal: records.Journal) -> None:
    for name, space in every_space().items():
        for method in ("masked", "edm"):
            if journal.has(part="quality", space=name, method=method):
                continue
            kind: Any = method
            model = nag.Denoiser(space, kind, hidden=32, blocks=2)
            model.fit(split(space), steps=300)
            made = nag.generate(model, COUNT, seed=1)
            journal.add(
                part="quality",
                space=name,
                method=method,
                **{k: v for k, v in made.to_json().items() if k != "architectures"},
            )
            print(name, method, made.quality, flush=True)


def tilted(predicted: torch.Tensor, seed: int) -> tuple[torch.Tensor, float]:
    """Draws by exp(scale * prediction), half of them unique, and the scale."""
    score = (predicted - predicted.mean()) / predicted.std()
    low, high = 0.0, 1000.0
    for _ in range(60):
        scale = (low + high) / 2
        chance = (scale * score).softmax(0).double()
        # Expected number of different cells among the draws.
        unique = float((1 - (1 - chance) ** COUNT).sum()) / COUNT
        low, high = (scale, high) if unique > LEAST else (low, scale)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.multinomial(chance, COUNT, replacement=True, generator=generator)
    return rows, scale


def guided(journal: records.Journal, seeds: int) -> None:
    for seed in range(seeds):
        for dataset in tables.datasets("nb201"):
            cases = [
                {"method": method, "guide": guide, "scale": scale}
                for method, guide in GUIDES
                for scale in (*(SCALES if seed == 0 else ()), FOUND)
            ]
            listing = dict(zip(("method", "guide"), LISTING, strict=True))
            listing["scale"] = FOUND
            of = {"part": "guided", "data": dataset, "seed": seed}
            missing = [case for case in cases if not journal.has(**of, **case)]
            unlisted = not journal.has(**of, **listing)
            if not missing and not unlisted:
                continue
            table = tables.load("nb201", dataset)
            space = table.space
            draw = torch.Generator().manual_seed(seed)
            rows = torch.randperm(len(table.signal), generator=draw)[:300]
            x, y = table.architectures[rows], table.signal[rows]
            predictor = nag.Ensemble(space, steps=300, seed=seed).fit(x, y)
            objective = nag.Objective(space, predictor.relaxed)
            picks = []
            for i in range(100):
                some = space.sample(64, seed=1000 * seed + i)
                best = some[predictor.predict(some)[0].argmax()]
                picks.append(float(table.truth[table.rows(best[None])]))
            control = sum(picks) / len(picks)
            if unlisted:
                every = space.enumerate()
                places = table.rows(every)
                known = set(table.rows(split(space)).tolist())
                began = time.perf_counter()
                drawn, scale = tilted(predictor.predict(every)[0], seed)
                chosen = places[drawn]
                journal.add(
                    **of,
                    **listing,
                    used=scale,
                    validity=1.0,
                    uniqueness=drawn.unique().numel() / COUNT,
                    novelty=sum(int(r) not in known for r in chosen) / COUNT,
                    accuracy=float(table.truth[chosen].mean()),
                    predicted=float(objective.values(every[drawn]).mean()),
                    control=control,
                    seconds=time.perf_counter() - began,
                )
            models = {}
            for method in ("masked", "edm") if missing else ():
                kind: Any = method
                q = predictor.predict(train := split(space))[0].argsort().argsort()
                models[method] = nag.Denoiser(space, kind, hidden=32, blocks=2).fit(
                    train, quantiles=q / len(train), steps=300
                )
                noisy = nag.NoiseAwarePredictor(models[method], hidden=32, seed=seed)
                models[f"{method} noisy"] = noisy.fit(x, y, steps=300)
            for case in missing:
                found = case["scale"] == FOUND
                guidance = nag.Guidance(
                    objective,
                    scale=STRONGEST if found else case["scale"],
                    method=case["guide"],
                    noisy=models[f"{case['method']} noisy"],
                )
                made = nag.generate(
                    models[case["method"]],
                    COUNT,
                    guidance=guidance,
                    seed=seed,
                    min_unique=LEAST if found else None,
                )
                journal.add(
                    **of,
                    **case,
                    used=made.scale,
                    validity=made.quality.validity,
                    uniqueness=made.quality.uniqueness,
                    novelty=made.quality.novelty,
                    accuracy=float(table.truth[table.rows(made.x)].mean()),
                    predicted=float(objective.values(made.x).mean()),
                    control=control,
                    seconds=made.seconds,
                )
            print(dataset, seed, time.strftime("%H:%M"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="quality guided")
    parser.add_argument("--summary", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    journal = records.Journal("generation")
    if not chosen.summary and "quality" in chosen.only:
        quality(journal)
    if not chosen.summary and "guided" in chosen.only:
        guided(journal, chosen.seeds)
    summarise(journal)


def summarise(journal: records.Journal) -> None:
    rows = []
    lines = journal.of(part="quality")
    for r in lines:
        u = r["uniform"]
        cells = [
            f"{100 * r[k]:.1f} ({100 * u[k]:.1f})"
            for k in ("validity", "uniqueness", "novelty", "classes")
        ]
        rows.append((r["space"], r["method"], *cells, f"{r['seconds']:.2f}"))
    columns = (
        "space",
        "back-end",
        "valid, % (uniform)",
        "unique, %",
        "novel, %",
        "different functions, %",
        "seconds",
    )
    note = (
        f"{COUNT} samples; in brackets the same figure of as many uniform samples. Novel: not "
        "in the training half. Times on a busy machine, one thread."
    )
    if rows:
        title = "Quality of generated architectures"
        records.save("generation_quality", title, columns, rows, note, lines)
    rows = []
    for data in tables.datasets("nb201"):
        runs = [r for r in journal.of(part="guided", data=data) if "guide" in r]
        for method, guide in (*GUIDES, LISTING):
            for scale in (*SCALES, FOUND):
                some = [
                    r
                    for r in runs
                    if (r["method"], r["guide"], r["scale"]) == (method, guide, scale)
                ]
                if not some:
                    continue
                unique = records.over(100 * r["uniqueness"] for r in some)
                accuracy = records.over(r["accuracy"] for r in some)
                control = records.over(r["control"] for r in some)
                reached = unique["mean"] >= 50 and accuracy["mean"] >= control["mean"]
                rows.append(
                    (
                        data,
                        f"{method}, {guide}",
                        _scale(scale, some),
                        str(len(some)),
                        f"{100 * min(r['validity'] for r in some):.0f}",
                        records.show(unique, 1),
                        records.show(records.over(100 * r["novelty"] for r in some), 1),
                        records.show(accuracy),
                        records.show(control),
                        "yes" if reached else "no",
                    )
                )
    columns = (
        "data",
        "back-end, guidance",
        "scale",
        "seeds",
        "valid, %",
        "unique, %",
        "novel, %",
        "mean accuracy, %",
        "best of 64 random, %",
        "at least half unique and as good",
    )
    note = (
        f"`{FOUND}`: the strongest guidance of which at least half of the samples are unique, "
        "found without any accuracy; its mean in brackets. "
        "Mean 200-epoch test accuracy of 1000 guided samples; the control is the accuracy of "
        "the best of 64 random cells by the same predictor, mean of 100 draws. `listed, tilt` "
        "is no generator: all cells, drawn in proportion to exp(scale * prediction), as "
        "strongly as leaves half of the draws unique."
    )
    if rows:
        title = "Guided samples of NAS-Bench-201"
        kept = [r for r in journal.of(part="guided") if "guide" in r]
        records.save("generation_guided", title, columns, rows, note, kept)


def _scale(scale: float | str, some: list[dict[str, Any]]) -> str:
    if scale != FOUND:
        return f"{scale}"
    return f"{FOUND} ({records.over(r['used'] for r in some)['mean']:.2f})"


if __name__ == "__main__":
    main()
