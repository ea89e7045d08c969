"""Your own nn.Module in graphlab's training: nothing to register, nothing to inherit.

`fit` calls the factory with (in_channels, out_channels) once a seed, and the model with
`(x, edge_index)`. A model that also takes `num_sampled_nodes` and `num_sampled_edges` is given
the counts a hop and can leave out what later layers do not need.
"""

import tempfile
from functools import partial

import torch
from torch import nn

import graphlab as gl


class GatedSum(nn.Module):
    """Two layers that add up gated messages: h_i = W x_i + sum_j sigmoid(G x_j) * V x_j."""

    def __init__(self, in_channels: int, out_channels: int, hidden: int = 32):
        super().__init__()
        widths = [(in_channels, hidden), (hidden, out_channels)]
        self.own = nn.ModuleList(nn.Linear(*w) for w in widths)
        self.message = nn.ModuleList(nn.Linear(*w) for w in widths)
        self.gate = nn.ModuleList(nn.Linear(*w) for w in widths)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        source, target = edge_index
        for layer, own in enumerate(self.own):
            messages = torch.sigmoid(self.gate[layer](x)) * self.message[layer](x)
            out = own(x)
            x = out.index_add(0, target, messages[source])
            if layer == 0:
                x = torch.relu(x)
        return x


d = gl.datasets.generate(
    "sbm", num_nodes=2000, num_edges=16_000, num_features=16, seed=0
)
d = gl.datasets.split_random(d, train=0.6, val=0.2, runs=2, seed=0)
folder = tempfile.mkdtemp()

# The whole graph at once, two seeds; `partial` sets arguments of the model.
result = gl.tasks.node.fit(
    d,
    partial(GatedSum, hidden=16),
    seeds=range(2),
    epochs=20,
    run_dir=f"{folder}/gated",
)
# The honest control beside it: the same features without the graph.
control = gl.tasks.node.fit(
    d, gl.models.MLP, seeds=range(2), epochs=20, run_dir=f"{folder}/mlp"
)
print(f"gated sum {result.test}, MLP {control.test}")
page = gl.report.html([result, control], f"{folder}/report.html")
print(f"report: {page}")
