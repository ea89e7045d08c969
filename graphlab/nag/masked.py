"""Masked (absorbing) discrete diffusion on architectures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab.nag.guidance import Guidance, Particles
from graphlab.nag.network import DenoisingNetwork
from graphlab.nag.space import SearchSpace


class Masked(nn.Module):
    r"""Hide labels with a chance :math:`t`, learn to name them, generate by unhiding.

    :math:`\mathcal{L} = E_t\, \frac{1}{t} \sum_{i\ hidden} -\log p_\theta(x_i \mid x_t)`.
    Allowed-label masks, given the wiring, make every sample valid; the wiring comes first.

    Args:
        space: The space.
        hidden: Width of the network.
        blocks: Its depth.
        heads: Its attention heads.

    Source:
        Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces",
        2021; Sahoo et al., "Simple and Effective Masked Diffusion", 2024 (the 1/t weight).
    """

    default_steps = 8

    def __init__(
        self, space: SearchSpace, hidden: int, blocks: int, heads: int
    ) -> None:
        super().__init__()
        self.space = space
        self.token = space.num_labels
        self.shape = (space.num_nodes, space.num_labels + 1)
        self.network = DenoisingNetwork(
            space, space.num_labels + 1, hidden, blocks, heads
        )

    def corrupt(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Noisy input [B, V, F + 1] and its level [B], a uniform share hidden."""
        noisy, level = self._hide(x, draw)
        return self._input(noisy), level

    def _hide(self, x: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        # Stratified levels: each tenth of (0, 1] is met in every batch.
        level = (torch.rand(1, generator=draw) + torch.arange(len(x)) / len(x)) % 1
        level = 1 - level * (1 - 1e-3)
        hide = torch.rand(x.shape, generator=draw) < level[:, None]
        fixed = torch.ones(x.shape[1], dtype=torch.bool)
        fixed[list(self.space.free)] = False
        hide &= ~fixed
        if self.space.wiring is not None:
            # Generation unhides the wiring first, so it is hidden only with all else.
            rest = hide.sum(1) < len(self.space.free) - 1
            hide[:, self.space.wiring] &= ~rest
        return torch.where(hide, self.token, x), level

    def _input(self, noisy: Tensor) -> Tensor:
        return F.one_hot(noisy, self.token + 1).float()

    def loss(self, x: Tensor, condition: Tensor, draw: torch.Generator) -> Tensor:
        """Weighted cross-entropy of hidden labels."""
        noisy, level = self._hide(x, draw)
        logits = self._logits(noisy, level, condition)
        hidden = noisy == self.token
        each = F.cross_entropy(logits[hidden], x[hidden], reduction="none")
        weight = (1.0 / level.clamp(min=0.05))[:, None].expand_as(x)[hidden]
        return (each * weight).sum() / (len(x) * len(self.space.free))

    def _logits(self, noisy: Tensor, level: Tensor, condition: Tensor) -> Tensor:
        logits = self.network(self._input(noisy), level, condition)
        return logits.masked_fill(~self.space.masks(noisy), -torch.inf)

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
            steps: Network calls; at most the number of free nodes are of use.
            draw: Where random numbers come from.
        """
        free = torch.tensor(self.space.free)
        x = self.space.sample(count, generator=draw)
        x[:, free] = self.token
        order = torch.rand(x.shape, generator=draw).masked_fill(x != self.token, 9.0)
        if self.space.wiring is not None:
            order[:, self.space.wiring] = -1.0
        place = order.argsort(1).argsort(1)
        steps = max(1, min(steps, len(free)))
        if self.space.wiring is not None:
            steps = min(steps + 1, len(free))
        particles = None
        if guidance is not None and guidance.resamples:
            particles = Particles(guidance, count, draw)
        condition = torch.full((count,), guidance.condition if guidance else 0)
        for step in range(steps):
            share = (step + 1) / steps
            logits, plain = self._guided(x, condition, guidance, share)
            drawn = _draw(logits, draw)
            until = (share * torch.tensor(len(free))).ceil()
            if self.space.wiring is not None and step == 0:
                until = torch.ones(())
            now = (place < until) & (x == self.token)
            completion = torch.where(x == self.token, drawn, x)
            if self.space.wiring is not None:
                completion = self._fitting(completion, logits, draw)
            x = torch.where(now, completion, x)
            if particles is not None:
                chosen = particles.step(
                    self.space.canonical(completion),
                    share,
                    _log_ratio(plain, logits, completion, now),
                )
                x, place = x[chosen], place[chosen]
        x = self.space.canonical(x)
        if guidance is not None and particles is not None:
            x = self._move(x, guidance, draw)
        return x

    def _move(self, x: Tensor, guidance: Guidance, draw: torch.Generator) -> Tensor:
        """Metropolis moves that keep the guided target; see Guidance."""
        objective = guidance.objective
        nodes = [i for i in self.space.free if i != self.space.wiring]
        if objective is None or not nodes:
            return x
        free, rows = torch.tensor(nodes), torch.arange(len(x))
        level = torch.full((len(x),), 1.0 / len(self.space.free))
        condition = torch.zeros(len(x), dtype=torch.int64)
        z = objective.values(x)
        for _ in range(guidance.moves):
            node = free[torch.randint(len(free), (len(x),), generator=draw)]
            hidden = x.clone()
            hidden[rows, node] = self.token
            drawn = _draw(self._logits(hidden, level, condition), draw)
            other = x.clone()
            other[rows, node] = drawn[rows, node]
            other = self.space.canonical(other)
            fresh = objective.values(other)
            chance = (guidance.beta * (fresh - z)).clamp(max=0).exp()
            take = torch.rand(len(x), generator=draw) < chance
            x = torch.where(take[:, None], other, x)
            z = torch.where(take, fresh, z)
        return x

    def _guided(
        self, x: Tensor, condition: Tensor, guidance: Guidance | None, share: float
    ) -> tuple[Tensor, Tensor]:
        """Logits to draw from, and those of the model itself."""
        level = (x == self.token).sum(1) / max(len(self.space.free), 1)
        logits = self._logits(x, level, condition)
        if guidance is None:
            return logits, logits
        if guidance.method == "free":
            without = self._logits(x, level, torch.zeros_like(condition))
            return guidance.amplify(logits, without), without
        known = x != self.token
        logits = torch.where(
            known[..., None], _known(x.clamp(max=self.token - 1), logits), logits
        )
        return guidance.tilt(logits, self._input(x), level, share), logits

    def _fitting(self, x: Tensor, logits: Tensor, draw: torch.Generator) -> Tensor:
        """Draw again the labels that the wiring just drawn does not allow."""
        masks = self.space.masks(x)
        bad = ~masks.gather(2, x[..., None])[..., 0]
        if not bool(bad.any()):
            return x
        # Under another wiring's logits a node may have nothing left: then any label.
        logits = logits.clamp(min=-30.0).masked_fill(~masks, -torch.inf)
        return torch.where(bad, _draw(logits, draw), x)


def _known(x: Tensor, logits: Tensor) -> Tensor:
    """Logits of a node whose label is given."""
    sure = torch.full_like(logits, -torch.inf)
    return sure.scatter(2, x[..., None], 0.0)


def _log_ratio(plain: Tensor, logits: Tensor, x: Tensor, drawn: Tensor) -> Tensor:
    """Log chance of the labels ``x`` of the nodes ``drawn`` under the first over the second."""
    more = plain.log_softmax(-1) - logits.log_softmax(-1)
    each = more.gather(2, x[..., None])[..., 0]
    return torch.where(drawn, each, 0.0).sum(1)


def _draw(logits: Tensor, draw: torch.Generator) -> Tensor:
    """Sample labels from logits [B, V, F] (Gumbel maximum)."""
    noise = torch.rand(logits.shape, generator=draw).clamp(1e-20, 1 - 1e-7)
    return (logits - (-noise.log()).log()).argmax(-1)
