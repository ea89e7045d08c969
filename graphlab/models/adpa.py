"""ADPA: attention over hops, then over directed patterns, of rows propagated once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.datasets.column import SparseColumn
from graphlab.graph import Graph
from graphlab.graph.directed import PATTERNS, DirectedOperators, require_patterns
from graphlab.models.decoupled import Decoupled
from graphlab.models.dense import DenseLayers
from graphlab.models.sparse import Features, columns, features, normalised

HOP_ATTENTION = ("original", "simple", "gate", "ori_ref", "none")
_SHORTEST = 1e-12  # rows of zeros stay
_COLUMNS = 256  # of features, propagated at a time for their rows' lengths
PATTERN_ATTENTION = ("original", "gate", "ori_ref", "jk", "none")


# Operators and lengths of rows, by graph; of the last way that was asked for.
_OPERATED: weakref.WeakKeyDictionary[Graph, dict[Any, Any]]
_OPERATED = weakref.WeakKeyDictionary()


class HopAttention(nn.Module):
    r"""Weighted sum of a pattern's hops: :math:`\sum_l \alpha_l X_l`, node by node.

    :math:`\alpha = \mathrm{softmax}_l(\sigma(s_l))` with the score :math:`s_l` of

    * ``original``: :math:`w^\top [X_0, .., X_K, X_l] + b`;
    * ``ori_ref``: :math:`w^\top [X_0, X_l] + b`;
    * ``gate``: :math:`w^\top X_l + b`;
    * ``simple``: one scalar for each hop;
    * ``none``: the plain sum.

    Args:
        channels: Width of a hop.
        hops: K; there are K + 1 matrices.
        kind: One of the above.
        scrambled: Repeat the release's reshaping of ``original`` and ``ori_ref``, in which a
            node gets the scores of other nodes.
        own_hop: Whether X_0 is one of the hops that are weighed; otherwise l = 1 .. K, and
            scores may still look at it.

    Shapes:
        first [n, channels], rest [n, K, channels] -> [n, channels].
    """

    def __init__(
        self,
        channels: int,
        hops: int,
        kind: str = "original",
        scrambled: bool = False,
        own_hop: bool = True,
    ) -> None:
        super().__init__()
        self.kind = check.one_of("HopAttention", "kind", kind, HOP_ATTENTION)
        self.hops, self.own_hop, self.scrambled = hops, own_hop, scrambled
        self.context = 0  # hops that every score of a node looks at
        if kind in ("original", "ori_ref"):
            self.context = hops + 1 if kind == "original" else 1
        if kind in ("original", "ori_ref", "gate"):
            bound = (channels * (self.context + 1)) ** -0.5
            shape = (self.context + 1, channels)
            self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.empty(1).uniform_(-bound, bound))
        elif kind == "simple":
            self.weight = nn.Parameter(torch.zeros(hops + 1))

    def forward(self, first: Tensor, rest: Tensor) -> Tensor:
        """Sum the hops."""
        if self.kind == "none":
            return first + rest.sum(1) if self.own_hop else rest.sum(1)
        alpha = self._alpha(self.scores(first, rest))
        if not self.own_hop:
            return torch.bmm(alpha[:, None], rest)[:, 0]
        weighted = torch.bmm(alpha[:, None, 1:], rest)[:, 0]
        return torch.addcmul(weighted, alpha[:, :1], first)

    def weigh(self, hops: Tensor, scores: Tensor) -> Tensor:
        """Weighted sum of maps of the hops [n, K + 1, width].

        ``scores`` [n, K + 1, context + 1] are the hops' products with ``weight``.
        """
        if self.kind == "none":
            return (hops if self.own_hop else hops[:, 1:]).sum(1)
        if self.kind == "simple":
            score = self.weight.expand(len(hops), -1)
        else:
            score = scores[..., -1] + self.bias
            if self.context:
                own = scores.diagonal(dim1=1, dim2=2)[:, : self.context]
                score = self._scramble(score + own.sum(1, keepdim=True))
        if not self.own_hop:
            hops = hops[:, 1:]
        return torch.bmm(self._alpha(score)[:, None], hops)[:, 0]

    def _alpha(self, score: Tensor) -> Tensor:
        score = score if self.own_hop else score[:, 1:]
        return score.sigmoid().softmax(dim=1)

    def scores(self, first: Tensor, rest: Tensor) -> Tensor:
        """Scores of the hops before the sigmoid. [n, K + 1]."""
        if self.kind == "simple":
            return self.weight.expand(len(first), -1)
        own = self.weight[-1]
        score = torch.cat([(first @ own)[:, None], rest @ own], dim=1) + self.bias
        if self.context:
            shared = first @ self.weight[0]
            if self.context > 1:
                shared = shared + rest.flatten(1) @ self.weight[1:-1].flatten()
            score = self._scramble(score + shared[:, None])
        return score

    def _scramble(self, score: Tensor) -> Tensor:
        # Scores stand hop after hop; the release reads them node after node.
        return score.t().reshape(score.shape) if self.scrambled else score


class PatternAttention(nn.Module):
    r"""Join the hidden rows of the patterns.

    * ``original``: one learnable scalar for each pattern, then side by side;
    * ``gate``: :math:`\sum_p \alpha_p h_p` with :math:`\alpha =
      \mathrm{softmax}_p(\sigma(w^\top h_p + b))`;
    * ``ori_ref``: the same with :math:`w^\top [h_0, h_p] + b`, :math:`h_0` the node's own row;
    * ``jk``: the same with scores from one linear map of all rows side by side;
    * ``none``: the plain sum.

    Args:
        channels: Width of a hidden row.
        patterns: How many there are, the node's own features among them.
        kind: One of the above.
        scrambled: Repeat the release's reshaping of ``ori_ref``.
        spread: Deviation of the scalars' start values around one; the release draws them
            around zero with deviation one.

    Attributes:
        out_channels: Width of what comes out.

    Shapes:
        [n, patterns, channels] -> [n, out_channels].
    """

    def __init__(
        self,
        channels: int,
        patterns: int,
        kind: str = "original",
        scrambled: bool = False,
        spread: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind = check.one_of("PatternAttention", "kind", kind, PATTERN_ATTENTION)
        self.scrambled = scrambled
        self.out_channels = channels * patterns if kind == "original" else channels
        if kind == "original":
            start = torch.randn(patterns) * spread + (0.0 if spread else 1.0)
            self.scale = nn.Parameter(start)
        elif kind == "jk":
            self.lin = nn.Linear(channels * patterns, patterns)
        elif kind in ("gate", "ori_ref"):
            self.lin = nn.Linear(channels * (2 if kind == "ori_ref" else 1), 1)

    def forward(self, h: Tensor) -> Tensor:
        """Join the rows."""
        if self.kind == "none":
            return h.sum(1)
        if self.kind == "original":
            return (h * self.scale[:, None]).flatten(1)
        if self.kind == "jk":
            score = self.lin(h.flatten(1))
        elif self.kind == "gate":
            score = self.lin(h)[..., 0]
        else:
            pair = torch.cat([h[:, :1].expand_as(h), h], dim=2)
            score = self.lin(pair)[..., 0]
            if self.scrambled:
                score = score.t().reshape(score.shape)
        alpha = score.sigmoid().softmax(dim=1)
        return torch.bmm(alpha[:, None], h)[:, 0]


HopAttentionLike = str | Callable[[int, int], nn.Module]
PatternAttentionLike = str | Callable[[int, int], nn.Module]


class ADPA(Decoupled):
    r"""Adaptive directed pattern aggregation.

    Features are propagated K times by each directed pattern's operator
    (:class:`~graphlab.graph.DirectedOperators`); for each pattern an attention weighs its
    hops and an MLP encodes the result; a second attention joins the patterns and the node's
    own encoded features; a linear map gives the logits.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        hidden_channels: Width of each pattern's MLP.
        patterns: Words over ``A`` (targets) and ``T`` (sources).
        hops: K.
        num_layers: Linear layers of each MLP.
        dropout: Behind each of them.
        input_dropout: On the weighted sums of hops.
        r: Exponent of the operators' normalisation.
        self_loops: See :class:`~graphlab.graph.DirectedOperators`.
        drop_diagonal: See there.
        hop_attention: A kind of :class:`HopAttention`, or a factory ``(channels, hops) ->
            module`` of the same call.
        pattern_attention: A kind of :class:`PatternAttention`, or a factory ``(channels,
            patterns) -> module`` of the same call, with ``out_channels``.
        own_hop: Whether a pattern's attention also weighs the node's own features, which
            have an encoder of their own.
        normalise_hops: Scale every propagated row, and the features' own, to length one
            before attention and encoders: the mean of many rows is short, and would count
            for little beside the features.
        normalise_rows: Divide each row of ``x`` by the sum of its absolute values first.
        precomputed: ``x`` holds propagated rows, slot after slot: x, then the hops 1 .. K of
            each pattern; ``in_channels`` is their whole width. Tasks check that a store's
            rows were made with this model's patterns, hops and options of operators.
        compat: ``reference`` repeats the release: operators scaled by row sums on both
            sides, hops multiplied by ln(1/l) + 1, scrambled attention in which X_0 is a hop,
            pattern scalars that start around zero, rows of any length.

    Shapes:
        x [N, in_channels] -> [N, out_channels], or [len(nodes), out_channels].

    Cost:
        The propagation of dense features is done once for a Graph and kept: N * (1 + patterns
        * K) * F values, and a step costs its own rows only. Sparse features are multiplied by
        the first maps before they are propagated, in every step, and nothing of their width
        is kept.

    Source:
        Sun et al., "Breaking the Entanglement of Homophily and Heterophily in
        Semi-supervised Node Classification", ICDE 2024, as its release codes it. Without
        ``compat`` columns are scaled by column sums, hops are not damped, every node gets its
        own attention, and ``own_hop`` and ``normalise_hops`` (ours) are as they are set; their
        effect is in benchmarks/results/adpa.json (``adpa`` beside ``adpa-reference``).

    Example:
        >>> ADPA(4, 2)(torch.eye(4), Graph(torch.tensor([[0, 1], [1, 2]]), 4)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        patterns: Sequence[str] = PATTERNS,
        hops: int = 2,
        num_layers: int = 1,
        dropout: float = 0.5,
        input_dropout: float = 0.0,
        r: float = 0.5,
        self_loops: str = "first",
        drop_diagonal: bool = False,
        hop_attention: HopAttentionLike = "original",
        pattern_attention: PatternAttentionLike = "original",
        own_hop: bool = False,
        normalise_hops: bool = True,
        normalise_rows: bool = False,
        precomputed: bool = False,
        compat: str | None = None,
    ) -> None:
        name = "ADPA"
        self_patterns = require_patterns(name, patterns)
        check.positive(name, "hops", hops)
        check.positive(name, "num_layers", num_layers)
        check.positive(name, "hidden_channels", hidden_channels)
        if compat is not None:
            check.one_of(name, "compat", compat, ("reference",))
        slots = 1 + len(self_patterns) * hops
        super().__init__(in_channels, out_channels, slots, precomputed, normalise_rows)
        self.patterns, self.hops, self.compat = self_patterns, hops, compat
        self.dropout, self.input_dropout = dropout, input_dropout
        reference = compat == "reference"
        own_hop = own_hop or reference
        self.normalise_hops = normalise_hops and not reference
        self.operator_options: dict[str, Any] = {
            "r": r,
            "self_loops": self_loops,
            "degree": "row" if reference else "in_out",
            "drop_diagonal": drop_diagonal,
        }
        self.hop_attention: Any = nn.ModuleList(
            HopAttention(self.channels, hops, hop_attention, reference, own_hop)
            if isinstance(hop_attention, str)
            else hop_attention(self.channels, hops)
            for _ in self_patterns
        )
        count = len(self_patterns) + 1
        self.encoders: Any = nn.ModuleList(
            _encoder(self.channels, hidden_channels, num_layers, dropout)
            for _ in range(count)
        )
        joined: Any = (
            PatternAttention(
                hidden_channels, count, pattern_attention, reference, float(reference)
            )
            if isinstance(pattern_attention, str)
            else pattern_attention(hidden_channels, count)
        )
        self.pattern_attention = joined
        self.lin = nn.Linear(joined.out_channels, out_channels)

    @property
    def mixes_rows(self) -> bool:
        """The release's attention reads scores of other nodes."""
        return self.compat == "reference"

    def operators(
        self, graph: Graph, device: torch.device | str = "cpu"
    ) -> DirectedOperators:
        """The operators of a graph, as this model applies them."""
        return DirectedOperators(
            graph, self.patterns, device=device, **self.operator_options
        )

    @property
    def decay(self) -> str:
        """How hops are damped; see :meth:`~graphlab.graph.DirectedOperators.propagate`."""
        return "reference" if self.compat == "reference" else "none"

    def made_with(self) -> dict[str, Any]:
        """Arguments of :func:`graphlab.outofcore.propagate` for this model."""
        return {
            "patterns": list(self.patterns),
            "hops": self.hops,
            "decay": self.decay,
            **self.operator_options,
        }

    def key(self) -> tuple[object, ...]:
        """Patterns, hops and the operators' options."""
        options = tuple(self.operator_options.items())
        return (
            "adpa",
            self.patterns,
            self.hops,
            options,
            self.decay,
            self.normalise_rows,
            self.normalise_hops,
        )

    def propagated(self, x: Tensor, graph: Graph) -> Tensor:
        """The features, and the hops of each pattern in turn."""
        given: Any = normalised(x) if self.normalise_rows else x
        operators = self.operators(graph, x.device)
        rows = operators.propagate(given, self.hops, decay=self.decay)
        if self.normalise_hops:
            lengths = rows.norm(dim=2, keepdim=True).clamp(min=_SHORTEST)
            # In place where nobody asks for a gradient: rows are what takes memory.
            rows = rows / lengths if rows.requires_grad else rows.div_(lengths)
        return rows

    def _operated(
        self, x: SparseColumn, given: Features, graph: Graph
    ) -> tuple[DirectedOperators, Tensor | None]:
        """Operators, and lengths of the rows that they make; kept with the graph."""
        kept = _OPERATED.setdefault(graph, {})
        held = kept.get(self.key())
        if held is None or held[0]() is not x:
            operators = self.operators(graph)
            lengths = self._lengths(given, operators) if self.normalise_hops else None
            kept.clear()
            held = kept[self.key()] = (weakref.ref(x), operators, lengths)
        return held[1], held[2]

    def _lengths(self, x: Features, operators: DirectedOperators) -> Tensor:
        """Lengths of the propagated rows [N, slots], a block of columns at a time."""
        total = torch.zeros(x.shape[0], self.slots, 1, dtype=x.dtype)
        for start in range(0, x.shape[1], _COLUMNS):
            part = columns(x, start, min(start + _COLUMNS, x.shape[1]))
            rows = operators.propagate(part, self.hops, decay=self.decay)
            total += rows.square_().sum(2, keepdim=True)
        return total.sqrt_().clamp_(min=_SHORTEST)

    def projected(self, x: SparseColumn, graph: Graph) -> list[Tensor] | None:
        """First layers of the encoders, with sparse features multiplied before propagation.

        Operators and the first maps commute: a step then costs the features' entries and
        the hidden width over all edges, instead of dense rows of the features' width.
        """
        plain = all(isinstance(a, HopAttention) for a in self.hop_attention)
        if not plain or self.input_dropout:
            return None
        given: Any = features(x)
        given = normalised(given) if self.normalise_rows else given
        operators, lengths = self._operated(x, given, graph)
        maps = [encoder[0] for encoder in self.encoders]
        # Each pattern's columns: its encoder's, then its attention's scores.
        columns = [lin.weight for lin in maps]
        for p, attention in enumerate(self.hop_attention):
            if hasattr(attention, "weight") and attention.kind != "simple":
                columns[p + 1] = torch.cat([columns[p + 1], attention.weight])
        products = (given @ torch.cat(columns).t().contiguous()).split(
            [len(c) for c in columns], dim=1
        )
        first, width = list(products[1:]), len(maps[0].weight)
        hops = operators.walk(first, self.hops, decay=self.decay)
        own = products[0] if lengths is None else products[0] / lengths[:, 0]
        hidden = [own + maps[0].bias]
        for p, attention in enumerate(self.hop_attention):
            every = [first[p], *(hop[p] for hop in hops)]
            if lengths is not None:
                slots = [0, *range(1 + p * self.hops, 1 + (p + 1) * self.hops)]
                every = [m / lengths[:, k] for m, k in zip(every, slots, strict=True)]
            cut = [m.split([width, m.shape[1] - width], dim=1) for m in every]
            rows, scores = (torch.stack(part, dim=1) for part in zip(*cut, strict=True))
            weighted = attention.weigh(rows, scores)
            hidden.append(weighted + maps[p + 1].bias)
        return hidden

    def last(self, h: list[Tensor]) -> Tensor:
        """The rest of the encoders, and what follows."""
        hidden = [enc[1:](x) for enc, x in zip(self.encoders, h, strict=True)]
        return self.lin(self.pattern_attention(torch.stack(hidden, dim=1)))

    def head(self, rows: Tensor) -> Tensor:
        """Attention over hops, the MLPs, attention over patterns, the last map."""
        if self.precomputed and self.normalise_hops:
            rows = F.normalize(rows, dim=2, eps=_SHORTEST)
        first = rows[:, 0]
        inputs = [first]
        for p, attention in enumerate(self.hop_attention):
            part = slice(1 + p * self.hops, 1 + (p + 1) * self.hops)
            inputs.append(attention(first, rows[:, part]))
        hidden = [
            encoder(ops.dropout(x, self.input_dropout, self.training))
            for encoder, x in zip(self.encoders, inputs, strict=True)
        ]
        return self.lin(self.pattern_attention(torch.stack(hidden, dim=1)))


def _encoder(channels: int, hidden: int, num_layers: int, p: float) -> DenseLayers:
    parts: list[nn.Module] = []
    for i in range(num_layers):
        parts += [nn.Linear(channels if i == 0 else hidden, hidden)]
        parts += [nn.Dropout(p), nn.ReLU()]
    return DenseLayers(*parts)
