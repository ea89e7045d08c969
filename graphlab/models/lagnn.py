"""LAGNN: backbones whose first layer also reads generated features of neighbours."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, ops
from graphlab.models.backbone import GNN
from graphlab.models.consistency import consistency_loss
from graphlab.models.gnn import GAT, GCN, GCNII, SAGE
from graphlab.models.own_draws import WithAugmenter, own_seed
from graphlab.models.sparse import SparseRows, linear
from graphlab.models.structure import Block

BACKBONES: dict[str, type[GNN]] = {"gcn": GCN, "sage": SAGE, "gat": GAT, "gcnii": GCNII}
Augmenter = Any
"""``sample(rows [n, F], s, mode=, generator=) -> [s, n, F]``: of the nodes at hand only."""


class _Augmented(WithAugmenter, GNN):
    """What both styles share: drawing features, several views, their consistency."""

    backbone: Any

    def _set(
        self,
        augmenter: Augmenter,
        s: int,
        views: int,
        consistency: float,
        temperature: float,
        pool: int | None,
    ) -> None:
        name = type(self).__name__
        if not callable(getattr(augmenter, "sample", None)):
            need = "have a method sample, as LocalAugmenter"
            got = type(augmenter).__name__
            check.fail(TypeError, name, "augmenter", need, got)
        check.positive(name, "s", s)
        check.positive(name, "num_views", views)
        if pool is not None:
            check.positive(name, "pool", pool)
        self._augmenter = [augmenter]
        self.s, self.num_views, self.pool = s, views, pool
        self.seed = own_seed()
        self.consistency_weight, self.temperature = consistency, temperature
        self._kept: tuple[Any, Tensor, Tensor] | None = None

    @property
    def augmenter(self) -> Augmenter:
        """What draws the features."""
        return self._augmenter[0]

    def views(self, x: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Logits of several passes, each with draws and dropout of its own."""
        return [self(x, *args, **kwargs) for _ in range(self.num_views)]

    def consistency(self, views: Sequence[Tensor]) -> Tensor:
        """What is added to the views' mean loss."""
        return consistency_loss(views, self.temperature, self.consistency_weight)

    def _drawn(self, x: Any) -> Sequence[Tensor]:
        """Features for the rows at hand, s of [n, F]; the mean ones when not training."""
        if self.pool is None:
            mode = "sample" if self.training else "mean"
            drawn = self.augmenter.sample(_dense(x), self.s, mode=mode)
            return self._scaled(drawn).unbind()
        if self._kept is None or self._kept[0]() is not x:
            rows = _dense(x)
            generator = torch.Generator().manual_seed(self.seed)
            drawn = self.augmenter.sample(rows, self.pool, generator=generator)
            drawn = self._scaled(drawn)
            mean = self._scaled(self.augmenter.sample(rows, self.s, mode="mean"))
            self._kept = (weakref.ref(x), drawn, mean)
        _, drawn, mean = self._kept
        if not self.training:
            return mean.unbind()
        return [drawn[i] for i in torch.randperm(len(drawn))[: self.s].tolist()]

    def _scaled(self, drawn: Tensor) -> Tensor:
        """Generated matrices as the layers take them."""
        return drawn


def _dense(x: Any) -> Tensor:
    return x.to_dense() if isinstance(x, SparseRows) else x


