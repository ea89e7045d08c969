"""A training process that kills itself: python -m tests.tasks.killed FOLDER LOADER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from graphlab.tasks import Callback, node
from tests.tasks import toy

SETTINGS: dict[str, Any] = {
    "seeds": [0, 1],
    "epochs": 3,
    "lr": 0.05,
    "weight_decay": 1e-4,
}
# Seed, epoch and batch in which the process dies, behind a checkpoint.
DEATH = (1, 2, 3)


def loaders(kind: str, dying: bool = False):
    """Return the loader argument of fit: full batch, or batches of 8 by seed."""
    d = toy.dataset()
    if kind == "full":
        return d, None
    made = {"state": toy.Loader, "stateless": toy.Stateless}[kind]

    class Source(made):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__(), self.next):
                if dying and (self.seed, self.epoch, number) == DEATH:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

    return d, lambda seed: Source(d, d.ids("train"), seed, size=8)


class Death(Callback):
    """Kills the process behind an epoch, before the next checkpoint."""

    def on_epoch_end(self, seed, record):
        if (seed, record["epoch"]) == DEATH[:2]:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, kind: str) -> None:
    d, loader = loaders(kind, dying=True)
    heard = [Death()] if kind == "full" else []
    node.fit(
        d,
        toy.Mean,
        loader=loader,
        run_dir=folder,
        callbacks=heard,
        checkpoint_batches=2,
        **SETTINGS,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
