"""Exact inference: every node from all of its neighbours, inside a stated memory."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from graphlab import check, progress, sizes
from graphlab.datasets import SparseColumn, gather
from graphlab.datasets.stored import StoredColumn
from graphlab.errors import BudgetError
from graphlab.tasks import calling

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

# Most target nodes of a chunk when layers run one after the other; more gain nothing.
_CHUNK = 16384
# Rows of a piece where a model needs no neighbours.
_ROWS = 1024
# Ids, places, offsets and weight of an edge while a chunk is put together.
_EDGE_BYTES = 64
# Data sets whose chunked inference was announced; training evaluates them every epoch.
_TOLD: weakref.WeakSet[Dataset] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that inference would add to what is held already.

    Args:
        full: One pass over the whole graph: dense features, edge arrays, activations.
        layer: Two layers' rows of all nodes, when layers run one after the other.
        available: What may be used.
        width: Numbers in the widest row that the model computes.
    """

    full: int
    layer: int
    available: int
    width: int


def exact(
    model: nn.Module,
    d: Dataset,
    nodes: Tensor | None = None,
    *,
    memory: int | str | None = None,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Compute logits from full neighbourhoods.

    One pass over the whole graph where it fits in ``memory``. Otherwise layer by layer over
    chunks of nodes, reading features with ``gather`` (they may be on disk) and keeping
    layers in temporary files, in the store's folder where there is one, where two of them do
    not fit either. Models that are not graphlab's run over batches with full neighbourhoods.

    Args:
        model: Backbone of :mod:`graphlab.models`, or any module ``(x, edge_index)`` of
            message-passing layers.
        d: The data set.
        nodes: [n], int64; None: all nodes.
        memory: Bytes that inference may add; None: half of what is available.
        device: Where to compute; the model has to be there.

    Returns:
        [n, outputs], float, on CPU; equal to the full pass up to rounding.

    Raises:
        BudgetError: not even one chunk fits.
        TypeError: a module whose number of layers cannot be told.

    Cost: a full pass is O(E) per layer; chunks read features once for every chunk that a
        node is a neighbour of.
    """
    device = torch.device(device)
    model.eval()
    if getattr(model, "precomputed", False):
        calling.require_rows(model, d)
        return _by_rows(model, d, nodes, device)
    size = estimate(model, d, memory)
    with torch.no_grad():
        if size.full <= size.available:
            logits = calling.WholeGraph(d, device).run(model).cpu()
            return logits if nodes is None else logits[nodes]
        if d not in _TOLD:
            _TOLD.add(d)
            progress.say(
                f"inference: one pass needs {sizes.show(size.full)}, "
                f"{sizes.show(size.available)} may be used; going in chunks"
            )
        if calling.is_backbone(model):
            return _layer_by_layer(model, d, nodes, size, device)
        return _by_neighborhoods(model, d, nodes, device)


def estimate(model: nn.Module, d: Dataset, memory: int | str | None = None) -> Estimate:
    """Estimate the bytes of exact inference; see :class:`Estimate`."""
    width = max((p.shape[0] for p in model.parameters() if p.dim() > 1), default=1)
    features = 0
    if not isinstance(d.x, Tensor):
        features = d.num_nodes * d.num_features * 4
        if isinstance(d.x, SparseColumn) and calling.is_backbone(model):
            # Offsets, ids and values in the widths that a pass uses, and their transpose.
            features = 2 * 12 * len(d.x.idx)
    # Input, output and one intermediate of the widest layer.
    rows = 3 * 4 * d.num_nodes * max(width, d.num_classes)
    # Edge list, sorted copy and weights; attention or messages of one layer where layers
    # are not graphlab's.
    edges = d.num_edges * (48 if calling.is_backbone(model) else 16 + 8 * width)
    available = _available() // 2 if memory is None else sizes.parse(memory)
    layer = 2 * 4 * d.num_nodes * width
    return Estimate(features + rows + edges, layer, available, width)


def _by_rows(
    model: nn.Module, d: Dataset, nodes: Tensor | None, device: torch.device
) -> Tensor:
    """Run a model of single rows, whose neighbourhoods are in them already."""
    ids = torch.arange(d.num_nodes) if nodes is None else nodes
    with torch.no_grad():
        parts = [
            model(calling.as_float(gather(d.x, part)).to(device)).cpu()
            for part in ids.split(_ROWS)
        ]
    return torch.cat(parts)


def _layer_by_layer(
    model: Any, d: Dataset, nodes: Tensor | None, size: Estimate, device: torch.device
) -> Tensor:
    from graphlab.models import layerwise

    chunk = _chunks(d, size)
    in_memory = size.layer <= size.available // 2
    with _buffers(_beside(d), in_memory=in_memory) as buffer:
        logits = layerwise(
            model, d.x, d.graph, chunk=chunk, device=device, buffer=buffer
        )
        return logits.clone() if nodes is None else logits[nodes].clone()


def _chunks(d: Dataset, size: Estimate) -> list[int]:
    """Where chunks of targets begin and end, so that each one's rows fit in half the memory.

    Raises:
        BudgetError: the node of most neighbours does not fit alone.
    """
    ptr = d.graph.csc().ptr
    each = 4 * max(d.num_features, size.width) + _EDGE_BYTES
    room = size.available // 2 // each
    most = min(int(ptr.diff().max()) + 1, d.num_nodes)
    if most > room:
        raise BudgetError(
            f"inference: `memory` must be at least {sizes.show(2 * (most + 1) * each)} to "
            f"hold the node of most neighbours, got {sizes.show(size.available)}"
        )
    # Rows of targets 0 .. i - 1, were no neighbour shared.
    before = ptr + torch.arange(len(ptr))
    ends = [0]
    while ends[-1] < d.num_nodes:
        start = ends[-1]
        # Neither more rows than there is room for, unless all nodes have room.
        end = d.num_nodes
        if d.num_nodes > room:
            end = int(torch.searchsorted(before, before[start] + room, right=True)) - 1
        ends.append(max(start + 1, min(end, start + _CHUNK, d.num_nodes)))
    return ends


def _beside(d: Dataset) -> Path | None:
    """The store's folder where features are read from one and it can be written to.

    Layers are as large as features: the folder for temporary files may be in memory.
    """
    folder = d.x.path.parent if isinstance(d.x, StoredColumn) else None
    return folder if folder is not None and os.access(folder, os.W_OK) else None


@contextmanager
def _buffers(
    folder: Path | None, *, in_memory: bool
) -> Iterator[Callable[[tuple[int, int]], Tensor]]:
    """Hand out [N, width] float32 buffers, in memory or in files that vanish at the end."""
    if in_memory:
        yield torch.empty
        return
    with tempfile.TemporaryDirectory(
        prefix="graphlab-inference-", dir=folder
    ) as inside:
        made = 0

        def mapped(shape: tuple[int, int]) -> Tensor:
            nonlocal made
            made += 1
            path = Path(inside) / f"{made}.bin"
            return torch.from_numpy(np.memmap(path, np.float32, "w+", shape=shape))

        yield mapped


def _by_neighborhoods(
    model: nn.Module, d: Dataset, nodes: Tensor | None, device: torch.device
) -> Tensor:
    """Run any message-passing module over batches with all neighbours of its depth."""
    from graphlab.sample import NeighborLoader

    depth = sum(hasattr(module, "propagate") for module in model.modules())
    if depth == 0:
        check.fail(
            TypeError,
            "inference.exact",
            "model",
            "be a backbone of graphlab or of PyG's message-passing layers, as one pass "
            "does not fit",
            type(model).__name__,
            "pass a larger memory=",
        )
    ids = torch.arange(d.num_nodes) if nodes is None else nodes
    # One hop more than layers: layers that normalise by degree need the degrees of the
    # outermost sources too.
    loader = NeighborLoader(
        d, [-1] * (depth + 1), input_nodes=ids, shuffle=False, batch_size=256
    )
    parts = [calling.batch_pass(model, batch.to(device)).cpu() for batch in loader]
    return torch.cat(parts)


def _available() -> int:
    """Memory that the system could give, from /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 2**32
