from __future__ import annotations

import functools
import json

import pytest
import torch

from graphlab import datasets
from graphlab.models import PamCGC
from graphlab.tasks import Callback, ClusterResult, ConfigError, Interrupted, cluster
from graphlab.tasks import cluster_recipe as recipes

SMALL = functools.partial(
    PamCGC, hidden=(16,), dim=4, pretrain_epochs=4, epochs=4, stop="modularity"
)


@pytest.fixture(scope="module")
def d():
    return datasets.generate(
        "sbm", num_nodes=150, num_edges=1500, num_features=8, num_classes=3, snr=3.0
    )


def test_scores_beside_baselines_with_their_protocols(d):
    result = cluster.fit(d, SMALL, seeds=range(2))
    assert sorted(result.baselines) == sorted(cluster.BASELINES)
    shown = result.to_json()
    assert set(shown) >= {
        "metric", "test", "valid", "seeds", "seconds", "stamp", "baselines", "run_dir"
    }  # fmt: skip
    assert shown["test"]["values"] == shown["scores"]["chosen"]["accuracy"]["values"]
    assert set(shown["scores"]) == {"chosen", "last", "best_epoch_by_classes"}
    for metric in ("accuracy", "nmi", "ari", "f1_macro"):
        by_classes = result.scores["best_epoch_by_classes"][metric]
        pairs = zip(
            by_classes.values, result.scores["chosen"][metric].values, strict=True
        )
        assert all(best >= mine for best, mine in pairs)
        # What saw the classes does not compare with what did not.
        assert by_classes.stamp.protocol != result.stamp.protocol
        assert by_classes.stamp.protocol.startswith("best epoch by true classes")
    assert result.labels(1).shape == (150,)
    assert result.embedding().shape == (150, 4)


def test_a_killed_run_goes_on_at_its_seed_and_more_seeds_may_follow(d, tmp_path):
    class Stop(Callback):
        def on_run_start(self, seed, config):
            if seed == 1:
                raise RuntimeError("killed")

    whole = cluster.fit(d, SMALL, seeds=range(3), baselines=["kmeans"])
    with pytest.raises(RuntimeError, match="killed"):
        cluster.fit(
            d,
            SMALL,
            seeds=range(2),
            baselines=["kmeans"],
            run_dir=tmp_path,
            callbacks=[Stop()],
        )
    with pytest.raises(ValueError, match=r"finished run, got .* without seed-1"):
        ClusterResult.load(tmp_path)
    (tmp_path / "seed-0" / "autoencoder.safetensors").unlink()
    result = cluster.fit(
        d, SMALL, seeds=range(3), baselines=["kmeans"], run_dir=tmp_path
    )
    assert result.test.values == whole.test.values
    assert torch.equal(result.labels(2), whole.labels(2))
    assert not (tmp_path / "seed-0" / "autoencoder.safetensors").exists()
    again = ClusterResult.load(tmp_path)
    assert again.to_json() == result.to_json()
    assert torch.equal(again.labels(), result.labels())
    lines = [
        json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ]
    assert [x["seed"] for x in lines if x["event"] == "run"] == [0, 1, 2]
    assert len([x for x in lines if x["event"] == "epoch"]) == 15
    with pytest.raises(ValueError, match=r"cluster\.fit: `run_dir` must hold"):
        cluster.fit(
            d, functools.partial(SMALL, tau=1.0), run_dir=tmp_path, baselines=["kmeans"]
        )
    with pytest.raises(ValueError, match=r"seed. must be one of 0, 1, 2"):
        result.labels(7)


def test_methods_share_autoencoders(d, tmp_path):
    folder = tmp_path / "shared"
    first = cluster.fit(d, SMALL, seeds=[0], baselines=[], autoencoders=folder)
    (path,) = folder.iterdir()
    written = path.stat().st_mtime_ns
    reference = functools.partial(SMALL, compat="reference")
    cluster.fit(d, reference, seeds=[0], baselines=[], autoencoders=folder)
    again = cluster.fit(d, SMALL, seeds=[0], baselines=[], autoencoders=folder)
    assert path.stat().st_mtime_ns == written
    assert torch.equal(first.embedding(0), again.embedding(0))


def test_data_without_classes_or_edges(d):
    plain = datasets.Dataset(d.graph, x=d.x)
    with pytest.raises(ValueError, match="`n_clusters` must be given"):
        cluster.fit(plain, SMALL, seeds=[0])
    result = cluster.fit(plain, SMALL, seeds=[0], n_clusters=3)
    assert result.test is None
    assert result.baselines == {}
    assert result.to_json()["test"] is None
    points = datasets.Dataset(
        type(d.graph)(torch.empty(2, 0).long(), 150), x=d.x, y=d.y
    )
    found = cluster.fit(points, SMALL, seeds=[0], baselines=["spectral"])
    assert found.config["dataset"]["num_edges"] >= 450


def test_ctrl_c_is_answered_between_epochs(d, tmp_path):
    import os
    import signal

    class Press(Callback):
        def on_epoch_end(self, seed, record):
            if record["epoch"] == 2:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(
        Interrupted, match=r"stopped at seed 0, epoch 3; the same call into"
    ):
        cluster.fit(d, SMALL, seeds=[0], run_dir=tmp_path, callbacks=[Press()])
    assert (tmp_path / "seed-0" / "autoencoder.safetensors").exists()
    assert cluster.fit(d, SMALL, seeds=[0], run_dir=tmp_path).test is not None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seeds": []}, ValueError, "`seeds` must name each seed once"),
        ({"baselines": ["kmean"]}, ValueError, "`baselines` must be one of"),
        ({"model": PamCGC()}, TypeError, "`model` must be a factory of estimators"),
        ({"n_clusters": 0}, ValueError, "`n_clusters` must be at least 1"),
        ({"n_clusters": 9999}, ValueError, "`n_clusters` must be at most the"),
    ],
)
def test_calls_that_cannot_be(d, change, error, message):
    with pytest.raises(error, match=message):
        cluster.fit(d, **{"model": SMALL, **change})
    if not change.get("seeds"):
        with pytest.raises(ValueError, match="`d` must have features"):
            cluster.fit(datasets.Dataset(d.graph), SMALL)


def test_recipes():
    assert recipes.names() == ["acm", "citeseer", "dblp_cluster", "usps"]
    for name in recipes.names():
        recipe = recipes.load(name, ["fit.seeds=2"])
        assert recipe.fit.seed_list == [0, 1]
        assert recipes.factory(recipe)(seed=5).seed == 5
    for wrong, message in [
        (
            {"data": "acm", "model": {"tao": 1}},
            "unknown key `model.tao`; did you mean `tau`",
        ),
        (
            {"data": "acm", "model": {"preset": "acn"}},
            "no preset 'acn'; did you mean `acm`",
        ),
        ({"data": "acm", "fit": {"sedes": 1}}, "unknown key `fit.sedes`"),
        ("amc", "name of a recipe, got 'amc'; did you mean `acm`"),
    ]:
        with pytest.raises(ConfigError, match=message):
            recipes.load(wrong)
