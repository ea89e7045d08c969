"""Generate architectures, and say how valid, unique and new they are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from graphlab import check, progress
from graphlab.nag.denoiser import Denoiser
from graphlab.nag.guidance import Guidance
from graphlab.nag.space import SearchSpace

_HALVINGS = 6


@dataclasses.dataclass(frozen=True)
class Quality:
    """Shares in [0, 1] of a set of samples.

    Attributes:
        validity: Valid samples.
        uniqueness: Different architectures (strings) among valid samples.
        novelty: Architectures not seen in training, among the different ones.
        classes: Different canonical hashes among valid samples.
    """

    validity: float
    uniqueness: float
    novelty: float
    classes: float


@dataclasses.dataclass(frozen=True)
class Generation:
    """What was generated.

    Attributes:
        x: Valid architectures, int64 [n, V].
        architectures: The same as strings.
        quality: Of all samples.
        uniform: The same figures for as many uniform samples.
        seconds: Of all sampling, that in search of a scale too.
        scale: Of the guidance; None without one.
    """

    x: Tensor
    architectures: list[str]
    quality: Quality
    uniform: Quality
    seconds: float
    scale: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object that the command prints with ``--json``."""
        return {
            **dataclasses.asdict(self.quality),
            "uniform": dataclasses.asdict(self.uniform),
            "seconds": self.seconds,
            "scale": self.scale,
            "architectures": self.architectures,
        }


def generate(
    denoiser: Denoiser,
    count: int,
    *,
    guidance: Guidance | None = None,
    steps: int | None = None,
    seed: int = 0,
    known: Collection[str] | None = None,
    min_unique: float | None = None,
) -> Generation:
    """Sample architectures from a trained denoiser.

    Strong guidance makes good samples and the same ones again and again. ``min_unique`` finds,
    by halving the range of scales, how strong it can be and still make different ones; only
    the samples' validity and uniqueness are looked at.

    Args:
        denoiser: The model.
        count: Samples.
        guidance: What to pull towards; None: the model alone.
        steps: Of the sampler; default that of the model's method.
        seed: Names all draws.
        known: Architectures that count as seen; default those that the model was trained on.
        min_unique: Lower the guidance's scale until this share of the samples is valid and
            unique.

    Returns:
        The valid samples; their quality beside that of uniform sampling.

    Raises:
        ValueError: a count or number of steps below 1, a guidance that the model cannot do,
            a share without guidance, outside [0, 1] or out of reach even of scale 0.

    Cost: steps * the network's cost for ``count`` architectures; predictors come on top.
    ``min_unique`` samples up to eight times.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> model = Denoiser(space, hidden=16, blocks=1).fit(space.sample(64), steps=4)
        >>> generate(model, 20).quality.validity
        1.0
    """
    check.positive("generate", "count", count)
    began = time.perf_counter()
    if min_unique is None:
        x = denoiser.sample(count, guidance=guidance, steps=steps, seed=seed)
    else:
        if guidance is None or not 0 <= min_unique <= 1:
            need = "be in [0, 1], and None without guidance"
            check.fail(ValueError, "generate", "min_unique", need, min_unique)
        x, guidance = _strongest(denoiser, count, guidance, steps, seed, min_unique)
    seconds = time.perf_counter() - began
    seen = denoiser.known if known is None else set(known)
    good = x[denoiser.space.is_valid(x)]
    uniform = denoiser.space.sample(count, seed=seed)
    return Generation(
        x=good,
        architectures=denoiser.space.decode(good),
        quality=measure(denoiser.space, x, seen),
        uniform=measure(denoiser.space, uniform, seen),
        seconds=seconds,
        scale=None if guidance is None else guidance.scale,
    )


def _strongest(
    denoiser: Denoiser,
    count: int,
    guidance: Guidance,
    steps: int | None,
    seed: int,
    least: float,
) -> tuple[Tensor, Guidance]:
    """Samples of which ``least`` are valid and unique, of a scale found by halving."""

    def draw(scale: float) -> tuple[Tensor, Guidance, float]:
        there = guidance.at(scale)
        x = denoiser.sample(count, guidance=there, steps=steps, seed=seed)
        found = measure(denoiser.space, x)
        share = found.validity * found.uniqueness
        bar.advance(note=f"scale {scale:.3g}: {share:.0%} unique")
        return x, there, share

    with progress.track("scales", _HALVINGS + 2, "sampled") as bar:
        low, high = 0.0, guidance.scale
        x, there, unique = draw(high)
        if unique >= least:
            return x, there
        x, there, unique = draw(low)
        if unique < least:
            need = f"be at most the {unique:.2f} of samples of scale 0"
            check.fail(
                ValueError, "generate", "min_unique", need, least, "ask for fewer"
            )
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = draw(middle)
            if found[2] >= least:
                low, (x, there, _) = middle, found
            else:
                high = middle
        return x, there


def measure(space: SearchSpace, x: Tensor, known: Collection[str] = ()) -> Quality:
    """Validity, uniqueness and novelty of samples [B, V].

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> x = space.sample(1).repeat(4, 1)
        >>> measure(space, x).uniqueness
        0.25
    """
    good = x[space.is_valid(x)]
    if not len(good):
        return Quality(0.0, 0.0, 0.0, 0.0)
    different = set(space.decode(good))
    seen = known if isinstance(known, (set, frozenset)) else set(known)
    unique_rows = torch.unique(good, dim=0)
    return Quality(
        validity=len(good) / len(x),
        uniqueness=len(different) / len(good),
        novelty=len(different - seen) / len(different),
        classes=len(set(space.hashes(unique_rows))) / len(good),
    )
