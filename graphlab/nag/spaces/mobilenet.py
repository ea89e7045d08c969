"""MobileNetV3 as in once-for-all: five stages of two to four layers."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from graphlab.nag.space import Cell, SearchSpace

KERNELS, EXPANDS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
STAGES, LAYERS = 5, 4
# Output channels and stride of the stages, and whether they squeeze and excite.
_WIDTHS = (24, 40, 80, 112, 160)
_STRIDES = (2, 2, 2, 1, 2)
_SQUEEZE = (False, True, False, True, True)
_INPUT_WIDTH, _LAST, _HEAD = 16, 960, 1280


class MobileNetV3(SearchSpace):
    """Once-for-all's sub-networks: 7371^5, about 2.2e19.

    25 nodes: a depth for each stage and kernel-expand for each of 20 layers. Depths decide
    which layers exist, so every assignment is valid; layers beyond the depth hold ``3-3``.
    There is no evaluator here: validity and cost only.

    Args:
        resolution: Of the image, pixels; for FLOPs.
        classes: Outputs of the classifier; for parameters.

    Source:
        Cai et al., "Once-for-All", ICLR 2020; string as in DiffusionNAG's release.

    Example:
        >>> space = MobileNetV3()
        >>> f"{space.size_functional:.3g}"
        '2.18e+19'
        >>> space.to_string(space.sample(1)[0]).count("_")
        19
    """

    def __init__(self, resolution: int = 224, classes: int = 1000) -> None:
        self.resolution, self.classes = resolution, classes
        types = [f"{k}-{e}" for k, e in itertools.product(KERNELS, EXPANDS)]
        labels = (*types, *(f"d{d}" for d in DEPTHS))
        count = STAGES * (1 + LAYERS)
        allowed = torch.zeros(count, len(labels), dtype=torch.bool)
        allowed[:STAGES, len(types) :] = True
        allowed[STAGES:, : len(types)] = True
        attention = torch.zeros(count, count, dtype=torch.bool)
        # The chain of layers; a depth reaches its own stage and the later ones.
        attention[STAGES:, STAGES:] = torch.ones(20, 20).triu(1).bool()
        for s in range(STAGES):
            attention[s, STAGES + s * LAYERS :] = True
            attention[s, s + 1 : STAGES] = True
        names = (
            *(f"depth{s}" for s in range(STAGES)),
            *(f"layer{s}.{i}" for s in range(STAGES) for i in range(LAYERS)),
        )
        super().__init__("mobilenetv3", labels, allowed, attention, names)

    @property
    def size_functional(self) -> int:
        """Networks that differ; :attr:`size` counts assignments."""
        types = len(KERNELS) * len(EXPANDS)
        return sum(types**d for d in DEPTHS) ** STAGES

    def present(self, x: Tensor) -> Tensor:
        """Which layers exist: bool [B, 5, 4]."""
        depth = x[:, :STAGES] - 9 + DEPTHS[0]
        return torch.arange(LAYERS) < depth[..., None]

    def canonical(self, x: Tensor) -> Tensor:
        """Set layers beyond the depth to ``3-3``."""
        out = x.clone()
        out[:, STAGES:] = out[:, STAGES:] * self.present(x).flatten(1)
        return out

    def to_string(self, x: Tensor) -> str:
        """Write 20 tokens ``depth-kernel-expand``; a missing layer is ``0-0-0``."""
        there = self.present(x[None])[0]
        tokens = []
        for s, i in itertools.product(range(STAGES), range(LAYERS)):
            depth = int(x[s]) - 9 + DEPTHS[0]
            label = self.labels[int(x[STAGES + s * LAYERS + i])]
            tokens.append(f"{depth}-{label}" if there[s, i] else "0-0-0")
        return "_".join(tokens)

    def from_string(self, text: str) -> Tensor:
        """Read 20 tokens."""
        tokens = text.split("_")
        if len(tokens) != STAGES * LAYERS:
            self._refuse(text, f"{len(tokens)} tokens")
        x = torch.zeros(self.num_nodes, dtype=torch.int64)
        for s in range(STAGES):
            x[s] = self._label(f"d{tokens[s * LAYERS].partition('-')[0]}", text)
            for i in range(LAYERS):
                token = tokens[s * LAYERS + i]
                if token != "0-0-0":
                    place = STAGES + s * LAYERS + i
                    x[place] = self._label(token.partition("-")[2], text)
        if self.to_string(x) != text:
            self._refuse(text, "depths and layers that disagree")
        return x

    def cell(self, x: Tensor) -> Cell:
        """The chain of layers that exist."""
        there = self.present(x[None])[0].flatten()
        ops = [
            f"{place // LAYERS}:{self.labels[int(x[STAGES + place])]}"
            for place in range(STAGES * LAYERS)
            if there[place]
        ]
        labels = ("input", *ops, "output")
        return Cell(labels, tuple((i, i + 1) for i in range(len(labels) - 1)))

    def costs(self, one_hot: Tensor) -> dict[str, Tensor]:
        """``params`` and ``flops`` in millions: convolutions, squeeze-and-excite, classifier.

        Multiply-accumulates count once; batch norm and biases are left out.
        """
        kinds = list(itertools.product(KERNELS, EXPANDS))
        depth = one_hot[:, :STAGES, 9:]
        exists = torch.stack(
            [depth[..., d:].sum(-1) for d in (0, 0, 1, 2)], -1
        )  # [B, 5, 4]
        size, width = self.resolution // 2, _INPUT_WIDTH
        # Stem 3x3 to 16 channels, then one depthwise-separable block without expansion.
        params = torch.full((len(one_hot),), 27.0 * 16 + 9 * 16 + 16 * 16)
        flops = torch.full((len(one_hot),), (27.0 * 16 + 9 * 16 + 16 * 16) * size**2)
        for s, (out, stride, squeeze) in enumerate(
            zip(_WIDTHS, _STRIDES, _SQUEEZE, strict=True)
        ):
            for i in range(LAYERS):
                before = size
                size = size // stride if i == 0 else size
                pair = [
                    _layer(width, out, k, e, squeeze, before, size) for k, e in kinds
                ]
                p, f = torch.tensor(pair).T
                type_of = one_hot[:, STAGES + s * LAYERS + i, :9]
                params = params + exists[:, s, i] * (type_of @ p)
                flops = flops + exists[:, s, i] * (type_of @ f)
                width = out
        head = width * _LAST + _LAST * _HEAD + _HEAD * self.classes
        params = params + head
        flops = flops + width * _LAST * size**2 + _LAST * _HEAD + _HEAD * self.classes
        return {"params": params / 1e6, "flops": flops / 1e6}


def _layer(
    width: int,
    out: int,
    kernel: int,
    expand: int,
    squeeze: bool,
    before: int,
    size: int,
) -> tuple[float, float]:
    """Weights and multiply-accumulates of one inverted bottleneck."""
    middle = width * expand
    reduced = max(middle // 4, 8) if squeeze else 0
    params = middle * (width + kernel**2 + out) + 2 * middle * reduced
    flops = middle * width * before**2 + middle * (kernel**2 + out) * size**2
    return float(params), float(flops + 2 * middle * reduced)
