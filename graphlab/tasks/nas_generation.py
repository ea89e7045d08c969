"""Generators of architectures for commands: train a denoiser, guide it by scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphlab import check, nag
from graphlab.nag.space import LISTED

# Scores that a predictor can be fitted to.
_FEWEST = 2


def train_denoiser(
    space: nag.SearchSpace,
    *,
    method: str = "masked",
    share: float = 0.5,
    architectures: int = 20_000,
    steps: int = 1500,
    compat: str | None = None,
    seed: int = 0,
) -> nag.Denoiser:
    """Train a denoiser on part of a space, without any score.

    Args:
        space: The space.
        method: See :class:`graphlab.nag.Denoiser`.
        share: Of a space of up to 100,000 assignments, drawn at random.
        architectures: Drawn uniformly from a larger one.
        steps: Optimiser steps.
        compat: See :class:`graphlab.nag.Denoiser`.
        seed: Of the draw, weights and training.

    Raises:
        ValueError: a share outside (0, 1], or what the denoiser refuses.

    Example:
        >>> model = train_denoiser(nag.spaces.NB201(), steps=2)
        >>> model.history["architectures"]
        7812
    """
    if not 0 < share <= 1:
        check.fail(ValueError, "nas.train", "share", "be in (0, 1]", share)
    kind: Any = method
    model = nag.Denoiser(space, kind, compat=compat, seed=seed)
    if space.size <= LISTED:
        x = space.enumerate()
        draw = torch.Generator().manual_seed(seed)
        x = x[torch.randperm(len(x), generator=draw)[: max(1, int(share * len(x)))]]
    else:
        x = space.sample(architectures, seed=seed)
    return model.fit(x, steps=steps, quiet=False)


def read_scores(space: nag.SearchSpace, path: str | Path) -> tuple[Tensor, Tensor]:
    """Architectures [N, V] and scores [N] of a file of JSON lines.

    Raises:
        ValueError: a line that is not ``{"architecture", "score"}``, or fewer than two.
    """
    texts, values = [], []
    need = "hold a JSON object with architecture and score in every line"
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            texts.append(str(record["architecture"]))
            values.append(float(record["score"]))
        except (ValueError, KeyError, TypeError):
            got = f"line {number} of {path}"
            check.fail(ValueError, "nas.generate", "scores", need, got)
    if len(texts) < _FEWEST:
        need = f"hold at least {_FEWEST} scores"
        check.fail(ValueError, "nas.generate", "scores", need, len(texts))
    return space.encode(texts), torch.tensor(values)


def guidance_from(
    space: nag.SearchSpace,
    denoiser: nag.Denoiser,
    scores: tuple[Tensor, Tensor],
    *,
    scale: float = 0.5,
    method: str = "both",
    costs: Mapping[str, float] | None = None,
    limits: Mapping[str, float] | None = None,
) -> nag.Guidance:
    """Fit a predictor on scores and make a guidance of it.

    Args:
        space: The space.
        denoiser: What will be guided.
        scores: Architectures [N, V] and scores [N], such as :func:`read_scores` gives.
        scale: In [0, 1].
        method: ``both`` (for a ``diffusionnag`` denoiser: ``gradient``), ``gradient``,
            ``resample`` or ``noisy``.
        costs: See :class:`graphlab.nag.Objective`.
        limits: See there.
    """
    kinds = ("both", "gradient", "resample", "noisy")
    check.one_of("nas.generate", "guidance", method, kinds)
    x, y = scores
    predictor = nag.Ensemble(space, steps=300).fit(x, y)
    objective = nag.Objective(space, predictor.relaxed, costs=costs, limits=limits)
    kind: Any = method
    if denoiser.method == "diffusionnag" and method == "both":
        kind = "gradient"
    noisy = None
    if method == "noisy":
        noisy = nag.NoiseAwarePredictor(denoiser).fit(x, y)
    return nag.Guidance(objective, scale=scale, method=kind, noisy=noisy)
