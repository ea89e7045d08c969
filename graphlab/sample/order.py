"""Which seeds make up which batch: a function of (seed, epoch), known in advance."""

from __future__ import annotations

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops import rng

# Names the stream of an epoch's order beside those of its batches, which are >= 0.
ORDER = -1


def seed_batches(
    num_inputs: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool,
    drop_last: bool = False,
) -> list[Tensor]:
    """Cut the positions ``0 .. num_inputs - 1`` into the batches of one epoch.

    Args:
        num_inputs: Number of input nodes (or input edges).
        batch_size: Positions per batch; the last batch takes what remains.
        seed: Seed of the run.
        epoch: Epoch, from 0; another epoch has another order.
        shuffle: Draw a random order; otherwise positions ascend.
        drop_last: Leave out a last batch that is not full.

    Returns:
        Positions per batch, int64 each; they index the loader's ``input_nodes``.

    Raises:
        TypeError: a count is not an int.
        ValueError: a count is below its least value.

    Cost:
        O(n log n) time and 24 bytes per input; the batches are views of one order.

    Example:
        >>> [b.tolist() for b in seed_batches(5, 2, seed=0, epoch=0, shuffle=False)]
        [[0, 1], [2, 3], [4]]
    """
    name = "seed_batches"
    check.positive(name, "num_inputs", num_inputs, least=0)
    check.positive(name, "batch_size", batch_size)
    check.positive(name, "epoch", epoch, least=0)
    if shuffle:
        order = torch.from_numpy(
            rng.permutation(rng.key(seed, epoch, ORDER), num_inputs)
        )
    else:
        order = torch.arange(num_inputs)
    batches = [b for b in order.split(batch_size) if b.numel()]
    if drop_last and batches and batches[-1].numel() < batch_size:
        batches.pop()
    return batches


def num_batches(num_inputs: int, batch_size: int, *, drop_last: bool = False) -> int:
    """Length of what :func:`seed_batches` returns.

    Example:
        >>> num_batches(5, 2), num_batches(5, 2, drop_last=True)
        (3, 2)
    """
    return num_inputs // batch_size if drop_last else -(-num_inputs // batch_size)
