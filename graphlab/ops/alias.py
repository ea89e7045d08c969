"""Alias tables: weighted draws from a row in O(1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from graphlab import check
from graphlab.ops.registry import declare

declare(
    "alias_build(Tensor ptr, Tensor weight) -> (Tensor threshold, Tensor alias)",
    twin="graphlab.ops.twins.alias:alias_build",
    fake=lambda ptr, weight: (
        weight.new_empty(weight.shape[0], dtype=torch.int32),
        weight.new_empty(weight.shape[0], dtype=torch.int32),
    ),
)


class AliasTables(NamedTuple):
    """Alias tables of all rows of a graph; see :func:`alias_build`.

    Attributes:
        threshold: [num_edges], int32, in [0, 2^31 - 1].
        alias: [num_edges], int32, position inside the row.
    """

    threshold: Tensor
    alias: Tensor


def alias_build(ptr: Tensor, weight: Tensor) -> AliasTables:
    """Build Walker's alias table for every row of a weighted graph.

    A row of n slots is drawn from so: take a slot uniformly; keep it if 31 random bits are
    below ``threshold[slot]``, else take ``alias[slot]``. Then position i has probability
    ``weight[i] / sum(weight)`` within 2^-30. Certain slots have threshold 2^31 - 1 and
    themselves as alias. Positive weights keep at least 2^-31 of their slot; zero weights are
    never drawn; a row of zero weights has threshold 0 and each slot itself as alias, which
    stands for no draws.

    Args:
        ptr: [rows + 1], int64; starts at 0, ends at the number of edges, never falls.
        weight: [num_edges], float32 or float64, same device; finite and not negative, in the
            order of the edges of ``ptr``.

    Returns:
        ``(threshold, alias)``, each [num_edges], int32.

    Raises:
        TypeError: wrong dtype.
        ValueError: a negative, infinite or NaN weight; wrong rank, device or ``ptr``.

    Cost:
        O(num_edges) work, 8 bytes an edge for the result, 12 bytes an edge of the longest
        row for each thread. CPU: parallel over rows; the same bits at any thread count. CUDA:
        the same bits; 12 bytes an edge of scratch, one thread a row, so hubs are slow.

    Source:
        Walker 1977; Vose, "A linear algorithm for generating random numbers with a given
        distribution", 1991; thresholds are rounded to 31 bits so that draws are integers.

    Example:
        >>> alias_build(torch.tensor([0, 2]), torch.tensor([1.0, 3.0])).alias
        tensor([1, 1], dtype=torch.int32)
    """
    name = "alias_build"
    weight = check.tensor(name, "weight", weight, dtypes=check.FLOAT_DTYPES, ndim=1)
    check.offsets(name, "ptr", ptr, end=weight.shape[0])
    check.same_device(name, ("weight", weight), ptr=ptr)
    if weight.numel() > 0 and not torch.compiler.is_compiling():
        low, high = (float(v) for v in torch.aminmax(weight))
        if not (low >= 0 and math.isfinite(high)):
            wrong = low if not low >= 0 else high
            check.fail(ValueError, name, "weight", "be finite and not negative", wrong)
    tables = torch.ops.graphlab.alias_build(ptr.contiguous(), weight.contiguous())
    return AliasTables(*tables)
