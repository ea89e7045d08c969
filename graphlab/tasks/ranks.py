"""Processes of ``torchrun`` as an embedding needs them: hand parts around, collect them."""

from __future__ import annotations

import torch
from torch import Tensor


class Ranks:
    """The default process group of ``torch.distributed``, with tensors on the CPU."""

    def __init__(self) -> None:
        from torch import distributed

        self._group = distributed
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()

    def pass_on(self, head: Tensor, shape: tuple[int, int]) -> Tensor:
        """Send a head part to the process before this one; receive the next one's."""
        if self.size == 1:
            return head
        received = torch.empty(shape)
        sent = self._group.isend(head.contiguous(), (self.rank - 1) % self.size)
        self._group.recv(received, (self.rank + 1) % self.size)
        if sent is not None:
            sent.wait()
        return received

    def gather(self, part: Tensor, shapes: list[tuple[int, int]]) -> list[Tensor]:
        """The parts of all processes, everywhere."""
        parts = []
        for rank, shape in enumerate(shapes):
            rows = part.contiguous() if rank == self.rank else torch.empty(shape)
            self._group.broadcast(rows, rank)
            parts.append(rows)
        return parts


def started() -> Ranks | None:
    """The processes, where ``torch.distributed`` is initialised with more than one."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    return Ranks() if distributed.get_world_size() > 1 else None
