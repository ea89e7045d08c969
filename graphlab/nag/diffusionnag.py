"""DiffusionNAG: a VE-SDE on one-hot operations with predictor-corrector sampling."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check
from graphlab.nag.guidance import Guidance, grad
from graphlab.nag.onehot_layout import layout
from graphlab.nag.space import SearchSpace

_LOWEST, _END, _SNR, _STEPS = 0.1, 1e-5, 0.16, 1000


class ScoreNetwork(nn.Module):
    """The release's score network: 12 blocks whose outputs all go into a wide MLP.

    Args:
        width: Operations F.
        positions: int64 [n], of the positional encoding.

    Shapes:
        x [B, n, F] in about [-1, 1], sigma [B], mask bool [n, n] (i attends to j) -> [B, n, F].
    """

    encoding: Tensor

    def __init__(self, width: int, positions: Tensor) -> None:
        super().__init__()
        self.embed = nn.Linear(width, 64)
        self.register_buffer(
            "encoding", _waves(positions.float(), 64), persistent=False
        )
        self.time = nn.Sequential(nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 64))
        self.blocks = nn.ModuleList(_ReferenceBlock() for _ in range(12))
        self.norm = nn.LayerNorm(64)
        self.head = nn.Sequential(
            nn.Linear(768, 1536),
            nn.ELU(),
            nn.Linear(1536, 1536),
            nn.ELU(),
            nn.Linear(1536, width),
        )

    def forward(self, x: Tensor, sigma: Tensor, mask: Tensor) -> Tensor:
        """Compute the score."""
        h = F.dropout(8.0 * self.embed(x), 0.1, self.training) + self.encoding
        h = h + self.time(_waves(sigma, 64))[:, None]
        found = []
        for block in self.blocks:
            h = block(h, mask)
            found.append(self.norm(h))
        return self.head(torch.cat(found, -1))


class _ReferenceBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(64), nn.LayerNorm(64)
        self.qkv, self.out = nn.Linear(64, 192), nn.Linear(64, 64)
        self.feed1, self.feed2 = nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        batch, nodes, _ = h.shape
        q, k, v = (
            self.qkv(self.norm1(h)).view(batch, nodes, 3, 8, 8).permute(2, 0, 3, 1, 4)
        )
        # A finite -1e9: a row that may attend to nothing attends to all alike.
        scores = (q @ k.transpose(2, 3) / math.sqrt(8)).masked_fill(~mask, -1e9)
        share = F.dropout(scores.softmax(-1), 0.1, self.training)
        mixed = self.out((share @ v).transpose(1, 2).reshape(batch, nodes, 64))
        h = h + F.dropout(mixed, 0.1, self.training)
        inner = F.dropout(self.feed1(self.norm2(h)).relu(), 0.1, self.training)
        return h + F.dropout(self.feed2(inner), 0.1, self.training)


class DiffusionNAG(nn.Module):
    r"""Continuous diffusion of DiffusionNAG.

    :math:`\sigma(t) = \sigma_{min}(\sigma_{max}/\sigma_{min})^t`, :math:`X_t = X_0 +
    \sigma(t) Z`; loss :math:`\|\sigma(t) s_\theta + Z\|^2` averaged over entries, t uniform
    in [1e-5, 1]. Each of 1000 steps is a Langevin corrector (signal-to-noise 0.16) and an
    Euler-Maruyama predictor: 2000 network calls.

    Args:
        space: The space.
        compat: ``"reference"``: raw adjacency in training and unguided sampling, its closure
            in guided sampling (the release's mask defect), threshold instead of argmax.

    Source:
        An et al., "DiffusionNAG", ICLR 2024, and its release. Without ``compat`` the
        attention mask is the closure throughout, as the paper means it, and each node takes
        its best allowed label, so that every sample is valid.
    """

    default_steps = _STEPS

    def __init__(self, space: SearchSpace, compat: str | None = None) -> None:
        super().__init__()
        self.space, self.compat = space, compat
        self.layout = layout(space)
        self.shape = (len(self.layout.positions), self.layout.width)
        self.network = ScoreNetwork(self.layout.width, self.layout.positions)
        self._ratio = self.layout.highest / _LOWEST

    def sigma(self, t: Tensor) -> Tensor:
        """Noise level at time t in [0, 1]."""
        return _LOWEST * self._ratio**t

    def mask(self, *, guided: bool, training: bool = False) -> Tensor:
        """Attention mask bool [n, n]."""
        if self.compat is None or (guided and not training):
            return self.layout.closure
        return self.layout.adjacency

    def corrupt(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noisy rows [B, n, F] and sigma [B]."""
        noisy, sigma, _ = self._noisy(x, draw)
        return noisy, sigma

    def _noisy(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        sigma = self.sigma(_END + (1 - _END) * torch.rand(len(x), generator=draw))
        clean = 2 * self.layout.encode(x) - 1
        z = torch.randn(clean.shape, generator=draw)
        return clean + sigma[:, None, None] * z, sigma, z

    def loss(self, x: Tensor, condition: Tensor, draw: torch.Generator) -> Tensor:
        """Denoising score matching; ``condition`` is not used."""
        noisy, sigma, z = self._noisy(x, draw)
        score = self.network(noisy, sigma, self.mask(guided=False, training=True))
        return (sigma[:, None, None] * score + z).square().mean()

    @torch.no_grad()
    def sample(
        self,
        count: int,
        guidance: Guidance | None,
        steps: int,
        draw: torch.Generator,
    ) -> Tensor:
        r"""Generate int64 [count, V]; -1 marks nodes that ``compat`` leaves undecided.

        Guidance ``noisy`` adds :math:`\beta \nabla_X f(X_t, t)` to the score in predictor
        and corrector, ``gradient`` that of the objective at the denoised estimate, through
        the network. The release's c = 10,000 on labels of deviation 0.01 is beta = 100,
        a scale of 0.96.
        """
        if guidance is not None and guidance.method not in ("noisy", "gradient"):
            need = "be 'noisy' or 'gradient' for method='diffusionnag'"
            check.fail(ValueError, "generate", "guidance", need, guidance.method)
        shape = (count, *self.shape)
        x = self.layout.highest * torch.randn(shape, generator=draw)
        mean = x
        times = torch.linspace(1.0, _END, steps)
        rate = math.sqrt(2 * math.log(self._ratio))
        for t in times:
            sigma = self.sigma(t)
            score = self._score(x, sigma, guidance)
            noise = torch.randn(shape, generator=draw)
            ratio = _norm(noise) / _norm(score).clamp(min=1e-12)
            size = 2 * (_SNR * ratio) ** 2
            x = x + size * score + torch.sqrt(2 * size) * noise
            score = self._score(x, sigma, guidance)
            g = sigma * rate
            mean = x + g**2 * score / steps
            noise = torch.randn(shape, generator=draw)
            x = mean + g * noise / math.sqrt(steps)
        rows = (mean + 1) / 2
        if self.compat is not None:
            return self.layout.threshold(rows)
        return self.layout.decode(rows)

    def _score(self, x: Tensor, sigma: Tensor, guidance: Guidance | None) -> Tensor:
        level = sigma.expand(len(x))
        mask = self.mask(guided=guidance is not None)
        score = self.network(x, level, mask)
        if guidance is None:
            return score
        if guidance.method == "noisy" and guidance.noisy is not None:
            noisy = guidance.noisy
            return score + guidance.beta * grad(lambda given: noisy(given, level), x)
        objective = guidance.objective
        if objective is None:
            return score

        def value(given: Tensor) -> Tensor:
            clean = given + sigma**2 * self.network(given, level, mask)
            return objective(self.layout.relaxed(((clean + 1) / 2).clamp(0, 1)))

        return score + guidance.beta * grad(value, x)


def _norm(value: Tensor) -> Tensor:
    return value.flatten(1).norm(dim=1).mean()


def _waves(value: Tensor, width: int) -> Tensor:
    """The usual sines and cosines: [B] -> [B, width]."""
    half = width // 2
    step = math.log(10000.0) / (half - 1)
    frequency = torch.exp(-step * torch.arange(half, dtype=torch.float32))
    angle = value.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)
