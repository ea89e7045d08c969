"""Scores of pairs by the layers of a link head, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.norm_dropout_relu import draw_key
from graphlab.ops.registry import declare

COMMON, PAIR, SCORE = 0, 1, 2
# Of the layer norms, as torch has it.
PAIR_EPS = 1e-5

declare(
    "pair_mlp(Tensor h, Tensor pairs, Tensor? pooled, Tensor params, Tensor plan, float p,"
    " int key) -> Tensor",
    twin="graphlab.ops.twins.pair_mlp:pair_mlp",
    fake=lambda h, pairs, *rest: h.new_empty(pairs.shape[1]),
    twin_on_cuda=True,
)


class PairLayer(NamedTuple):
    """A square linear layer, and what follows it.

    Attributes:
        weight: [width, width], as :class:`torch.nn.Linear` has it.
        bias: [width].
        norm_weight: [width], or None: no layer norm.
        norm_bias: [width].
        acts: Whether dropout and ReLU follow; without them there is no norm either.
    """

    weight: Tensor
    bias: Tensor
    norm_weight: Tensor | None
    norm_bias: Tensor | None
    acts: bool


class PairLayers(NamedTuple):
    """The layers of a head in one piece; see :func:`pack_pair_layers`.

    Attributes:
        params: [numbers], float32.
        plan: [layers, 3], int64: branch, whether there is a norm, whether it acts.
    """

    params: Tensor
    plan: Tensor


def pack_pair_layers(
    common: Sequence[PairLayer],
    pair: Sequence[PairLayer],
    score: Sequence[PairLayer],
    last: tuple[Tensor, Tensor],
    beta: Tensor,
) -> PairLayers:
    """Put the layers of a head one after the other.

    Args:
        common: Layers on the sum over common neighbours.
        pair: Layers on the product of the two nodes.
        score: Layers on the sum of both.
        last: [1, width] and [1]: the layer that makes a number of it.
        beta: [1]: weight of the first branch.
    """
    parts, plan = [], []
    for branch, layers in ((COMMON, common), (PAIR, pair), (SCORE, score)):
        for layer in layers:
            parts += [layer.weight.flatten(), layer.bias]
            if layer.norm_weight is not None and layer.norm_bias is not None:
                parts += [layer.norm_weight, layer.norm_bias]
            norm = layer.norm_weight is not None
            plan.append([branch, int(norm), int(layer.acts)])
    parts += [last[0].flatten(), last[1], beta]
    return PairLayers(
        torch.cat([part.detach() for part in parts]),
        torch.tensor(plan, dtype=torch.int64).view(-1, 3),
    )


def pair_mlp(
    h: Tensor,
    pairs: Tensor,
    pooled: Tensor | None,
    layers: PairLayers,
    *,
    p: float = 0.0,
    key: int | None = None,
) -> Tensor:
    r"""Score pairs of nodes by the layers of NCN's head, without a gradient.

    .. math:: s_{ij} = f\big(\beta\,\phi_{cn}(c_{ij}) + \phi_{ij}(h_i \odot h_j)\big)

    Args:
        h: [nodes, width], float32.
        pairs: [2, B], int64.
        pooled: [B, width], :math:`c_{ij}`; None: no first branch.
        layers: See :func:`pack_pair_layers`.
        p: Dropout behind each layer that acts.
        key: Of the dropout; None: drawn from torch's generator.

    Returns:
        [B], float32.

    Raises:
        TypeError: wrong dtype.
        ValueError: wrong shape.
        IndexError: a node out of range.

    Cost:
        ``width^2`` multiply-adds a layer and pair. A block of pairs passes all layers while
        it lies in the caches: nothing of size pairs x width is written. Without dropout the
        first branch is computed once for all pairs whose sum is zero. Parallel; the same
        bits for any thread count and batch size, but, as of any BLAS, not for any
        processor.

    Example:
        >>> square = PairLayer(torch.eye(2), torch.zeros(2), None, None, True)
        >>> last = torch.ones(1, 2), torch.zeros(1)
        >>> layers = pack_pair_layers([], [square], [], last, torch.ones(1))
        >>> pair_mlp(torch.tensor([[1.0, 2.0]]), torch.zeros(2, 1).long(), None, layers)
        tensor([5.])
    """
    name = "pair_mlp"
    check.tensor(name, "h", h, dtypes=(torch.float32,), ndim=2)
    check.tensor(name, "pairs", pairs, dtypes=(torch.int64,), ndim=2)
    if pairs.shape[0] != 2:
        got = list(pairs.shape)
        check.fail(ValueError, name, "pairs", "have shape [2, n]", got)
    check.ids_in_range(name, "pairs", pairs, h.shape[0])
    if not 0 <= p < 1:
        check.fail(ValueError, name, "p", "be in [0, 1)", p)
    if pooled is not None:
        check.tensor(name, "pooled", pooled, dtypes=(torch.float32,), ndim=2)
        wanted = [pairs.shape[1], h.shape[1]]
        if list(pooled.shape) != wanted:
            got = list(pooled.shape)
            check.fail(ValueError, name, "pooled", f"have shape {wanted}", got)
        pooled = pooled.contiguous()
    if key is None:
        key = draw_key() if p else 0
    return torch.ops.graphlab.pair_mlp(
        h.contiguous(), pairs.contiguous(), pooled, *layers, p, key
    )
