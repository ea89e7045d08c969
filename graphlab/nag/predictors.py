"""Differentiable predictors of architectures: an ensemble of MLPs, a noise-aware network."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.nag.network import Block, sinusoid
from graphlab.nag.ranking import Loss, regression_loss
from graphlab.nag.space import SearchSpace


class Ensemble(nn.Module):
    r"""Several MLPs on one-hot labels, trained side by side in one batched product.

    Each member starts from its own weights and sees its own bootstrap weights of the data;
    their spread is the uncertainty that acquisitions use.

    Args:
        space: The space.
        members: Number of MLPs.
        hidden: Width of both hidden layers.
        loss: ``mse``, or ``kendall`` (rank), where members differ by their weights alone.
        steps: Full-batch Adam steps of :meth:`fit`.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        seed: Of weights and bootstraps.

    Cost: ``fit`` takes steps * members * rows * (inputs + hidden) * hidden multiply-adds,
    three times; under half a second for 100 rows.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> x = space.sample(64, seed=0)
        >>> y = (x == 5).sum(1).float()
        >>> model = Ensemble(space, steps=60).fit(x, y)
        >>> mean, std = model.predict(x)
        >>> bool(torch.corrcoef(torch.stack([mean, y]))[0, 1] > 0.9)
        True
    """

    columns: Tensor
    differentiable = True

    def __init__(
        self,
        space: SearchSpace,
        *,
        members: int = 5,
        hidden: int = 64,
        loss: Loss = "mse",
        steps: int = 150,
        lr: float = 0.01,
        weight_decay: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check.positive("Ensemble", "members", members)
        check.one_of("Ensemble", "loss", loss, ("mse", "kendall"))
        self.space, self.members, self.loss = space, members, loss
        self.steps, self.lr, self.weight_decay = steps, lr, weight_decay
        self.seed = seed
        mask = torch.zeros_like(space.allowed)
        mask[list(space.free)] = space.allowed[list(space.free)]
        self.register_buffer("columns", mask.flatten().nonzero()[:, 0])
        draw = torch.Generator().manual_seed(seed)
        widths = (len(self.columns), hidden, hidden, 1)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(widths):
            # A one-hot row has as many ones as there are free nodes, not `a`.
            fan = len(space.free) if a == widths[0] else a
            weight = torch.randn(members, a, b, generator=draw) / math.sqrt(fan)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, b)))
        self.mean, self.std = 0.0, 1.0

    def forward(self, one_hot: Tensor) -> Tensor:
        """Standardised outputs of all members: [B, V, F] -> [members, B]."""
        h = one_hot.flatten(1)[:, self.columns]
        h = h.expand(self.members, -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            h = F.silu(h) if i + 1 < len(self.weights) else h
        return h[..., 0]

    def fit(self, x: Tensor, y: Tensor) -> Ensemble:
        """Train on architectures [N, V] and their scores [N]."""
        y = y.float()
        self.mean = float(y.mean())
        self.std = max(float(y.std()) if len(y) > 1 else 0.0, 1e-6)
        target = ((y - self.mean) / self.std).expand(self.members, -1)
        one_hot = self.space.one_hot(x)
        draw = torch.Generator().manual_seed(self.seed + 1)
        rows = torch.randint(len(x), (self.members, len(x)), generator=draw)
        # Half bootstrap, half everything: small data are not thrown away.
        count = torch.zeros(self.members, len(x)).scatter_add_(
            1, rows, torch.ones(self.members, len(x))
        )
        weight = 0.5 + 0.5 * count
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True
        )
        warm = max(1, self.steps // 5)
        for step in range(self.steps):
            # One cycle: a short rise, then a cosine down to zero.
            fall = max(0.0, (step - warm) / max(1, self.steps - warm))
            rate = min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * fall))
            optimiser.param_groups[0]["lr"] = self.lr * rate
            out = self(one_hot)
            if self.loss == "mse":
                loss = ((out - target).square() * weight).mean(1)
            else:
                loss = regression_loss(self.loss, out, target)
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimiser.step()
        return self

    @torch.no_grad()
    def outputs(self, x: Tensor) -> Tensor:
        """Predicted scores of every member: [members, N]."""
        parts = [self(self.space.one_hot(rows)) for rows in x.split(8192)]
        return torch.cat(parts, 1) * self.std + self.mean

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation over members: [N], [N]."""
        out = self.outputs(x)
        std = out.std(0) if self.members > 1 else torch.zeros_like(out[0])
        return out.mean(0), std

    def relaxed(self, one_hot: Tensor) -> Tensor:
        """Differentiable mean: [B, V, F] -> [B]."""
        return self(one_hot).mean(0)


class NoiseAwarePredictor(nn.Module):
    """Predicts a score from a noisy architecture and its noise level.

    Args:
        denoiser: A :class:`graphlab.nag.Denoiser`; its way of making noise is used.
        hidden: Width.
        blocks: Transformer blocks.
        seed: Of weights and noise.

    Source:
        An et al., "DiffusionNAG", ICLR 2024, section 3.2; the network is ours.
    """

    def __init__(
        self, denoiser: Any, *, hidden: int = 64, blocks: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        self._backend = denoiser.backend
        nodes, inputs = self._backend.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Linear(inputs, hidden)
            self.position = nn.Parameter(0.1 * torch.randn(nodes, hidden))
            self.noise = nn.Linear(hidden, hidden)
            self.blocks = nn.ModuleList(Block(hidden, 4) for _ in range(blocks))
            self.head = nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.SiLU()
            )
            self.out = nn.Linear(hidden, 1)
        self.seed, self.mean, self.std = seed, 0.0, 1.0

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Standardised score of noisy inputs [B, V, F'] at levels [B]: [B]."""
        noise = self.noise(sinusoid(level, self.position.shape[1]))
        h = self.embed(x) + self.position + noise[:, None]
        for block in self.blocks:
            h = block(h)
        return self.out(self.head(h.mean(1)))[:, 0]

    def fit(
        self,
        x: Tensor,
        y: Tensor,
        *,
        steps: int = 1000,
        batch: int = 128,
        lr: float = 2e-3,
        loss: Loss = "mse",
    ) -> NoiseAwarePredictor:
        """Train on architectures [N, V] and scores [N], noised anew at every step."""
        y = y.float()
        self.mean, self.std = float(y.mean()), max(float(y.std()), 1e-6)
        target = (y - self.mean) / self.std
        draw = torch.Generator().manual_seed(self.seed + 1)
        optimiser = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, lr, total_steps=steps + 1
        )
        for _ in range(steps):
            rows = torch.randint(len(x), (min(batch, len(x)),), generator=draw)
            noisy, level = self._backend.corrupt(x[rows], draw)
            value = regression_loss(loss, self(noisy, level), target[rows])
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            schedule.step()
        return self.eval()
