"""The estimator of node embeddings: DeepWalk, LINE, node2vec."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from torch import Tensor

from graphlab import check, progress, sizes
from graphlab.embed import checkpoint, nearest, vectors
from graphlab.embed import devices as training_devices
from graphlab.embed import plan as planning
from graphlab.embed.partition import partition
from graphlab.embed.scored import Scorer, scorer_of
from graphlab.embed.settings import Settings, resolve
from graphlab.embed.tables import Tables
from graphlab.embed.training import Exchange, Rule, State, Training
from graphlab.embed.walker import Walker

if TYPE_CHECKING:
    from graphlab.graph import Graph


class NodeEmbedding:
    """Vectors of nodes, learnt from random walks by skip-gram with negative sampling.

    Nodes u and v that stand near each other in walks get a large ``h_u . t_v``:
    maximise ``log s(h_u . t_v) + w sum_n log s(-h_u . t_n)`` over pairs, n drawn
    proportional to (weighted) degree to the power ``negative_distribution``.

    Args:
        method: ``deepwalk``: first-order walks. ``node2vec``: second-order walks of ``p`` and
            ``q``. ``line``: pairs are edges, drawn by weight.
        dim: Width d of a vector.
        seed: Names all draws. With one worker (or with ``partitions``), the same seed gives
            the same vectors to the bit.
        device: ``cpu``, ``cuda`` or ``cuda:1``; ``auto`` takes a GPU where its kernel is
            built. On a GPU walks are made on the CPU, ahead of the trainer.
        devices: Devices of a grid, such as ``["cuda:0", "cuda:1"]``, in place of ``device``:
            tables stay on the CPU, or on disk with ``memory``; blocks of a round are trained on
            the devices at the same time (from disk one after the other), each of which holds
            two parts. ``partitions`` is at least their number, ``workers`` does not count.
            ``cpu`` may stand in for a GPU; its copies are not in the memory plan.
        window: Pairs reach so many places to both sides of a walk; default 10 (line: 1).
        augmentation_step: GraphVite's window: pairs reach so many places forward.
        shrink_window: Reach 1 to ``window`` places, drawn anew each time, as word2vec does.
        walk_length: Steps of a walk; default 40 (line: 1).
        walks_per_node: Walks from every node, where neither ``samples`` nor ``epochs`` is.
        samples: Budget of positive pairs.
        epochs: Budget in edges, each undirected edge once: samples = epochs |E|.
        num_negatives: K, negatives of a pair.
        negative_weight: w. K = 1, w = 5 needs a third of the work of K = 5, w = 1; at few walks
            more negatives are better: at ten a node on BlogCatalog K = 3, w = 4 gains two
            points of F1.
        negative_pool: Negatives of a walk are taken from so many draws; 0: each is drawn.
        negative_distribution: Power of the degree.
        p: Return parameter of node2vec.
        q: In-out parameter of node2vec.
        order: 2: heads and contexts are two tables; 1: one table (LINE of first order);
            blocks of a grid are then trained one at a time.
        departure: ``node``: every node in turn begins a walk; ``degree``: as edges are drawn.
        lr: First learning rate; it falls linearly to zero at the end of the budget.
        weight_decay: Of rows that a step touches, times the term's weight. Default: for
            forward pairs (``line``, ``augmentation_step``) GraphVite's 0.005, worth two
            points of F1 on BlogCatalog; with a ``window`` none, where it costs six.
        weighted: Whether to follow edge weights where the graph has them.
        workers: Threads; None: all cores. Without partitions they share the tables without
            locks, and results vary a little; with one worker results repeat.
        partitions: Parts of the nodes. Blocks (head part, tail part) that share no rows are
            trained at the same time, negatives come from the block's tail part, and results
            repeat at any number of workers. None: one, or what ``memory`` asks for.
        memory: Bytes for tables, graph copy and buffers, such as ``"2GiB"``. Tables that do
            not fit stay on disk and are streamed part by part.
        scratch: Folder for tables on disk; None: a temporary one.
        dtype: ``float32``; on a GPU also ``bfloat16``.
        scorer: f(h, t) of a pair, in place of the product: ``dot``, ``distance``
            (1 - squared distance), or a function of heads and tails [..., dim] that gives
            [...]. All but ``dot`` are trained by autograd on one
            thread, some hundred times slower.
        init: Vectors [N, dim] to start from, or another NodeEmbedding (warm start).
        checkpoint: Folder to save to while training. A fit with the same settings and graph
            goes on from there; with one worker to the bit.
        checkpoint_seconds: Save after so many seconds.
        compat: ``reference``: GraphVite 0.2.2's update order (negatives first, the head moves
            at each), each negative a draw of its own, forward pairs, departure by degree, its
            default augmentation step.

    Attributes:
        vectors: [N, dim], float32, in input order; after :meth:`fit`.
        context: [N, dim]: the context table; the vectors themselves for ``order=1``.
        history: Facts of the fit: pairs, seconds, loss, memory.

    Source:
        Perozzi et al. 2014 (DeepWalk); Tang et al. 2015 (LINE); Grover & Leskovec 2016
        (node2vec); Zhu et al. 2019 (GraphVite). By default heads move after up to eight rows
        instead of after each.

    Example:
        >>> import graphlab as gl
        >>> d = gl.datasets.generate("sbm", num_nodes=60, num_edges=300, num_features=2)
        >>> emb = NodeEmbedding(dim=16, samples=20_000, workers=1).fit(d.graph)
        >>> emb.vectors.shape, emb.knn([0, 1], k=3).ids.shape
        (torch.Size([60, 16]), torch.Size([2, 3]))
    """

    vectors: Tensor
    context: Tensor
    history: dict[str, Any]

    def __init__(
        self,
        method: Literal["deepwalk", "line", "node2vec"] = "deepwalk",
        dim: int = 128,
        *,
        seed: int = 0,
        device: str = "auto",
        devices: Sequence[str] | None = None,
        window: int | None = None,
        augmentation_step: int | None = None,
        shrink_window: bool = False,
        walk_length: int | None = None,
        walks_per_node: int = 80,
        samples: int | None = None,
        epochs: float | None = None,
        num_negatives: int = 1,
        negative_weight: float = 5.0,
        negative_pool: int | None = None,
        negative_distribution: float = 0.75,
        p: float = 1.0,
        q: float = 1.0,
        order: int = 2,
        departure: str | None = None,
        lr: float = 0.025,
        weight_decay: float | None = None,
        weighted: bool = True,
        workers: int | None = None,
        partitions: int | None = None,
        memory: int | str | None = None,
        scratch: str | Path | None = None,
        dtype: str = "float32",
        scorer: str | Scorer = "dot",
        init: Tensor | NodeEmbedding | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        compat: str | None = None,
    ) -> None:
        given = locals()
        self._given = {k: v for k, v in given.items() if k not in ("self", "__class__")}
        name = "NodeEmbedding"
        self._devices = training_devices.resolve_list(name, devices)
        if self._devices and device != "auto":
            check.fail(ValueError, name, "device", "be left out with `devices`", device)
        self._device = (
            "cpu" if self._devices else training_devices.resolve(name, device)
        )
        on_cpu = "cpu" in (self._devices or (self._device,))
        dtypes = ("float32",) if on_cpu else ("float32", "bfloat16")
        check.one_of(name, "dtype", dtype, dtypes)
        self._score = scorer_of(name, scorer)
        if self._score is not None and compat is not None:
            check.fail(ValueError, name, "scorer", "be 'dot' with `compat`", scorer)
        if self._device != "cpu" and memory is not None:
            need = "be None with tables on a GPU; name it in `devices` to stream parts to it"
            check.fail(ValueError, name, "memory", need, memory)
        if workers is not None:
            check.positive(name, "workers", workers)
        if partitions is not None:
            check.positive(name, "partitions", partitions)
        self._memory = None if memory is None else sizes.parse(memory)
        self._workers = workers or torch.get_num_threads()
        # Wrong settings are told now, not after the graph was read.
        resolve(self._given, 1.0)

    def settings(self, g: Graph) -> Settings:
        """Resolve the settings for a graph."""
        return resolve(self._given, _edges_once(g) / max(1, g.num_nodes))

    def plan(self, g: Graph, *, parts: int | None = None) -> planning.MemoryPlan:
        """Return what a fit would hold, before anything is allocated.

        Args:
            g: The graph.
            parts: Instead of ``partitions``.

        Raises:
            BudgetError: ``memory`` cannot hold it, however many parts there are.
        """
        settings = self.settings(g)
        weighted = self._given["weighted"] and g.edge_weight is not None
        by_degree = settings.shape.departure == "degree"
        graph = planning.graph_bytes(g.num_nodes, g.num_edges, weighted, by_degree)
        second = settings.shape.p != 1 or settings.shape.q != 1
        prepare = planning.preparation_bytes(g.num_nodes, g.num_edges, weighted, second)
        parts = parts or self._given["partitions"]
        workers = len(self._devices) or self._workers
        # A grid has two parts at least, and a block for each device.
        least = max(2, workers) if self._devices else 1

        def planned(parts: int | None) -> planning.MemoryPlan:
            if parts is not None:
                parts = min(max(parts, least), g.num_nodes)
            return planning.plan(
                g.num_nodes,
                settings.dim,
                1 if settings.order == 1 else 2,
                graph,
                memory=self._memory,
                parts=parts,
                workers=workers if parts is None else min(workers, parts),
                prepare=prepare,
            )

        found = planned(parts)
        return found if found.parts >= least else planned(least)

    def fit(
        self,
        g: Graph,
        *,
        exchange: Exchange | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Learn the vectors of a graph's nodes.

        Args:
            g: The graph.
            exchange: Processes that share the work, one tail part each; the same call in
                each of them. :func:`graphlab.tasks.embed.fit` makes it under ``torchrun``.
                The vectors are those of one process with as many ``partitions``.
            stop: Asked after each call of the trainer; true saves a checkpoint, where there
                is a folder for it, and raises KeyboardInterrupt.

        Raises:
            ValueError: a graph without edges, vectors to start from of another shape, a
                checkpoint of other settings.
            BudgetError: ``memory`` cannot hold the fit.
        """
        name = "NodeEmbedding.fit"
        if g.num_edges == 0:
            check.fail(ValueError, name, "g", "have edges", "none")
        if exchange is not None and self._devices:
            need = "be None with an exchange between processes"
            check.fail(ValueError, name, "devices", need, self._devices)
        settings = self.settings(g)
        if exchange is not None and exchange.size > 1 and settings.order == 1:
            need = "be 2 with an exchange between processes"
            check.fail(ValueError, name, "order", need, 1)
        plan = self.plan(g, parts=None if exchange is None else exchange.size)
        if exchange is not None and (plan.streamed or self._given["checkpoint"]):
            need = "be None with an exchange between processes"
            got = self._given["checkpoint"] or self._given["memory"]
            check.fail(ValueError, name, "checkpoint or memory", need, got)
        progress.say(f"{name}: {plan}")
        begin = time.perf_counter()
        degree = g.out_degree() + g.in_degree()
        parts = partition(degree, plan.parts)
        shape, weighted = settings.shape, bool(self._given["weighted"])
        ahead = self._device != "cpu" or (bool(self._devices) and not plan.streamed)
        walker = Walker(g, parts, shape, settings.seed, weighted, ahead)
        scratch = tempfile.TemporaryDirectory(prefix="graphlab-embed-")
        with contextlib.closing(walker), scratch as temporary:
            folder = None
            if plan.streamed:
                folder = Path(self._given["scratch"] or temporary)
            tables = Tables(
                parts,
                settings.dim,
                plan.stride,
                shared=settings.order == 1,
                folder=folder,
                device=self._device,
                dtype=getattr(torch, self._given["dtype"]),
            )
            state = self._begin(tables, settings, g)
            prepared = time.perf_counter() - begin
            rule = Rule(
                negatives=settings.num_negatives,
                weight=settings.negative_weight,
                pool=settings.negative_pool,
                rate=settings.lr,
                floor=settings.lr_floor,
                decay=settings.weight_decay,
                reference=settings.compat == "reference",
                samples=settings.budget(g.num_nodes, _edges_once(g)),
                exponent=settings.negative_distribution,
                score=self._score,
            )
            saved_in = self._given["checkpoint"]
            after = checkpoint.saver(
                None if saved_in is None else Path(saved_in),
                self._given["checkpoint_seconds"],
                self._facts(settings, g),
                tables.snapshot,
                stop,
            )
            training = Training(
                walker,
                tables,
                parts,
                rule,
                plan,
                seed=settings.seed,
                threads=self._workers,
                state=state,
                devices=self._devices,
                exchange=exchange,
                after=after,
            )
            training.run()
            if exchange is not None:
                spans = [parts.rows(p) for p in range(parts.parts)]
                shapes = [(s.stop - s.start, plan.stride) for s in spans]
                for side, table in (("head", tables.head), ("tail", tables.tail)):
                    mine = table[spans[exchange.rank]]
                    tables.collect(side, exchange.gather(mine, shapes))
            self.vectors = tables.by_node("head")
            self.context = (
                self.vectors if settings.order == 1 else tables.by_node("tail")
            )
        self.node_names = g.node_names
        self.history = {
            "method": settings.method,
            "settings": settings.to_json(),
            "pairs": state.pairs,
            "seconds": state.seconds,
            "prepare_seconds": prepared,
            "samples_per_second": state.pairs / max(state.seconds, 1e-9),
            "loss": state.loss,
            "workers": self._workers,
            "devices": list(self._devices) or [self._device],
            "partitions": plan.parts,
            "streamed": plan.streamed,
            "memory_bytes": plan.total,
        }
        return self

    def save(self, path: str | Path, *, format: str | None = None) -> Path:
        """Write the vectors in input order; see :func:`graphlab.embed.vectors.save`."""
        self._require_fit("save")
        names = None if self.node_names is None else list(self.node_names)
        return vectors.save(
            path, self.vectors, context=self.context, names=names, format=format
        )

    def knn(
        self,
        ids: Tensor | list[int],
        k: int = 10,
        *,
        kind: Literal["similar", "complementary"] = "similar",
        exclude: Graph | None = None,
    ) -> nearest.Neighbors:
        """Find the k best nodes for each of ``ids``; see :func:`graphlab.embed.nearest.knn`.

        Args:
            ids: Nodes.
            k: How many.
            kind: ``similar``: cosine of two vectors, so nodes alike. ``complementary``: vector
                times context, so nodes that stand near it, that are taken together with it.
            exclude: A graph whose neighbours of each node are left out.
        """
        self._require_fit("knn")
        targets = self.vectors if kind == "similar" else self.context
        return nearest.knn(
            self.vectors, targets, torch.as_tensor(ids), k, kind=kind, exclude=exclude
        )

    def _require_fit(self, call: str) -> None:
        if not hasattr(self, "vectors"):
            got = "an estimator that has not seen a graph"
            check.fail(
                ValueError,
                f"NodeEmbedding.{call}",
                "self",
                "be fitted",
                got,
                "call fit",
            )

    def _begin(self, tables: Tables, settings: Settings, g: Graph) -> State:
        """First values of the tables, or those of a checkpoint."""
        folder = self._given["checkpoint"]
        found = None
        if folder is not None:
            facts = self._facts(settings, g)
            found = checkpoint.resume("NodeEmbedding.fit", Path(folder), facts)
        if found is not None:
            kept, state = found
            tables.head.copy_(kept["head"])
            if not tables.shared:
                tables.tail.copy_(kept["tail"])
            return State(**state)
        init = self._given["init"]
        if isinstance(init, NodeEmbedding):
            init._require_fit("init")
            tables.start(settings.seed, init.vectors, init.context)
        elif init is not None:
            shape = [g.num_nodes, settings.dim]
            if list(init.shape) != shape:
                got = list(init.shape)
                check.fail(ValueError, "NodeEmbedding.fit", "init", f"be {shape}", got)
            tables.start(settings.seed, init)
        else:
            tables.start(settings.seed)
        return State()

    def _facts(self, settings: Settings, g: Graph) -> dict[str, Any]:
        return {
            **settings.to_json(),
            "num_nodes": g.num_nodes,
            "num_edges": g.num_edges,
            "partitions": self.plan(g).parts,
            "weighted": bool(self._given["weighted"]),
            "scorer": self._scorer_name,
        }

    @property
    def _scorer_name(self) -> str:
        scorer = self._given["scorer"]
        if isinstance(scorer, str):
            return scorer
        return f"{scorer.__module__}.{getattr(scorer, '__qualname__', scorer)}"


def _edges_once(g: Graph) -> int:
    """Edges, an undirected one once."""
    return g.num_edges // 2 if g.is_undirected() else g.num_edges
