"""Result of a clustering run: scores with their stamp, labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from graphlab import check
from graphlab.evaluate import Scores, Stamp
from graphlab.tasks import checkpoint
from graphlab.tasks.runs import read_json


@dataclasses.dataclass
class ClusterResult:
    """What clustering over several seeds gave.

    Attributes:
        metric: ``accuracy``.
        test: Accuracy of the labels chosen without classes; None for data without classes.
        valid: What chose the epoch: modularity, one for each seed.
        seeds: The seeds.
        stamp: What the scores measure.
        seconds: Over all seeds.
        scores: ``chosen``, ``last`` and ``best_epoch_by_classes`` -> metric -> Scores. The
            last one saw the classes: it is the protocol of publications, no result.
        baselines: Name -> metric -> Scores.
        runs: Outcome of each seed.
        config: The resolved config.
        run_dir: The run folder, or None.
    """

    metric: str
    test: Scores | None
    valid: Scores
    seeds: tuple[int, ...]
    stamp: Stamp
    seconds: float
    scores: dict[str, dict[str, Scores]]
    baselines: dict[str, dict[str, Scores]]
    runs: tuple[dict[str, Any], ...]
    config: dict[str, Any]
    run_dir: Path | None
    _found: dict[int, dict[str, Tensor]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def labels(self, seed: int | None = None) -> Tensor:
        """Return the clusters that a seed found. [N], int64; None: of largest modularity."""
        return self._tensors(seed)["labels"]

    def embedding(self, seed: int | None = None) -> Tensor:
        """Return the codes that the labels were read from. [N, dim]."""
        return self._tensors(seed)["embedding"]

    def _tensors(self, seed: int | None) -> dict[str, Tensor]:
        if seed is None:
            best = max(range(len(self.seeds)), key=lambda i: self.valid.values[i])
            seed = self.seeds[best]
        if seed not in self.seeds:
            need = f"be one of {', '.join(map(str, self.seeds))}"
            check.fail(ValueError, "ClusterResult", "seed", need, seed)
        if seed not in self._found:
            assert self.run_dir is not None
            path = self.run_dir / f"seed-{seed}" / "clusters.safetensors"
            self._found[seed] = checkpoint.read(path)[0]
        return self._found[seed]

    def to_json(self) -> dict[str, Any]:
        """Return the object that commands print with ``--json``."""
        return {
            "metric": self.metric,
            "test": None if self.test is None else self.test.to_json(),
            "valid": self.valid.to_json(),
            "valid_metric": "modularity",
            "seeds": list(self.seeds),
            "seconds": self.seconds,
            "stamp": self.stamp.to_json(),
            "scores": _plain(self.scores),
            "baselines": {
                name: {
                    k: v
                    for k, v in scores["accuracy"].to_json().items()
                    if k != "values"
                }
                for name, scores in self.baselines.items()
            },
            "baseline_scores": _plain(self.baselines),
            "epochs": [int(run["best_epoch"]) for run in self.runs],
            "parameters": {"model": int(self.runs[0]["num_parameters"])},
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }

    @classmethod
    def load(cls, path: str | Path) -> ClusterResult:
        """Read a finished run folder.

        Raises:
            ValueError: not a finished run folder of a clustering.
            StoreError: a file in it is damaged.
        """
        path = Path(path)
        name = "ClusterResult.load"
        if not (path / "config.json").exists():
            got = f"{path} without config.json"
            check.fail(ValueError, name, "path", "be a run folder", got)
        config = read_json(path / "config.json")
        if config.get("task") != "cluster":
            got = f"a run of the task {config.get('task')!r}"
            check.fail(ValueError, name, "path", "be a run of a clustering", got)
        states = [path / f"seed-{seed}" / "state.json" for seed in config["seeds"]]
        lacking = [str(state.parent.name) for state in states if not state.exists()]
        if lacking:
            remedy = "run the same command again to finish it"
            got = f"{path} without {', '.join(lacking)}"
            check.fail(ValueError, name, "path", "be a finished run", got, remedy)
        return assemble([read_json(state) for state in states], config, path, {})


def assemble(
    runs: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    run_dir: Path | None,
    found: dict[int, dict[str, Tensor]],
) -> ClusterResult:
    """Put the outcomes of finished seeds together."""
    commits = dict.fromkeys(commit for run in runs for commit in run["commits"])
    stamp = Stamp.from_json({**config["stamp"], "commit": ",".join(commits)})
    seeds = tuple(int(run["seed"]) for run in runs)

    def over(values: list[float], metric: str, protocol: str = "") -> Scores:
        its = dataclasses.replace(
            stamp, metric=metric, protocol=protocol or stamp.protocol
        )
        return Scores(tuple(values), seeds, its)

    def table(
        parts: list[Mapping[str, Mapping[str, float]]], protocols: Mapping[str, str]
    ) -> dict[str, dict[str, Scores]]:
        shared = [n for n in parts[0] if all(n in part for part in parts)]
        return {
            name: {
                metric: over(
                    [part[name][metric] for part in parts],
                    metric,
                    protocols.get(name, ""),
                )
                for metric in parts[0][name]
            }
            for name in shared
        }

    protocols = {
        "last": "last epoch, own pre-training for each seed",
        "best_epoch_by_classes": "best epoch by true classes, for each metric apart",
    }
    tested = all(run["test"] is not None for run in runs)
    return ClusterResult(
        metric=stamp.metric,
        test=over([run["test"] for run in runs], stamp.metric) if tested else None,
        valid=over([run["valid"] for run in runs], "modularity"),
        seeds=seeds,
        stamp=stamp,
        seconds=sum(run["seconds"] for run in runs),
        scores=table([run["scores"] for run in runs], protocols),
        baselines=table([run["baselines"] for run in runs], {}),
        runs=tuple(dict(run) for run in runs),
        config=json.loads(json.dumps(config)),
        run_dir=run_dir,
        _found=found,
    )


def _plain(table: Mapping[str, Mapping[str, Scores]]) -> dict[str, dict[str, Any]]:
    return {
        name: {metric: scores.to_json() for metric, scores in row.items()}
        for name, row in table.items()
    }
