"""What is sampled ahead: the batches of some epochs, and their samples one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from graphlab.ops import NeighborSample
from graphlab.outofcore.budget import Ledger
from graphlab.outofcore.topology import READING_SHARE, DiskSampler, GraphFiles
from graphlab.sample.ahead import Ahead
from graphlab.sample.link_seeds import LinkSeeds
from graphlab.sample.order import seed_batches
from graphlab.sample.sampler import NeighborSampler


class Part(NamedTuple):
    """What one process samples of a plan that several make.

    Attributes:
        stem: Of its file and journal.
        numbers: Numbers of its recorded batches.
    """

    stem: str
    numbers: range


class Request(NamedTuple):
    """What to sample.

    Attributes:
        input_nodes: [inputs], int64 node ids.
        batch_size: Seeds of a batch.
        epochs: Epochs to sample.
        seed: Seed of the run.
        shuffle, drop_last: As in the in-memory loader.
        links: Pairs whose ends are the seeds; ``input_nodes`` are then their positions.
        only: An epoch and the numbers of its batches, where not whole epochs are wanted.
    """

    input_nodes: Tensor
    batch_size: int
    epochs: int
    seed: int
    shuffle: bool
    drop_last: bool
    only: tuple[int, Sequence[int]] | None = None
    links: LinkSeeds | None = None

    @property
    def most_seeds(self) -> int:
        """Seeds of a batch at most."""
        count = min(self.batch_size, len(self.input_nodes))
        if self.links is None:
            return count
        return 2 * (count + math.ceil(count * self.links.neg_sampling_ratio))

    def sample(
        self, sampler: Any, epoch: int, number: int, positions: Tensor
    ) -> NeighborSample:
        """Batch ``number`` of an epoch, whose inputs are ``positions``.

        Args:
            sampler: A :class:`NeighborSampler`, or what stands for it.
            epoch, number, positions: See there.
        """
        if self.links is None:
            seeds = self.input_nodes[positions]
            return sampler.sample(seeds, epoch=epoch, batch=number)
        drawn = self.links.draw(sampler, epoch, number, positions)
        return self.links.sample(sampler, epoch, number, drawn)

    @property
    def total(self) -> int:
        """Batches that are recorded."""
        if self.only is not None:
            return len(self.only[1])
        return self.epochs * len(self.batches(0))

    def locate(self, number: int, per_epoch: int) -> tuple[int, int]:
        """Epoch, and number in it, of recorded batch ``number``."""
        if self.only is not None:
            return self.only[0], self.only[1][number]
        return divmod(number, per_epoch)

    def batches(self, epoch: int) -> list[Tensor]:
        """Positions in ``input_nodes`` of each batch of an epoch."""
        return seed_batches(
            len(self.input_nodes),
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
        )


class Samples(Iterator[tuple[int, NeighborSample, Tensor]]):
    """Recorded batches: number, sample, positions in ``input_nodes``.

    Args:
        sampler: Draws them.
        request: What is recorded.
        numbers: Numbers of recorded batches.
        ledger: Account of memory.
        graph: The graph's files, where it is read in their order; None: its map.
        threads: Threads that sample.
    """

    def __init__(
        self,
        sampler: NeighborSampler,
        request: Request,
        numbers: Sequence[int],
        ledger: Ledger,
        graph: GraphFiles | None,
        threads: int,
    ) -> None:
        self._sampler, self._request = sampler, request
        self._per_epoch = len(request.batches(0))
        self._order = _latest(request.batches)
        self._numbers = iter(numbers)
        self._disk: DiskSampler | None = None
        self._samples: Any
        if graph is not None and ledger.free > READING_SHARE * graph.least_bytes:
            self._disk = DiskSampler(graph, sampler, ledger, threads)
            self._samples = self._disk.run(
                self._draw, numbers, request.most_seeds, self._per_epoch
            )
        else:
            self._samples = Ahead(
                lambda number: self._draw(sampler, number),
                numbers,
                prefetch=threads,
                num_threads=threads,
            )

    def __next__(self) -> tuple[int, NeighborSample, Tensor]:
        sample = next(self._samples)
        number = next(self._numbers)
        return number, sample, self._positions(number)

    @property
    def groups(self) -> int:
        """Groups in which the graph's files were read; 0 where they are mapped."""
        return 0 if self._disk is None else self._disk.groups

    @property
    def device_bytes(self) -> int:
        """Bytes read of the graph's files; 0 where they are mapped."""
        return 0 if self._disk is None else self._disk.device_bytes

    def close(self) -> None:
        """End what samples ahead."""
        self._samples.close()
        if self._disk is not None:
            self._disk.close()

    def _draw(self, sampler: Any, number: int) -> NeighborSample:
        epoch, batch = self._request.locate(number, self._per_epoch)
        return self._request.sample(sampler, epoch, batch, self._positions(number))

    def _positions(self, number: int) -> Tensor:
        epoch, batch = self._request.locate(number, self._per_epoch)
        return self._order(epoch)[batch]


def _latest(
    batches: Callable[[int], list[Tensor]],
) -> Callable[[int], list[Tensor]]:
    """Remember the last two epochs' orders: threads meet at most two."""
    known: dict[int, list[Tensor]] = {}

    def order(epoch: int) -> list[Tensor]:
        found = known.get(epoch)
        if found is None:
            found = known[epoch] = batches(epoch)
            known.pop(epoch - 2, None)
        return found

    return order
