"""PamC: contrastive loss whose negatives are clusters in place of nodes."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.models import pamc_negatives as negative
from graphlab.models.pamc_clusters import Clusters, ClusterTracker, read_assign
from graphlab.models.pamc_positives import Positives, read_positives

# Rows of embeddings are padded to this many bytes: one cache line, one vector register.
_LINE_BYTES = 64
# The release of SCGC adds this to its quotients.
_SCGC_EPS = 1e-8


class Parts(NamedTuple):
    """The loss and what it is made of, for logs.

    Attributes:
        loss: Scalar, ``negative - positive``.
        positive: Scalar: mean over anchors of the log of the sum over positives.
        negative: Scalar: mean of the log of the sum over negatives.
        clusters: Moments that the negatives used, or None.
    """

    loss: Tensor
    positive: Tensor
    negative: Tensor
    clusters: Clusters | None


class PamCLoss(nn.Module):
    r"""Pull neighbours together, push clusters apart, in time linear in nodes and edges.

    .. math::
        L = -\frac1{|A|} \sum_{i \in A} \log \sum_{j} w_{ij} e^{\tau \cos(z_i, z_j)}
            + \text{mean} \log \sum_{j} e^{\tau \cos(z_i, z_j)}

    over anchors i and the positives j that ``edge_index`` names; a node's cosine with itself
    counts as 0. ``negatives`` says how the second sum, over all nodes, is found:

    - ``meta``: over cluster means for each cluster, :math:`\sum_l e^{\tau \cos(m_k, m_l)}`,
      as the release; it does not estimate the sum over nodes, it pushes means apart.
    - ``anchor``: :math:`\sum_b n_b e^{\tau u_i m_b}` for each anchor.
    - ``meta2``: for each cluster of anchors, with the spread inside clusters to second order.
    - ``taylor2``: second-order Taylor series; needs no clusters.
    - ``sampled``: ``num_samples`` random rows, the same for all anchors of a call; unbiased.
    - ``full``: all rows; N^2 work, memory of one chunk.
    - a callable ``(anchors [n, d], rows [N, d], clusters or None, tau) -> [n]`` sums.

    Args:
        tau: Factor of the cosine: an inverse temperature.
        negatives: See above.
        compat: ``reference``: as the release, only with ``meta`` and ``full``; see Source.
        exclude_positives: Leave positives out of the negatives (not with ``meta``).
        momentum: Weight of the past in running cluster statistics, for mini-batches; None:
            each call stands alone.
        num_samples: Of ``sampled``.
        eps: Added inside logarithms.
        seed: Of sampled rows and of prototypes.

    Shapes:
        ``z`` [N, d]; the result a scalar.

    Cost:
        E d + E exponentials for positives; ``meta``, ``anchor``: N K d; ``meta2``, ``taylor2``:
        N d^2; ``sampled``: N num_samples d. Memory: two scalars an edge and a few [N, d] (and
        [N, K] for ``anchor``). No [E, d] and no [N, K, d] anywhere.

    Source: Kulatilleke, Portmann and Chandra, arXiv 2209.14067; release gayanku/PAMC.
        ``compat="reference"`` with ``meta``: hard assignments, cluster sums of ``z`` as it is
        (long vectors count more), mean over all K, with ``full``: log of the quotient plus
        1e-8, as the release's SCGC. One thing differs: an empty cluster has cosine 0 with all,
        where the release gives NaN. The default sums unit vectors, honours soft assignments,
        leaves empty clusters and anchors without positives out.

    Example:
        >>> z = torch.eye(4)[:, :3].requires_grad_()
        >>> edges = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> loss = PamCLoss(tau=0.5)(z, edges, assign=torch.tensor([0, 0, 1, 1]))
        >>> loss.backward()
        >>> loss.isfinite().item(), z.grad.shape
        (True, torch.Size([4, 3]))
    """

    def __init__(
        self,
        tau: float = 0.5,
        negatives: str | negative.Negatives = "meta",
        compat: Literal["reference"] | None = None,
        *,
        exclude_positives: bool = False,
        momentum: float | None = None,
        num_samples: int = 256,
        eps: float = 1e-10,
        seed: int = 0,
    ) -> None:
        super().__init__()
        name = "PamCLoss"
        if not callable(negatives):
            check.one_of(name, "negatives", negatives, negative.NAMES)
        if not (isinstance(tau, (int, float)) and math.isfinite(tau) and tau > 0):
            check.fail(ValueError, name, "tau", "be a positive number", tau)
        if compat is not None:
            check.one_of(name, "compat", compat, ("reference",))
            if negatives not in ("meta", "full"):
                need = "be 'meta' or 'full' with compat='reference'"
                check.fail(ValueError, name, "negatives", need, repr(negatives))
        if exclude_positives and (negatives == "meta" or compat is not None):
            need = "be False with negatives='meta' and compat='reference'"
            remedy = "their negatives are no sum over nodes; take 'anchor'"
            check.fail(ValueError, name, "exclude_positives", need, True, remedy)
        if momentum is not None and not 0 <= momentum < 1:
            check.fail(ValueError, name, "momentum", "be in [0, 1)", momentum)
        self.tau = float(tau)
        self.negatives = negatives
        self.compat = compat
        self.exclude_positives = exclude_positives
        self.num_samples = check.positive(name, "num_samples", num_samples)
        self.eps = eps
        self.seed = seed
        self.tracker = ClusterTracker(momentum, seed)
        self._step = 0

    @overload
    def forward(
        self,
        z: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = ...,
        assign: Tensor | None = ...,
        k: int | None = ...,
        *,
        anchors: int | None = ...,
        rows: Tensor | None = ...,
        num_nodes: int | None = ...,
        return_parts: Literal[False] = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        z: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = ...,
        assign: Tensor | None = ...,
        k: int | None = ...,
        *,
        anchors: int | None = ...,
        rows: Tensor | None = ...,
        num_nodes: int | None = ...,
        return_parts: Literal[True],
    ) -> Parts: ...

    def forward(
        self,
        z: Tensor,
        edge_index: Any,
        edge_weight: Tensor | None = None,
        assign: Tensor | None = None,
        k: int | None = None,
        *,
        anchors: int | None = None,
        rows: Tensor | None = None,
        num_nodes: int | None = None,
        return_parts: bool = False,
    ) -> Tensor | Parts:
        """Compute the loss.

        Args:
            z: [N, d], float32 or float64: embeddings, of any encoder.
            edge_index: Positives: [2, E] integers, row 1 the anchor and row 0 its positive,
                as messages flow; a Graph, such as :func:`graphlab.graph.influence` gives,
                whose rows are kept between calls; or :class:`Positives`.
            edge_weight: [E], with an ``edge_index`` of integers.
            assign: Clusters of the rows of ``z``: [N] integers or [N, K] shares, detached;
                None: the nearest of K prototypes that follow ``z``.
            k: Number of clusters; needed where ``assign`` is None and clusters are used.
            anchors: The first so many rows are anchors, such as the seeds of a batch; None:
                all.
            rows: [M, d]: where positives live when not in ``z`` (a memory of embeddings);
                they get a gradient if they ask for it.
            num_nodes: Nodes that the batch stands for; None: its own rows.
            return_parts: Return :class:`Parts`.

        Returns:
            A scalar, or :class:`Parts`.

        Raises:
            TypeError, ValueError, IndexError: what does not fit together.
        """
        name = "PamCLoss"
        z = check.tensor(name, "z", z, dtypes=check.FLOAT_DTYPES, ndim=2)
        count = len(z) if anchors is None else anchors
        if not 0 < count <= len(z):
            check.fail(ValueError, name, "anchors", f"be in [1, {len(z)}]", count)
        others = len(z) if rows is None else len(rows)
        positives = read_positives(name, edge_index, edge_weight, count, others, z)
        u = F.normalize(z, dim=1)
        first = u[:count]
        mean_log, weighted, plain = self._positive(u, first, rows, positives)
        found = _find(name, self, u, assign, k)
        size = num_nodes or len(z)
        clusters = None
        if found is not None and self.compat is None:
            shares, k_found = found
            second = self.negatives == "meta2" or callable(self.negatives)
            clusters = self.tracker.clusters(u, shares, k_found, size, second=second)
        if self.compat is not None and self.negatives == "full":
            sums = negative.full(first, u, self.tau)
            apart = torch.log(sums).mean()
            loss = -torch.log(weighted / sums + _SCGC_EPS).mean()
        else:
            apart = self._negative(z, u, first, found, clusters, plain, size)
            loss = apart - mean_log
        return Parts(loss, mean_log, apart, clusters) if return_parts else loss

    def _positive(
        self, u: Tensor, first: Tensor, rows: Tensor | None, positives: Positives
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean log of the weighted sums; weighted and plain sums [anchors]."""
        line = _LINE_BYTES // u.element_size()
        missing = -u.shape[1] % line
        padded = F.pad(u, (0, missing))
        far = padded if rows is None else F.pad(F.normalize(rows, dim=1), (0, missing))
        weighted, plain = ops.sddmm_exp_sum(
            positives.ptr,
            positives.idx,
            padded[: len(first)],
            far,
            weight=positives.weight,
            tau=self.tau,
            # A row of z and a row of a memory are never the same vector.
            skip_diagonal=rows is None,
            transpose=positives.transpose,
        )
        logs = torch.log(weighted + self.eps)
        if self.compat is not None:
            return logs.mean(), weighted, plain
        some = positives.ptr.diff() > 0
        # Anchors without positives say nothing; their log(eps) would only hide the others.
        total = logs.masked_fill(~some, 0.0).sum()
        return total / some.sum().clamp(min=1), weighted, plain

    def _negative(
        self,
        z: Tensor,
        u: Tensor,
        first: Tensor,
        found: tuple[Tensor, int] | None,
        clusters: Clusters | None,
        plain: Tensor,
        size: int,
    ) -> Tensor:
        """Mean log of the sums over negatives."""
        tau, kind = self.tau, self.negatives
        if kind == "meta" and self.compat is not None:
            assert found is not None
            hard, k = _hard(found[0]), found[1]
            return torch.log(negative.between_sums(z, hard, k, tau) + self.eps).mean()
        if kind == "meta":
            assert clusters is not None
            return torch.log(negative.between_means(clusters, tau) + self.eps).mean()
        if kind == "meta2":
            assert clusters is not None
            assert found is not None
            return self._by_cluster(clusters, found[0], plain, len(u))
        if kind == "anchor":
            assert clusters is not None
            sums = negative.anchor(first, clusters, tau)
        elif kind == "taylor2":
            sums = negative.taylor2(first, u, size, tau)
        elif kind == "sampled":
            ids = negative.draw(
                self.seed, self._step, self.num_samples, len(u), u.device
            )
            self._step += self.training
            sums = negative.sampled(first, u, size, tau, ids)
        elif kind == "full":
            sums = negative.full(first, u, tau)
        else:
            assert callable(kind)
            sums = _checked_sums(kind(first, u, clusters, tau), len(first))
        if self.exclude_positives:
            sums = sums - plain
        return torch.log(sums.clamp(min=self.eps)).mean()

    def _by_cluster(
        self, clusters: Clusters, assign: Tensor, plain: Tensor, num_rows: int
    ) -> Tensor:
        sums = negative.meta2(clusters, self.tau)
        if self.exclude_positives:
            k = len(sums)
            rows = assign[: len(plain)]
            shares = rows if rows.dim() == 2 else F.one_hot(rows, k).to(plain.dtype)
            inside = shares.sum(0).clamp(min=self.eps)
            sums = sums - (shares.t() @ plain) / inside
        return (clusters.share * torch.log(sums.clamp(min=self.eps))).sum()


def _find(
    name: str, loss: PamCLoss, u: Tensor, assign: Tensor | None, k: int | None
) -> tuple[Tensor, int] | None:
    """Assignments and the number of clusters, where the negatives use them."""
    if assign is not None:
        given, k = read_assign(name, assign, len(u), k)
        given = given.detach().to(u.device)
        return (given.to(u.dtype) if given.dim() == 2 else given), k
    if loss.negatives not in negative.WITH_CLUSTERS:
        return None
    if k is None:
        remedy = f"negatives={loss.negatives!r} need clusters; or pass `assign`"
        check.fail(ValueError, name, "k", "be given without `assign`", None, remedy)
    return loss.tracker.assign(u, check.positive(name, "k", k)), k


def _hard(assign: Tensor) -> Tensor:
    return assign.argmax(1) if assign.dim() == 2 else assign


def _checked_sums(sums: object, count: int) -> Tensor:
    name = "PamCLoss"
    given = check.tensor(name, "negatives", sums, ndim=1)
    if len(given) != count:
        need = f"return a sum for each of {count} anchors"
        check.fail(ValueError, name, "negatives", need, len(given))
    return given
