"""Steps of an NCN and an NCNC epoch against the release's formulation, re-expressed in torch.

Same model, weights, batch and graph; a step is forward, backward, update. The release's
steps: a new symmetric sparse adjacency without the batch, sorted; the convolution on it;
both overlaps by searching packed keys, a sparse matrix of pairs x nodes; for NCNC all
residual pairs scored one by one in pieces. Once with dropout off, so that losses and
gradients are compared, and once with the published dropout, as an epoch has it, whose random
draws cannot be compared.

An epoch is steps over all edges of the graph; one of NCNC takes the release about ten
minutes and is run once.

    python -m benchmarks.models.link_epoch [--quick]
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import harness
from benchmarks.graphs import chung_lu
from benchmarks.harness import Case, Contender, Trial
from benchmarks.ops.common_neighbors import SIZES, by_search
from graphlab import Graph, memory
from graphlab.models import LinkModel, link_model, link_preset

# Positives of the timed step, as published; as many negatives.
PAIRS = 65_536
HEADS = ("ncn", "ncnc")
QUICK_PAIRS = 200
# Pieces in which the release scores residual pairs (its option splitsize).
SPLIT = 131_072


def release_adjacency(
    half: Tensor, batch: Tensor, n: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the graph without the batch, as the release makes them: by a sort.

    Args:
        half: [2, E]: every edge once.
        batch: Positions of the batch's edges among them.
        n: Number of nodes.
    """
    keep = torch.ones(half.shape[1], dtype=torch.bool)
    keep[batch] = False
    left, right = half[:, keep]
    key = torch.cat([left * n + right, right * n + left]).sort().values
    row, col = key // n, key % n
    ptr = torch.cat([key.new_zeros(1), torch.bincount(row, minlength=n).cumsum(0)])
    return ptr, col, row


