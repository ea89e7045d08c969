"""DGL: homogeneous ``DGLGraph`` to plain arrays and back; the extra ``graphlab[dgl]``."""

from __future__ import annotations

from typing import Any

import torch

from graphlab import check
from graphlab.interop.arrays import DatasetArrays, EdgeArrays

MASKS = {"train_mask": "train", "val_mask": "val", "test_mask": "test"}
_FEATURES = ("feat", "x", "feats")
_LABELS = ("label", "y", "labels")
_WEIGHTS = ("edge_weight", "weight", "w")


def is_graph(source: object) -> bool:
    """Whether an object is a ``DGLGraph``; does not import DGL."""
    return any(k.__name__ == "DGLGraph" for k in type(source).__mro__)


def library() -> Any:
    """Import DGL.

    Raises:
        ImportError: absent or broken, with the version that works.
    """
    try:
        import dgl
    except Exception as error:
        # DGL raises FileNotFoundError, too, where its binary does not fit torch.
        raise ImportError(
            f"graphlab.interop.dgl: DGL cannot be imported ({type(error).__name__}: {error}); "
            "pip install dgl==1.1.3"
        ) from error
    return dgl


def read(graph: Any) -> DatasetArrays:
    """Take a graph apart; edges in the order of DGL's edge ids.

    ``feat`` (or ``x``) becomes ``x``, ``label`` (or ``y``) the labels, a float edge column
    named ``edge_weight``, ``weight`` or ``w`` [E] the weights; others keep their names.

    Raises:
        TypeError: not a homogeneous ``DGLGraph``.
    """
    if not is_graph(graph):
        got = type(graph).__name__
        check.fail(TypeError, "from_dgl", "graph", "be a DGLGraph", got)
    if not graph.is_homogeneous or graph.is_block:
        got = "a block" if graph.is_block else f"{len(graph.etypes)} edge types"
        remedy = "use dgl.to_homogeneous(graph, ndata=[...])"
        check.fail(TypeError, "from_dgl", "graph", "be homogeneous", got, remedy)
    edge_columns = dict(graph.edata)
    weight = None
    for key in _WEIGHTS:
        held = edge_columns.get(key)
        if held is not None and held.dim() == 1 and held.is_floating_point():
            weight = edge_columns.pop(key)
            break
    source, target = graph.edges(order="eid")
    edges = EdgeArrays(torch.stack([source, target]), graph.num_nodes(), weight)
    columns = dict(graph.ndata)
    arrays = DatasetArrays(edges, edge_columns=edge_columns)
    for mask, split in MASKS.items():
        if mask in columns:
            arrays.splits[split] = columns.pop(mask).bool()
    features = next((key for key in _FEATURES if key in columns), None)
    labels = next((key for key in _LABELS if key in columns), None)
    arrays.y = None if labels is None else columns.pop(labels)
    if features is not None:
        arrays.columns["x"] = columns.pop(features)
    arrays.columns |= columns
    return arrays


def write(arrays: DatasetArrays) -> Any:
    """Put a ``DGLGraph`` together, features as ``feat``, labels as ``label``."""
    source, target = arrays.edges.edge_index
    graph = library().graph((source, target), num_nodes=arrays.edges.num_nodes)
    if arrays.edges.edge_weight is not None:
        graph.edata["edge_weight"] = arrays.edges.edge_weight
    for key, value in arrays.columns.items():
        graph.ndata["feat" if key == "x" else key] = value
    if arrays.y is not None:
        graph.ndata["label"] = arrays.y
    for mask, split in MASKS.items():
        if split in arrays.splits:
            graph.ndata[mask] = arrays.splits[split]
    for key, value in arrays.edge_columns.items():
        graph.edata[key] = value
    return graph


def batch_to_blocks(batch: Any) -> list[Any]:
    """Turn a sampled batch into DGL's message-flow blocks, outermost hop first.

    The nodes of a batch stand by hop, so the sources of a block are a prefix of the batch, and
    its targets a shorter one: nothing is renumbered. ``srcdata`` of the first block holds the
    batch's node columns, ``dstdata`` of the last one those of the seeds; ``dgl.NID`` and
    ``dgl.EID`` name nodes and edges.

    Args:
        batch: From a loader of graphlab or PyG, with ``num_sampled_nodes`` and
            ``num_sampled_edges``.

    Returns:
        One block a hop, as ``dgl.nn`` layers take them.

    Raises:
        TypeError: a batch without counts by hop.
        ImportError: DGL is absent.
    """
    nodes = getattr(batch, "num_sampled_nodes", None)
    edges = getattr(batch, "num_sampled_edges", None)
    if nodes is None or edges is None:
        need = "have num_sampled_nodes and num_sampled_edges"
        check.fail(TypeError, "batch_to_dgl_blocks", "batch", need, "one without")
    dgl = library()
    row, col = batch.edge_index
    blocks = []
    for hop in range(len(edges), 0, -1):
        # Edges are grouped by hop; a layer on hop h needs those of hops 1 .. h.
        used, sources, targets = (
            sum(edges[:hop]),
            sum(nodes[: hop + 1]),
            sum(nodes[:hop]),
        )
        block = dgl.create_block(
            (row[:used], col[:used]), num_src_nodes=sources, num_dst_nodes=targets
        )
        block.srcdata[dgl.NID] = batch.n_id[:sources]
        block.dstdata[dgl.NID] = batch.n_id[:targets]
        block.edata[dgl.EID] = batch.e_id[:used]
        blocks.append(block)
    fields = ("n_id", "e_id", "input_id", "edge_index", "batch")
    total = int(batch.n_id.shape[0])
    for name, value in batch.to_dict().items():
        if name in fields or not isinstance(value, torch.Tensor):
            continue
        if value.dim() and value.shape[0] == total:
            key = {"x": "feat", "y": "label"}.get(name, name)
            blocks[0].srcdata[key] = value
            blocks[-1].dstdata[key] = value[: batch.batch_size]
    return blocks
