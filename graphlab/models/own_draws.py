"""Draws that a model keeps, and the augmenter that they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


def own_seed() -> int:
    """A seed that follows from the state of torch's generator, which is left as it was.

    Training seeds torch's generator before it makes a model and anew at every batch: what is
    drawn by a seed taken at construction is the same in a resumed run, whatever batch asks
    for it first.
    """
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    return int(torch.randint(2**62, (), generator=generator))


class WithAugmenter(nn.Module):
    """A module with an augmenter that is not trained, saved or counted with it.

    The augmenter goes along to other devices and dtypes, if it is a module itself.
    """

    _augmenter: list[Any]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for augmenter in self._augmenter:
            if isinstance(augmenter, nn.Module):
                augmenter._apply(fn)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
