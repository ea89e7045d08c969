"""Continuous diffusion on one-hot labels, preconditioned as in EDM, predicting labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.nag.guidance import Guidance, Particles
from graphlab.nag.network import DenoisingNetwork
from graphlab.nag.space import SearchSpace

LOWEST, HIGHEST, _RHO = 0.05, 8.0, 7.0
SOLVERS = ("dpm", "heun")


class EDM(nn.Module):
    r"""Denoise :math:`x_\sigma = x_0 + \sigma\epsilon` by naming the labels.

    Logits are :math:`x_\sigma / \sigma^2 + g(\sigma) F_\theta(c_{in} x_\sigma,
    \tfrac14\ln\sigma)`, :math:`g` in [1, 20]: the first term is the exact
    posterior for labels that are independent and equally likely, so the network learns only
    what differs. :math:`D(x_\sigma)` is the softmax.

    Args:
        space: The space.
        hidden: Width of the network.
        blocks: Its depth.
        heads: Its attention heads.
        solver: ``dpm`` (DPM-Solver++ 2M, one call a step) or ``heun`` (two calls). Where
            particles are resampled, ``dpm`` with noise at each step (SDE-DPM-Solver++ 2M)
            takes its place: copies of a particle part again.

    Source:
        Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
        2022, table 1 and algorithm 1; Lu et al., "DPM-Solver++", 2022, algorithm 2. We
        train with cross-entropy instead of squares.
    """

    default_steps = 12

    def __init__(
        self,
        space: SearchSpace,
        hidden: int,
        blocks: int,
        heads: int,
        solver: str = "dpm",
    ) -> None:
        super().__init__()
        self.space = space
        self.shape = (space.num_nodes, space.num_labels)
        self.solver = check.one_of("Denoiser", "solver", solver, SOLVERS)
        self.network = DenoisingNetwork(space, space.num_labels, hidden, blocks, heads)
        # Variance of a one-hot entry under equally likely labels.
        self._data = float((1 / space.num_labels * (1 - 1 / space.num_labels)) ** 0.5)

    def corrupt(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noisy input [B, V, F] and its level [B] (quarter of the log of sigma)."""
        noisy, sigma = self._noisy(x, draw)
        return noisy * self._scale(sigma), sigma.log() / 4

    def _noisy(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        u = torch.rand(len(x), generator=draw)
        low, high = LOWEST ** (1 / _RHO), HIGHEST ** (1 / _RHO)
        sigma = (high + u * (low - high)) ** _RHO
        clean = self.space.one_hot(x)
        noise = torch.randn(clean.shape, generator=draw)
        return clean + sigma[:, None, None] * noise, sigma

    def _scale(self, sigma: Tensor) -> Tensor:
        return (sigma.square() + self._data**2).rsqrt()[:, None, None]

    def loss(self, x: Tensor, condition: Tensor, draw: torch.Generator) -> Tensor:
        """Cross-entropy of the free nodes' labels."""
        noisy, sigma = self._noisy(x, draw)
        # As in sampling: the wiring is not known before it is generated.
        masks = self.space.allowed.expand(len(x), -1, -1)
        logits = self._logits(noisy, sigma, condition, masks)
        free = list(self.space.free)
        return F.cross_entropy(logits[:, free].flatten(0, 1), x[:, free].flatten())

    def _logits(
        self, noisy: Tensor, sigma: Tensor, condition: Tensor, masks: Tensor
    ) -> Tensor:
        skip = noisy / sigma.square()[:, None, None]
        scale = self._scale(sigma)
        # What another node says of this one is of the size of its own term, x / sigma^2.
        gain = (1 / (scale * sigma.square()[:, None, None])).clamp(1.0, 20.0)
        out = self.network(noisy * scale, sigma.log() / 4, condition)
        return (skip + gain * out).masked_fill(~masks, -torch.inf)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        guidance: Guidance | None,
        steps: int,
        draw: torch.Generator,
    ) -> Tensor:
        """Generate architectures int64 [count, V], all valid.

        Args:
            count: How many.
            guidance: Or None.
            steps: Of the solver.
            draw: Where random numbers come from.
        """
        sigmas = self._sigmas(max(2, steps))
        x = torch.randn(
            count, self.space.num_nodes, self.space.num_labels, generator=draw
        )
        x = x * sigmas[0]
        particles = None
        if guidance is not None and guidance.resamples:
            particles = Particles(guidance, count, draw)
        before: tuple[Tensor, Tensor] | None = None
        log_ratio = torch.zeros(count)
        for step in range(len(sigmas) - 1):
            share = (step + 1) / len(sigmas)
            sigma, to = float(sigmas[step]), float(sigmas[step + 1])
            logits, plain = self._guided(x, sigma, guidance, share)
            d, plain_d = logits.softmax(-1), plain.softmax(-1)
            if particles is not None:
                labels = self.space.canonical(self._decode(logits, draw))
                chosen = particles.step(labels, share, log_ratio)
                x, d, plain_d = x[chosen], d[chosen], plain_d[chosen]
                if before is not None:
                    before = before[0][chosen], before[1][chosen]
            elif self.solver == "heun":
                slope = (x - d) / sigma
                there = x + (to - sigma) * slope
                d2 = self._guided(there, to, guidance, share)[0].softmax(-1)
                x = x + (to - sigma) * 0.5 * (slope + (there - d2) / to)
                continue
            estimate, plain_estimate = d, plain_d
            if before is not None:
                h = torch.log(sigmas[step] / sigmas[step + 1])
                r = torch.log(sigmas[step - 1] / sigmas[step]) / h
                estimate = d + (d - before[0]) / (2 * r)
                plain_estimate = plain_d + (plain_d - before[1]) / (2 * r)
            keep = (to / sigma) ** (1 if particles is None else 2)
            x = keep * x + (1 - keep) * estimate
            if particles is not None:
                spread = to * math.sqrt(1 - keep)
                noise = torch.randn(x.shape, generator=draw)
                x = x + spread * noise
                # Gaussians of one variance about two means: the model's and the guided.
                apart = (1 - keep) * (estimate - plain_estimate) / spread
                ratio = noise.square() - (noise + apart).square()
                log_ratio = ratio.sum((1, 2)) / 2
            before = d, plain_d
        # Labels are decided at the lowest level: by the model alone where weights go by it.
        logits, plain = self._guided(x, float(sigmas[-1]), guidance, 1.0)
        if particles is None:
            return self.space.canonical(self._decode(logits, None))
        labels = self.space.canonical(self._decode(plain, None))
        return labels[particles.step(labels, 1.0, log_ratio)]

    def _sigmas(self, steps: int) -> Tensor:
        ramp = torch.linspace(0, 1, steps)
        low, high = LOWEST ** (1 / _RHO), HIGHEST ** (1 / _RHO)
        return (high + ramp * (low - high)) ** _RHO

    def _guided(
        self, x: Tensor, sigma: float, guidance: Guidance | None, share: float
    ) -> tuple[Tensor, Tensor]:
        """Logits to go by, and those of the model itself."""
        level = torch.full((len(x),), sigma)
        masks = self.space.allowed.expand(len(x), -1, -1)
        condition = torch.full((len(x),), guidance.condition if guidance else 0)
        logits = self._logits(x, level, condition, masks)
        if guidance is None:
            return logits, logits
        if guidance.method == "free":
            without = self._logits(x, level, torch.zeros_like(condition), masks)
            return guidance.amplify(logits, without), without
        scaled = x * self._scale(level)
        return guidance.tilt(logits, scaled, level.log() / 4, share), logits

    def _decode(self, logits: Tensor, draw: torch.Generator | None) -> Tensor:
        """Labels from logits, the wiring first and the rest among what it allows."""

        def choose(given: Tensor) -> Tensor:
            if draw is None:
                return given.argmax(-1)
            noise = torch.rand(given.shape, generator=draw).clamp(1e-20, 1 - 1e-7)
            return (given - (-noise.log()).log()).argmax(-1)

        x = choose(logits)
        if self.space.wiring is None:
            return x
        masks = self.space.masks(x)
        again = choose(logits.clamp(min=-1e4).masked_fill(~masks, -torch.inf))
        again[:, self.space.wiring] = x[:, self.space.wiring]
        return again
