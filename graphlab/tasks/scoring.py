"""Scores of validation and test nodes during and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.errors import GraphlabError
from graphlab.evaluate import metric
from graphlab.tasks import calling, inference, labels

if TYPE_CHECKING:
    from graphlab.datasets import Dataset
    from graphlab.tasks.settings import FitSettings

# Node ids -> batches that hold each of them once as a seed.
EvalLoader = Callable[[Tensor], Iterable[Any]]


class DivergedError(GraphlabError, ArithmeticError):
    """The loss, or what a model puts out, is not finite."""


class Scorer:
    """Evaluates the nodes of one split run.

    Args:
        d: The data set.
        run: Split run.
        whole: The full-batch input, used where training is full-batch too; else None.
        eval_loader: Evaluates validation nodes on sampled neighbourhoods; None: exactly.
        settings: Metric, device, memory, how final scores are made, whether test is read.
    """

    def __init__(
        self,
        d: Dataset,
        run: int,
        whole: calling.WholeGraph | None,
        eval_loader: EvalLoader | None,
        settings: FitSettings,
        device: torch.device,
    ) -> None:
        self._d = d
        self._whole = whole
        self._eval_loader = eval_loader
        self._settings = settings
        self._device = device
        self._metric = metric(settings.metric)
        self._val = d.ids("val", run)
        self._test = d.ids("test", run) if settings.read_test else None

    def validation(self, model: nn.Module) -> float:
        """Score of the validation nodes."""
        if self._eval_loader is None:
            return self._score(self._exact(model, self._val), self._val)
        return self._score(self._sampled(model, self._val), self._val)

    def final(self, model: nn.Module) -> dict[str, float | None]:
        """Scores ``valid`` and ``test`` of the chosen weights, both made the same way."""
        ids = [self._val] if self._test is None else [self._val, self._test]
        sampled = self._settings.final_inference == "sampled"
        make = self._sampled if sampled else self._exact
        logits = make(model, torch.cat(ids)).split([len(i) for i in ids])
        scores = [self._score(*pair) for pair in zip(logits, ids, strict=True)]
        return {
            "valid": scores[0],
            "test": scores[1] if self._test is not None else None,
        }

    def constant(self, row: Tensor) -> float | None:
        """Test score of one and the same logits [outputs] for every node."""
        if self._test is None:
            return None
        return self._score(row.expand(len(self._test), -1), self._test)

    def _score(self, logits: Tensor, ids: Tensor) -> float:
        if not bool(logits.isfinite().all()):
            lr = self._settings.lr
            raise DivergedError(
                "node.fit: the model must put out finite numbers, got others for "
                f"validation or test nodes; lower `lr` = {lr:g}, or check the features "
                "with d.validate()"
            )
        return self._metric(labels.of("node.fit", self._d)[ids], logits)

    def _exact(self, model: nn.Module, ids: Tensor) -> Tensor:
        if self._whole is not None:
            model.eval()
            with torch.no_grad():
                return self._whole.run(model, ids.to(self._device)).cpu()
        memory = self._settings.memory
        return inference.exact(model, self._d, ids, memory=memory, device=self._device)

    def _sampled(self, model: nn.Module, ids: Tensor) -> Tensor:
        if self._eval_loader is None:
            raise AssertionError
        model.eval()
        parts, seeds = [], []
        with torch.no_grad():
            for batch in self._eval_loader(ids):
                batch = batch.to(self._device)
                parts.append(calling.batch_pass(model, batch).cpu())
                seeds.append(batch.n_id[: batch.batch_size].cpu())
        seen = torch.cat(seeds) if seeds else ids[:0]
        order = seen.argsort()
        wanted = ids.argsort()
        if len(seen) != len(ids) or not torch.equal(seen[order], ids[wanted]):
            need = f"hold each of the {len(ids):,} nodes it is given once"
            got = f"{len(seen):,} seeds"
            check.fail(ValueError, "node.fit", "eval_loader", need, got)
        logits = torch.cat(parts)
        out = torch.empty_like(logits)
        out[wanted] = logits[order]
        return out
