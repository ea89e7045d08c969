"""Settings of an embedding: what each method means, and what GraphVite's release does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from graphlab import check
from graphlab.embed.walker import WalkShape

METHODS = ("deepwalk", "line", "node2vec")
# GraphVite 0.2.2: about so many pairs of places reach from a node by its step rule.
_REACH = 1600


@dataclasses.dataclass(frozen=True)
class Settings:
    """Resolved settings; see :class:`graphlab.embed.NodeEmbedding` for their meaning."""

    method: str
    dim: int
    seed: int
    shape: WalkShape
    order: int
    walks_per_node: int
    samples: int | None
    epochs: float | None
    num_negatives: int
    negative_weight: float
    negative_pool: int
    negative_distribution: float
    lr: float
    lr_floor: float
    weight_decay: float
    compat: str | None

    def budget(self, nodes: int, edges: int) -> int:
        """Positive pairs to train on; ``edges`` counts each undirected edge once."""
        if self.samples is not None:
            return self.samples
        if self.epochs is not None:
            return max(1, round(self.epochs * edges))
        if self.shape.length == 1:
            # As many pairs as the default walks of the other methods have.
            return round(self.walks_per_node * nodes * 720)
        return round(self.walks_per_node * nodes * self.shape.pairs())

    def to_json(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records."""
        return dataclasses.asdict(self)


def resolve(given: Mapping[str, Any], mean_degree: float) -> Settings:
    """Fill in what was left to the method.

    Args:
        given: Arguments of :class:`graphlab.embed.NodeEmbedding`.
        mean_degree: Edges of a node, each undirected edge counted once.

    Raises:
        TypeError, ValueError: an argument that cannot be.
    """
    name = "NodeEmbedding"
    method = check.one_of(name, "method", given["method"], METHODS)
    if given["compat"] is not None:
        check.one_of(name, "compat", given["compat"], ("reference",))
    reference = given["compat"] == "reference"
    step = given["augmentation_step"]
    window = given["window"]
    if step is not None and window is not None:
        got = f"both {step} and window {window}"
        need = "be given alone: it is the window of forward pairs"
        check.fail(ValueError, name, "augmentation_step", need, got)
    forward = step is not None or reference or method == "line"
    if reference and step is None and window is None:
        step = default_step(mean_degree)
    reach = step or window or (1 if method == "line" else 10)
    check.positive(name, "augmentation_step" if step else "window", reach)
    length = given["walk_length"]
    if length is None:
        length = 1 if reach == 1 and (method == "line" or reference) else 40
    check.positive(name, "walk_length", length)
    p, q = given["p"], given["q"]
    if method != "node2vec" and (p, q) != (1.0, 1.0):
        need = "be 1 for other methods than node2vec"
        check.fail(ValueError, name, "p", need, f"p={p}, q={q}")
    departure = given["departure"]
    if departure is None:
        departure = "degree" if reference or method == "line" else "node"
    check.one_of(name, "departure", departure, ("node", "degree"))
    if given["order"] not in (1, 2):
        check.fail(ValueError, name, "order", "be 1 or 2", given["order"])
    for argument in ("lr", "negative_weight"):
        if not (given[argument] > 0 and math.isfinite(given[argument])):
            got = given[argument]
            check.fail(ValueError, name, argument, "be positive and finite", got)
    for argument in ("samples", "epochs"):
        if given[argument] is not None and not given[argument] > 0:
            check.fail(ValueError, name, argument, "be positive", given[argument])
    if given["samples"] is not None and given["epochs"] is not None:
        check.fail(
            ValueError, name, "epochs", "be given without `samples`", given["epochs"]
        )
    decay = given["weight_decay"]
    if decay is None:
        decay = 0.005 if forward else 0.0
    if not 0 <= decay < 1:
        check.fail(ValueError, name, "weight_decay", "be in [0, 1)", decay)
    pool = given["negative_pool"]
    negatives = check.positive(name, "num_negatives", given["num_negatives"])
    if pool is None:
        pool = 0 if reference or length == 1 else max(64, negatives)
    return Settings(
        method=method,
        dim=check.positive(name, "dim", given["dim"]),
        seed=check.positive(name, "seed", given["seed"], least=0),
        shape=WalkShape(
            length=length,
            window=min(reach, length),
            forward=forward,
            shrink=bool(given["shrink_window"]),
            departure=departure,
            p=float(p),
            q=float(q),
        ),
        order=given["order"],
        walks_per_node=check.positive(name, "walks_per_node", given["walks_per_node"]),
        samples=None if given["samples"] is None else int(given["samples"]),
        epochs=given["epochs"],
        num_negatives=negatives,
        negative_weight=float(given["negative_weight"]),
        negative_pool=check.positive(name, "negative_pool", pool, least=0),
        negative_distribution=float(given["negative_distribution"]),
        lr=float(given["lr"]),
        lr_floor=1e-4,
        weight_decay=float(decay),
        compat=given["compat"],
    )


def default_step(mean_degree: float) -> int:
    """GraphVite's rule for the augmentation step, kept within a walk of 40 steps.

    Example:
        >>> default_step(32), default_step(4.4), default_step(1.0)
        (2, 4, 40)
    """
    if mean_degree <= 1:
        return 40
    return max(1, min(40, int(math.log(_REACH) / math.log(mean_degree))))
