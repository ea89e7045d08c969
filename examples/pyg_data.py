"""A PyTorch Geometric `Data` and a PyG model, with graphlab's loader and training.

The loader takes the `Data` as it is and gives `Data` batches with NeighborLoader's fields, so
PyG models and `trim_to_layer` work unchanged; the batches do not depend on threads.
"""

import torch
from torch_geometric.data import Data
from torch_geometric.nn import GraphSAGE

import graphlab as gl

# Your own Data: here, a small graph with three communities.
generator = torch.Generator().manual_seed(0)
y = torch.arange(600) % 3
pairs = torch.randint(600, (2, 20_000), generator=generator)
near = y[pairs[0]] == y[pairs[1]]
kept = near | (torch.rand(20_000, generator=generator) < 0.1)
data = Data(
    x=torch.randn(600, 16, generator=generator)
    + 0.5 * torch.nn.functional.one_hot(y, 16),
    edge_index=pairs[:, kept],
    y=y,
)

# 1. graphlab's loader in your own loop.
model = GraphSAGE(16, 32, num_layers=2, out_channels=3)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
loader = gl.sample.NeighborLoader(
    data, num_neighbors=[10, 5], batch_size=128, input_nodes=torch.arange(400), seed=0
)
for epoch in range(3):
    for batch in loader:
        out = model(batch.x, batch.edge_index)[: batch.batch_size]
        loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}")

# 2. Or hand both to graphlab: splits, seeds, early stopping, a run folder, a report.
d = gl.datasets.split_random(
    gl.Dataset.from_pyg(data), train=0.6, val=0.2, runs=3, seed=0
)
result = gl.tasks.node.fit(
    d,
    lambda i, o: GraphSAGE(i, 32, num_layers=2, out_channels=o),
    seeds=range(3),
    epochs=30,
)
print(f"test accuracy {result.test}")
