from __future__ import annotations

import copy

import pytest
import torch

from graphlab import models
from graphlab.graph import Graph

pytestmark = pytest.mark.cuda


def agree(make):
    """Rows and gradients of a model on both devices, from a Graph and from edges."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 200, (2, 1500), generator=generator)
    graph, x = Graph(edges, num_nodes=200), torch.randn(200, 12, generator=generator)
    torch.manual_seed(0)
    on_cpu = make().double().eval()
    on_cuda = copy.deepcopy(on_cpu).cuda()
    results = []
    for model, structure in (
        (on_cpu, graph),
        (on_cuda, graph),
        (on_cuda, edges.cuda()),
    ):
        model.zero_grad()
        device = next(model.parameters()).device
        out = model(x.double().to(device), structure)
        out.square().sum().backward()
        results.append([out, *(p.grad.clone() for p in model.parameters())])
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            torch.testing.assert_close(theirs.cpu(), ours)
    return on_cuda, x, graph, results[0][0]


@pytest.mark.parametrize("name", ["MLP", "GCN", "SAGE", "GAT", "GCNII"])
def test_cuda_agrees_with_the_cpu(name):
    on_cuda, x, graph, expected = agree(lambda: getattr(models, name)(12, 3, 8))
    inferred = models.layerwise(on_cuda, x, graph, chunk=64, device="cuda")
    torch.testing.assert_close(inferred, expected.float())  # it stores float32


def augmenter():
    return models.LocalAugmenter(12, 2, 8, "gaussian")


MADE = {
    "DirGNN": lambda: models.DirGNN(12, 3, 8),
    "MagNet": lambda: models.MagNet(12, 3, 8),
    "GRAND": lambda: models.GRAND(12, 3, 8, order=3),
    "ADPA": lambda: models.ADPA(12, 3, 8),
    "ADPA, no diagonal": lambda: models.ADPA(12, 3, 8, drop_diagonal=True),
    "LAConcat": lambda: models.LAConcat(12, 3, augmenter(), hidden_channels=8),
}


@pytest.mark.parametrize("name", MADE)
def test_directed_and_augmented_models_agree_with_the_cpu(name):
    agree(MADE[name])


@pytest.mark.parametrize("name", ["LAConcat", "GRAND"])
def test_kept_draws_agree_with_the_cpu(name):
    if name == "GRAND":
        on_cpu = models.GRAND(12, 3, 8, order=3, augmenter=augmenter())
    else:
        on_cpu = models.LAConcat(12, 3, augmenter(), pool=3, hidden_channels=8)
    on_cuda = copy.deepcopy(on_cpu).cuda()
    x, edges = torch.randn(50, 12), torch.randint(0, 50, (2, 300))
    kept = []
    for model, device in ((on_cpu, "cpu"), (on_cuda, "cuda")):
        there = x.to(device)  # what is kept lives as long as it does
        views = model.views(there, edges.to(device))
        assert all(view.device.type == device for view in views)
        kept.append(model._kept[1].cpu())
    torch.testing.assert_close(*kept)
    # Without a seed of its own, what every pass draws comes from the device's generator.
    every = models.LAConcat(12, 3, augmenter(), hidden_channels=8).cuda()
    assert len(every.views(x.cuda(), edges.cuda())) == every.num_views