class LAConcat(_Augmented):
    r"""Concatenation style: the first layer runs on X and on each generated matrix.

    :math:`H_1 = \sigma(\mathrm{conv}_0(\hat{X}_1)) \| .. \| \sigma(\mathrm{conv}_S(X))`, then
    the backbone's other layers. Its total width is the backbone's own. In training the
    matrices are drawn anew in every pass, for the rows at hand alone; otherwise z = 0.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        augmenter: A fitted :class:`~graphlab.models.LocalAugmenter`, or a control.
        backbone: ``gcn``, ``sage``, ``gat``, ``gcnii``.
        s: Generated matrices.
        split_width: Keep the first layer's total width, divided over s + 1 branches; False:
            each branch has it.
        num_views: K passes a step, whose losses are averaged.
        consistency: Weight of :func:`~graphlab.models.consistency_loss` over the views.
        temperature: Of the sharpening.
        pool: Draw so many matrices once for a full batch and take ``s`` of them in each
            pass, instead of decoding the whole graph every time; ``x`` must not change. They
            are a function of ``seed``, an attribute drawn when the model is made.
        **arguments: Of the backbone: ``hidden_channels``, ``num_layers``, ``dropout``, ...

    Shapes:
        As the backbone's; also in sampled batches and layer by layer.

    Source:
        Liu et al., ICML 2022, section 3.3. The release redraws the matrices for validation
        and keeps the draw of the best epoch for the test; here both use z = 0.

    Example:
        >>> from graphlab.models.lagnn_controls import SameFeatures
        >>> model = LAConcat(4, 2, SameFeatures(), "gcn", hidden_channels=8)
        >>> model(torch.eye(4), torch.tensor([[0, 1], [1, 2]])).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        augmenter: Augmenter,
        backbone: str = "gcn",
        *,
        s: int = 1,
        split_width: bool = True,
        num_views: int = 4,
        consistency: float = 1.0,
        temperature: float = 0.5,
        pool: int | None = None,
        **arguments: Any,
    ) -> None:
        kind = BACKBONES[check.one_of("LAConcat", "backbone", backbone, BACKBONES)]
        whole: Any = kind(in_channels, out_channels, **arguments)
        hidden = whole.hidden_channels
        super().__init__(
            in_channels,
            out_channels,
            hidden,
            whole.num_layers,
            whole.dropout,
            whole.normalise_rows,
        )
        self._set(augmenter, s, num_views, consistency, temperature, pool)
        if whole.num_layers < 2 and kind is not GCNII:
            need = "be at least 2, as the branches are the first of several layers"
            check.fail(ValueError, "LAConcat", "num_layers", need, whole.num_layers)
        if split_width:
            if hidden % (s + 1):
                need = f"be a multiple of s + 1 = {s + 1}"
                check.fail(ValueError, "LAConcat", "hidden_channels", need, hidden)
            width = hidden // (s + 1)
        else:
            width = hidden
            arguments = {**arguments, "hidden_channels": hidden * (s + 1)}
            whole = kind(in_channels, out_channels, **arguments)
        self.kind = whole.kind  # type: ignore[misc]
        own = {**arguments, "hidden_channels": width}
        if kind is GAT:
            heads = own.get("heads", 8)
            own["heads"] = max(1, heads // (s + 1)) if split_width else heads
        self.backbone = whole
        self.is_residual, self.has_dry_input = kind is GCNII, kind is SAGE
        if self.is_residual:
            self.branches: Any = nn.ModuleList(
                nn.Linear(in_channels, width) for _ in range(s + 1)
            )
            whole.lin_in = nn.Identity()
            return
        own["num_layers"] = 2
        # Generated matrices are normalised where they are drawn, and dropped out in layer();
        # what is inside an attention layer stays.
        generated = {**own, "normalise_rows": False}
        self.branches = nn.ModuleList()
        for i in range(s + 1):
            branch: Any = kind(
                in_channels, out_channels, **(generated if i < s else own)
            )
            del branch.layers[1:]
            branch.dropout = 0.0 if i < s else branch.dropout
            self.branches.append(branch)
        whole.layers[0] = nn.Identity()
        if getattr(whole, "norms", None):
            whole.norms[0] = nn.Identity()

    def start(self, x: Any) -> Any:
        """The generated matrices and X, side by side; GCNII maps them here."""
        parts = [*self._drawn(x), x]
        if self.is_residual:
            rows = [self._thinned(part) for part in parts[:-1]]
            rows.append(self.backbone._inputs(x))
            mapped = [linear(r, b) for r, b in zip(rows, self.branches, strict=True)]
            return torch.cat(mapped, 1).relu()
        if isinstance(x, SparseRows):
            return parts
        return torch.cat(parts, 1)

    def _thinned(self, drawn: Tensor) -> Tensor:
        """Input dropout of generated rows, where the backbone has it."""
        if not self.training or self.has_dry_input:
            return drawn
        return ops.dropout(drawn, self.dropout)

    def _scaled(self, drawn: Tensor) -> Tensor:
        return F.normalize(drawn, p=1.0, dim=2) if self.normalise_rows else drawn

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """The branches side by side, then the backbone's layers."""
        if i or self.is_residual:
            return self.backbone.layer(i, x, adjacency, x_initial)
        parts = x if isinstance(x, list) else x.split(self.in_channels, dim=1)
        parts = [*map(self._thinned, parts[:-1]), parts[-1]]
        pairs = zip(self.branches, parts, strict=True)
        return torch.cat([b.layer(0, part, adjacency) for b, part in pairs], 1)


class LAAverage(_Augmented):
    r"""Average style: the backbone reads :math:`(X + \hat{X}) / 2`, its layers as they are.

    Args:
        in_channels: Width of the features.
        out_channels: Number of classes.
        augmenter: As in :class:`LAConcat`.
        backbone: ``gcn``, ``sage``, ``gat``, ``gcnii``.
        num_views: K passes a step.
        consistency: Weight of the consistency loss.
        temperature: Of the sharpening.
        pool: As in :class:`LAConcat`.
        **arguments: Of the backbone.

    Source:
        Liu et al., ICML 2022, appendix (ogbn-products and the molecule sets).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        augmenter: Augmenter,
        backbone: str = "gcn",
        *,
        num_views: int = 1,
        consistency: float = 0.0,
        temperature: float = 0.5,
        pool: int | None = None,
        **arguments: Any,
    ) -> None:
        kind = BACKBONES[check.one_of("LAAverage", "backbone", backbone, BACKBONES)]
        whole = kind(in_channels, out_channels, **arguments)
        super().__init__(
            in_channels,
            out_channels,
            whole.hidden_channels,
            whole.num_layers,
            whole.dropout,
            whole.normalise_rows,
        )
        self._set(augmenter, 1, num_views, consistency, temperature, pool)
        self.kind = whole.kind  # type: ignore[misc]
        self.backbone = whole

    def start(self, x: Any) -> Any:
        """The mean of X and a generated matrix, and what the backbone starts with."""
        drawn = self._drawn(x)[0]
        return self.backbone.start((_dense(x) + drawn) / 2)

    def layer(self, i: int, x: Any, adjacency: Block, x_initial: Any = None) -> Tensor:
        """The backbone's layer."""
        return self.backbone.layer(i, x, adjacency, x_initial)


def add_augmentation(
    data: Any, augmenter: Augmenter, s: int = 1, *, mode: str = "sample"
) -> Any:
    """Write ``data.x_aug`` [N, s, F], for models of one's own; the PyG ``Data`` is returned.

    Args:
        data: A ``torch_geometric.data.Data``, such as a batch of a loader: only its rows
            are decoded. Pass ``functools.partial(add_augmentation, augmenter=...)`` as a
            loader's ``transform``.
        augmenter: As in :class:`LAConcat`.
        s: Matrices.
        mode: ``sample`` or ``mean``.
    """
    data.x_aug = augmenter.sample(data.x, s, mode=mode).transpose(0, 1)
    return data
