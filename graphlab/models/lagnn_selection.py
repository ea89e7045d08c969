"""Which generator to keep: disagreement of a helper network under dropout.

The helper is a GCN of two layers with dropout on both inputs. Its first pre-activation is a
sum over hundreds of dropped features, so that its values over dropout masks are Gaussian to
high accuracy, with mean and covariance in closed form; they are drawn from it, instead of a
mask for every feature of every node in every pass. The second layer's masks are drawn as
they are. Nodes out of reach of the labelled ones are not computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from graphlab import check, ops
from graphlab.graph import Graph
from graphlab.models.gnn import GCN
from graphlab.models.lagnn_augmenter import LocalAugmenter
from graphlab.models.sparse import SparseRows, features, normalised
from graphlab.models.structure import Block, of_graph


def bald(probabilities: Tensor) -> Tensor:
    r"""Mutual information of labels and weights: :math:`H[\bar{p}] - \frac{1}{M} \sum H[p_m]`.

    Args:
        probabilities: [M, n, C], M stochastic passes.

    Returns:
        A scalar: the sum over nodes, at least 0; large where the passes disagree.

    Source:
        Houlsby et al. 2011; LAGNN's eq. 10.

    Example:
        >>> sure = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
        >>> round(float(bald(sure)), 4)
        0.6931
    """
    mean = probabilities.mean(0)
    return (_entropy(mean) - _entropy(probabilities).mean(0)).sum()


def reference_score(probabilities: Tensor, y: Tensor) -> Tensor:
    """The release's score: NLL of the mean prediction minus mean NLL; at most 0.

    By Jensen's inequality it is never above 0, and largest where the passes agree: the
    opposite of :func:`bald`.
    """
    chosen = probabilities.gather(2, y[None, :, None].expand(len(probabilities), -1, 1))
    chosen = chosen[..., 0].clamp(min=1e-30)
    return (chosen.log().mean(0) - chosen.mean(0).log()).mean()


class Receptive:
    """The nodes that two layers need for some nodes, prepared once.

    Args:
        graph: The graph.
        nodes: [n], int64: labelled nodes.
    """

    def __init__(self, graph: Graph, nodes: Tensor) -> None:
        whole = of_graph(graph, "gcn")
        self.nodes = nodes
        self._second, self.first_rows = _rows_of(whole, nodes)
        self._first, self.inputs = _rows_of(whole, self.first_rows)

    @torch.no_grad()
    def probabilities(
        self, helper: GCN, x: Tensor, passes: int, generator: torch.Generator
    ) -> Tensor:
        """Class probabilities of the nodes over dropout masks. [passes, n, C].

        Args:
            helper: A trained GCN of two layers.
            x: [N, F], features.
            passes: M.
            generator: Of the draws.

        Raises:
            ValueError: a helper of another form.
        """
        _require_two_layers("Receptive.probabilities", helper)
        rows: Any = x[self.inputs]
        rows = normalised(rows) if helper.normalise_rows else rows
        p = helper.dropout
        first: Any = helper.layers[0]
        second: Any = helper.layers[1]
        weight = first.lin.weight
        hidden = len(weight)
        drawn = _gaussian(rows, weight, p, passes, generator)
        # Columns of all passes stand side by side in one sparse product.
        h = _spread(self._first, drawn.transpose(0, 1).reshape(len(rows), -1))
        h = h.view(-1, passes, hidden)
        h = (h if first.bias is None else h + first.bias).relu()
        keep = torch.rand(h.shape, generator=generator) >= p
        h = (h * keep / (1 - p)) @ second.lin.weight.t()
        classes = h.shape[2]
        out = _spread(self._second, h.reshape(len(h), -1)).view(-1, passes, classes)
        out = out if second.bias is None else out + second.bias
        return out.transpose(0, 1).softmax(2)


def selector(
    helper: GCN,
    x: Any,
    graph: Graph,
    nodes: Tensor,
    y: Tensor | None = None,
    *,
    passes: int = 100,
    compat: str | None = None,
    seed: int = 0,
) -> Callable[[LocalAugmenter], float]:
    """Score generators for :meth:`LocalAugmenter.fit`, whose ``score`` this is.

    Args:
        helper: A trained GCN of two layers.
        x: [N, F], features: a tensor or a SparseColumn.
        graph: The graph.
        nodes: [n], int64: the training nodes.
        y: [n], their classes; needed by ``compat``.
        passes: Dropout masks.
        compat: ``reference``: the release's score, which prefers the generator whose
            predictions agree most; None: BALD, which the paper describes.
        seed: Of the draws.

    Returns:
        A function of a generator; the larger, the better.

    Raises:
        ValueError: a helper of another form; ``compat`` without ``y``.
    """
    _require_two_layers("selector", helper)
    if compat is not None:
        check.one_of("selector", "compat", compat, ("reference",))
        if y is None:
            check.fail(ValueError, "selector", "y", "be given with compat", None)
    given: Any = features(x)
    rows = given.to_dense() if isinstance(given, SparseRows) else given
    reach = Receptive(graph, nodes)

    def score(augmenter: LocalAugmenter) -> float:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.zeros_like(rows)
        inputs = reach.inputs
        drawn[inputs] = augmenter.sample(rows[inputs], generator=generator)[0]
        found = reach.probabilities(helper, drawn, passes, generator)
        value = bald(found) if compat is None else reference_score(found, y)  # type: ignore[arg-type]
        return float(value)

    return score


def _require_two_layers(function: str, helper: GCN) -> None:
    """Require what the closed form is of: two layers and no norm between them."""
    if len(helper.layers) != 2 or len(helper.norms):
        norm = "a norm" if len(helper.norms) else "no norm"
        need = "be a GCN of two layers without norm"
        got = f"{len(helper.layers)} layers with {norm}"
        check.fail(ValueError, function, "helper", need, got)


def _gaussian(
    rows: Tensor, weight: Tensor, p: float, passes: int, generator: torch.Generator
) -> Tensor:
    """Draws of ``dropout(rows) @ weight.T``: [passes, n, hidden].

    Mean x W; covariance of units i and j: p / (1 - p) * sum of x_f^2 W_if W_jf.
    """
    n, hidden = len(rows), len(weight)
    mean = rows @ weight.t()
    if p == 0:
        return mean.expand(passes, -1, -1)
    i, j = torch.tril_indices(hidden, hidden)
    products = (weight[i] * weight[j]).t()
    covariance = mean.new_zeros(n, hidden, hidden)
    covariance[:, i, j] = (rows.square() @ products) * (p / (1 - p))
    size = covariance.diagonal(dim1=1, dim2=2)
    # What rounding takes from the smallest eigenvalues.
    size += 1e-5 * size.mean(1, keepdim=True) + 1e-12
    factor = torch.linalg.cholesky(covariance)
    noise = torch.randn(n, hidden, passes, generator=generator)
    return mean + torch.bmm(factor, noise).permute(2, 0, 1)


def _rows_of(whole: Block, nodes: Tensor) -> tuple[Block, Tensor]:
    """The edges into some nodes, over the rows that they start from; and these rows."""
    counts = whole.ptr.diff()[nodes]
    ptr = torch.zeros(len(nodes) + 1, dtype=torch.int64)
    ptr[1:] = counts.cumsum(0)
    place = torch.repeat_interleave(whole.ptr[nodes] - ptr[:-1], counts)
    place = place + torch.arange(len(place))
    sources, local = torch.unique(whole.idx[place].long(), return_inverse=True)
    weight = None if whole.weight is None else whole.weight[place]
    return Block(ptr, local, weight, len(sources)), sources


def _spread(block: Block, x: Tensor) -> Tensor:
    return ops.spmm(block.ptr, block.idx, x, weight=block.weight)


def _entropy(probabilities: Tensor) -> Tensor:
    return -(probabilities * probabilities.clamp(min=1e-30).log()).sum(-1)
