"""Guidance: how an objective bends the denoising of architectures."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.objective import Objective

Method = Literal["gradient", "resample", "both", "noisy", "free"]
METHODS: tuple[Method, ...] = ("gradient", "resample", "both", "noisy", "free")
_UNIT, _LARGEST = 4.0, 200.0


def strength(scale: float) -> float:
    r"""Inverse temperature of a guidance scale: :math:`\beta = 4 w / (1 - w)`, at most 200.

    Samples aim at :math:`p(x)\, e^{\beta z(x)}`: w = 0 is the unguided model, w = 1 greedy.

    Raises:
        ValueError: outside [0, 1].

    Example:
        >>> strength(0.0), strength(0.5), strength(1.0)
        (0.0, 4.0, 200.0)
    """
    if not 0.0 <= scale <= 1.0:
        check.fail(ValueError, "Guidance", "scale", "be in [0, 1]", scale)
    return _LARGEST if scale == 1.0 else min(_UNIT * scale / (1.0 - scale), _LARGEST)


class Guidance:
    r"""Pulls generation towards an objective.

    ``gradient``
        A clean predictor on the denoised estimate: logits are tilted by the gradient of the
        objective at the expected one-hot. Any differentiable predictor trained on clean
        architectures serves.
    ``resample``
        A black box: particles are resampled by the objective of a drawn completion
        (Feynman-Kac), consistent with the target in the limit of many.
    ``both``
        Resampling of particles that the gradient proposes: weights take in how much likelier
        each step was made by the tilt, so the target is that of ``resample``. With ``edm``
        few particles carry the weight, and ``resample`` leaves more different samples.
    ``noisy``
        A predictor trained on noisy architectures at all levels
        (:class:`graphlab.nag.NoiseAwarePredictor`), as DiffusionNAG has it.
    ``free``
        Classifier-free: the denoiser was trained with each architecture's quantile; its
        difference to the unconditional model is taken :math:`\beta / 4` times: scale 0.5 is
        the conditional model.

    Args:
        objective: What to pull towards; unused by ``free``, and by ``noisy`` except to rank.
        scale: In [0, 1]: from the unguided model to greedy; see :func:`strength`.
        method: One of the above.
        noisy: (noisy input [B, V, F'], level [B]) -> standardised score [B].
        quantile: Of the condition of ``free``; 0.95 asks for the top tenth.
        moves: Of resampling with ``masked`` denoisers: Metropolis steps behind the last one
            that part duplicates, one network call each. A node is hidden and drawn anew from
            the model given all others, so accepting with chance min(1, exp(beta dz)) keeps
            the target exactly.

    Raises:
        ValueError: a scale outside [0, 1], or a method without what it needs.

    Source:
        Bansal et al., "Universal Guidance for Diffusion Models", 2023 (denoised estimate);
        Singhal et al., "A General Framework for Inference-time Scaling and Steering of
        Diffusion Models", 2025 (Feynman-Kac); Ho and Salimans, "Classifier-Free Diffusion
        Guidance", 2022; An et al., "DiffusionNAG", ICLR 2024 (noise-aware).

    Example:
        >>> Guidance(scale=2.0)
        Traceback (most recent call last):
        ValueError: Guidance: `scale` must be in [0, 1], got 2.0
    """

    def __init__(
        self,
        objective: Objective | None = None,
        *,
        scale: float = 0.5,
        method: Method = "both",
        noisy: Callable[[Tensor, Tensor], Tensor] | None = None,
        quantile: float = 0.95,
        moves: int = 12,
    ) -> None:
        self.beta = strength(scale)
        check.one_of("Guidance", "method", method, METHODS)
        if method == "noisy" and noisy is None:
            need = "be given for method='noisy'"
            check.fail(ValueError, "Guidance", "noisy", need, None)
        if method in ("gradient", "resample", "both") and objective is None:
            need = f"be given for method={method!r}"
            check.fail(ValueError, "Guidance", "objective", need, None)
        if (
            method in ("gradient", "both")
            and objective
            and not objective.differentiable
        ):
            need, remedy = "be differentiable", "use method='resample'"
            check.fail(ValueError, "Guidance", "objective", need, "a black box", remedy)
        if not 0.0 < quantile <= 1.0:
            check.fail(ValueError, "Guidance", "quantile", "be in (0, 1]", quantile)
        self.objective, self.scale, self.method = objective, scale, method
        self.noisy, self.quantile = noisy, quantile
        self.moves = check.positive("Guidance", "moves", moves, least=0)

    def at(self, scale: float) -> Guidance:
        """The same guidance with another scale."""
        made = copy.copy(self)
        made.scale, made.beta = scale, strength(scale)
        return made

    @property
    def condition(self) -> int:
        """Class of the condition for ``free``: 1 .. 10 by tenths; 0 for other methods."""
        return min(int(self.quantile * 10) + 1, 10) if self.method == "free" else 0

    @property
    def resamples(self) -> bool:
        """Whether particles are resampled."""
        return self.method in ("resample", "both") and self.beta > 0

    def amplify(self, logits: Tensor, without: Tensor) -> Tensor:
        """Logits of ``free`` from those with and without the condition."""
        # -inf - -inf: what is not allowed stays so.
        more = (logits - without).nan_to_num(0.0, 0.0, 0.0)
        return without + self.beta / 4.0 * more

    def tilt(self, logits: Tensor, x: Tensor, level: Tensor, share: float) -> Tensor:
        """Bend logits [B, V, F] of the denoised architecture.

        Args:
            logits: Of the denoiser; -inf where a label is not allowed.
            x: Its input [B, V, F'], for noise-aware predictors.
            level: Noise level [B], as the network sees it.
            share: Of the strength, in [0, 1].
        """
        if self.method in ("gradient", "both") and self.objective is not None:
            p = logits.softmax(-1)
            gradient = grad(self.objective, p)
            # Only differences between labels of one node matter.
            gradient = gradient - (gradient * p).sum(-1, keepdim=True)
            return logits + share * self.beta * gradient
        if self.method == "noisy" and self.noisy is not None:
            noisy = self.noisy
            gradient = grad(lambda given: noisy(given, level), x)
            return logits + share * self.beta * gradient[..., : logits.shape[-1]]
        return logits


def grad(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Gradient of the sum of ``function`` [B] at a tensor; the graph is not kept."""
    with torch.enable_grad():
        given = at.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(function(given).sum(), given)
    return found.detach()


class Particles:
    """Feynman-Kac weights of a batch of particles.

    The potential after step s is ``beta * share_s * z`` of a drawn completion; particles are
    resampled (systematically) whenever the effective sample size falls below half, and behind
    the last step, so that those that are left weigh the same. A step that was not drawn from
    the model itself is weighed by the ratio of the two chances.
    """

    def __init__(self, guidance: Guidance, count: int, draw: torch.Generator) -> None:
        self._guidance, self._draw = guidance, draw
        self._potential = torch.zeros(count)
        self._log_weight = torch.zeros(count)

    def step(
        self, completion: Tensor, share: float, log_ratio: Tensor | None = None
    ) -> Tensor:
        """Weigh particles; returns which one each becomes: int64 [B].

        Args:
            completion: int64 [B, V].
            share: Of the strength, in [0, 1]; 1 at the last step.
            log_ratio: [B], log of the chance of the step under the model over that under
                what it was drawn from; None: drawn from the model.
        """
        objective = self._guidance.objective
        if objective is None:
            return torch.arange(len(completion))
        fresh = self._guidance.beta * share * objective.values(completion).cpu()
        self._log_weight += fresh - self._potential
        if log_ratio is not None:
            self._log_weight += log_ratio
        self._potential = fresh
        weight = (self._log_weight - self._log_weight.max()).exp().double()
        weight = weight / weight.sum()
        count = len(weight)
        if share < 1.0 and 1.0 / float(weight.square().sum()) > 0.5 * count:
            return torch.arange(count)
        start = torch.rand(1, generator=self._draw, dtype=torch.float64)
        ticks = (torch.arange(count, dtype=torch.float64) + start) / count
        chosen = torch.searchsorted(weight.cumsum(0), ticks).clamp(max=count - 1)
        self._potential = self._potential[chosen]
        self._log_weight = torch.zeros(count)
        return chosen
