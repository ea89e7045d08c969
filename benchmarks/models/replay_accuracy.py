"""Does training on the same samples again cost accuracy? Equal epochs, paired by seed.

``fresh`` draws every epoch anew, as mode ``rolling`` does; ``replay`` trains on the samples
of one epoch for ever; ``resample_every=5`` draws anew every fifth epoch. Batches from disk
are those from memory, bit for bit, so that all run from memory here. The epoch of best
validation accuracy is chosen, the test set read once. A case is recorded as soon as two of
its seeds are done.

    python -m benchmarks.models.replay_accuracy               all cases, resumable by seed
    python -m benchmarks.models.replay_accuracy --quick       smoke test, nothing recorded
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any, NamedTuple

import torch
from scipy import stats

from benchmarks import harness
from graphlab import files

NAME = "replay_accuracy"
RUNS = harness.ROOT / "runs" / NAME
# Epoch -> epoch whose samples are used.
MODES = {
    "fresh": lambda epoch: epoch,
    "replay": lambda epoch: 0,
    "resample_every=5": lambda epoch: epoch // 5 * 5,
}
SBM_NODES, SBM_EDGES, SBM_FEATURES = 2_000_000, 20_000_000, 128


class Setting(NamedTuple):
    data: str = "amazon_computers"
    train: int = 500
    val: int = 2000
    test: int | None = None  # None: the rest
    batch_size: int = 128
    fanout: tuple[int, ...] = (10, 5)
    hidden: int = 64
    epochs: int = 60
    every: int = 3  # epochs between looks at the validation set
    lr: float = 0.003
    dropout: float = 0.5


CASES = {
    "amazon_computers, 500 seeds": Setting(),
    "amazon_computers, 60 % of the nodes": Setting(
        train=8251, batch_size=512, epochs=30
    ),
    "sbm of 2M nodes, 20,000 seeds": Setting(
        data="sbm",
        train=20_000,
        val=20_000,
        test=200_000,
        batch_size=1024,
        fanout=(15, 10),
        epochs=15,
    ),
}


def load(setting: Setting) -> Any:
    import graphlab as gl

    if setting.data == "sbm":
        d = gl.datasets.generate("sbm", SBM_NODES, SBM_EDGES, SBM_FEATURES)
    else:
        d = gl.datasets.load(setting.data, undirected=True)
    d.x = d.x if isinstance(d.x, torch.Tensor) else d.x.to_dense()
    return d


def run(setting: Setting, d: Any, mode: str, seed: int) -> dict[str, float]:
    import graphlab as gl

    order = torch.randperm(d.num_nodes, generator=torch.Generator().manual_seed(seed))
    train, rest = order[: setting.train], order[setting.train :]
    val, test = rest[: setting.val], rest[setting.val :][: setting.test]
    torch.manual_seed(seed)
    model = gl.models.SAGE(
        d.num_features,
        d.num_classes,
        hidden_channels=setting.hidden,
        num_layers=len(setting.fanout),
        dropout=setting.dropout,
    )
    optimiser = torch.optim.Adam(model.parameters(), setting.lr)
    loader = gl.sample.NeighborLoader(
        d, list(setting.fanout), setting.batch_size, train.sort().values, seed=seed
    )
    best, found = -1.0, {}
    for epoch in range(setting.epochs):
        loader.set_epoch(MODES[mode](epoch))
        model.train()
        for batch in loader:
            out = model(
                batch.x,
                batch.edge_index,
                batch.num_sampled_nodes,
                batch.num_sampled_edges,
            )
            size = batch.batch_size
            loss = torch.nn.functional.cross_entropy(out[:size], batch.y[:size])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if (epoch + 1) % setting.every:
            continue
        model.eval()
        with torch.no_grad():
            right = model(d.x, d.graph).argmax(1) == d.y
        score = float(right[val].float().mean())
        if score > best:
            best = score
            found = {
                "valid": score,
                "test": float(right[test].float().mean()),
                "epoch": epoch + 1,
            }
    return found


def records_of(
    case: str, setting: Setting, runs: dict[str, list[Any]]
) -> list[dict[str, Any]]:
    """A record a mode: scores, and differences to ``fresh`` paired by seed."""
    fresh = [r["test"] for r in runs["fresh"]]
    records = []
    for mode, found in runs.items():
        test = [r["test"] for r in found]
        gaps = [a - b for a, b in zip(test, fresh, strict=True)]
        middle, spread = statistics.mean(gaps), statistics.stdev(gaps)
        quantile = float(stats.t.ppf(0.975, len(gaps) - 1))
        half = quantile * spread / len(gaps) ** 0.5
        records.append(
            {
                "case": f"{case}, {mode}",
                "facts": setting._asdict(),
                "stamp": {
                    "split": f"random {setting.train}/{setting.val}/{setting.test or 'rest'}"
                },
                "metric": "accuracy",
                "seeds": list(range(len(test))),
                "test": _score(test),
                "valid": _score([r["valid"] for r in found]),
                "goal": statistics.mean(fresh),
                "baselines": {"minus fresh": {"mean": middle, "std": spread}},
                "interval_95": [middle - half, middle + half],
                "epochs": [r["epoch"] for r in found],
                "machine": harness.machine(),
            }
        )
    return records


def _score(values: list[float]) -> dict[str, Any]:
    return {
        "mean": statistics.mean(values),
        "std": statistics.stdev(values),
        "values": values,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    chosen = parser.parse_args()
    harness.pin(chosen.threads)
    if chosen.quick:
        setting = Setting(epochs=3)
        d = load(setting)
        print({mode: run(setting, d, mode, 0) for mode in MODES})
        return
    for case, setting in CASES.items():
        if chosen.only not in case:
            continue
        data: Any = None
        runs: dict[str, list[Any]] = {mode: [] for mode in MODES}
        for seed in range(chosen.seeds):
            for mode in MODES:
                path = RUNS / case / f"{mode}-{seed}.json"
                if not path.exists():
                    data = load(setting) if data is None else data
                    files.publish_json(path, run(setting, data, mode, seed))
                runs[mode].append(json.loads(path.read_text()))
            if seed:
                harness.keep(NAME, *records_of(case, setting, runs))
    for record in harness.load(NAME):
        low, high = record["interval_95"]
        test, gap = record["test"], record["baselines"]["minus fresh"]["mean"]
        print(
            f"{record['case']}: test {test['mean']:.4f} +- {test['std']:.4f}, minus fresh "
            f"{gap:+.4f} (95 % interval {low:+.4f} to {high:+.4f})"
        )


if __name__ == "__main__":
    main()
