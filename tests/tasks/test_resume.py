from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from graphlab import progress
from graphlab.errors import GraphlabError, StoreError
from graphlab.tasks import Callback, Interrupted, Result, node
from graphlab.tasks.runs import RunFolder
from tests.tasks import killed, toy


def lines(folder: Path, *drop: str) -> list[dict]:
    """The log without what may differ between two runs: times."""
    found = [json.loads(t) for t in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in found:
        for key in ("seconds", "eval_seconds", *drop):
            line.pop(key, None)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.parent.name}/{path.stem}/{name}": value
        for path in sorted(folder.glob("seed-*/*.safetensors"))
        for name, value in safetensors.torch.load_file(path).items()
    }


def assert_equal_runs(first: Path, second: Path) -> None:
    assert lines(first) == lines(second)
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("kind", ["state", "full"])
def test_a_killed_run_continues_to_the_same_bits(tmp_path, kind):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    d, loader = killed.loaders(kind)
    arguments = {"loader": loader, **killed.SETTINGS}
    expected = node.fit(d, toy.Mean, run_dir=whole, **arguments)
    command = [sys.executable, "-m", "tests.tasks.killed", str(broken), kind]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert child.returncode == -signal.SIGKILL, child.stderr
    finished = json.loads((broken / "seed-0" / "state.json").read_text())
    assert not (broken / "seed-1" / "state.json").exists()
    assert not (broken / "result.json").exists()

    started = []

    class Heard(Callback):
        def on_run_start(self, seed, config):
            started.append(seed)

    result = node.fit(d, toy.Mean, run_dir=broken, callbacks=[Heard()], **arguments)
    assert started == [1]  # the finished seed is not run again
    assert result.valid.values == expected.valid.values
    assert result.test.values == expected.test.values
    assert json.loads((broken / "seed-0" / "state.json").read_text()) == finished
    assert_equal_runs(whole, broken)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("kind", "death"),
    [("state", (0, 0, 0)), ("state", (0, 2, 7)), ("stateless", (1, 1, 5))],
)
def test_a_run_that_failed_anywhere_continues(tmp_path, kind, death):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    d, loader = killed.loaders(kind)

    def failing(seed):
        class Failing(type(loader(seed))):
            def __iter__(self):
                for number, batch in enumerate(super().__iter__(), self.next):
                    if (self.seed, self.epoch, number) == death:
                        raise Stop
                    yield batch

        return Failing(d, d.ids("train"), seed, size=8)

    failing.__qualname__ = loader.__qualname__
    settings = {**killed.SETTINGS, "checkpoint_batches": 3}
    with pytest.raises(Stop):
        node.fit(d, toy.Mean, loader=failing, run_dir=broken, **settings)
    node.fit(d, toy.Mean, loader=loader, run_dir=broken, **settings)
    node.fit(d, toy.Mean, loader=loader, run_dir=whole, **killed.SETTINGS)
    assert_equal_runs(whole, broken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_go_on_and_stops(tmp_path, capsys, number):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    d, loader = killed.loaders("state")
    settings = {**killed.SETTINGS, "loader": loader}

    class Signal(toy.Loader):
        def __iter__(self):
            for batch_number, batch in enumerate(super().__iter__()):
                if (self.seed, self.epoch, batch_number) == (0, 1, 4):
                    os.kill(os.getpid(), number)
                yield batch

    def signalled(seed):
        return Signal(d, d.ids("train"), seed, size=8)

    signalled.__qualname__ = loader.__qualname__
    handler = signal.getsignal(number)
    node.fit(d, toy.Mean, run_dir=whole, **settings)
    with pytest.raises(Interrupted, match="seed 0, epoch 1, batch 5; run the same"):
        node.fit(d, toy.Mean, run_dir=broken, **{**settings, "loader": signalled})
    said = capsys.readouterr().err
    assert said.count(f"run the same command to continue from {broken}") == 1
    assert signal.getsignal(number) is handler
    node.fit(d, toy.Mean, run_dir=broken, **settings)
    assert "seed 0: continuing at epoch 1, batch 5" in capsys.readouterr().err
    assert_equal_runs(whole, broken)
    with pytest.raises(Interrupted, match="without a run_dir nothing is kept"):
        node.fit(d, toy.Mean, **{**settings, "loader": signalled})


def test_seeds_can_be_added_and_a_finished_run_is_read_back(tmp_path):
    d = toy.dataset()
    settings = {"epochs": 4, "lr": 0.05}
    node.fit(d, toy.Mean, seeds=[0, 1], run_dir=tmp_path / "a", **settings)
    grown = node.fit(d, toy.Mean, seeds=range(3), run_dir=tmp_path / "a", **settings)
    whole = node.fit(d, toy.Mean, seeds=range(3), run_dir=tmp_path / "b", **settings)
    assert_equal_runs(tmp_path / "a", tmp_path / "b")
    again = node.fit(d, toy.Mean, seeds=range(3), run_dir=tmp_path / "a", **settings)
    assert again.to_json() == grown.to_json()
    assert again.test.values == whole.test.values
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    with pytest.raises(ValueError, match=r"begin with the seeds \[0, 1, 2\]"):
        node.fit(d, toy.Mean, seeds=[1, 0], run_dir=tmp_path / "a", **settings)


def test_seeds_of_several_commits_say_so(tmp_path):
    d = toy.dataset()
    result = node.fit(d, toy.Mean, seeds=[0, 1], epochs=2, run_dir=tmp_path)
    path = tmp_path / "seed-0" / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "commits": ["0123abc"]}))
    back = Result.load(tmp_path)
    assert back.stamp.commit == f"0123abc,{result.stamp.commit}"


