"""Making models and calling them: graphlab's take a Graph and counts, others edge_index."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from graphlab import check
from graphlab.datasets import SparseColumn

if TYPE_CHECKING:
    from graphlab.datasets import Dataset

Factory = Callable[..., nn.Module]


def make(function: str, factory: Any, in_channels: int, out_channels: int) -> nn.Module:
    """Make a model: ``factory(in_channels, out_channels)``, or ``factory()`` if it takes none.

    Raises:
        TypeError: not a factory, or no module comes out of it.
    """
    require_factory(function, factory)
    try:
        inspect.signature(factory).bind(in_channels, out_channels)
    except TypeError:
        model = factory()
    except ValueError:  # a callable without a signature
        model = factory(in_channels, out_channels)
    else:
        model = factory(in_channels, out_channels)
    if not isinstance(model, nn.Module):
        got = f"a factory of {type(model).__name__}"
        check.fail(TypeError, function, "model", "make torch.nn.Modules", got)
    return model


def require_factory(function: str, factory: Any) -> None:
    """Require something that makes modules.

    Raises:
        TypeError: a module, or not callable.
    """
    if isinstance(factory, nn.Module):
        check.fail(
            TypeError,
            function,
            "model",
            "be a factory of modules",
            f"the module {type(factory).__name__}",
            "every seed needs new weights: pass the class, functools.partial or a lambda",
        )
    if not callable(factory):
        got = type(factory).__name__
        check.fail(TypeError, function, "model", "be a factory of modules", got)


def require_seeds(function: str, seeds: Iterable[int]) -> list[int]:
    """Require seeds of at least 0, each once, and return them as a list."""
    wanted = list(seeds)
    if not wanted or len(set(wanted)) != len(wanted):
        check.fail(ValueError, function, "seeds", "name each seed once", wanted)
    for seed in wanted:
        check.positive(function, "seeds", seed, least=0)
    return wanted


def describe(factory: Factory) -> dict[str, Any]:
    """Name a factory for the config: target ``package.module:Class`` and arguments."""
    arguments: dict[str, Any] = {}
    while isinstance(factory, functools.partial):
        if factory.args:
            arguments = {"positional": [_plain(a) for a in factory.args], **arguments}
        arguments = {**{k: _plain(v) for k, v in factory.keywords.items()}, **arguments}
        factory = factory.func
    name = getattr(factory, "__qualname__", type(factory).__qualname__)
    return {"target": f"{factory.__module__}:{name}", **arguments}


class WholeGraph:
    """A data set as the one input of a full pass, prepared once for all passes.

    Args:
        d: The data set.
        device: Where the models are.
    """

    def __init__(self, d: Dataset, device: torch.device) -> None:
        self._d = d
        self._device = device
        self._dense: Tensor | None = None
        self._edges: Tensor | None = None

    def run(self, model: nn.Module, nodes: Tensor | None = None) -> Tensor:
        """Put the whole graph through a model. [N, outputs], or [len(nodes), outputs]."""
        if takes_graph(model):
            sparse = isinstance(self._d.x, SparseColumn)
            x = self._d.x if sparse else self.x
            if nodes is not None and "nodes" in _parameters(model):
                return _rows(model(x, self._d.graph, nodes=nodes), len(nodes))
            out = model(x, self._d.graph)
        elif _takes_features_only(model):
            out = model(self.x)
        else:
            out = model(self.x, self.edge_index)
        out = _rows(out, self._d.num_nodes)
        return out if nodes is None else out[nodes]

    def views(self, model: Any) -> list[Tensor]:
        """Several stochastic passes of the whole graph. [N, outputs] each."""
        if not takes_graph(model):
            return [
                _rows(v, self._d.num_nodes)
                for v in model.views(self.x, self.edge_index)
            ]
        sparse = isinstance(self._d.x, SparseColumn)
        found = model.views(self._d.x if sparse else self.x, self._d.graph)
        return [_rows(view, self._d.num_nodes) for view in found]

    @property
    def x(self) -> Tensor:
        """[N, F], dense, floating point."""
        if self._dense is None:
            x = self._d.x
            if not isinstance(x, Tensor):
                x = x.gather(torch.arange(self._d.num_nodes))
            self._dense = as_float(x.to(self._device))
        return self._dense

    @property
    def edge_index(self) -> Tensor:
        """[2, E], int64."""
        if self._edges is None:
            self._edges = self._d.graph.edge_index.to(self._device)
        return self._edges


def as_float(x: Tensor) -> Tensor:
    """Features as models want them: float32, or float64 where they are."""
    return x if x.dtype in check.FLOAT_DTYPES else x.float()


def batch_pass(model: nn.Module, batch: Any) -> Tensor:
    """Put a sampled batch through a model; rows of its seeds. [batch_size, outputs]."""
    counts = _counts(model, batch)
    x = as_float(batch.x)
    if _takes_features_only(model):
        out = model(x)
    else:
        out = model(x, batch.edge_index, **counts)
    return _rows(out, batch.batch_size)


def batch_views(model: Any, batch: Any) -> list[Tensor]:
    """Several stochastic passes of a sampled batch; rows of its seeds in each."""
    found = model.views(as_float(batch.x), batch.edge_index, **_counts(model, batch))
    return [_rows(view, batch.batch_size) for view in found]


def _counts(model: nn.Module, batch: Any) -> dict[str, Any]:
    """The per-hop counts of a batch, for models that take them."""
    if (
        "num_sampled_nodes" not in _parameters(model)
        or getattr(batch, "num_sampled_nodes", None) is None
    ):
        return {}
    return {
        "num_sampled_nodes": batch.num_sampled_nodes,
        "num_sampled_edges": batch.num_sampled_edges,
    }


def require_rows(model: nn.Module, d: Dataset) -> None:
    """Require that propagated rows are those that a model takes, where both say which."""
    require = getattr(model, "require_rows", None)
    if callable(require):
        require(d.meta.get("propagated"))


def takes_graph(model: nn.Module) -> bool:
    """Whether a full pass hands a model the Graph, with what is kept of it between passes."""
    return is_backbone(model) or bool(getattr(model, "takes_graph", False))


def is_backbone(model: nn.Module) -> bool:
    """Whether a model follows graphlab's protocol: takes a Graph, works layer by layer."""
    from graphlab.models import GNN

    return isinstance(model, GNN)


def _parameters(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(model.forward).parameters


def _takes_features_only(model: nn.Module) -> bool:
    return len(_parameters(model)) == 1 and "edge_index" not in _parameters(model)


def _rows(out: Any, count: int) -> Tensor:
    """The first rows of an output, which must have so many."""
    if not isinstance(out, Tensor) or out.dim() not in (1, 2) or len(out) < count:
        shape = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        need = f"put out one row for each of {count:,} nodes"
        check.fail(ValueError, "node.fit", "model", need, f"shape {shape}")
    return out[:count]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return getattr(value, "__qualname__", repr(value))
