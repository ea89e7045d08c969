"""Search over a recipe's settings by validation score; the test set is never read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graphlab import check, progress
from graphlab.errors import GraphlabError
from graphlab.tasks import recipe as recipes
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.recipe import Recipe
from graphlab.tasks.schema import ConfigError
from graphlab.tasks.scoring import DivergedError

_STUDY = "graphlab"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        number: Its number.
        settings: What was chosen, such as ``{"fit.lr": 0.01}``.
        valid: Mean validation score over the recipe's seeds; None where training diverged
            or memory did not hold.
        seconds: What it took.
    """

    number: int
    settings: dict[str, Any]
    valid: float | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        best: The trial of best validation score.
        recipe: The recipe with its settings; run it with other seeds to get test scores.
        trials: All finished trials, by number.
    """

    best: Trial
    recipe: Recipe
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        return {
            "best": dataclasses.asdict(self.best),
            "recipe": self.recipe.model_dump(mode="json"),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }


def tune(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    space: Mapping[str, Any],
    *,
    trials: int = 30,
    storage: str | Path = "tune.journal",
    overrides: Iterable[str] = (),
    seed: int = 0,
) -> Tuning:
    """Search for the settings of best validation score with optuna's TPE sampler.

    Args:
        recipe: See :func:`graphlab.tasks.recipe.load`. Its seeds are run in every trial.
        space: Setting -> choices: a list (categories), or ``{low, high}`` with ``log: true``
            or ``step``; whole numbers where both ends are. Keys are those of overrides, such
            as ``fit.lr`` or ``model.hidden_channels``.
        trials: How many in all, earlier ones in ``storage`` included.
        storage: Journal file; the same file continues a search. A trial that was killed is
            tried again.
        overrides: See :func:`graphlab.tasks.recipe.load`.
        seed: Seed of the sampler.

    Returns:
        The best trial, its recipe, and all trials.

    Raises:
        ConfigError: a setting that the recipe has not, or choices that cannot be.
        ValueError: the journal belongs to another recipe or space.
        GraphlabError: no trial gave a score.
        ModuleNotFoundError: optuna is not installed.
    """
    optuna = _optuna()
    check.positive("tune", "trials", trials)
    base = recipes.load(recipe, [*overrides, "fit.read_test=false"])
    for name in space:
        _first(name, space[name], base)
    path = Path(storage)
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    study = optuna.create_study(
        study_name=_STUDY,
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(seed=seed),
        direction="maximize",
        load_if_exists=True,
    )
    _require_same(study, base, space, path)
    _retry_killed(optuna, study)

    def objective(trial: Any) -> float:
        chosen = {name: _suggest(trial, name, space[name]) for name in space}
        progress.say(f"trial {trial.number}: {chosen}")
        tried = _with(base, chosen)
        try:
            result = recipes.run_recipe(tried, callbacks=[_Report(trial)])
        except (DivergedError, MemoryError) as error:
            progress.say(f"trial {trial.number}: {error}")
            raise optuna.TrialPruned from error
        return result.valid.mean

    while True:
        finished = [
            t for t in study.get_trials(deepcopy=False) if t.state.is_finished()
        ]
        counted = [t for t in finished if t.state != optuna.trial.TrialState.FAIL]
        if len(counted) >= trials:
            break
        study.optimize(objective, n_trials=1)
    return _summary(study, base)


class _Report(Callback):
    """Tells optuna the validation score of every epoch, of a trial's first seed."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self._first: int | None = None

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        self._first = seed if self._first is None else self._first
        if seed == self._first and record["valid"] is not None:
            self._trial.report(record["valid"], record["epoch"])


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ModuleNotFoundError(
            "tune: optuna is not installed; pip install 'graphlab[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _suggest(trial: Any, name: str, choices: Any) -> Any:
    if isinstance(choices, (list, tuple)):
        # Lists are no categories of optuna's: choose the place.
        place = trial.suggest_categorical(name, list(range(len(choices))))
        return choices[place]
    low, high = choices["low"], choices["high"]
    options = {k: choices[k] for k in ("log", "step") if k in choices}
    whole = isinstance(low, int) and isinstance(high, int)
    suggest = trial.suggest_int if whole else trial.suggest_float
    return suggest(name, low, high, **options)


def _first(name: str, choices: Any, base: Recipe) -> None:
    """Check a setting and its choices by making a recipe of each end."""
    if isinstance(choices, (list, tuple)):
        ends = list(choices)
    elif isinstance(choices, Mapping) and {"low", "high"} <= set(choices):
        unknown = set(choices) - {"low", "high", "log", "step"}
        ends = [choices["low"], choices["high"]]
        if unknown or not all(isinstance(e, (int, float)) for e in ends):
            ends = []
        elif not math.isfinite(ends[0]) or ends[0] > ends[1]:
            ends = []
    else:
        ends = []
    if not ends:
        raise ConfigError(
            f"tune: `space` must give a list or {{low, high, log, step}} for {name}, "
            f"got {choices!r}"
        )
    if name.startswith("fit.read_test"):
        raise ConfigError("tune: `fit.read_test` is false in every trial")
    for end in ends:
        _with(base, {name: end})


def _with(base: Recipe, chosen: Mapping[str, Any]) -> Recipe:
    tree = base.model_dump(mode="json")
    for name, value in chosen.items():
        recipes.put(tree, name, value)
    return recipes.load(tree)


def _require_same(
    study: Any, base: Recipe, space: Mapping[str, Any], path: Path
) -> None:
    """Keep recipe and space with the study; refuse to mix two searches in one file."""
    now = {
        "recipe": base.model_dump(mode="json"),
        "space": {k: list(v) if isinstance(v, tuple) else v for k, v in space.items()},
    }
    before = study.user_attrs
    for key, value in now.items():
        if key in before and before[key] != value:
            check.fail(
                ValueError,
                "tune",
                "storage",
                f"belong to the same {key}",
                f"{path} of another",
                "choose another file",
            )
        if key not in before:
            study.set_user_attr(key, value)


def _retry_killed(optuna: Any, study: Any) -> None:
    """Give the settings of trials that were killed another run."""
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False):
        if trial.state == state.RUNNING:
            study.tell(trial.number, state=state.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _summary(study: Any, base: Recipe) -> Tuning:
    space = study.user_attrs["space"]
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name not in ("COMPLETE", "PRUNED"):
            continue
        chosen = {
            name: space[name][value] if isinstance(space[name], list) else value
            for name, value in trial.params.items()
        }
        valid = trial.value if trial.state.name == "COMPLETE" else None
        seconds = trial.duration.total_seconds()
        found.append(Trial(trial.number, chosen, valid, seconds))
    scored = [trial for trial in found if trial.valid is not None]
    if not scored:
        raise GraphlabError(f"tune: none of {len(found)} trials gave a score")
    best = max(scored, key=lambda trial: trial.valid or -math.inf)
    final = _with(base, {**best.settings, "fit.read_test": True})
    return Tuning(best, final, tuple(found))
