"""Transfer: predict on a new data set from what architectures scored on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.nag.ranking import regression_loss
from graphlab.nag.set_encoder import DatasetEncoder
from graphlab.nag.space import SearchSpace

# Nodes, edges (undirected ones once), features and classes as the sources of the nine data
# sets of NAS-Bench-Graph publish them.
SUMMARY: dict[str, tuple[float, float, float, float]] = {
    "cora": (2_708, 5_278, 1_433, 7),
    "citeseer": (3_327, 4_552, 3_703, 6),
    "pubmed": (19_717, 44_324, 500, 3),
    "cs": (18_333, 81_894, 6_805, 15),
    "physics": (34_493, 247_962, 8_415, 5),
    "photo": (7_487, 119_043, 745, 8),
    "computers": (13_381, 245_778, 767, 10),
    "arxiv": (169_343, 1_166_243, 128, 40),
    "proteins": (132_534, 39_561_252, 8, 112),
}
# Variance of the unknown level of a new data set, and of what no known one explains.
_LEVEL, _OWN = 100.0, 0.02


def summary(name: str) -> Tensor:
    """Published statistics of a data set: logs of nodes, edges, features, classes. [4].

    Raises:
        ValueError: a data set without them.
    """
    check.one_of("meta.summary", "name", name, SUMMARY)
    return torch.tensor(SUMMARY[name]).log() / 10


class MetaPredictor(nn.Module):
    r"""Scores an architecture on a data set: :math:`f(a, e(D))`, in standard units.

    The data set's part is a Set Transformer over samples of its classes
    (:class:`graphlab.nag.set_encoder.DatasetEncoder`), or summary statistics and the scores of
    up to three probes.

    Args:
        space: The search space.
        statistics: Width of summary statistics and probe scores; 0: samples are encoded.
        hidden: Width.
        seed: Of weights.

    Source:
        An et al., "DiffusionNAG", ICLR 2024, section 3.3, after Lee et al., "MetaD2A", 2021;
        trained on whole data sets left out one at a time, with DiffKendall or squares.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        statistics: int = 0,
        hidden: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.space, self.seed = space, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = DatasetEncoder() if statistics == 0 else None
            width = 56 if statistics == 0 else statistics
            inputs = space.num_nodes * space.num_labels
            self.of_architecture = nn.Sequential(
                nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
            )
            self.of_dataset = nn.Linear(width, hidden)
            self.head = nn.Sequential(
                nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
            )

    def forward(self, one_hot: Tensor, dataset: Tensor) -> Tensor:
        """Scores [B] of (relaxed) architectures [B, V, F].

        Args:
            one_hot: The architectures.
            dataset: Samples [classes, samples, width], or statistics [width].
        """
        if self.encoder is not None:
            dataset = self.encoder(dataset)
        h = self.of_architecture(one_hot.flatten(1))
        z = self.of_dataset(dataset).tanh().expand(len(h), -1)
        return self.head(torch.cat([h, h * z], 1))[:, 0]

    def fit(
        self,
        tables: Mapping[str, tuple[Tensor, Tensor]],
        datasets: Mapping[str, Sequence[Tensor]],
        *,
        steps: int = 1500,
        batch: int = 128,
        lr: float = 2e-3,
        loss: str = "kendall",
    ) -> MetaPredictor:
        """Train on scores of several data sets.

        Args:
            tables: Data set -> architectures [N, V] and scores [N].
            datasets: Data set -> inputs that stand for it; one is drawn a step.
            steps: Optimiser steps; each sees one data set.
            batch: Architectures a step.
            lr: Learning rate.
            loss: ``kendall`` or ``mse``.
        """
        draw = torch.Generator().manual_seed(self.seed + 1)
        names = list(tables)
        scaled = {
            n: (x, (y - y.mean()) / y.std().clamp(min=1e-9))
            for n, (x, y) in tables.items()
        }
        optimiser = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, lr, total_steps=steps + 1
        )
        for step in range(steps):
            name = names[step % len(names)]
            x, y = scaled[name]
            rows = torch.randint(len(x), (batch,), generator=draw)
            given = datasets[name]
            which = int(torch.randint(len(given), (1,), generator=draw))
            out = self(self.space.one_hot(x[rows]), given[which])
            value = regression_loss(loss, out, y[rows].float())
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            schedule.step()
        return self.eval()

    @torch.no_grad()
    def predict(self, x: Tensor, dataset: Tensor) -> Tensor:
        """Scores of architectures [N, V] on a data set: [N]."""
        parts = [self(self.space.one_hot(r), dataset) for r in x.split(8192)]
        return torch.cat(parts)


class TaskPrior:
    r"""A Gaussian over score vectors whose mean and covariance are those of known data sets.

    Scores of each data set are standardised; those of a new one are
    :math:`N(m, S)`, :math:`m` and :math:`S` the weighted moments over the known ones, plus
    an unknown level. A few evaluations (probes) condition it, so it says after each which
    architectures this data set likes unlike the others.

    Args:
        scores: [data sets, N], of the same N architectures.
        weights: [data sets], how alike each is to the new one; default all the same. See
            :func:`similarity`.
        noise: Deviation of an evaluation, in standard units.

    Example:
        >>> scores = torch.tensor([[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
        >>> prior = TaskPrior(scores, noise=0.1)
        >>> mean, _ = prior.predict([0, 3], torch.tensor([10.0, 40.0]))
        >>> bool(mean[2] > mean[1])
        True
    """

    def __init__(
        self, scores: Tensor, weights: Tensor | None = None, noise: float = 0.6
    ) -> None:
        check.tensor("TaskPrior", "scores", scores, ndim=2)
        std = scores.std(1, keepdim=True).clamp(min=1e-9)
        z = (scores - scores.mean(1, keepdim=True)) / std
        if weights is None:
            weights = torch.full((len(z),), 1.0 / len(z))
        self.mean = weights @ z
        self.factors = weights.sqrt()[:, None] * (z - self.mean)
        self.unit = float(weights @ std[:, 0])
        self.noise = noise

    def predict(self, rows: Sequence[int], y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of every architecture's standardised score.

        Args:
            rows: Evaluated architectures.
            y: Their scores on the new data set, in the units of the known ones.
        """
        own = self.factors.square().sum(0) + _OWN
        if not rows:
            return self.mean, own.sqrt()
        index = torch.tensor(list(rows))
        f = self.factors[:, index]
        # The level of the new data set is unknown: a constant of large variance.
        noise = self.noise**2 * torch.eye(len(index))
        covariance = f.T @ f + noise + _LEVEL
        cross = self.factors.T @ f + _LEVEL
        gain = torch.linalg.solve(covariance.double(), cross.T.double()).T.float()
        mean = self.mean + gain @ (y / self.unit - self.mean[index])
        variance = own + _LEVEL - (gain * cross).sum(1)
        return mean, variance.clamp(min=1e-6).sqrt()


def similarity(name: str, others: Sequence[str], temperature: float = 0.15) -> Tensor:
    """Weights of known data sets by the distance of their summary statistics: [n], sum 1.

    Example:
        >>> similarity("cora", ["citeseer", "proteins"]).argmax().item()
        0
    """
    here = summary(name)
    distance = torch.stack([(summary(other) - here).norm() for other in others])
    return (-distance / temperature).softmax(0)
