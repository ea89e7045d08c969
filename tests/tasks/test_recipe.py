from __future__ import annotations

import json

import pytest
import torch
import yaml

from graphlab import datasets
from graphlab.datasets import SparseColumn
from graphlab.tasks import ConfigError, node, preparation, recipe
from graphlab.tasks.predict import predict
from tests.tasks import toy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with the toy graph as a saved data set."""
    folder = tmp_path_factory.mktemp("data")
    toy.dataset(runs=2).save(folder / "toy")
    return folder


def toy_recipe(root, **more):
    return {
        "data": {"name": "toy", "root": str(root)},
        "model": {"target": "sage", "hidden_channels": 16},
        "fit": {"seeds": 2, "epochs": 3, "lr": 0.05},
        **more,
    }


LOADER = {"num_neighbors": [5, 3], "batch_size": 16}


def test_full_batch_equals_fit_by_hand(root, tmp_path):
    from functools import partial

    from graphlab import models

    result = recipe.run_recipe(toy_recipe(root), run_dir=tmp_path)
    d = datasets.load("toy", root)
    factory = partial(models.SAGE, hidden_channels=16)
    expected = node.fit(d, factory, seeds=range(2), epochs=3, lr=0.05)
    assert result.test.values == expected.test.values
    saved = json.loads((tmp_path / "config.json").read_text())["recipe"]
    assert saved["model"]["target"] == "graphlab.models:SAGE"
    assert saved["fit"]["weight_decay"] == 0.0  # resolved: defaults are written too
    again = recipe.run_recipe(saved)
    assert again.test.values == result.test.values
    with pytest.raises(ValueError, match=r"recipe.fit.epochs = 3 there and 4 now"):
        recipe.run_recipe(
            toy_recipe(root), overrides=["fit.epochs=4"], run_dir=tmp_path
        )


def test_from_disk_and_from_memory_give_the_same_bits(root, tmp_path):
    memory = toy_recipe(root, loader=LOADER)
    disk = toy_recipe(
        root, loader={**LOADER, "from_disk": True, "memory": "2MiB", "mode": "replay"}
    )
    first = recipe.run_recipe(memory, run_dir=tmp_path / "memory")
    second = recipe.run_recipe(disk, run_dir=tmp_path / "disk")

    def losses(folder):
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return [x["loss"] for x in map(json.loads, lines) if x["event"] == "epoch"]

    assert losses("memory") == losses("disk")
    assert first.test.values == second.test.values
    assert second.loader_stats["device_bytes"] >= 0
    assert (tmp_path / "disk" / "store" / "manifest.json").exists()
    # The finished run is read back without its data being prepared anew.
    assert recipe.run_recipe(disk, run_dir=tmp_path / "disk").test == second.test


def test_without_a_folder_disk_runs_clean_up(root, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    disk = toy_recipe(root, loader={**LOADER, "from_disk": True, "memory": "2MiB"})
    recipe.run_recipe(disk, overrides=["fit.seeds=1"])
    assert list(tmp_path.glob("graphlab-*")) == []


def test_sampled_evaluation_is_stamped(root):
    sampled = toy_recipe(root, loader={**LOADER, "evaluation": "sampled"})
    once = ["fit.seeds=1"]
    result = recipe.run_recipe(sampled, overrides=once)
    assert "exact inference" in result.stamp.protocol
    result = recipe.run_recipe(
        sampled, overrides=[*once, "fit.final_inference=sampled"]
    )
    assert "sampled neighbourhoods" in result.stamp.protocol
    with pytest.raises(ConfigError, match=r"only with loader.evaluation=sampled"):
        recipe.load(toy_recipe(root), ["fit.final_inference=sampled"])


def test_predict_loads_the_data_again(root, tmp_path):
    result = recipe.run_recipe(toy_recipe(root), run_dir=tmp_path / "run")
    import numpy as np

    found = np.load(predict(tmp_path / "run", tmp_path / "p.npy"))
    expected = result.predict(datasets.load("toy", root)).argmax(1)
    assert found.tolist() == expected.tolist()


def test_overrides_take_yaml_values(root):
    made = recipe.load(
        {"data": "cora", "model": "gcn"},
        [
            "fit.lr=1e-3",
            "fit.seeds=[0, 4]",
            "loader.num_neighbors=[10,5]",
            "model.hidden_channels=8",
            "data.root=/data",
            "fit.class_weights=balanced",
            "fit.patience=null",
        ],
    )
    assert made.fit.lr == 1e-3
    assert made.fit.seed_list == [0, 4]
    assert made.loader.num_neighbors == (10, 5)
    assert made.model == {"target": "graphlab.models:GCN", "hidden_channels": 8}
    assert made.data.root == "/data"
    assert recipe.load(made) == made
    assert recipe.load(yaml.safe_load(made.to_yaml())) == made


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fit.epoch=3"], r"unknown key `fit.epoch`; did you mean `epochs`\?"),
        (["loader.batchsize=3"], r"`loader.batchsize`; did you mean `batch_size`\?"),
        (["data.split.trian=0.5"], r"`data.split.trian`; did you mean `train`\?"),
        (["model.hiden_channels=3"], r"unknown key `model.hiden_channels` of gcn"),
        (["model.hiden_channels=3"], r"did you mean `hidden_channels`\?"),
        (["optimiser.lr=3"], r"unknown key `optimiser`; there are data, fit, loader"),
        (["model.target=gnc"], r"got 'gnc'; did you mean `gcn`\?"),
        (["model.target=no.such:Model"], r"importable, got 'no.such:Model'"),
        (["model.target=graphlab.models:GCM"], r"got 'GCM'; did you mean `GCN`\?"),
        (["fit.lr=0"], r"`fit.lr` must be greater than 0, got 0"),
        (["fit.lr=fast"], r"`fit.lr` must be a valid number.*got 'fast'"),
        (["fit.metric=acc"], r"`fit.metric` must be one of accuracy, roc_auc"),
        (["loader.memory=much"], r"`loader.memory` must be a size|`memory` must be a"),
        (["fit.lr"], r"an override must be a.b=value, got 'fit.lr'"),
        (["fit.lr=[1"], r"the value of 'fit.lr=\[1' must be YAML"),
        (["fit.lr.x=1", "fit=3"], r"`fit` must"),
        (["model=null"], r"`model` must"),
    ],
)
def test_wrong_keys_and_values_are_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        recipe.load({"data": "cora", "model": "gcn"}, overrides)


def test_files_and_names_of_recipes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("data: cora\nmodel: {target: gat, heads: 4}\n")
    assert recipe.load(path).model["heads"] == 4
    assert recipe.load(str(path)) == recipe.load(path)
    with pytest.raises(ConfigError, match=r"got 'cora_gnc'; did you mean `cora_gcn`\?"):
        recipe.load("cora_gnc")
    path.write_text("data: [")
    with pytest.raises(ConfigError, match="must be YAML"):
        recipe.load(path)
    path.write_text("[]")
    with pytest.raises(
        ConfigError, match="must hold the keys data, model, fit; got list"
    ):
        recipe.load(path)
    path.write_text("data: cora\n")
    with pytest.raises(ConfigError, match="`model` must be given"):
        recipe.load(path)


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_that_comes_along_is_sound(name):
    made = recipe.load(name)
    assert made.fit.seed_list == list(range(10))
    assert recipe.load(name, ["fit.seeds=1"]).fit.seed_list == [0]


def test_the_known_recipes_are_there():
    assert {"cora_gcn", "citeseer_gcn", "amazon_computers_sage"} <= set(recipe.names())
    assert {"arxiv_sage", "products_sage"} <= set(recipe.names())


def test_a_users_class_needs_no_registration(root):
    own = toy_recipe(root, model={"target": "tests.tasks.toy:Mean", "hidden": 4})
    result = recipe.run_recipe(own, overrides=["fit.seeds=1"])
    assert result.num_parameters == 16 * 4 + 4 + 4 * 3 + 3


def test_rows_are_normalised_dense_or_sparse():
    x = torch.tensor([[1.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    expected = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert torch.equal(preparation.row_normalized(x), expected)
    assert torch.equal(preparation.row_normalized(x.to(torch.uint8)), expected)
    sparse = SparseColumn([0, 2, 2, 3], [0, 1, 1], [1.0, 3.0, 2.0], (3, 3))
    made = preparation.row_normalized(sparse)
    assert isinstance(made, SparseColumn)
    assert torch.equal(made.to_dense(), expected)
    ones = SparseColumn([0, 2, 2, 3], [0, 1, 1], [1], (3, 3))
    half = preparation.row_normalized(ones).to_dense()
    assert half[0].tolist() == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("split", "sizes", "named"),
    [
        (
            {"train": 0.5, "val": 0.25, "runs": 3},
            [120, 60, 60],
            "split_random(train=0.5",
        ),
        (
            {"kind": "per_class", "per_class": 10, "num_val": 30, "num_test": 50},
            [30, 30, 50],
            "split_per_class(10",
        ),
    ],
)
def test_splits_are_made_and_named(root, split, sizes, named):
    made = recipe.load(toy_recipe(root, fit={"seeds": 1, "epochs": 1}), [])
    tree = made.model_dump(mode="json")
    tree["data"]["split"] = split
    result = recipe.run_recipe(tree)
    assert result.stamp.split.startswith(named)
    d = preparation.dataset(recipe.load(tree).data)
    assert [int(d.mask(s).sum()) for s in toy.SPLITS] == sizes


@pytest.mark.data
@pytest.mark.slow
def test_cora_reaches_the_published_accuracy(real_data):
    result = recipe.run_recipe(
        "cora_gcn",
        overrides=["fit.seeds=3", "fit.baselines=[]", f"data.root={real_data}"],
    )
    assert result.test.mean > 0.81
    assert result.stamp.split == "public Planetoid"
