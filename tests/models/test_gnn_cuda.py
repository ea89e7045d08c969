from __future__ import annotations

import copy

import pytest
import torch

from graphlab import models
from graphlab.graph import Graph

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("name", ["MLP", "GCN", "SAGE", "GAT", "GCNII"])
def test_cuda_agrees_with_the_cpu(name):
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 200, (2, 1500), generator=generator)
    graph, x = Graph(edges, num_nodes=200), torch.randn(200, 12, generator=generator)
    torch.manual_seed(0)
    on_cpu = getattr(models, name)(12, 3, 8).double().eval()
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
    inferred = models.layerwise(on_cuda, x, graph, chunk=64, device="cuda")
    torch.testing.assert_close(inferred, results[0][0])