def test_another_config_is_refused_by_key(tmp_path):
    d = toy.dataset()
    run = {"seeds": [0], "run_dir": tmp_path, "epochs": 2}
    node.fit(d, toy.Mean, lr=0.05, **run)
    with pytest.raises(ValueError, match=r"fit.lr = 0.05 there and 0.01 now in "):
        node.fit(d, toy.Mean, lr=0.01, **run)
    with pytest.raises(ValueError, match=r"stamp.masks = '\w{8}' there"):
        node.fit(toy.dataset(seed=1), toy.Mean, lr=0.05, **run)
    # How often it is saved and who started it are free.
    node.fit(d, toy.Mean, lr=0.05, checkpoint_seconds=5.0, **run)


def test_the_log_has_the_promised_lines(tmp_path):
    d = toy.dataset()
    node.fit(d, toy.Mean, seeds=[3], run_dir=tmp_path, epochs=2)
    found = lines(tmp_path)
    assert [line["event"] for line in found] == ["epoch", "epoch", "run", "done"]
    assert {line["schema"] for line in found} == {1}
    assert {"seed", "epoch", "loss", "valid", "loader"} <= set(found[0])
    assert found[2]["test"] == found[3]["test"]["values"][0]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"] == {"target": "tests.tasks.toy:Mean"}
    assert config["fit"]["epochs"] == 2
    assert {"cpu", "memory", "threads", "torch"} <= set(config["environment"])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["run_dir"] == str(tmp_path)
    assert result["parameters"] == {"model": 323}


def test_damage_and_foreign_folders_are_named(tmp_path):
    d = toy.dataset()
    run = {"seeds": [0], "run_dir": tmp_path / "run", "epochs": 2}
    node.fit(d, toy.Mean, **run)
    (tmp_path / "run" / "seed-0" / "state.json").unlink()
    last = tmp_path / "run" / "seed-0" / "last.safetensors"
    content = last.read_bytes()
    last.write_bytes(content[:100])
    with pytest.raises(StoreError, match=r"last.safetensors: expected a checkpoint"):
        node.fit(d, toy.Mean, **run)
    last.write_bytes(content)
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(StoreError, match=r"config.json: expected a JSON object"):
        node.fit(d, toy.Mean, **run)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="be a run folder, got a data set or plan"):
        node.fit(d, toy.Mean, **{**run, "run_dir": tmp_path})


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    for place in ("taken", "taken/below"):
        with pytest.raises(
            ValueError, match=r"`run_dir` must be a folder, got .* a file is"
        ):
            RunFolder(tmp_path / place, {"task": "node", "seeds": [0]})


def test_two_processes_do_not_share_a_folder(tmp_path):
    folder = RunFolder(tmp_path, {"task": "link", "seeds": [0]})
    with pytest.raises(
        GraphlabError, match=r"link\.fit: `run_dir` .* in use by another process"
    ):
        RunFolder(tmp_path, {"task": "link", "seeds": [0]})
    folder.close()
    RunFolder(tmp_path, {"task": "link", "seeds": [0]}).close()
    with pytest.raises(
        ValueError, match="hold a run of the node task, got one of the link"
    ):
        RunFolder(tmp_path, {"task": "node", "seeds": [0]})


def test_progress_prints_plain_lines_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress.time, "monotonic", iter(range(0, 10**6, 20)).__next__)
    node.fit(toy.dataset(), toy.Mean, seeds=[0], epochs=3)
    said = capsys.readouterr().err
    assert "\r" not in said
    assert "seed 0: 1/3 epochs (33 %)" in said
    assert "left" in said
    assert "loss " in said


def test_saved_results_come_back_whole(tmp_path):
    d = toy.dataset()
    result = node.fit(d, toy.Mean, seeds=[0, 1], epochs=4, lr=0.05)
    assert result.save(tmp_path / "kept") == tmp_path / "kept"
    back = Result.load(tmp_path / "kept")
    assert back.test == result.test
    assert back.valid == result.valid
    for seed in (None, 0, 1):
        assert torch.equal(back.predict(d, seed=seed), result.predict(d, seed=seed))
    with pytest.raises(ValueError, match="`seed` must be one of 0, 1, got 7"):
        back.predict(d, seed=7)
    narrow = toy.dataset()
    narrow.x = d.x[:, :3]
    with pytest.raises(ValueError, match="have 8 features as in training, got 3"):
        back.predict(narrow)
    with pytest.raises(ValueError, match="be a run folder"):
        Result.load(tmp_path)


def test_results_of_models_that_cannot_be_imported(tmp_path):
    d = toy.dataset()

    def factory():
        return toy.Mean(toy.WIDTH, toy.NUM_CLASSES)

    result = node.fit(d, factory, seeds=[0], epochs=2, run_dir=tmp_path)
    assert result.save(tmp_path) == tmp_path
    with pytest.raises(ValueError, match=r"use Result.load\(path, model=factory\)"):
        Result.load(tmp_path).predict(d)
    back = Result.load(tmp_path, model=factory)
    assert torch.equal(back.predict(d), result.predict(d))
    (tmp_path / "seed-0" / "state.json").unlink()
    with pytest.raises(ValueError, match=r"be a finished run, got .* seed 0 is not"):
        Result.load(tmp_path)
