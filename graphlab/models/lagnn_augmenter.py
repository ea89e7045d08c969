"""LAGNN's generator: a conditional variational autoencoder of neighbours' features."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graphlab import check, files, progress
from graphlab.datasets.column import Column, gather
from graphlab.graph import Graph
from graphlab.models.lagnn_pairs import PairSampler
from graphlab.ops import rng

LIKELIHOODS = ("auto", "bernoulli", "gaussian")
# Nats a latent unit may use for nothing, with kl="free_bits".
FREE_BITS = 0.1
# Below so many nats in all, or with no active unit, z tells the decoder nothing.
COLLAPSED = 1e-2
# A unit is active where the variance of its mean over pairs is above this
# (Burda et al., "Importance Weighted Autoencoders", 2016).
ACTIVE = 1e-2
# Rows that give the features' scale, and rows whose range is looked at together.
_ROWS = 4096
_HOLD, _WEIGHTS, _NOISE, _PROBE = 92, 93, 94, 95


class PosteriorCollapseWarning(UserWarning):
    """The generator ignores its latent variable: it is a regressor of the mean neighbour."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a generator has learnt, on pairs that it was not trained on.

    Attributes:
        step: Training steps before.
        elbo: Mean evidence lower bound of a pair, nats.
        reconstruction: Mean negative log-likelihood, nats.
        kl: Mean KL divergence, nats, all units.
        kl_per_unit: The same of each unit.
        active_units: Units whose mean varies over pairs.
        share_from_z: Share of the variance of decoded features that comes from z, the rest
            from the centre's features.
        score: Of the selection, if there was one.
    """

    step: int
    elbo: float
    reconstruction: float
    kl: float
    kl_per_unit: tuple[float, ...]
    active_units: int
    share_from_z: float
    score: float | None = None

    @property
    def collapsed(self) -> bool:
        """Whether z tells the decoder nothing."""
        return self.kl < COLLAPSED or self.active_units == 0


class LocalAugmenter(nn.Module):
    r"""Generate features that a neighbour might have: :math:`p(X_u | X_v, z)`, u next to v.

    The encoder maps :math:`[X_u, X_v]` to mean and log-variance of z, the decoder maps
    :math:`[z, X_v]` to the likelihood's parameters; :math:`z \sim N(0, I)` when sampling.

    Args:
        dim: Width of the features.
        latent: Units of z.
        hidden: Width of the encoder's and the decoder's inner layer.
        likelihood: ``bernoulli``: features in [0, 1]; ``gaussian``: any, with one learnt
            variance, on standardised features; ``auto``: by the features at :meth:`fit`.
        kl: Weight of the KL term: a number; ``anneal``: from 0 to 1 over the first half of
            the steps; ``free_bits``: 1, and units that use less than 0.1 nats are left
            alone, which keeps z in use.

    Source:
        Liu et al., "Local Augmentation for Graph Neural Networks", ICML 2022, eqs. 2-6. The
        release is ``likelihood="bernoulli", kl=1.0`` and draws from the same prior; its
        shipped generators have collapsed, of which :meth:`fit` warns.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=100, num_edges=600, num_features=4)
        >>> a = LocalAugmenter(4, latent=2, hidden=8, kl="free_bits")
        >>> history = a.fit(d.x, d.graph, steps=20, warn=False)
        >>> a.sample(d.x[:3], s=2).shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        dim: int,
        latent: int = 10,
        hidden: int = 256,
        likelihood: str = "auto",
        kl: str | float = "anneal",
    ) -> None:
        super().__init__()
        name = "LocalAugmenter"
        for argument, value in (("dim", dim), ("latent", latent), ("hidden", hidden)):
            check.positive(name, argument, value)
        check.one_of(name, "likelihood", likelihood, LIKELIHOODS)
        if isinstance(kl, str):
            check.one_of(name, "kl", kl, ("anneal", "free_bits"))
        elif not (math.isfinite(kl) and kl >= 0):
            check.fail(ValueError, name, "kl", "be a weight of at least 0", kl)
        self.dim, self.latent, self.hidden = dim, latent, hidden
        self.likelihood, self.kl = likelihood, kl
        self.encoder = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU())
        self.to_mean = nn.Linear(hidden, latent)
        self.to_log_variance = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent + dim, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )
        self.log_noise = nn.Parameter(torch.zeros(()))
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.shift: Tensor
        self.scale: Tensor

    def encode(self, x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z. [n, latent] each."""
        pair = torch.cat([self._standard(x), self._standard(centre)], dim=1)
        h = self.encoder(pair)
        return self.to_mean(h), self.to_log_variance(h).clamp(-20, 20)

    def decode(self, z: Tensor, centre: Tensor) -> Tensor:
        """Mean features. z [n, latent], centre [n, dim] -> [n, dim]."""
        out = self._decode(z, self._standard(centre))
        return out.sigmoid() if self._is_bernoulli else out * self.scale + self.shift

    def elbo(self, x: Tensor, centre: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood [n] of x at a noisy z, and KL [n, latent]."""
        mean, log_variance = self.encode(x, centre)
        z = mean + noise * (log_variance / 2).exp()
        out = self._decode(z, self._standard(centre))
        if self._is_bernoulli:
            each = F.binary_cross_entropy_with_logits(out, x, reduction="none")
        else:
            squared = (out - self._standard(x)) ** 2 * (-self.log_noise).exp()
            each = (squared + self.log_noise + math.log(2 * math.pi)) / 2
        kl = (mean**2 + log_variance.exp() - 1 - log_variance) / 2
        return each.sum(1), kl

    def fit(
        self,
        x: Tensor | Column,
        graph: Graph,
        *,
        steps: int = 2000,
        batch_size: int = 256,
        lr: float = 1e-3,
        sampler: str = "slot",
        nodes: Tensor | None = None,
        val_frac: float = 0.05,
        early_stop: bool = True,
        every: int = 100,
        patience: int = 5,
        score: Callable[[LocalAugmenter], float] | None = None,
        warmup: int = 200,
        seed: int = 0,
        warn: bool = True,
    ) -> list[Evidence]:
        """Train on pairs of neighbours.

        Args:
            x: [N, dim], features; a tensor or a Column, which may be on disk.
            graph: The graph; an edge u -> v is a pair with centre v.
            steps: At most so many.
            batch_size: Pairs a step.
            lr: Learning rate of Adam.
            sampler: See :class:`~graphlab.models.lagnn_pairs.PairSampler`.
            nodes: Ids or mask of the nodes that may be used; None: all. Inductive training
                passes those of the training split.
            val_frac: Share of the centres held out; their pairs are scored, not trained on.
            early_stop: Stop after ``patience`` scores without a better held-out ELBO.
            every: Steps between scores.
            patience: See ``early_stop``.
            score: Called with this module after ``warmup`` steps, at every held-out score;
                the weights of the largest value are kept, instead of those of the best ELBO.
            warmup: See ``score``.
            seed: Names first weights, pairs and noise.
            warn: Warn of a collapsed posterior.

        Returns:
            The held-out evidence at every score. The kept weights' comes last.

        Raises:
            ValueError: features outside [0, 1] with ``bernoulli``; a wrong width; no pairs.

        Warns:
            PosteriorCollapseWarning: KL below 0.01 nats, or no active unit.

        Cost:
            Unless ``likelihood`` is ``gaussian``, all rows that may be used are read once
            ahead of training, to see whether they lie in [0, 1].
        """
        name = "LocalAugmenter.fit"
        if len(x.shape) != 2 or x.shape[1] != self.dim:
            need = f"have shape [nodes, dim = {self.dim}]"
            check.fail(ValueError, name, "x", need, list(x.shape))
        chosen = None
        if nodes is not None:
            chosen = nodes.nonzero()[:, 0] if nodes.dtype == torch.bool else nodes
        self._prepare(name, x, chosen, seed)
        everyone = torch.arange(graph.num_nodes) if chosen is None else chosen
        order = torch.from_numpy(rng.permutation(rng.key(seed, _HOLD), len(everyone)))
        count = max(1, round(val_frac * len(everyone))) if val_frac else 0
        held, rest = everyone[order[:count]], everyone[order[count:]]
        train = PairSampler(graph, sampler, nodes=chosen, centres=rest, seed=seed)
        valid = train
        if count and int(graph.in_degree()[held].sum()):
            try:
                valid = PairSampler(
                    graph, sampler, nodes=chosen, centres=held, seed=seed + 1
                )
            except ValueError:  # none of them has a neighbour that may be used
                valid = train
        rows = valid.rows(x, 0, min(2048, max(256, valid.num_pairs)))
        return self._train(
            train, x, rows, steps, batch_size, lr, early_stop, every, patience, score,
            warmup, seed, warn,
        )  # fmt: skip

    def _train(
        self,
        pairs: PairSampler,
        x: Tensor | Column,
        held: tuple[Tensor, Tensor],
        steps: int,
        batch_size: int,
        lr: float,
        early_stop: bool,
        every: int,
        patience: int,
        score: Callable[[LocalAugmenter], float] | None,
        warmup: int,
        seed: int,
        warn: bool,
    ) -> list[Evidence]:
        optimiser = torch.optim.Adam(self.parameters(), lr=lr)
        found: list[Evidence] = []
        best: tuple[float, Evidence, dict[str, Tensor]] | None = None
        waited = 0
        self.train()
        with progress.track("augmenter", steps, "steps") as bar:
            for step in range(1, steps + 1):
                loss = self._step(pairs.rows(x, step, batch_size), step, steps, seed)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                bar.advance()
                if step % every and step != steps:
                    continue
                evidence = self.evidence(*held, step=step, seed=seed)
                value = evidence.elbo
                if score is not None:
                    if step <= warmup and step != steps:
                        continue
                    value = score(self)
                    evidence = dataclasses.replace(evidence, score=value)
                found.append(evidence)
                waited += 1
                if best is None or value > best[0]:
                    state = {k: v.clone() for k, v in self.state_dict().items()}
                    best, waited = (value, evidence, state), 0
                ramp = self.kl == "anneal" and step <= steps // 2
                if early_stop and waited >= patience and not ramp:
                    break
                self.train()
        if best is not None:
            self.load_state_dict(best[2])
            found.append(best[1])
            if warn and best[1].collapsed:
                warnings.warn(
                    "LocalAugmenter.fit: the posterior has collapsed (KL "
                    f"{best[1].kl:.2g} nats, {best[1].active_units} of {self.latent} units "
                    "active): this augmenter is a deterministic regressor of the mean "
                    "neighbour; use kl='free_bits', or ConditionalMeanAugmenter, which is "
                    "the same in closed form",
                    PosteriorCollapseWarning,
                    stacklevel=3,
                )
        self.eval()
        return found

    def _step(
        self, rows: tuple[Tensor, Tensor], step: int, steps: int, seed: int
    ) -> Tensor:
        noise = _normal(rng.key(seed, _NOISE, step), (len(rows[0]), self.latent))
        reconstruction, kl = self.elbo(*rows, noise.to(rows[0]))
        if self.kl == "free_bits":
            penalty = kl.mean(0).clamp(min=FREE_BITS).sum()
        elif self.kl == "anneal":
            penalty = min(1.0, 2 * step / steps) * kl.sum(1).mean()
        else:
            penalty = float(self.kl) * kl.sum(1).mean()
        return reconstruction.mean() + penalty

    @torch.no_grad()
    def evidence(
        self, x: Tensor, centre: Tensor, *, step: int = 0, seed: int = 0
    ) -> Evidence:
        """Score pairs: neighbours' rows [n, dim], centres' rows [n, dim]."""
        was_training = self.training
        self.eval()
        noise = _normal(rng.key(seed, _PROBE), (len(x), self.latent)).to(x)
        reconstruction, kl = self.elbo(x, centre, noise)
        mean, _ = self.encode(x, centre)
        few = centre[:256]
        draws = self.sample(few, s=8, generator=torch.Generator().manual_seed(seed))
        inside = float(draws.var(0).mean())
        total = inside + float(draws.mean(0).var(0).mean())
        self.train(was_training)
        per_unit = kl.mean(0)
        return Evidence(
            step=step,
            elbo=-float(reconstruction.mean() + per_unit.sum()),
            reconstruction=float(reconstruction.mean()),
            kl=float(per_unit.sum()),
            kl_per_unit=tuple(per_unit.tolist()),
            active_units=int((mean.var(0) > ACTIVE).sum()),
            share_from_z=inside / total if total > 0 else 0.0,
        )

    @torch.no_grad()
    def sample(
        self,
        rows: Tensor,
        s: int = 1,
        *,
        mode: str = "sample",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Features that neighbours of nodes with the features ``rows`` might have.

        Args:
            rows: [n, dim]: of the nodes at hand only, such as those of a sampled batch.
            s: Draws.
            mode: ``sample``: z from N(0, I); ``mean``: z = 0, the same every time.
            generator: Of z, which is drawn where it is and moved to the rows; None: torch's
                own, of the rows' device.

        Returns:
            [s, n, dim], without gradient, whether the module is in training mode or not.
        """
        check.one_of("LocalAugmenter.sample", "mode", mode, ("sample", "mean"))
        if mode == "mean":
            z = rows.new_zeros(len(rows), self.latent)
            return self.decode(z, rows).expand(s, -1, -1)
        where = rows.device if generator is None else generator.device
        draws = []
        for _ in range(s):
            z = torch.randn(
                len(rows),
                self.latent,
                generator=generator,
                device=where,
                dtype=rows.dtype,
            )
            draws.append(self.decode(z.to(rows.device), rows))
        return torch.stack(draws)

    def save(self, path: str | Path) -> None:
        """Write ``<path>.safetensors`` and ``<path>.json``; no pickle."""
        import safetensors.torch

        weights = {
            k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()
        }
        with files.publish(_with(path, ".safetensors")) as file:
            file.write(safetensors.torch.save(weights))
        files.publish_json(_with(path, ".json"), self.config())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        import safetensors.torch

        made = cls(**json.loads(_with(path, ".json").read_text()))
        made.load_state_dict(safetensors.torch.load_file(_with(path, ".safetensors")))
        return made.eval()

    def config(self) -> dict[str, Any]:
        """Arguments that make this module again."""
        names = ("dim", "latent", "hidden", "likelihood", "kl")
        return {name: getattr(self, name) for name in names}

    @property
    def _is_bernoulli(self) -> bool:
        return self.likelihood != "gaussian"

    def _standard(self, x: Tensor) -> Tensor:
        return x if self._is_bernoulli else (x - self.shift) / self.scale

    def _decode(self, z: Tensor, centre: Tensor) -> Tensor:
        return self.decoder(torch.cat([z, centre], dim=1))

    def _prepare(
        self, name: str, x: Tensor | Column, nodes: Tensor | None, seed: int
    ) -> None:
        """Choose the likelihood, learn the features' scale, draw first weights anew."""
        everyone = torch.arange(x.shape[0]) if nodes is None else nodes
        order = rng.permutation(rng.key(seed, _HOLD, 1), len(everyone))[:_ROWS]
        rows = gather(x, everyone[torch.from_numpy(order)]).float()
        low, high = _range([rows])
        if 0 <= low <= high <= 1 and self.likelihood != "gaussian":
            low, high = _range(gather(x, ids).float() for ids in everyone.split(_ROWS))
        inside = 0 <= low <= high <= 1
        if self.likelihood == "auto":
            self.likelihood = "bernoulli" if inside else "gaussian"
        if self.likelihood == "bernoulli" and not inside:
            need = "lie in [0, 1] with likelihood='bernoulli'"
            got = f"values from {low:g} to {high:g}"
            check.fail(ValueError, name, "x", need, got, "use likelihood='gaussian'")
        if not self._is_bernoulli:
            self.shift.copy_(rows.mean(0))
            self.scale.copy_(rows.std(0).clamp(min=1e-6))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rng.key(seed, _WEIGHTS) % 2**63)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
        nn.init.zeros_(self.log_noise)


def _range(parts: Iterable[Tensor]) -> tuple[float, float]:
    """Smallest and largest value; nan where a value is."""
    ends = torch.stack([torch.stack(part.aminmax()) for part in parts])
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def _normal(key: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(key % 2**63))


def _with(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    return path if path.suffix == suffix else path.with_name(path.name + suffix)
