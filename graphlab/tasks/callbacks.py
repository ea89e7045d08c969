"""Callbacks of a training run, and the tensorboard sink."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphlab.tasks.result import Result


class Callback:
    """Hears about a run; subclass and override what you need.

    A callback sees validation scores while it runs and test scores only once a seed is over,
    so that it cannot steer by them. Whatever it raises ends the run.

    Example:
        >>> class Losses(Callback):
        ...     def __init__(self):
        ...         self.seen = []
        ...
        ...     def on_epoch_end(self, seed, record):
        ...         self.seen.append(record["loss"])
    """

    def on_run_start(self, seed: int, config: Mapping[str, Any]) -> None:
        """A seed begins, or continues from its checkpoint."""

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        """An epoch is over: ``epoch``, ``loss``, ``valid`` (None if not evaluated), ..."""

    def on_run_end(self, seed: int, outcome: Mapping[str, Any]) -> None:
        """A seed is over: ``valid``, ``test``, ``best_epoch``, ``epochs``, ``seconds``."""

    def on_done(self, result: Result) -> None:
        """All seeds are over."""


class TensorBoard(Callback):
    """Writes losses and validation scores for tensorboard, one folder for each seed.

    Args:
        folder: Where to write; look at it with ``tensorboard --logdir <folder>``.

    Raises:
        ModuleNotFoundError: tensorboard is not installed; ``pip install graphlab[track]``.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ModuleNotFoundError(
                "TensorBoard: tensorboard is not installed; "
                "pip install 'graphlab[track]' or 'tensorboard'"
            ) from error
        self._folder = Path(folder)
        self._make = SummaryWriter
        self._writer: Any = None

    def on_run_start(self, seed: int, config: Mapping[str, Any]) -> None:
        """Open the seed's folder."""
        self._writer = self._make(str(self._folder / f"seed-{seed}"))

    def on_epoch_end(self, seed: int, record: Mapping[str, Any]) -> None:
        """Write every number of the record."""
        step = record["epoch"]
        numbers = {**record, **{f"loader/{k}": v for k, v in record["loader"].items()}}
        for name, value in numbers.items():
            if name not in ("epoch", "seed") and isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, step)

    def on_run_end(self, seed: int, outcome: Mapping[str, Any]) -> None:
        """Write the seed's scores and close."""
        for name in ("valid", "test"):
            if outcome.get(name) is not None:
                self._writer.add_scalar(f"final/{name}", outcome[name], 0)
        self._writer.close()
