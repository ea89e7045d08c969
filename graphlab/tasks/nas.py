"""Architecture search on real training: a GNN for a data set, chosen on its training nodes."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graphlab import check, files, nag, progress
from graphlab.datasets import load
from graphlab.models import SearchedGNN
from graphlab.nag import spaces
from graphlab.tasks import calling, nas_training
from graphlab.tasks.nas_generation import guidance_from as guidance_from
from graphlab.tasks.nas_generation import read_scores as read_scores
from graphlab.tasks.nas_generation import train_denoiser as train_denoiser
from graphlab.tasks.nas_tables import niches
from graphlab.tasks.nas_tables import search_table as search_table
from graphlab.tasks.nas_training import Costs as Costs
from graphlab.tasks.nas_training import TrainedScore as TrainedScore
from graphlab.tasks.nas_training import folds as folds
from graphlab.tasks.nas_training import train as train
from graphlab.tasks.runs import read_json

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.result import Result

# Niches of each cost, and architectures whose costs tell where they end.
_NICHES, _DRAWN = 4, 16


@dataclasses.dataclass(frozen=True)
class NASResult:
    """What a search on real training gave.

    Attributes:
        found: Architectures and their scores on folds of the training nodes; its archive
            keeps the best at every size and latency (:class:`Costs`).
        result: The best one trained anew on the data set's own splits, test read once a
            seed; None where the search was told not to.
        data: Name of the data set.
        run_dir: Run folder, or None.
    """

    found: nag.SearchResult
    result: Result | None
    data: str
    run_dir: Path | None

    def lines(self) -> list[str]:
        """What to print about it."""
        if self.result is None or self.result.test is None:
            return []
        test, valid = self.result.test, self.result.valid
        return [
            f"test {100 * test.mean:.2f} % over {len(test.values)} seeds, "
            f"validation {100 * valid.mean:.2f} %"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        final = {} if self.result is None else self.result.to_json()
        return {
            **final,
            "data": self.data,
            "search": self.found.to_json(),
            "run_dir": None if self.run_dir is None else str(self.run_dir),
        }


def search(
    data: str | Dataset,
    *,
    space: nag.SearchSpace | None = None,
    evaluations: int = 30,
    method: str = "bayesian",
    denoiser: nag.Denoiser | None = None,
    seed: int = 0,
    folds: int = 3,
    epochs: int = 200,
    final_seeds: Iterable[int] = range(10),
    workers: int = 1,
    root: str | None = None,
    run_dir: str | Path | None = None,
    model: Callable[..., torch.nn.Module] = SearchedGNN,
    settings: Mapping[str, Any] | None = None,
) -> NASResult:
    """Search a GNN for a data set on its training nodes, then train the best one in earnest.

    A Bayesian search of :class:`graphlab.nag.spaces.GNN` first evaluates GCN, GAT and SAGE of
    two layers and APPNP, and then proposes by a Gaussian process (``surrogate``). The search
    sees cross-validation accuracy on the training nodes only (:class:`TrainedScore`); the
    validation split stops the final trainings, the test split is read once a seed
    (leaderboard rules).

    Args:
        data: Name of a data set, or the data set.
        space: Default :class:`graphlab.nag.spaces.GNN`.
        evaluations: Architectures to train.
        method: ``bayesian`` or a baseline of :func:`graphlab.nag.search`.
        denoiser: Generates candidates; default: trained on uniform architectures.
        seed: Of the search, folds and trainings.
        folds: Trainings an evaluation.
        epochs: Of each; with few, what learns fast would win.
        final_seeds: Seeds of the final training; empty: no final training.
        workers: Processes that train side by side; ``evolution`` and ``local`` propose one
            architecture at a time and use one.
        root: Folder of data sets.
        run_dir: Folder for scores, config and the final run; the same call goes on in it.
        model: Makes the model from an architecture.
        settings: More arguments of :class:`graphlab.nag.Bayesian`.

    Raises:
        ValueError: a setting that cannot be, or a run folder of another search.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=120, num_edges=500, num_features=8)
        >>> d = gl.datasets.split_random(d, train=0.3, val=0.2)
        >>> r = search(d, evaluations=2, method="random", folds=2, epochs=2, final_seeds=[0])
        >>> len(r.found.scores), len(r.result.test.values)
        (2, 1)
    """
    space = space or spaces.GNN()
    d = load(data, root) if isinstance(data, str) else data
    seeds = list(final_seeds)
    if seeds:
        calling.require_seeds("nas.search", seeds)
    folder = None if run_dir is None else Path(run_dir)
    config = {
        "task": "nas",
        "data": d.name,
        "space": space.name,
        "method": method,
        "seed": seed,
        "folds": folds,
        "epochs": epochs,
        "settings": dict(settings or {}),
        "model": f"{model.__module__}:{getattr(model, '__qualname__', model)}",
    }
    if d.x is None:
        remedy = "set d.x, such as to node embeddings"
        check.fail(ValueError, "nas.search", "d", "have features", "none", remedy)
    nas_training.folds(d, folds, seed)  # refused before anything is written
    if folder is not None:
        _require_same(folder, config)
    options = dict(settings or {})
    if method == "bayesian" and isinstance(space, spaces.GNN):
        options.setdefault("start", space.classics())
    if method == "bayesian":
        # Trainings are few: most of them are for what the search proposes, near what was best
        # so far. Constants, so that a longer search goes on where a shorter one was.
        options.setdefault("surrogate", _surrogate())
        options.setdefault("initial", 4)
        options.setdefault("refine", 0.9)
    score = TrainedScore(
        data, root=root, count=folds, epochs=epochs, seed=seed, model=model
    )
    path = None if folder is None else folder / "scores.jsonl"
    cost_of = Costs(d, model, None if folder is None else folder / "costs.json")
    with (
        nag.Evaluator(space, _Quietly(score), path=path, workers=workers) as evaluator,
        progress.track("architectures", evaluations, "trained") as bar,
    ):
        drawn = [cost_of(text) for text in space.decode(space.sample(_DRAWN, seed))]

        def heard(text: str, value: float) -> None:
            bar.advance(note=f"{value:.4f} {text}")

        found = nag.search(
            space,
            evaluator,
            evaluations,
            method=method,
            denoiser=denoiser,
            seed=seed,
            on_score=heard,
            niches={n: niches([c[n] for c in drawn], _NICHES) for n in drawn[0]},
            cost_of=cost_of,
            **options,
        )
    result = None
    if seeds:
        progress.say(f"best on the training nodes: {found.best}")
        # A longer search may end at another architecture: each has its own run.
        name = f"final-{space.hashes(space.encode([found.best]))[0]}"
        result = train(
            d,
            found.best,
            seeds=seeds,
            run_dir=None if folder is None else folder / name,
            model=model,
        )
    out = NASResult(found, result, d.name, folder)
    if folder is not None:
        files.publish_json(folder / "result.json", out.to_json())
    return out


def describe(
    space: nag.SearchSpace,
    architecture: str,
    data: str | None = None,
    *,
    seeds: Iterable[int] = range(3),
    epochs: int = 300,
    root: str | None = None,
) -> dict[str, Any]:
    """Hash, closed-form costs and, with a data set, scores of an architecture.

    A table answers for ``nb201`` and ``nas_bench_graph``; ``gnn`` is trained.

    Raises:
        ValueError: no architecture of the space, or a space that nothing can score.

    Example:
        >>> text = spaces.NB201().decode(spaces.NB201().sample(1))[0]
        >>> sorted(describe(spaces.NB201(), text))
        ['architecture', 'costs', 'hash', 'space']
    """
    x = space.encode([architecture])
    costs = space.costs(space.one_hot(x))
    about: dict[str, Any] = {
        "space": space.name,
        "architecture": architecture,
        "hash": space.canonical_hash(x[0]),
        "costs": {name: float(value[0]) for name, value in costs.items()},
    }
    if data is None:
        return about
    about["data"] = data
    if space.name in ("nb201", "nas_bench_graph"):
        table = nag.tables.load(space.name, data, root)
        row = table.rows(x)
        about["validation"] = float(table.signal[row])
        about["test"] = float(table.truth[row])
        about["costs"] |= {n: float(v[row]) for n, v in table.costs.items()}
    elif space.name == "gnn":
        d = load(data, root)
        about |= train(d, architecture, seeds=seeds, epochs=epochs).to_json()
    else:
        need = "be None for a space without an evaluator"
        check.fail(ValueError, "nas.evaluate", "data", need, data)
    return about


def _surrogate() -> str:
    """A Gaussian process learns from ten scores what a network needs a hundred for."""
    if importlib.util.find_spec("botorch") is not None:
        return "gp"
    progress.say(
        "nas.search: without botorch the surrogate is an ensemble of networks, which needs "
        "more trainings; pip install 'graphlab[search]'"
    )
    return "ensemble"


class _Quietly:
    """A callback without the progress of its trainings; the search shows its own."""

    def __init__(self, score: Callable[[str], float]) -> None:
        self._score = score

    def __call__(self, architecture: str) -> float:
        with progress.silence():
            return self._score(architecture)


def _require_same(folder: Path, config: dict[str, Any]) -> None:
    path = folder / "config.json"
    if path.exists():
        before = read_json(path)
        for key, value in config.items():
            if before.get(key) != value:
                need = "hold a search of the same settings"
                got = f"{key} = {before.get(key)!r} there and {value!r} now in {folder}"
                remedy = "choose another folder or the same settings"
                check.fail(ValueError, "nas.search", "run_dir", need, got, remedy)
    files.publish_json(path, config)
