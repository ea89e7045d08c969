"""Embeddings of data sets from a few samples of each class: a Set Transformer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.graph import Graph

WIDTH = 40
_COMPONENTS = 32


class Attention(nn.Module):
    """Multi-head attention of queries to a set, with a feed-forward (MAB, no layer norm).

    Args:
        width: Of rows.
        heads: Divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, rows: Tensor) -> Tensor:
        """[B, q, width] and [B, n, width] -> [B, q, width]."""
        batch, count, width = queries.shape
        q, k, v = (
            layer(given)
            .view(batch, -1, self.heads, width // self.heads)
            .transpose(1, 2)
            for layer, given in ((self.q, queries), (self.k, rows), (self.v, rows))
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        h = queries + mixed.transpose(1, 2).reshape(batch, count, width)
        return h + self.out(h).relu()


class SetPool(nn.Module):
    """A set to one vector: two self-attentions, then attention of a learned seed.

    Args:
        inputs: Width of a row.
        width: Of the vector.
        heads: Attention heads.

    Source:
        Lee et al., "Set Transformer", ICML 2019 (SAB, SAB, PMA); widths as in MetaD2A and
        DiffusionNAG: 56 and 4 heads, no layer norm.
    """

    def __init__(self, inputs: int, width: int = 56, heads: int = 4) -> None:
        super().__init__()
        self.start = nn.Linear(inputs, width)
        self.first, self.second, self.pool = (Attention(width, heads) for _ in range(3))
        self.seed = nn.Parameter(torch.randn(1, 1, width) / width**0.5)
        self.end = nn.Linear(width, width)

    def forward(self, rows: Tensor) -> Tensor:
        """[B, n, inputs] -> [B, width]; the order of rows does not matter."""
        h = self.start(rows)
        h = self.first(h, h)
        h = self.second(h, h)
        seed = self.seed.expand(len(rows), -1, -1)
        return self.end(self.pool(seed, h)[:, 0])


class DatasetEncoder(nn.Module):
    """Samples of each class to a prototype, prototypes to the data set's vector.

    Args:
        inputs: Width of a sample.
        width: Of the embedding.

    Shapes:
        [classes, samples, inputs] -> [width].

    Example:
        >>> encoder = DatasetEncoder(5)
        >>> encoder(torch.rand(3, 4, 5)).shape
        torch.Size([56])
    """

    def __init__(self, inputs: int = WIDTH, width: int = 56) -> None:
        super().__init__()
        self.of_class, self.of_set = SetPool(inputs, width), SetPool(width, width)

    def forward(self, samples: Tensor) -> Tensor:
        """Embed one data set."""
        return self.of_set(self.of_class(samples)[None])[0]


def class_samples(
    x: Tensor, y: Tensor, graph: Graph, *, per_class: int = 20, seed: int = 0
) -> Tensor:
    """Describe a few nodes of each class so that data sets of any width compare.

    Each sample holds 32 principal components of the samples' features, in units of their
    largest deviation, and eight numbers: log degree, norm of the features, cosines with the
    mean of the neighbours, with the own class, with the nearest other class, share of
    sampled neighbours of the same class, log number of nodes and of features.

    Args:
        x: Features [N, F], dense.
        y: Class ids [N]; only training nodes should have them (others: -1).
        graph: The graph.
        per_class: Samples of each class, drawn with replacement where it has fewer.
        seed: Names the draws.

    Returns:
        Float [classes, per_class, 40].
    """
    check.tensor("class_samples", "x", x, ndim=2)
    draw = torch.Generator().manual_seed(seed)
    classes = y[y >= 0].unique()
    picks = []
    for label in classes.tolist():
        members = (y == label).nonzero()[:, 0]
        if len(members) >= per_class:
            order = torch.randperm(len(members), generator=draw)[:per_class]
        else:
            order = torch.randint(len(members), (per_class,), generator=draw)
        picks.append(members[order])
    ids = torch.cat(picks)
    rows = x[ids].float()
    adjacency = graph.csc()
    around, agree, degree = [], [], []
    for i in ids.tolist():
        near = adjacency.idx[int(adjacency.ptr[i]) : int(adjacency.ptr[i + 1])].long()
        degree.append(float(len(near)))
        around.append(x[near].float().mean(0) if len(near) else torch.zeros(x.shape[1]))
        known = y[near] >= 0
        same = (y[near] == y[i])[known].float()
        agree.append(float(same.mean()) if len(same) else 0.0)
    near_rows = torch.stack(around)
    unit = F.normalize(rows, dim=1)
    means = F.normalize(unit.view(len(classes), per_class, -1).mean(1), dim=1)
    to_class = unit @ means.T
    own = torch.arange(len(classes)).repeat_interleave(per_class)
    mine = to_class.gather(1, own[:, None])[:, 0]
    others = to_class.scatter(1, own[:, None], -1.0).max(1).values
    # Centred components; signs are fixed so that the largest entry is positive.
    centred = unit - unit.mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    components = torch.zeros(len(ids), _COMPONENTS)
    width = min(_COMPONENTS, len(s))
    components[:, :width] = (u * s)[:, :width] / s[0].clamp(min=1e-9)
    largest = components.gather(0, components.abs().argmax(0)[None])[0]
    components = components * torch.where(largest < 0, -1.0, 1.0)
    numbers = torch.stack(
        [
            torch.tensor(degree).log1p(),
            rows.norm(dim=1).log1p(),
            F.cosine_similarity(rows, near_rows, dim=1),
            mine,
            others,
            torch.tensor(agree),
            torch.full((len(ids),), float(graph.num_nodes)).log() / 10,
            torch.full((len(ids),), float(x.shape[1])).log() / 10,
        ],
        1,
    )
    return torch.cat([components, numbers], 1).view(len(classes), per_class, -1)
