"""What guidance pulls towards: a predictor, minus closed-form costs, in standard units."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.space import SearchSpace

Predictor = Callable[[Tensor], Tensor]
_SAMPLE = 512


class Objective:
    r"""Predicted score minus weighted costs, each in standard deviations over the space.

    :math:`z(x) = \frac{f(x) - \mu_f}{s_f} - \sum_k w_k \frac{c_k(x) - \mu_k}{s_k}` minus
    10 standard deviations for each by which a limit is exceeded. Means and deviations are
    those over 512 architectures drawn uniformly, so a guidance scale means the same for
    every predictor and space.

    Args:
        space: The search space.
        predictor: One-hot, possibly relaxed, [B, V, F] -> [B]; larger is better.
        costs: Name of a cost of the space (closed form), or of ``measured`` -> weight.
        limits: Name of a cost -> largest value.
        measured: Further costs without a closed form, such as a latency: name -> predictor
            of it, one-hot -> [B].
        differentiable: Whether gradients flow through ``predictor``; otherwise only
            resampling can follow it.

    Raises:
        ValueError: a cost that the space does not have.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> small = Objective(space, lambda h: -h[:, 1:7, 2].sum(1), costs={"params": 0.5})
        >>> round(float(small.values(space.sample(2000, seed=1)).mean()), 1)
        0.0
    """

    def __init__(
        self,
        space: SearchSpace,
        predictor: Predictor,
        *,
        costs: Mapping[str, float] | None = None,
        limits: Mapping[str, float] | None = None,
        measured: Mapping[str, Predictor] | None = None,
        differentiable: bool = True,
    ) -> None:
        self.space, self.predictor = space, predictor
        self._measured = dict(measured or {})
        self.weights, self.limits = dict(costs or {}), dict(limits or {})
        self.differentiable = differentiable
        one_hot = space.one_hot(space.sample(_SAMPLE, seed=0))
        known = [*space.costs(one_hot[:1]), *self._measured]
        for argument, given in (("costs", self.weights), ("limits", self.limits)):
            for name in given:
                if name not in known:
                    need = f"name costs of {space.name}: {', '.join(known) or 'it has none'}"
                    check.fail(ValueError, "Objective", argument, need, repr(name))
        with torch.no_grad():
            self._units = {"": _unit(predictor(one_hot))}
            for name, value in self._costs(one_hot).items():
                self._units[name] = _unit(value)

    def __call__(self, one_hot: Tensor) -> Tensor:
        """Standardised objective of (relaxed) architectures: [B]."""
        mean, std = self._units[""]
        z = (self.predictor(one_hot) - mean) / std
        if not self.weights and not self.limits:
            return z
        costs = self._costs(one_hot)
        for name, weight in self.weights.items():
            mean, std = self._units[name]
            z = z - weight * (costs[name] - mean) / std
        for name, limit in self.limits.items():
            over = (costs[name] - limit) / self._units[name][1]
            z = z - 10.0 * over.clamp(min=0)
        return z

    def _costs(self, one_hot: Tensor) -> dict[str, Tensor]:
        named = {name: f(one_hot) for name, f in self._measured.items()}
        return self.space.costs(one_hot) | named

    def values(self, x: Tensor) -> Tensor:
        """Standardised objective of architectures: int64 [B, V] -> [B]."""
        with torch.no_grad():
            return self(self.space.one_hot(x))


def _unit(value: Tensor) -> tuple[float, float]:
    """Mean and deviation; 1 for a constant, which then pulls nowhere."""
    std = float(value.std())
    return float(value.mean()), std if std > 1e-12 else 1.0
