"""A plain auto-encoder, the start of deep clustering: what features alone say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab.models.sparse import Features, SparseRows, linear
from graphlab.ops import rng


class AutoEncoder(nn.Module):
    """ReLU layers down to a code and, mirrored, up again; code and output are linear.

    Args:
        in_channels: Features.
        hidden: Widths between features and code.
        dim: Width of the code.

    Source: Xie et al., ICML 2016 (DEC): 500-500-2000-10; SDCN and PAMC use the same.

    Example:
        >>> AutoEncoder(8, (16,), 2)(torch.zeros(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self, in_channels: int, hidden: Sequence[int] = (500, 500, 2000), dim: int = 10
    ) -> None:
        super().__init__()
        widths = [in_channels, *hidden, dim]
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths[::-1]))

    def encode(self, x: Features) -> Tensor:
        """Codes of rows, dense or sparse. [N, dim]."""
        first, *rest = self.encoder
        assert isinstance(first, nn.Linear)
        h = linear(x, first)
        for layer in rest:
            h = layer(F.relu(h))
        return h

    def decode(self, code: Tensor) -> Tensor:
        """Rows from codes. [N, in_channels]."""
        *rest, last = self.decoder
        for layer in rest:
            code = F.relu(layer(code))
        out: Tensor = last(code)
        return out

    def forward(self, x: Features) -> Tensor:
        """Reconstruct rows."""
        return self.decode(self.encode(x))


def pretrain(
    model: AutoEncoder,
    x: Features,
    *,
    epochs: int = 30,
    lr: float = 1e-3,
    batch_size: int = 256,
    seed: int = 0,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train an auto-encoder on the mean squared error of its reconstruction.

    Args:
        model: The model, changed in place.
        x: [N, in_channels], dense or sparse.
        epochs: Passes over all rows.
        lr: Of Adam.
        batch_size: Rows of a step.
        seed: Of the order of rows, drawn anew for each epoch.
        on_epoch: Hears the epoch and its mean loss.

    Source: data/pretrain.py of bdy9527/SDCN: 30 epochs, Adam, 1e-3, batches of 256.
    """
    # On the CPU the fused step costs a third of the others.
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    num_rows = x.shape[0]
    for epoch in range(epochs):
        order = torch.from_numpy(rng.permutation(rng.key(seed, epoch), num_rows))
        total = 0.0
        for ids in order.split(batch_size):
            target = dense_rows(x, ids)
            loss = F.mse_loss(model(target), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(ids)
        if on_epoch is not None:
            on_epoch(epoch, total / num_rows)


def dense_rows(x: Features, ids: Tensor) -> Tensor:
    """Some rows, dense. [n, F]."""
    if not isinstance(x, SparseRows):
        return x[ids.to(x.device)]
    start = x.ptr[ids]
    count = x.ptr[ids + 1] - start
    place = torch.repeat_interleave(torch.arange(len(ids)), count)
    before = count.cumsum(0) - count
    position = torch.arange(len(place)) + (start - before)[place]
    out = torch.zeros(len(ids), x.shape[1], dtype=x.dtype)
    out[place, x.idx[position].long()] = x.value[position]
    return out
