"""Training on a CUDA device, end to end; run by `make gpu-check`."""

from __future__ import annotations

import functools

import pytest
import torch

import graphlab as gl
from graphlab.tasks import link, node
from tests.tasks import toy

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(scope="module")
def d():
    return toy.dataset()


def accuracy(result) -> float:
    assert all(0 <= value <= 1 for value in result.test.values)
    return result.test.mean


@pytest.mark.parametrize("name", ["GCN", "GAT", "SAGE"])
def test_node_full_batch(d, name):
    model = functools.partial(getattr(gl.models, name), hidden_channels=16)
    result = node.fit(d, model, seeds=[0], epochs=40, lr=0.01, device="cuda")
    assert accuracy(result) > 0.7
    trained = result.model(0)
    assert next(trained.parameters()).device.type == "cpu"


def test_node_batches(d):
    loader = gl.sample.NeighborLoader(d, [5, 5], 20, input_nodes="train")
    model = functools.partial(gl.models.SAGE, hidden_channels=16, num_layers=2)
    result = node.fit(
        d, model, loader=loader, seeds=[0], epochs=20, lr=0.01, device="cuda"
    )
    assert accuracy(result) > 0.7


def test_a_run_repeats_to_the_bit(d):
    fit = functools.partial(node.fit, d, gl.models.GCN, epochs=10, device="cuda")
    first, again = (fit(seeds=[0]) for _ in range(2))
    assert first.test.values == again.test.values
    for one, other in zip(
        first.model(0).parameters(), again.model(0).parameters(), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("head", ["gae", "ncn", "ncnc", "hadamard"])
def test_links(head):
    d = gl.datasets.generate(
        "sbm", num_nodes=150, num_edges=700, num_features=8, seed=0
    ).to_undirected()
    model = functools.partial(gl.models.link_model, head=head, hidden_channels=8)
    fit = functools.partial(
        link.fit, d, model, split=gl.datasets.split_links_ncn, metric="hits@20"
    )
    given = {"seeds": [0], "epochs": 3, "batch_size": 100, "lr": 0.01}
    here, there = fit(device="cpu", **given), fit(device="cuda", **given)
    assert 0 <= there.test.mean <= 1
    pairs = torch.tensor([[0, 1, 3], [5, 9, 2]])
    split = gl.datasets.split_links_ncn(d, 0)
    chance = there.predict(split, pairs)
    assert chance.shape == here.predict(split, pairs).shape
    assert ((chance > 0) & (chance < 1)).all()


@pytest.mark.parametrize("negatives", ["meta", "anchor", "meta2", "taylor2", "full"])
def test_pamc_loss_agrees_with_the_cpu(negatives):
    d = toy.dataset()
    h = torch.randn(d.num_nodes, 16, dtype=torch.float64)
    found = []
    for device in ("cpu", "cuda"):
        loss = gl.models.PamCLoss(negatives=negatives)
        z = h.to(device, copy=True).requires_grad_()
        value = loss(z, d.graph, assign=d.y.to(device))
        value.backward()
        found.append((value.detach().cpu(), z.grad.cpu()))
    torch.testing.assert_close(found[1], found[0])
