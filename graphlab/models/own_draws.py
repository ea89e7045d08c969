"""The seed of draws that a model keeps."""

from __future__ import annotations

import torch


def own_seed() -> int:
    """A seed that follows from the state of torch's generator, which is left as it was.

    Training seeds torch's generator before it makes a model and anew at every batch: what is
    drawn by a seed taken at construction is the same in a resumed run, whatever batch asks
    for it first.
    """
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    return int(torch.randint(2**62, (), generator=generator))
