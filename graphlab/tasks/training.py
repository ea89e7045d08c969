"""The training of one seed: steps, early stopping, checkpoints that resume exactly.

Dropout and other draws come from torch's generator, seeded anew for every batch by
(seed, epoch, batch). A resumed run therefore needs no generator states, and the draws of a
batch do not depend on what ran before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphlab import memory, progress
from graphlab.datasets import Dataset
from graphlab.ops import rng
from graphlab.tasks import baselines, calling, checkpoint, interrupt, labels, source
from graphlab.tasks.callbacks import Callback
from graphlab.tasks.runs import RunFolder
from graphlab.tasks.scoring import DivergedError
from graphlab.tasks.settings import FitSettings

# Names the stream of a seed's first weights beside those of its batches (epoch >= 0).
_WEIGHTS = -1
# Statistics of a loader that are levels, not amounts, and so do not add over epochs.
_LEVELS = ("declared_memory_bytes", "peak_memory_bytes")


@dataclasses.dataclass
class Job:
    """What all seeds of a run share."""

    d: Dataset
    factory: calling.Factory
    loader: source.Loader | None
    whole: Any
    settings: Any
    device: torch.device
    callbacks: Sequence[Callback]
    folder: RunFolder | None
    config: dict[str, Any]
    request: interrupt.Request
    title: str = "seed"


@dataclasses.dataclass
class Position:
    """Where the training of a seed stands; all of it goes into a checkpoint."""

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    rows: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int = -1
    best_valid: float = -math.inf
    loader: dict[str, Any] = dataclasses.field(default_factory=dict)
    commits: list[str] = dataclasses.field(default_factory=list)

    def is_over(self, settings: FitSettings) -> bool:
        """Whether the last epoch, or the patience, is reached."""
        patience = settings.patience
        waited = self.epoch - 1 - self.best_epoch
        return self.epoch >= settings.epochs or (
            patience is not None and self.epoch > 0 and waited >= patience
        )


class Training:
    """Trains one seed, from the beginning or from its last checkpoint.

    Here for nodes; other tasks say how a model, its batches and its loss are made.

    Args:
        job: What the seeds share.
        seed: The seed.
        run: Split run.
        scorer: Evaluates validation and test nodes.
        notes: More values for the outcome.
    """

    _function = "node.fit"

    def __init__(
        self,
        job: Job,
        seed: int,
        run: int,
        scorer: Any,
        notes: dict[str, Any] | None = None,
    ) -> None:
        self._job = job
        self._seed = seed
        self._scorer = scorer
        self._notes = notes or {}
        self._settings = job.settings
        _reseed(job.device, rng.key(seed, _WEIGHTS))
        self.model = self._make_model().to(job.device)
        self._optimiser = self._make_optimiser()
        self._source = self._make_source(run)
        self._at = Position()
        self._best: dict[str, Tensor] = {}
        self._loader_state: Any = None
        self._saved_at = time.monotonic()
        self._steps_since = 0

    def _make_model(self) -> torch.nn.Module:
        d = self._job.d
        outputs = labels.num_outputs("node.fit", d)
        made = calling.make("node.fit", self._job.factory, d.num_features, outputs)
        calling.require_rows(made, d)
        return made

    def _make_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.model.parameters(),
            lr=self._settings.lr,
            weight_decay=self._settings.weight_decay,
        )

    def _make_source(self, run: int) -> Any:
        """Batches of the seed, and what its labels say ahead of training."""
        job, d = self._job, self._job.d
        outputs = labels.num_outputs("node.fit", d)
        y = labels.of("node.fit", d)[d.ids("train", run)]
        self._majority = baselines.majority(y, outputs)
        wanted = job.settings.class_weights
        weights = labels.class_weights("node.fit", wanted, y, outputs)
        self._weights = None if weights is None else weights.to(job.device)
        return source.make(job.loader, job.whole, d, self._seed, run, job.device)

    def _loss(self, batch: Any) -> tuple[Tensor, int]:
        """Mean loss of a batch and the number of its rows."""
        if getattr(self.model, "num_views", 1) > 1:
            return self._loss_of_views(batch)
        logits, y = self._source.outputs(self.model, batch)
        return labels.loss(logits, y, self._weights), len(y)

    def _loss_of_views(self, batch: Any) -> tuple[Tensor, int]:
        """Mean loss over several stochastic views, and what pulls them together."""
        views, rows, y = self._source.views(self.model, batch)
        losses = [labels.loss(view[rows], y, self._weights) for view in views]
        mean = torch.stack(losses).mean()
        return mean + self.model.consistency(views), len(y)  # type: ignore[operator]

    @property
    def num_parameters(self) -> int:
        """Trainable numbers of the model."""
        return sum(p.numel() for p in self.model.parameters())

    def train(self) -> dict[str, Any]:
        """Train to the end and return the outcome; test scores are read once, here."""
        job, at = self._job, self._at
        self._restore()
        if job.config["stamp"]["commit"] not in at.commits:
            at.commits.append(job.config["stamp"]["commit"])
        for callback in job.callbacks:
            callback.on_run_start(self._seed, job.config)
        batches = self._source.length or 1
        unit = "epochs" if batches == 1 else "batches"
        done = at.epoch * batches + at.batch
        total = self._settings.epochs * batches
        what = f"{job.title} {self._seed}"
        # With a loader, its memory budget speaks for the process.
        in_memory = job.loader is None
        with (
            contextlib.closing(self._source),
            memory.keep_freed() if in_memory else contextlib.nullcontext() as kept,
            progress.track(what, total, unit, done=done) as bar,
        ):
            while not at.is_over(self._settings):
                for loss in self._steps():
                    bar.advance(note=self._note(loss))
                    if kept is not None:
                        kept.relieve()
                self._end_epoch()
                if kept is not None:
                    kept.settle()
                self._pause_if_asked()
        return self._finish()

    def _steps(self) -> Iterator[float]:
        """Train on the rest of the epoch; yields the loss of each batch."""
        at = self._at
        self.model.train()
        start = time.perf_counter()
        batches = self._source.batches(at.epoch, at.batch, self._loader_state)
        self._loader_state = None
        for batch in batches:
            _reseed(self._job.device, rng.key(self._seed, at.epoch, at.batch))
            loss, rows = self._loss(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                self._diverged(value)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            self._clip()
            self._optimiser.step()
            at.batch += 1
            at.loss_sum += value * rows
            at.rows += rows
            self._steps_since += 1
            now = time.perf_counter()
            at.epoch_seconds, start = at.epoch_seconds + now - start, now
            yield value
            # The end of the epoch follows its last batch at once; a state between the two
            # would leave the loader at the next epoch.
            if at.batch != self._source.length:
                self._save_if_due()
                self._pause_if_asked()
        at.epoch_seconds += time.perf_counter() - start

    def _clip(self) -> None:
        """Nothing; tasks that clip gradients do so here."""

    def _end_epoch(self) -> None:
        """Evaluate, note the best, write the epoch's line."""
        at, settings, job = self._at, self._settings, self._job
        if at.rows == 0:
            raise ValueError(
                f"{self._function}: `loader` must give at least one batch, got none"
            )
        start = time.perf_counter()
        valid = None
        last = at.epoch + 1 == settings.epochs
        if last or (at.epoch + 1) % settings.eval_every == 0:
            valid = self._scorer.validation(self.model)
            if valid > at.best_valid:
                at.best_valid, at.best_epoch = valid, at.epoch
                self._best = _copy(self.model)
        stats = self._source.stats()
        for key, number in stats.items():
            if isinstance(number, (int, float)):
                before = at.loader.get(key, 0)
                levels = key in _LEVELS
                at.loader[key] = max(before, number) if levels else before + number
        eval_seconds = time.perf_counter() - start
        record: dict[str, Any] = {
            "seed": self._seed,
            "epoch": at.epoch,
            "loss": at.loss_sum / at.rows,
            "valid": valid,
            "seconds": at.epoch_seconds,
            "eval_seconds": eval_seconds,
            "loader": stats,
        }
        at.seconds += at.epoch_seconds + eval_seconds
        at.epoch, at.batch, at.loss_sum, at.rows = at.epoch + 1, 0, 0.0, 0
        at.epoch_seconds = 0.0
        if job.folder is not None:
            job.folder.log("epoch", **record)
        for callback in job.callbacks:
            callback.on_epoch_end(self._seed, record)
        if not at.is_over(settings):
            self._save_if_due()

    def _finish(self) -> dict[str, Any]:
        """Score the best weights, once, and leave the seed's files."""
        at, job = self._at, self._job
        folder = self._seed_folder()
        if folder is not None:
            self._save()
            checkpoint.write(folder / "best.safetensors", self._best)
        self.model.load_state_dict(self._best)
        start = time.perf_counter()
        outcome: dict[str, Any] = {
            "finished": True,
            "seed": self._seed,
            **self._scorer.final(self.model),
            "best_epoch": at.best_epoch,
            "epochs": at.epoch,
            "seconds": at.seconds + time.perf_counter() - start,
            "num_parameters": self.num_parameters,
            "commits": at.commits,
            "loader": at.loader,
            "baselines": self._baselines(),
            **self._notes,
        }
        if job.folder is not None:
            job.folder.log(
                "run", **{k: v for k, v in outcome.items() if k != "finished"}
            )
            outcome["log_bytes"] = job.folder.log_bytes
            job.folder.end_seed(self._seed, outcome)
        for callback in job.callbacks:
            callback.on_run_end(self._seed, outcome)
        return outcome

    def _baselines(self) -> dict[str, float]:
        """Test scores of what needs no training."""
        score = self._scorer.constant(self._majority)
        return {} if score is None else {"majority": score}

    def best(self) -> dict[str, Tensor]:
        """Weights of the epoch with the best validation score."""
        return self._best

    def _note(self, loss: float) -> str:
        best = self._at.best_valid
        valid = "" if best == -math.inf else f", best valid {best:.4f}"
        return f"epoch {self._at.epoch + 1}, loss {loss:.4f}{valid}"

    def _diverged(self, value: float) -> None:
        at, lr = self._at, self._settings.lr
        raise DivergedError(
            f"{self._function}: the loss must stay finite, got {value} at seed {self._seed}, "
            f"epoch {at.epoch}, batch {at.batch}; lower `lr` = {lr:g}, or check the "
            "features with d.validate()"
        )

    def _seed_folder(self) -> Path | None:
        folder = self._job.folder
        return None if folder is None else folder.seed(self._seed)

    def _restore(self) -> None:
        """Continue from the seed's checkpoint, if it has one."""
        folder = self._seed_folder()
        if self._job.folder is None or folder is None:
            return
        path = folder / "last.safetensors"
        if not path.exists():
            self._job.folder.start_seed(None)
            return
        tensors, state = checkpoint.read(path)
        checkpoint.load_weights(self.model, tensors, path)
        self._optimiser.load_state_dict(state["optimiser"])
        self._best = state["best"]
        self._loader_state = state["loader"]
        for name, value in state["position"].items():
            setattr(self._at, name, value)
        self._job.folder.start_seed(state["log_bytes"])
        where = f"epoch {self._at.epoch}, batch {self._at.batch}"
        progress.say(f"{self._job.title} {self._seed}: continuing at {where}")

    def _save_if_due(self) -> None:
        settings = self._settings
        every = settings.checkpoint_batches
        waited = time.monotonic() - self._saved_at
        if waited >= settings.checkpoint_seconds or (
            every is not None and self._steps_since >= every
        ):
            self._save()

    def _save(self) -> None:
        folder = self._seed_folder()
        if self._job.folder is None or folder is None:
            return
        state = {
            "position": dataclasses.asdict(self._at),
            "optimiser": self._optimiser.state_dict(),
            "best": self._best,
            "loader": self._source.state() if self._at.batch else None,
            "log_bytes": self._job.folder.log_bytes,
        }
        path = folder / "last.safetensors"
        checkpoint.write(path, self.model.state_dict(), state)
        self._saved_at = time.monotonic()
        self._steps_since = 0

    def _pause_if_asked(self) -> None:
        """Answer SIGINT and SIGTERM: save, say how to go on, stop."""
        if not self._job.request or self._at.is_over(self._settings):
            return
        where = f"seed {self._seed}, epoch {self._at.epoch}, batch {self._at.batch}"
        if self._job.folder is None:
            text = f"stopped at {where}; without a run_dir nothing is kept"
        else:
            self._save()
            folder = self._job.folder.path
            text = f"stopped at {where}; run the same command to continue from {folder}"
        progress.say(text)
        raise interrupt.Interrupted(text)


def _copy(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().cpu().clone() for name, t in model.state_dict().items()}


def _reseed(device: torch.device, key: int) -> None:
    """Seed the generators that a model draws from."""
    # Not torch.manual_seed: it also walks all CUDA devices, at every batch.
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(key)


@contextlib.contextmanager
def own_generators(device: torch.device) -> Iterator[None]:
    """Leave the caller's torch generators as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
