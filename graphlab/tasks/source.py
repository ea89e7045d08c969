"""Where training batches come from: the whole graph at once, or a loader."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.tasks import calling, labels

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

Loader = Iterable[Any] | Callable[[int], Iterable[Any]]


class Source(Protocol):
    """Batches of one seed's training."""

    length: int | None

    def batches(self, epoch: int, skip: int, state: Any) -> Iterator[Any]:
        """Batches ``skip``, ``skip + 1``, ... of an epoch; ``state`` is a :meth:`state`."""

    def outputs(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits and labels of a batch's training nodes."""

    def views(self, model: nn.Module, batch: Any) -> tuple[list[Tensor], Any, Tensor]:
        """Logits of several views, which of their rows are training nodes, their labels."""

    def state(self) -> Any:
        """Where the loader stands; plain values."""

    def stats(self) -> dict[str, Any]:
        """Statistics of the epoch."""

    def close(self) -> None:
        """Let go of threads and files."""


class FullBatch:
    """The whole graph as the only batch of every epoch."""

    length: int | None = 1

    def __init__(
        self, whole: calling.WholeGraph, d: Dataset, run: int, device: torch.device
    ) -> None:
        self._whole = whole
        ids = d.ids("train", run)
        self._y = labels.of("node.fit", d)[ids].to(device)
        self._ids = ids.to(device)

    def batches(self, epoch: int, skip: int, state: Any) -> Iterator[Any]:
        """One batch."""
        if skip == 0:
            yield None

    def outputs(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits and labels of the training nodes."""
        return self._whole.run(model, self._ids), self._y

    def views(self, model: nn.Module, batch: Any) -> tuple[list[Tensor], Any, Tensor]:
        """Views of all nodes; consistency needs no labels."""
        return self._whole.views(model), self._ids, self._y

    def state(self) -> Any:
        """Nothing to remember."""

    def stats(self) -> dict[str, Any]:
        """Nothing was loaded."""
        return {}

    def close(self) -> None:
        """Nothing to let go of."""


class Batches:
    """Batches of a loader.

    Args:
        loader: Iterable of batches with PyG's fields; ``set_epoch``, ``state_dict``,
            ``load_state_dict``, ``stats`` and ``len`` are used where it has them.
        d: The data set.
        run: Split run.
        device: Where the model is.
        owned: Whether the loader was made for this seed, and is closed with it.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        d: Dataset,
        run: int,
        device: torch.device,
        *,
        owned: bool,
    ) -> None:
        self._loader = loader
        self._owned = owned
        self._device = device
        self._train = d.mask("train", run)
        self._run = run
        try:
            self.length: int | None = len(loader)  # type: ignore[arg-type]
        except TypeError:
            self.length = None

    def batches(self, epoch: int, skip: int, state: Any) -> Iterator[Any]:
        """The epoch's batches, without those that a resumed run has done."""
        if hasattr(self._loader, "set_epoch"):
            self._loader.set_epoch(epoch)
        if skip and state is not None:
            self._loader.load_state_dict(state)  # type: ignore[attr-defined]
            skip = 0
        for batch in itertools.islice(iter(self._loader), skip, None):
            self._require_training_nodes(batch)
            yield batch.to(self._device)

    def outputs(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits and labels of the batch's seeds."""
        return calling.batch_pass(model, batch), batch.y[: batch.batch_size]

    def views(self, model: nn.Module, batch: Any) -> tuple[list[Tensor], Any, Tensor]:
        """Views of the batch's seeds."""
        found = calling.batch_views(model, batch)
        return found, slice(None), batch.y[: batch.batch_size]

    def state(self) -> Any:
        """Where the loader stands, if it can tell."""
        if hasattr(self._loader, "load_state_dict"):
            return self._loader.state_dict()  # type: ignore[attr-defined]
        return None

    def stats(self) -> dict[str, Any]:
        """The loader's own account of the epoch."""
        return dict(self._loader.stats()) if hasattr(self._loader, "stats") else {}

    def close(self) -> None:
        """Close a loader that was made for this seed, if it can be."""
        if self._owned and hasattr(self._loader, "close"):
            self._loader.close()

    def _require_training_nodes(self, batch: Any) -> None:
        """Refuse to learn from the labels of validation and test nodes."""
        seeds = batch.n_id[: batch.batch_size]
        if not bool(self._train[seeds.cpu()].all()):
            node = int(seeds[~self._train[seeds.cpu()]][0])
            check.fail(
                ValueError,
                "node.fit",
                "loader",
                f"give only training nodes of split {self._run}",
                f"node {node:,}",
                "pass input_nodes=d.train_mask; where each seed has its own split, a "
                "function of the seed that makes the loader",
            )


def make(
    loader: Loader | None,
    whole: calling.WholeGraph,
    d: Dataset,
    seed: int,
    run: int,
    device: torch.device,
) -> Source:
    """Return the source of a seed: the full batch, a shared loader, or the seed's own."""
    if loader is None:
        return FullBatch(whole, d, run, device)
    owned = not isinstance(loader, Iterable)
    iterable: Any = loader(seed) if callable(loader) and owned else loader
    if not isinstance(iterable, Iterable):
        got = type(iterable).__name__
        need = "be an iterable of batches, or a function of the seed that makes one"
        check.fail(TypeError, "node.fit", "loader", need, got)
    if isinstance(iterable, Iterator):
        got = f"the one-pass iterator {type(iterable).__name__}"
        need = "be iterable once an epoch"
        check.fail(TypeError, "node.fit", "loader", need, got)
    return Batches(iterable, d, run, device, owned=owned)