def residuals(ptr: Tensor, idx: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbours of the first node of each pair that are none of the second's."""
    lists = []
    for node in pairs:
        start, count = ptr[node], ptr[node + 1] - ptr[node]
        pair = torch.repeat_interleave(torch.arange(len(node)), count)
        offset = torch.arange(len(pair)) - (count.cumsum(0) - count)[pair]
        lists.append((pair << 32) | idx[start[pair] + offset].long())
    mine, others = lists
    if len(others):
        place = torch.searchsorted(others[:-1], mine)
        mine = mine[others[place] != mine]
    return mine >> 32, mine & 0xFFFFFFFF


def pooled(row: Tensor, col: Tensor, weight: Tensor, count: int, x: Tensor) -> Tensor:
    matrix = torch.sparse_coo_tensor(
        torch.stack([row, col]), weight, (count, x.shape[0]), check_invariants=False
    )
    return torch.sparse.mm(matrix, x)


def plain(layers: torch.nn.Module, x: Tensor) -> Tensor:
    """Layers one by one, by torch's own modules."""
    return torch.nn.Sequential.forward(layers, x)  # type: ignore[arg-type]


class Release:
    """The release's step on the weights of one of our models."""

    def __init__(self, model: LinkModel, half: Tensor, n: int) -> None:
        self.model, self.half, self.n = model, half, n

    def __call__(self, x: Tensor, batch: Tensor, neg: Tensor) -> Tensor:
        encoder, head = self.model.encoder, self.model.head
        ptr, idx, row = release_adjacency(self.half, batch, self.n)
        x = F.dropout(x, encoder.feature_dropout)
        kept = F.dropout(torch.ones(len(idx)), encoder.edge_dropout)
        scale = (torch.zeros(self.n).index_add_(0, row, kept) + 1).rsqrt()
        h = F.linear(x, encoder.convs[0].weight)
        weight = scale[row] * scale[idx] * kept
        h = pooled(row, idx, weight, self.n, h) + scale[:, None] ** 2 * h
        h = encoder.norms[0](h + encoder.convs[0].bias)
        h = F.dropout(h, encoder.dropout).relu()
        if encoder.residual and x.shape == h.shape:
            h = x + h
        h_hat = h + plain(head.neighbor_mlp, h)
        pairs = torch.cat([self.half[:, batch], neg], 1)
        logits = self.level(head, getattr(head, "depth", 0), h, h_hat, ptr, idx, pairs)
        return loss_of(logits, len(batch))

    def level(
        self,
        head: Any,
        depth: int,
        h: Tensor,
        h_hat: Tensor,
        ptr: Tensor,
        idx: Tensor,
        pairs: Tensor,
    ) -> Tensor:
        count = pairs.shape[1]
        row, col = by_search(ptr, idx, pairs)
        total = pooled(row, col, torch.ones(len(col)), count, h_hat)
        if depth:
            for side in (0, 1):
                both = pairs if side == 0 else pairs.flip(0)
                row, col = residuals(ptr, idx, both)
                keep = (col != pairs[0][row]) & (col != pairs[1][row])
                row, col = row[keep], col[keep]
                inner = torch.stack([both[1][row], col])
                with torch.no_grad():
                    scores = torch.cat(
                        [
                            self.level(head, depth - 1, h, h_hat, ptr, idx, part)
                            for part in inner.split(SPLIT, 1)
                        ]
                    )
                chance = torch.sigmoid(head.scale * (scores - head.offset))
                odds = head.prior * chance
                weight = head.alpha * odds / (odds + 1 - chance)
                total = total + pooled(row, col, weight, count, h_hat)
        product = h[pairs[0]] * h[pairs[1]]
        joined = head.beta * plain(head.common_mlp, total)
        joined = joined + plain(head.pair_mlp, product)
        return plain(head.score_mlp, joined)[:, 0]


def loss_of(logits: Tensor, count: int) -> Tensor:
    return -(F.logsigmoid(logits[:count]).mean() + F.logsigmoid(-logits[count:]).mean())


def setup(head: str, dropout: bool, epoch: bool, quick: bool, seed: int) -> Trial:
    n, num_edges, decay, *_ = (
        (2_000, 10_000, 0.5) if quick else SIZES["collab-like"][:3]
    )
    ptr, idx = chung_lu(n, num_edges, decay)
    row = torch.repeat_interleave(torch.arange(n), ptr.diff())
    half = torch.stack([row, idx.long()])[:, row < idx].contiguous()
    graph = Graph.from_csc(ptr, idx)
    torch.manual_seed(seed)
    x = torch.randn(n, 128)
    settings = link_preset("ogbl-collab", head)["model"]
    if not dropout:
        settings |= {key: 0.0 for key in settings if key.endswith("dropout")}
    model = link_model(128, n, **settings).train()
    count = QUICK_PAIRS if quick else PAIRS
    order = torch.randperm(half.shape[1])
    batches = list(order.split(count))[: None if epoch else 1]
    negatives = [torch.randint(n, (2, len(batch))) for batch in batches]
    release = Release(model, half, n)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    start = {k: v.clone() for k, v in model.state_dict().items()}

    def step(loss: Any) -> list[Tensor]:
        value = loss()
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        used = [p.grad for p in model.parameters() if p.grad is not None]
        grads = [value.detach(), *(g.clone() for g in used)]
        optimiser.step()
        return grads

    def ours(batch: Tensor, neg: Tensor) -> Tensor:
        pos = half[:, batch].contiguous()
        logits = model(x, graph, torch.cat([pos, neg], 1), exclude=pos)
        return loss_of(logits, len(batch))

    def steps(loss: Any) -> list[Tensor]:
        for batch, neg in zip(batches, negatives, strict=True):
            last = step(functools.partial(loss, batch, neg))
        return last

    def fresh() -> None:
        model.load_state_dict(start)

    def agree(mine: list[Tensor], expected: list[Tensor]) -> None:
        for a, b in zip(mine, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4)

    peer = functools.partial(steps, functools.partial(release, x))
    return Trial(
        [
            Contender("graphlab", functools.partial(steps, ours), prepare=fresh),
            Contender("release in torch", peer, ["torch"], prepare=fresh),
        ],
        None if dropout else agree,
    )


def cases(quick: bool) -> Iterable[Case]:
    n, num_edges, decay, *_ = SIZES["collab-like"]
    count = QUICK_PAIRS if quick else PAIRS
    for head, epoch, dropout in (
        ("ncn", True, True),
        ("ncn", False, True),
        ("ncn", False, False),
        ("ncnc", True, True),
        ("ncnc", False, True),
        ("ncnc", False, False),
    ):
        how = "published dropout" if dropout else "dropout off"
        yield Case(
            f"{head} {'epoch' if epoch else 'step'}, collab-like, {how}",
            functools.partial(setup, head, dropout, epoch, quick),
            {
                "graph": f"Chung-Lu, {n:,} nodes, {num_edges:,} undirected edges "
                f"drawn, weights (rank + 10)^-{decay}",
                "model": f"{head}, settings of ogbl-collab, {how}",
                "pairs": f"{count:,} positives and as many negatives",
                "steps_an_epoch": -(-num_edges // count),
                "freed_memory": "kept, for both contenders",
                "dtype": "float32",
            },
            # Long runs vary little.
            repeats=1 if head == "ncnc" else 3 if epoch else 5,
            warmups=0,
        )


if __name__ == "__main__":
    # torch says that its sparse rows are in beta.
    warnings.simplefilter("ignore")
    # Both contenders have the allocator of `tasks.link.fit`, which helps both.
    with memory.keep_freed():
        harness.main("link_epoch", cases)
