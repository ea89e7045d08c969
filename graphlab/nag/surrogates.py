"""Surrogates of Bayesian optimisation: ensemble of MLPs, Gaussian process, boosted trees."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.predictors import Ensemble
from graphlab.nag.space import SearchSpace

NAMES = ("ensemble", "gp", "boosting")


class Surrogate(Protocol):
    """What a search needs of a surrogate."""

    differentiable: bool

    def fit(self, x: Tensor, y: Tensor) -> Any:
        """Learn from architectures [N, V] and scores [N]."""

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation: [N], [N]."""

    def outputs(self, x: Tensor) -> Tensor:
        """Functions that the data allow, each at all of ``x``: [functions, N]."""

    def relaxed(self, one_hot: Tensor) -> Tensor:
        """Mean of one-hot, or relaxed where differentiable: [B, V, F] -> [B]."""


def make(
    name: str, space: SearchSpace, seed: int, *, loss: str = "mse", **settings: Any
) -> Surrogate:
    """Make a surrogate by name.

    Args:
        name: ``ensemble``, ``gp`` or ``boosting``.
        space: The space.
        seed: Of weights and draws.
        loss: Of ``ensemble``: ``mse`` or ``kendall``.
        settings: More arguments of its class.

    Raises:
        ValueError: another name.
        ModuleNotFoundError: ``gp`` without botorch.
    """
    check.one_of("search", "surrogate", name, NAMES)
    if name == "ensemble":
        kind: Any = loss
        return Ensemble(space, seed=seed, loss=kind, **settings)
    if name == "gp":
        return GaussianProcess(space, seed=seed, **settings)
    return Boosting(space, seed=seed, **settings)


class _OneHot:
    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        mask = torch.zeros_like(space.allowed)
        mask[list(space.free)] = space.allowed[list(space.free)]
        self.columns = mask.flatten().nonzero()[:, 0]

    def features(self, one_hot: Tensor) -> Tensor:
        return one_hot.flatten(1)[:, self.columns]


class GaussianProcess(_OneHot):
    """BoTorch's SingleTaskGP on one-hot labels, with its own kernel and priors.

    Args:
        space: The space.
        iterations: At most, of the fit of kernel and noise.
        seed: Of functions drawn from the posterior.
    """

    differentiable = True

    def __init__(self, space: SearchSpace, iterations: int = 30, seed: int = 0) -> None:
        super().__init__(space)
        self._iterations, self._seed = iterations, seed
        self._model: Any = None
        self.mean, self.std = 0.0, 1.0

    def fit(self, x: Tensor, y: Tensor) -> GaussianProcess:
        """Fit kernel, noise and mean by marginal likelihood."""
        try:
            from botorch.fit import fit_gpytorch_mll
            from botorch.models import SingleTaskGP
            from gpytorch.mlls import ExactMarginalLogLikelihood
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "search: `surrogate` 'gp' must have botorch installed, got none; "
                "pip install 'graphlab[search]'"
            ) from error
        self.mean, self.std = float(y.mean()), max(float(y.std()), 1e-6)
        target = ((y - self.mean) / self.std).double()[:, None]
        given = self.features(self.space.one_hot(x)).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = SingleTaskGP(
                given,
                target,
                outcome_transform=None,
            )
            mll = ExactMarginalLogLikelihood(self._model.likelihood, self._model)
            fit_gpytorch_mll(
                mll, optimizer_kwargs={"options": {"maxiter": self._iterations}}
            )
        self._model.eval()
        return self

    def _posterior(self, one_hot: Tensor) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._model.posterior(self.features(one_hot).double())

    @torch.no_grad()
    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and deviation of the function."""
        means, stds = [], []
        for rows in x.split(4096):
            found = self._posterior(self.space.one_hot(rows))
            means.append(found.mean[:, 0])
            stds.append(found.variance[:, 0].sqrt())
        mean, std = torch.cat(means).float(), torch.cat(stds).float()
        return mean * self.std + self.mean, std * self.std

    @torch.no_grad()
    def outputs(self, x: Tensor, draws: int = 1) -> Tensor:
        """Functions drawn from the posterior, each at all of ``x``: [draws, N].

        Random Fourier features stand for the prior, so the cost is linear in N.

        Source:
            Wilson et al., "Efficiently Sampling Functions from Gaussian Process Posteriors",
            2020; BoTorch's implementation.
        """
        from botorch.sampling.pathwise import draw_matheron_paths

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.default_generator.manual_seed(self._seed)
            path = draw_matheron_paths(self._model, torch.Size([draws]))
            parts = [
                path(self.features(self.space.one_hot(rows)).double())
                for rows in x.split(4096)
            ]
        return torch.cat(parts, -1).float() * self.std + self.mean

    def relaxed(self, one_hot: Tensor) -> Tensor:
        """Differentiable posterior mean, standardised."""
        return self._posterior(one_hot).mean[:, 0].float()


class Boosting(_OneHot):
    """Bagged gradient-boosted trees of scikit-learn on one-hot labels.

    Args:
        space: The space.
        members: Number of boosted models, each on its own bootstrap.
        trees: Trees of each.
        depth: Of a tree.
        seed: Of bootstraps.
    """

    differentiable = False

    def __init__(
        self,
        space: SearchSpace,
        members: int = 5,
        trees: int = 60,
        depth: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(space)
        self._settings = (members, trees, depth, seed)
        self._models: list[Any] = []

    def fit(self, x: Tensor, y: Tensor) -> Boosting:
        """Fit every member."""
        from sklearn.ensemble import GradientBoostingRegressor

        members, trees, depth, seed = self._settings
        given = self.features(self.space.one_hot(x)).numpy()
        target = y.double().numpy()
        draw = np.random.default_rng(seed)
        self._models = []
        for _ in range(members):
            rows = draw.integers(0, len(given), len(given))
            model = GradientBoostingRegressor(
                n_estimators=trees,
                max_depth=depth,
                learning_rate=0.1,
                subsample=0.8,
                max_features="sqrt",
                random_state=int(draw.integers(2**31)),
            )
            self._models.append(model.fit(given[rows], target[rows]))
        return self

    def outputs(self, x: Tensor) -> Tensor:
        """Scores of every member: [members, N]."""
        given = self.features(self.space.one_hot(x)).numpy()
        found = [torch.from_numpy(m.predict(given)).float() for m in self._models]
        return torch.stack(found)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation over members."""
        found = self.outputs(x)
        return found.mean(0), found.std(0)

    def relaxed(self, one_hot: Tensor) -> Tensor:
        """Mean of one-hot rows; no gradient."""
        return self.outputs(one_hot.argmax(-1)).mean(0)
