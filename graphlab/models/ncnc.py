"""NCNC: neural common neighbours on a completed graph."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphlab import check, ops, sizes
from graphlab.graph import Graph
from graphlab.models.completion import (
    InnerLogits,
    chunks_within,
    sample_entries,
)
from graphlab.models.link_graph import LinkGraph
from graphlab.models.link_rows import (
    distinct_pairs,
    products,
)
from graphlab.models.ncn import NCN

# Sums over common neighbours of inner pairs that are held at a time: they stay in a cache.
_SUMS_BYTES = 1 << 26


class NCNC(NCN):
    r"""NCN on a completed graph: neighbours of one node count by the chance that they share.

    .. math:: c_{ij} = \sum_{u \in N(i) \cap N(j)} \hat h_u
              + \sum_{u \in N(i) \setminus N(j)} \omega_u\, q(s_{ju})\, \hat h_u
              + \sum_{u \in N(j) \setminus N(i)} \omega_u\, q(s_{iu})\, \hat h_u

    with :math:`s` the score one level below (NCN, of the same weights, at the first),
    :math:`q = \alpha\, p_t p_0 / (p_t p_0 + 1 - p_0)` and
    :math:`p_0 = \sigma(scale \cdot (s - offset))`.

    Args:
        hidden_channels, dropout, norm, last_linear, deep, neighbor_mlp, edge_dropout, beta:
            As for :class:`NCN`.
        depth: Levels of completion; 0 is NCN.
        scale: Of inner logits.
        offset: Of inner logits.
        prior: :math:`p_t`, which multiplies the odds: training has one negative for each
            positive, the world has many.
        alpha: Weight of completed neighbours; with more than 1, ``q`` may exceed 1.
        learned_prior: Learn :math:`p_t = \sigma(MLP(h_i \odot h_j))` in its place. Its
            parameters exist in any case, as in the release.
        train_limit: Most neighbours of one node alone that a pair looks at in training: as
            many are drawn with replacement and weighted (:math:`\omega`) so that the sum
            stays unbiased; None: all.
        test_limit: The same in evaluation.
        memory: Bytes that the lists of neighbours and inner scores may take at a time; does
            not change values.
        compat: ``reference``: inner levels see :math:`\hat h` in place of ``h``, so that
            :math:`g` acts twice, drop edges once more, and score repeated pairs anew, each
            with its own dropout, as the release does.

    Shapes:
        h [N, hidden_channels], pairs [2, B] -> [B].

    Cost:
        ``d(i) + d(j)`` inner pairs a pair; each distinct one is scored once a call, and once
        an evaluation inside :meth:`caching`.

    Source:
        As :class:`NCN`, eqs. 11 to 13; predictor ``incn1cn1`` of the release. Inner scores
        have no gradient, there as here. The two nodes of a pair are never their own
        neighbours here, also where the release scores them (edges of the graph that are not
        excluded, as in its citation2 run).
    """

    def __init__(
        self,
        hidden_channels: int,
        dropout: float = 0.0,
        norm: bool = True,
        last_linear: bool = False,
        deep: bool = False,
        neighbor_mlp: bool = True,
        edge_dropout: float = 0.0,
        beta: float = 1.0,
        depth: int = 1,
        scale: float = 5.0,
        offset: float = 3.0,
        prior: float = 0.5,
        alpha: float = 1.0,
        learned_prior: bool = False,
        train_limit: int | None = None,
        test_limit: int | None = None,
        memory: int | str = "1GiB",
        compat: Literal["reference"] | None = None,
    ) -> None:
        super().__init__(
            hidden_channels,
            dropout,
            norm,
            last_linear,
            deep,
            neighbor_mlp,
            edge_dropout,
            beta,
        )
        name = type(self).__name__
        check.positive(name, "depth", depth, least=0)
        for argument, limit in (
            ("train_limit", train_limit),
            ("test_limit", test_limit),
        ):
            if limit is not None:
                check.positive(name, argument, limit)
        if not 0 < prior < float("inf"):
            check.fail(ValueError, name, "prior", "be positive", prior)
        if compat not in (None, "reference"):
            check.fail(ValueError, name, "compat", "be 'reference' or None", compat)
        self.depth = depth
        self.scale, self.offset = scale, offset
        self.prior, self.alpha = prior, alpha
        self.learned_prior = learned_prior
        self.train_limit, self.test_limit = train_limit, test_limit
        self.compat = compat
        self.memory = sizes.parse(memory)
        width = hidden_channels
        self.prior_mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(
        self,
        h: Tensor,
        graph: Graph | LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None = None,
    ) -> Tensor:
        """Compute logits. [B]."""
        rows = self._rows(graph, h)
        return self._level(self.depth, h, self._neighbors(h), rows, pairs, exclude)

    def _level(
        self,
        depth: int,
        h: Tensor,
        h_hat: Tensor,
        rows: LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None,
    ) -> Tensor:
        if depth == 0:
            return self._score(h, h_hat, rows, pairs, exclude)
        # Lists, inner pairs and their keys, for both ends.
        parts = [
            self._completed(depth, h, h_hat, rows, pairs[:, part], exclude)
            for part in chunks_within(rows.degree, pairs, self.memory // 2, each=64)
        ]
        pooled = torch.cat(parts) if parts else h.new_zeros(0, h.shape[1])
        return self._combine(h, pairs, pooled)

    def _completed(
        self,
        depth: int,
        h: Tensor,
        h_hat: Tensor,
        rows: LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None,
    ) -> Tensor:
        """The sums over shared and completed neighbours. [B, width]."""
        sets = ops.common_neighbors_sets(rows.ptr, rows.idx, pairs, exclude=exclude)
        limit = self.train_limit if self.training else self.test_limit
        left = sample_entries(sets.left_ptr, sets.left_idx, limit)
        right = sample_entries(sets.right_ptr, sets.right_idx, limit)
        # A neighbour of one node is scored against the other.
        inner = torch.cat(
            [
                torch.stack([pairs[1][left.owner], left.idx.long()]),
                torch.stack([pairs[0][right.owner], right.idx.long()]),
            ],
            1,
        )
        logits = self._inner(depth - 1, h, h_hat, rows, inner, exclude)
        chance = torch.sigmoid(self.scale * (logits - self.offset))
        prior: Tensor | float = self.prior
        if self.learned_prior:
            of_pair = self.prior_mlp(products(h, pairs))[:, 0].sigmoid()
            prior = of_pair[torch.cat([left.owner, right.owner])]
        weight = self.alpha * prior * chance / (prior * chance + 1 - chance)
        if left.weight is not None and right.weight is not None:
            weight = weight * torch.cat([left.weight, right.weight]).to(weight.dtype)
        at_left, at_right = weight.split([len(left.idx), len(right.idx)])
        # The two sides are added first, so that a pair and its reverse agree to the bit.
        return ops.spmm(sets.ptr, sets.idx, h_hat) + (
            ops.spmm(left.ptr, left.idx, h_hat, weight=at_left)
            + ops.spmm(right.ptr, right.idx, h_hat, weight=at_right)
        )

    @torch.no_grad()
    def _inner(
        self,
        depth: int,
        h: Tensor,
        h_hat: Tensor,
        rows: LinkGraph,
        pairs: Tensor,
        exclude: Tensor | None,
    ) -> Tensor:
        """Logits of inner pairs, one level below; distinct pairs are scored once."""
        if self.compat == "reference":
            h = h_hat
            h_hat = self._neighbors(h)
            if self.training and self.edge_dropout:
                rows = rows.thinned(self.edge_dropout)
        else:
            # s(i, j) = s(j, i), so the order of a pair does not matter.
            low, high = pairs
            pairs = torch.stack([low.minimum(high), low.maximum(high)])

        def score(part: Tensor) -> Tensor:
            # A batch holds its sums, and about six rows of the MLPs where they are torch's.
            step = max(1, self.memory // 2 // (24 * h.shape[1]))
            step = min(step, _SUMS_BYTES // (4 * h.shape[1]))
            done = [
                self._level(depth, h, h_hat, rows, some, exclude)
                for some in part.split(step, 1)
            ]
            return torch.cat(done) if done else h.new_zeros(0)

        if self.compat == "reference" and self.training:
            return score(pairs)
        if self._kept is None or self.training:
            both, place = distinct_pairs(pairs, rows.num_nodes)
            return score(both)[place]
        key = pairs[0] * rows.num_nodes + pairs[1]
        known = self._kept.setdefault(f"level {depth}", InnerLogits(self.memory))
        return known.of(key, rows.num_nodes, score)
