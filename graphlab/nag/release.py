"""The release's rounds of guided sampling: a weight that falls until enough are valid."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphlab import check
from graphlab.nag.denoiser import Denoiser
from graphlab.nag.guidance import Guidance

# First weight c, its decrease a round, and how many unique architectures end the rounds.
SCHEDULE = {"nb201": (10_000, 300, 10), "mobilenetv3": (100_000, 10_000, 50)}
# Labels of the release have a deviation of 0.01: c = 100 is one unit of ours.
_UNIT = 100.0


def release_rounds(
    denoiser: Denoiser,
    noisy: Any,
    *,
    batch: int = 256,
    rounds: int = 20,
    steps: int = 1000,
    seed: int = 0,
) -> Tensor:
    """Sample in rounds as DiffusionNAG's release: strongest guidance first.

    Args:
        denoiser: Of the method ``diffusionnag``.
        noisy: Noise-aware predictor.
        batch: Samples a round.
        rounds: At most.
        steps: Of the sampler.
        seed: Of the first round; each has its own.

    Returns:
        Valid architectures, each once, int64 [n, V]; at least as many as the release asks
        for, unless the rounds end first.

    Raises:
        ValueError: another method, or a space that the release has not.

    Cost: up to rounds * steps * 2 calls of both networks.

    Source: the release's settings, reference card sections 4 and 5.
    """
    if denoiser.method != "diffusionnag":
        need = "be of method='diffusionnag'"
        check.fail(ValueError, "release_rounds", "denoiser", need, denoiser.method)
    check.one_of("release_rounds", "space", denoiser.space.name, SCHEDULE)
    weight, fall, wanted = SCHEDULE[denoiser.space.name]
    guidance = Guidance(method="noisy", noisy=noisy)
    found = torch.empty(0, denoiser.space.num_nodes, dtype=torch.int64)
    for number in range(rounds):
        guidance.beta = max(weight - number * fall, 0) / _UNIT
        x = denoiser.sample(batch, guidance=guidance, steps=steps, seed=seed + number)
        good = x[denoiser.space.is_valid(x)]
        found = torch.unique(torch.cat([found, good]), dim=0)
        if len(found) >= wanted:
            break
    return found
