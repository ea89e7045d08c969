"""Result of a training run: scores with their stamp, weights, predictions."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from graphlab import check, files
from graphlab.evaluate import Scores, Stamp
from graphlab.tasks import calling, checkpoint, inference, labels, target
from graphlab.tasks.runs import read_json
from graphlab.tasks.schema import ConfigError

if TYPE_CHECKING:
    from graphlab.datasets import Dataset


@dataclasses.dataclass
class Result:
    """What training over several seeds gave.

    Attributes:
        metric: Name of the metric.
        valid: Validation scores, one for each seed, of the chosen weights.
        test: Test scores of the same weights; None where the run did not read them.
        seeds: The seeds.
        stamp: What the scores measure.
        seconds: Training and evaluation, over all seeds, resumed parts included.
        baselines: Scores of controls under the same stamp: ``majority``, ``mlp``.
        num_parameters: Trainable numbers of one model.
        loader_stats: Sums over epochs and seeds of the loader's statistics.
        runs: Outcome of each seed: valid, test, best_epoch, epochs, seconds, ...
        config: The resolved config.
        run_dir: The run folder, or None.

    Example:
        >>> # r = gl.tasks.node.fit(d, gl.models.GCN)
        >>> # r.test.mean, r.test.std, r.predict(d).argmax(1)
    """

    metric: str
    valid: Scores
    test: Scores | None
    seeds: tuple[int, ...]
    stamp: Stamp
    seconds: float
    baselines: dict[str, Scores]
    num_parameters: int
    loader_stats: dict[str, Any]
    runs: tuple[dict[str, Any], ...]
    config: dict[str, Any]
    run_dir: Path | None
    _factory: calling.Factory | None = dataclasses.field(default=None, repr=False)
    _weights: dict[int, dict[str, Tensor]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    def predict(
        self,
        d: Dataset,
        *,
        seed: int | None = None,
        memory: int | str | None = None,
        device: str = "cpu",
    ) -> Tensor:
        """Compute class probabilities of every node from full neighbourhoods.

        Args:
            d: The data set, or another one with the same features.
            seed: Whose weights to use; None: those with the best validation score.
            memory: Bytes that inference may add; see :func:`graphlab.tasks.inference.exact`.
            device: Where to compute.

        Returns:
            [N, classes], softmax probabilities; [N, tasks], of multi-label data.

        Raises:
            ValueError: no such seed; weights without a model (see :meth:`load`).
        """
        seed = self._seed_or_best(seed)
        model = self.model(seed, d).to(device)
        taken = {int(run["seed"]): run.get("direction") for run in self.runs}
        if taken.get(seed) == "undirected" and not d.graph.is_undirected():
            d = d.to_undirected()
        logits = inference.exact(model, d, memory=memory, device=device)
        return labels.probabilities(logits, 2 if self.is_multi_label else 1)

    def model(self, seed: int | None = None, d: Dataset | None = None) -> nn.Module:
        """Make the trained model of a seed; None: the one with the best validation score.

        Args:
            seed: Whose weights.
            d: A data set whose width must be that of the training data.
        """
        seed = self._seed_or_best(seed)
        check_seed = f"be one of {', '.join(str(s) for s in self.seeds)}"
        if seed not in self.seeds:
            check.fail(ValueError, "Result", "seed", check_seed, seed)
        if self._factory is None:
            check.fail(
                ValueError,
                "Result",
                "model",
                "be given where it cannot be imported",
                self.config["model"]["target"],
                "use Result.load(path, model=factory)",
            )
        width, outputs = (int(self.config["shape"][k]) for k in ("features", "outputs"))
        if d is not None and d.num_features != width:
            need = f"have {width} features as in training"
            check.fail(ValueError, "Result.predict", "d", need, d.num_features)
        # Weights are replaced at once, so the caller's generators need not notice.
        with torch.random.fork_rng(devices=[]):
            model = calling.make("Result", self._factory, width, outputs)
        path = Path() if self.run_dir is None else _best(self.run_dir, seed)
        if seed not in self._weights:
            self._weights[seed] = checkpoint.read(path)[0]
        checkpoint.load_weights(model, self._weights[seed], path)
        return model.eval()

    def _seed_or_best(self, seed: int | None) -> int:
        if seed is not None:
            return seed
        best = max(range(len(self.seeds)), key=lambda i: self.valid.values[i])
        return self.seeds[best]

    def to_json(self) -> dict[str, Any]:
        """Return the object that commands print with ``--json``."""
        controls = {
            name: {k: v for k, v in scores.to_json().items() if k != "values"}
            for name, scores in self.baselines.items()
        }
        return {
            "metric": self.metric,
            "test": None if self.test is None else self.test.to_json(),
            "valid": self.valid.to_json(),
            "seeds": list(self.seeds),
            "seconds": self.seconds,
            "stamp": self.stamp.to_json(),
            "baselines": controls,
            "parameters": {"model": self.num_parameters},
            "loader": self.loader_stats,
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }

    def save(self, path: str | Path) -> Path:
        """Write a folder with scores and chosen weights that :meth:`load` reads.

        The same layout as a run folder, which is such a folder already.
        """
        path = Path(path)
        if self.run_dir is not None and path.resolve() == self.run_dir.resolve():
            return path
        path.mkdir(parents=True, exist_ok=True)
        for run in self.runs:
            seed = int(run["seed"])
            if seed not in self._weights and self.run_dir is not None:
                self._weights[seed] = checkpoint.read(_best(self.run_dir, seed))[0]
            checkpoint.write(_best(path, seed), self._weights[seed])
            files.publish_json(path / f"seed-{seed}" / "state.json", run)
        if self.run_dir is not None:
            shutil.copyfile(self.run_dir / "metrics.jsonl", path / "metrics.jsonl")
        files.publish_json(path / "config.json", self.config)
        files.publish_json(
            path / "result.json", {**self.to_json(), "run_dir": str(path)}
        )
        return path

    @classmethod
    def load(cls, path: str | Path, *, model: calling.Factory | None = None) -> Self:
        """Read a run folder, or what :meth:`save` wrote.

        Args:
            path: The folder.
            model: Factory of the model; needed for :meth:`predict` only where the run's
                model is no importable class, such as a lambda.

        Raises:
            ValueError: not a finished run folder.
            StoreError: a file in it is damaged.
        """
        path = Path(path)
        if not (path / "config.json").exists():
            got = f"{path} without config.json"
            check.fail(ValueError, "Result.load", "path", "be a run folder", got)
        config = read_json(path / "config.json")
        if config.get("task") == "link" and cls is Result:
            need, got = "be a run of the node task", "one of the link task"
            remedy = "use gl.tasks.LinkResult.load"
            check.fail(ValueError, "Result.load", "path", need, got, remedy)
        runs = []
        for seed in config["seeds"]:
            state = path / f"seed-{seed}" / "state.json"
            if not state.exists():
                check.fail(
                    ValueError,
                    "Result.load",
                    "path",
                    "be a finished run",
                    f"{path}, where seed {seed} is not",
                    "run the same command again to finish it",
                )
            runs.append(read_json(state))
        factory = model or _factory(config)
        loaded: Self = assemble(runs, config, path, factory, kind=cls)
        return loaded

    @property
    def is_multi_label(self) -> bool:
        """Whether labels are [N, tasks] zeros and ones."""
        return bool(self.config["shape"]["multi_label"])


def assemble(
    runs: Sequence[Mapping[str, Any]],
    config: dict[str, Any],
    run_dir: Path | None,
    factory: calling.Factory | None,
    weights: dict[int, dict[str, Tensor]] | None = None,
    kind: type[Result] | None = None,
) -> Any:
    """Put the outcomes of finished seeds together."""
    # A folder may hold seeds that other commits trained.
    commits = dict.fromkeys(commit for run in runs for commit in run["commits"])
    stamp = Stamp.from_json({**config["stamp"], "commit": ",".join(commits)})
    seeds = tuple(int(run["seed"]) for run in runs)

    def scores(values: list[float]) -> Scores:
        return Scores(tuple(values), seeds, stamp)

    tested = all(run["test"] is not None for run in runs)
    loader: dict[str, Any] = {}
    for run in runs:
        for key, value in run["loader"].items():
            level = key.endswith("memory_bytes")
            before = loader.get(key, 0)
            loader[key] = max(before, value) if level else before + value
    names = runs[0]["baselines"] if tested else {}
    return (kind or Result)(
        metric=stamp.metric,
        valid=scores([run["valid"] for run in runs]),
        test=scores([run["test"] for run in runs]) if tested else None,
        seeds=seeds,
        stamp=stamp,
        seconds=sum(run["seconds"] for run in runs),
        baselines={n: scores([run["baselines"][n] for run in runs]) for n in names},
        num_parameters=int(runs[0]["num_parameters"]),
        loader_stats=loader,
        runs=tuple(dict(run) for run in runs),
        config=json.loads(json.dumps(config)),
        run_dir=run_dir,
        _factory=factory,
        _weights=weights or {},
    )


def _best(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}" / "best.safetensors"


def _factory(config: Mapping[str, Any]) -> calling.Factory | None:
    described = dict(config["model"])
    name = str(described.pop("target"))
    try:
        return target.factory(name, described)
    except ConfigError:
        return None
