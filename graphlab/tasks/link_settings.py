"""Settings of link training: the keywords of ``link.fit`` and the ``fit`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from graphlab import sizes
from graphlab.evaluate import LinkEvaluator
from graphlab.evaluate.heuristics import HEURISTICS
from graphlab.tasks.schema import Strict

Baselines = Literal["auto", "all", "none"] | tuple[str, ...]


class LinkSettings(Strict):
    """See :func:`graphlab.tasks.link.fit`, whose keywords these are."""

    epochs: int = Field(default=100, ge=1)
    lr: float = Field(default=0.005, gt=0, allow_inf_nan=False)
    head_lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    patience: int | None = Field(default=None, ge=1)
    metric: str = "hits@100"
    eval_every: int = Field(default=1, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    eval_batch_size: int = Field(default=65536, ge=1)
    negatives: Literal["pairs", "targets"] = "pairs"
    exclude_batch: bool = True
    val_edges_at_test: bool = False
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    baselines: Baselines = "auto"
    device: str = "cpu"
    memory: int | str | None = None
    read_test: bool = True
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    checkpoint_batches: int | None = Field(default=None, ge=1)

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        try:
            LinkEvaluator(name)
        except ValueError:
            raise ValueError("be hits@K, mrr, auc or ap") from None
        return name

    @field_validator("baselines")
    @classmethod
    def _known_baselines(cls, names: Baselines) -> Baselines:
        if not isinstance(names, str):
            known = (*HEURISTICS, "cosine")
            for name in names:
                if name not in known:
                    raise ValueError(f"hold names among {', '.join(known)}")
        return names

    @field_validator("memory")
    @classmethod
    def _a_size(cls, memory: int | str | None) -> int | str | None:
        if memory is not None:
            sizes.parse(memory)
        return memory
