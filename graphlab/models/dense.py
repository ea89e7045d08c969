"""Dense layers whose norm, dropout and ReLU are one pass."""

from __future__ import annotations

from torch import Tensor, nn

from graphlab import check, ops


class DenseLayers(nn.Sequential):
    """Linear layers, each with an optional layer norm, then dropout and ReLU.

    Args:
        *modules: :class:`torch.nn.Linear`, :class:`~torch.nn.LayerNorm`,
            :class:`~torch.nn.Dropout` and :class:`~torch.nn.ReLU`, as for
            :class:`torch.nn.Sequential`, whose names and values these are. On CPU the three
            behind a linear layer are :func:`graphlab.ops.norm_dropout_relu`.

    Example:
        >>> import torch
        >>> DenseLayers(*layer(4, 0.5, True)).eval()(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the last layer. [..., width]."""
        if x.device.type != "cpu" or x.dtype not in check.FLOAT_DTYPES:
            plain: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return plain
        waiting: dict[type, nn.Module] = {}
        for module in self:
            if isinstance(module, (nn.LayerNorm, nn.Dropout)):
                waiting[type(module)] = module
            elif isinstance(module, nn.ReLU):
                x = _finish(x, waiting, relu=True)
                waiting = {}
            else:
                x = module(_finish(x, waiting, relu=False) if waiting else x)
                waiting = {}
        return _finish(x, waiting, relu=False) if waiting else x


def _finish(x: Tensor, waiting: dict[type, nn.Module], *, relu: bool) -> Tensor:
    norm, dropping = waiting.get(nn.LayerNorm), waiting.get(nn.Dropout)
    p = 0.0
    if isinstance(dropping, nn.Dropout) and dropping.training:
        p = dropping.p
    return normalised(x, norm if isinstance(norm, nn.LayerNorm) else None, p, relu=relu)


def normalised(
    x: Tensor, norm: nn.LayerNorm | None, p: float, *, relu: bool = True
) -> Tensor:
    """Layer norm where there is one, dropout of a share ``p``, ReLU where asked for."""
    if norm is None:
        return ops.norm_dropout_relu(x, p=p, relu=relu)
    return ops.norm_dropout_relu(
        x, norm.weight, norm.bias, eps=norm.eps, p=p, relu=relu
    )


def layer(width: int, dropout: float, norm: bool) -> list[nn.Module]:
    """A square linear layer, and what follows it."""
    between: list[nn.Module] = [nn.LayerNorm(width)] if norm else []
    return [nn.Linear(width, width), *between, nn.Dropout(dropout), nn.ReLU()]


def packable(layers: nn.Sequential) -> list[ops.PairLayer] | None:
    """The square layers as :func:`graphlab.ops.pair_mlp` takes them; None for others."""
    packed: list[ops.PairLayer] = []
    for module in layers:
        last = packed[-1] if packed else None
        if isinstance(module, nn.Linear) and module.bias is not None:
            packed.append(ops.PairLayer(module.weight, module.bias, None, None, False))
        elif last is None or last.acts:
            return None
        elif isinstance(module, nn.LayerNorm):
            if module.eps != ops.PAIR_EPS or module.weight is None:
                return None
            packed[-1] = last._replace(norm_weight=module.weight, norm_bias=module.bias)
        elif isinstance(module, nn.ReLU):
            packed[-1] = last._replace(acts=True)
        elif not isinstance(module, nn.Dropout):
            return None
    return packed
