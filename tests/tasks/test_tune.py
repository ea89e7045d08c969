from __future__ import annotations

import json

import pytest

from graphlab.errors import GraphlabError
from graphlab.tasks import ConfigError, recipe
from graphlab.tasks.tune import tune
from tests.tasks import toy

optuna = pytest.importorskip("optuna", reason="pip install optuna")
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SPACE = {
    "fit.lr": {"low": 0.001, "high": 0.1, "log": True},
    "model.hidden_channels": [4, 16],
    "fit.epochs": {"low": 2, "high": 4},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    toy.dataset().save(folder / "toy")
    return {
        "data": {"name": "toy", "root": str(folder)},
        "model": "sage",
        "fit": {"seeds": 2, "epochs": 5},
    }


def test_a_search_continues_and_never_reads_the_test_set(base, tmp_path):
    path = tmp_path / "search.journal"
    first = tune(base, SPACE, trials=2, storage=path)
    assert len(first.trials) == 2
    found = tune(base, SPACE, trials=4, storage=path)
    assert found.trials[:2] == first.trials
    assert [t.number for t in found.trials] == [0, 1, 2, 3]
    assert found.best.valid == max(t.valid for t in found.trials)
    for trial in found.trials:
        assert 0.001 <= trial.settings["fit.lr"] <= 0.1
        assert trial.settings["model.hidden_channels"] in (4, 16)
        assert trial.settings["fit.epochs"] in (2, 3, 4)
    # Nothing about the test set is in the journal, and all trials ran without it.
    text = path.read_text()
    assert '"read_test":false' in text.replace(" ", "")
    assert '"test":' not in text.replace(" ", "")
    assert tune(base, SPACE, trials=4, storage=path) == found  # nothing is left to do
    # The recipe it hands out is ready for a final run, and repeats the trial's score.
    final = recipe.run_recipe(found.recipe)
    assert final.valid.mean == pytest.approx(found.best.valid)
    assert final.test is not None
    assert (
        json.loads(json.dumps(found.to_json()))["best"]["number"] == found.best.number
    )


def test_a_killed_trial_is_tried_again(base, tmp_path):
    path = tmp_path / "search.journal"
    tune(base, SPACE, trials=1, storage=path)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(path))
    )
    study = optuna.load_study(study_name="graphlab", storage=storage)
    killed = study.ask()
    lr = killed.suggest_float("fit.lr", 0.001, 0.1, log=True)
    found = tune(base, SPACE, trials=2, storage=path)
    assert len(found.trials) == 2
    assert found.trials[1].settings["fit.lr"] == lr


def test_diverged_trials_have_no_score(base, tmp_path):
    space = {"fit.lr": [0.01, 1e30]}
    found = tune(base, space, trials=4, storage=tmp_path / "a", seed=1)
    scores = {t.settings["fit.lr"]: t.valid for t in found.trials}
    assert scores[1e30] is None
    assert found.best.settings == {"fit.lr": 0.01}
    with pytest.raises(GraphlabError, match="none of 1 trials gave a score"):
        tune(base, {"fit.lr": [1e30]}, trials=1, storage=tmp_path / "b")


def test_wrong_spaces_and_journals_are_refused(base, tmp_path):
    def refused(error, message, space, **more):
        with pytest.raises(error, match=message):
            tune(base, space, storage=tmp_path / "a", **{"trials": 1, **more})

    refused(ConfigError, "unknown key `fit.lrr`; did you mean `lr`", {"fit.lrr": [1]})
    refused(ConfigError, r"give a list or .* for fit.lr, got \[\]", {"fit.lr": []})
    refused(ConfigError, "give a list", {"fit.lr": {"low": 1, "high": 0}})
    refused(
        ConfigError, "give a list", {"fit.lr": {"low": 0.1, "high": 1, "lgo": True}}
    )
    refused(ConfigError, "give a list", {"fit.lr": 3})
    refused(ConfigError, "`fit.lr` must be greater than 0", {"fit.lr": [0.1, -1]})
    refused(ConfigError, "is false in every trial", {"fit.read_test": [True, False]})
    refused(ValueError, "`trials` must be at least 1", {"fit.lr": [0.1]}, trials=0)
    tune(base, {"fit.epochs": [1]}, trials=1, storage=tmp_path / "a")
    refused(ValueError, "`storage` must belong to the same space", {"fit.lr": [0.1]})
    refused(
        ValueError,
        "belong to the same recipe",
        {"fit.epochs": [1]},
        overrides=["fit.patience=3"],
    )
