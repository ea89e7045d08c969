"""Two processes under gloo train as one that accumulates their batches."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest
import torch

from graphlab.outofcore import plan
from tests.outofcore.test_damage import contents
from tests.outofcore.test_rolling import SHAPE

# Trains an epoch on a rank's part, uneven ends under Join; prints losses and the state.
CHILD = """
import json, sys
import torch, torch.distributed as dist
from torch.distributed.algorithms.join import Join
from torch.nn.parallel import DistributedDataParallel
from graphlab.outofcore import plan

store, path, rank, port, given = sys.argv[1:6]
rank = int(rank)
torch.set_num_threads(1)
dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
made = plan(store, [4, 3], None, path=path, rank=rank, **json.loads(given))
loader = made.loader(rank=rank, world_size=2)
torch.manual_seed(0)
model = DistributedDataParallel(torch.nn.Linear(300, 5))
optimiser = torch.optim.SGD(model.parameters(), 0.1)
losses, states = [], []
with Join([model]):
    for batch in loader:
        out = model(batch.x[: batch.batch_size])
        loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        states.append(loader.state_dict())
weight = model.module.weight.detach().double().sum()
print(json.dumps({"losses": losses, "state": states[9], "weight": float(weight),
                  "misses": loader.stats()["misses"]}))
loader.close()
dist.destroy_process_group()
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_two_ranks_equal_one_that_accumulates(make_store, tmp_path):
    _, store = make_store(**SHAPE)
    given = {
        "batch_size": 32,
        "memory": "3MiB",
        "disk": "16MiB",
        "mode": "replay",
        "world_size": 2,
    }
    # The two make their plan together; it is the one that one process makes.
    made = plan(store, [4, 3], None, path=tmp_path / "alone", **given)
    path = tmp_path / "plan"
    total = made.batches_per_epoch
    assert total % 2 == 1  # uneven
    port, text = free_port(), json.dumps(given)
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                CHILD,
                *map(str, (store.path, path, rank, port, text)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = []
    for child in children:
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
        told.append(json.loads(out.splitlines()[-1]))
    assert sum(len(t["losses"]) for t in told) == total
    assert contents(path) == contents(made.path)

    torch.manual_seed(0)
    model = torch.nn.Linear(300, 5)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    losses: list[list[float]] = [[], []]
    loader = made.loader()
    for number, batch in enumerate(loader):
        out = model(batch.x[: batch.batch_size])
        loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
        (loss / 2).backward()
        losses[number % 2].append(float(loss.detach()))
        if number % 2 == 1 or number + 1 == total:
            optimiser.step()
            optimiser.zero_grad()
    for rank in range(2):
        assert told[rank]["losses"] == pytest.approx(losses[rank], abs=1e-6)
    weight = float(model.weight.detach().double().sum())
    assert told[0]["weight"] == pytest.approx(weight, abs=1e-6)
    # Compiled for two ranks: nothing is read that was not packed.
    assert sum(t["misses"] for t in told) == made.totals["misses"]

    # Ten steps of two ranks are twenty batches; one process, or three, go on from there.
    state = told[0]["state"]
    assert state["batch"] == 20
    expected = [b.n_id for b in made.loader()][20:]
    alone = made.loader()
    alone.load_state_dict(state)
    assert all(torch.equal(a.n_id, b) for a, b in zip(alone, expected, strict=True))
    for rank in range(3):
        part = made.loader(rank=rank, world_size=3)
        part.load_state_dict(state)
        mine = [b.n_id for b in part]
        assert all(
            torch.equal(a, b) for a, b in zip(mine, expected[rank::3], strict=True)
        )
        part.close()
