"""Labels, checkpoints, callbacks: the small parts of a training run."""

from __future__ import annotations

import signal
import threading

import pytest
import torch
from torch.nn import functional

from graphlab.errors import StoreError
from graphlab.tasks import TensorBoard, checkpoint, interrupt, labels, node, target
from graphlab.tasks.environment import environment
from tests.tasks import toy


def test_losses_are_torchs():
    logits = torch.randn(6, 3)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor([1.0, 2.0, 3.0])
    expected = functional.cross_entropy(logits, y, weights)
    assert torch.equal(labels.loss(logits, y, weights), expected)
    tasks = (logits > 0).to(torch.uint8)
    expected = functional.binary_cross_entropy_with_logits(logits, tasks.float())
    assert torch.equal(labels.loss(logits, tasks), expected)
    single, two = logits[:, :1], (y > 0).long()
    both = torch.cat([torch.zeros_like(single), single], 1)
    expected = functional.cross_entropy(both, two)
    torch.testing.assert_close(labels.loss(single, two), expected)
    torch.testing.assert_close(
        labels.probabilities(single, 1), labels.probabilities(both, 1)
    )
    with pytest.raises(
        ValueError, match=r"each of the labels \[6\], got shape \[5, 3\]"
    ):
        labels.loss(logits[:5], y)


def test_balanced_weights_give_every_class_the_same_say():
    y = torch.tensor([0, 0, 0, 1, 2, 2])
    weights = labels.class_weights("fit", "balanced", y, 3)
    total = torch.zeros(3).index_add(0, y, weights[y])
    torch.testing.assert_close(total, torch.full((3,), 2.0))
    tasks = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 1]])
    assert labels.class_weights("fit", "balanced", tasks, 2).tolist() == [3.0, 1.0]
    assert labels.class_weights("fit", None, y, 3) is None


def test_checkpoints_hold_any_optimiser_state(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.8, 0.9), amsgrad=True)
    model(torch.randn(4, 3)).sum().backward()
    optimiser.step()
    state = {
        "optimiser": optimiser.state_dict(),
        "plain": [None, True, 1.5, float("inf"), "text", (1, 2)],
        3: torch.tensor(7, dtype=torch.int32),
    }
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, {**model.state_dict(), "tied": model.weight}, state)
    tensors, back = checkpoint.read(path)
    assert torch.equal(tensors["weight"], model.weight)
    assert torch.equal(tensors["tied"], model.weight)
    assert back["plain"] == state["plain"]
    assert back[3].dtype == torch.int32
    other = torch.optim.AdamW(model.parameters())
    other.load_state_dict(back["optimiser"])
    assert str(other.state_dict()) == str(optimiser.state_dict())
    with pytest.raises(
        TypeError, match="plain values and tensors, got object at state"
    ):
        checkpoint.write(path, {}, {"a": object()})
    with pytest.raises(TypeError, match=r"has the key \(1, 2\)"):
        checkpoint.write(path, {}, {(1, 2): 3})
    with pytest.raises(StoreError, match="expected weights of Linear"):
        checkpoint.load_weights(model, {"weight": torch.ones(2, 3)}, path)


def test_tensorboard_gets_every_epoch(tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    d = toy.dataset()
    loader = toy.Loader(d, d.ids("train"))
    sink = TensorBoard(tmp_path)
    result = node.fit(
        d, toy.Mean, loader=loader, seeds=[0, 1], epochs=3, callbacks=[sink]
    )
    for place, seed in enumerate(result.seeds):
        seen = EventAccumulator(str(tmp_path / f"seed-{seed}")).Reload()
        assert [e.step for e in seen.Scalars("loss")] == [0, 1, 2]
        assert {"valid", "seconds", "loader/hits"} <= set(seen.Tags()["scalars"])
        final = seen.Scalars("final/test")[0].value
        assert final == pytest.approx(result.test.values[place])


def test_a_second_signal_acts_at_once():
    with interrupt.listen() as request:
        assert not request
        signal.raise_signal(signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_change_no_handlers():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def listen():
        with interrupt.listen() as request:
            seen.append((bool(request), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_aliases_reach_classes():
    for alias, path in target.ALIASES.items():
        assert target.expand(path) == path
        assert target.load(alias).__name__ == path.partition(":")[2]


def test_the_environment_says_what_ran():
    found = environment()
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert isinstance(found["native"], bool)
