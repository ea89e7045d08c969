"""What LAGNN's generator has to beat: channels of equal width that cost nothing to learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from graphlab import check, files, ops
from graphlab.datasets.column import Column, gather
from graphlab.graph import Graph


class ConditionalMeanAugmenter(nn.Module):
    r"""Linear mean of a neighbour's features: :math:`E[X_u | X_v] \approx W^\top X_v`.

    In closed form over all pairs, without a list of them:
    :math:`W = (X^\top D X + \lambda I)^{-1} X^\top A X`, D the degrees.

    Args:
        dim: Width of the features.
        ridge: :math:`\lambda` over the mean of the diagonal of :math:`X^\top D X`.

    Cost:
        One sparse product, two dense ones of [dim, N, dim], one factorisation of [dim, dim].

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=100, num_edges=600, num_features=4)
        >>> a = ConditionalMeanAugmenter(4).fit(d.x, d.graph)
        >>> a.sample(d.x[:3], s=2).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, dim: int, ridge: float = 1e-2) -> None:
        super().__init__()
        check.positive("ConditionalMeanAugmenter", "dim", dim)
        if not ridge > 0:
            check.fail(
                ValueError, "ConditionalMeanAugmenter", "ridge", "be above 0", ridge
            )
        self.dim, self.ridge = dim, ridge
        self.register_buffer("weight", torch.eye(dim))
        self.weight: Tensor

    def fit(
        self, x: Tensor | Column, graph: Graph, *, nodes: Tensor | None = None
    ) -> Self:
        """Solve for W over all edges u -> v, or over those between ``nodes`` (ids or mask)."""
        name = "ConditionalMeanAugmenter.fit"
        if len(x.shape) != 2 or x.shape[1] != self.dim:
            need = f"have shape [nodes, dim = {self.dim}]"
            check.fail(ValueError, name, "x", need, list(x.shape))
        rows = _dense(x)
        ptr, idx, _ = graph.csc()
        if nodes is None:
            mean, degree = ops.spmm(ptr, idx, rows), ptr.diff()
        else:
            inside = torch.zeros(graph.num_nodes, 1)
            inside[nodes] = 1
            mean = ops.spmm(ptr, idx, rows * inside) * inside
            degree = (ops.spmm(ptr, idx, inside) * inside)[:, 0]
        square = rows.t() @ (rows * degree[:, None])
        cross = rows.t() @ mean
        size = float(square.diagonal().mean())
        square.diagonal().add_(self.ridge * size if size > 0 else 1.0)
        factor = torch.linalg.cholesky(square.double())
        solved = torch.cholesky_solve(cross.double(), factor)
        self.weight.copy_(solved.to(self.weight.dtype))
        return self

    @torch.no_grad()
    def sample(
        self, rows: Tensor, s: int = 1, *, mode: str = "mean", generator: Any = None
    ) -> Tensor:
        """The mean neighbour of each row, the same every time. [s, n, dim]."""
        return (rows @ self.weight).expand(s, -1, -1)

    def save(self, path: str | Path) -> None:
        """Write ``<path>.safetensors`` and ``<path>.json``."""
        import safetensors.torch

        path = Path(path)
        with files.publish(path.with_name(path.name + ".safetensors")) as file:
            file.write(safetensors.torch.save({"weight": self.weight}))
        config = {"dim": self.dim, "ridge": self.ridge}
        files.publish_json(path.with_name(path.name + ".json"), config)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        import safetensors.torch

        path = Path(path)
        config = json.loads(path.with_name(path.name + ".json").read_text())
        made = cls(**config)
        weights = path.with_name(path.name + ".safetensors")
        made.load_state_dict(safetensors.torch.load_file(weights))
        return made


class SameFeatures(nn.Module):
    """The features themselves once more: the control for width and for several views."""

    def sample(
        self, rows: Tensor, s: int = 1, *, mode: str = "mean", generator: Any = None
    ) -> Tensor:
        """[s, n, dim]."""
        return rows.expand(s, -1, -1)


class NeighborMean(nn.Module):
    r"""Mean of the neighbours' features, :math:`D^{-1} A X`: what the generator stands for.

    It needs the neighbours, so it works on full batches only.
    """

    rows: Tensor

    def fit(self, x: Tensor | Column, graph: Graph) -> Self:
        """Average over the sources of each node's edges."""
        ptr, idx, _ = graph.csc()
        self.register_buffer("rows", ops.spmm(ptr, idx, _dense(x), reduce="mean"))
        return self

    def sample(
        self, rows: Tensor, s: int = 1, *, mode: str = "mean", generator: Any = None
    ) -> Tensor:
        """[s, N, dim] of all nodes.

        Raises:
            ValueError: rows of a batch.
        """
        if len(rows) != len(self.rows):
            need = f"be the {len(self.rows):,} rows of a full batch"
            check.fail(ValueError, "NeighborMean.sample", "rows", need, len(rows))
        return self.rows.expand(s, -1, -1)


def _dense(x: Tensor | Column) -> Tensor:
    rows = x if isinstance(x, Tensor) else gather(x, torch.arange(x.shape[0]))
    return rows if rows.dtype in check.FLOAT_DTYPES else rows.float()
