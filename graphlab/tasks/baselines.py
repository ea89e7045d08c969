"""Controls that stand beside a method: what the labels alone, or features alone, give."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphlab import progress
from graphlab.tasks import labels

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.settings import ClassWeights

# The control must not lose for want of steps where a graph model needs few epochs.
_MLP_EPOCHS = 200
_MLP_PATIENCE = 50


def majority(y: Tensor, num_outputs: int) -> Tensor:
    """Logits [outputs] that say the most frequent class (or each task's more frequent value).

    Args:
        y: Training labels, [n] or [n, tasks].
        num_outputs: Classes or tasks.
    """
    if y.dim() == 2:
        share = y.double().mean(0).clamp(1e-6, 1 - 1e-6)
        return torch.logit(share).float()
    count = torch.bincount(y, minlength=num_outputs)
    return (count.double() + 1e-6).log().float()


def features_only(d: Dataset) -> Dataset:
    """Return the nodes of all splits, without their edges."""
    from graphlab.datasets import Dataset, gather
    from graphlab.graph import Graph

    masks = {
        name: d.splits[name] for name in ("train", "val", "test") if name in d.splits
    }
    held = torch.zeros(d.num_nodes, dtype=torch.bool)
    for mask in masks.values():
        held |= mask if mask.dim() == 1 else mask.any(1)
    ids = held.nonzero()[:, 0]
    edges = torch.empty(2, 0, dtype=torch.int64)
    return Dataset(
        Graph(edges, num_nodes=len(ids)),
        x=gather(d.x, ids),
        y=labels.of("node.fit", d)[ids],
        splits={name: mask[ids] for name, mask in masks.items()},
        meta=d.meta,
    )


def mlp_scores(
    d: Dataset,
    seeds: list[int],
    *,
    lr: float,
    weight_decay: float,
    metric: str,
    class_weights: ClassWeights,
    device: str,
    run_dir: str | None,
) -> list[float]:
    """Train an MLP on the features and return its test score for each seed."""
    from graphlab.models import MLP
    from graphlab.tasks.node import fit

    progress.say("baseline: an MLP on the features, without the graph")
    result = fit(
        features_only(d),
        functools.partial(MLP),
        seeds=seeds,
        run_dir=run_dir,
        epochs=_MLP_EPOCHS,
        patience=_MLP_PATIENCE,
        lr=lr,
        weight_decay=weight_decay,
        metric=metric,
        class_weights=class_weights,
        device=device,
    )
    assert result.test is not None
    return list(result.test.values)
