"""Settings of a training run; the keywords of ``node.fit`` and the ``fit`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from graphlab import sizes
from graphlab.evaluate import METRICS
from graphlab.tasks.schema import Strict

ClassWeights = Literal["balanced"] | tuple[float, ...] | None


class FitSettings(Strict):
    """See :func:`graphlab.tasks.node.fit`, whose keywords these are."""

    epochs: int = Field(default=200, ge=1)
    lr: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    patience: int | None = Field(default=None, ge=1)
    metric: str = "accuracy"
    eval_every: int = Field(default=1, ge=1)
    class_weights: ClassWeights = None
    direction: Literal["stored", "undirected", "auto"] = "stored"
    baselines: tuple[Literal["mlp"], ...] = ()
    device: str = "cpu"
    memory: int | str | None = None
    final_inference: Literal["exact", "sampled"] = "exact"
    read_test: bool = True
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    checkpoint_batches: int | None = Field(default=None, ge=1)

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, name: str) -> str:
        if name not in METRICS:
            raise ValueError(f"be one of {', '.join(METRICS)}")
        return name

    @field_validator("memory")
    @classmethod
    def _a_size(cls, memory: int | str | None) -> int | str | None:
        if memory is not None:
            sizes.parse(memory)
        return memory
