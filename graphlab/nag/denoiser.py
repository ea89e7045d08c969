"""The denoiser: one class over the three diffusion back-ends; trains, saves, loads."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

from graphlab import check, files, progress
from graphlab.errors import StoreError
from graphlab.nag.diffusionnag import DiffusionNAG
from graphlab.nag.edm import EDM, SOLVERS
from graphlab.nag.guidance import Guidance
from graphlab.nag.masked import Masked
from graphlab.nag.space import SearchSpace

Method = Literal["masked", "edm", "diffusionnag"]
METHODS = ("masked", "edm", "diffusionnag")
_SCHEMA = 1


class Denoiser:
    """A generative model of the architectures of a space.

    Args:
        space: The search space.
        method: ``masked`` (discrete, exactly one label a node at any time), ``edm``
            (continuous, preconditioned, few steps) or ``diffusionnag`` (the paper's VE-SDE
            on one-hot operations with predictor-corrector sampling).
        hidden: Width of the network.
        blocks: Its depth.
        heads: Its attention heads.
        solver: Of ``edm``: ``dpm`` or ``heun``.
        compat: ``"reference"``, of ``diffusionnag`` only: the release's attention masks (raw
            adjacency in training, its closure in guided sampling) and its threshold, which
            leaves some samples invalid.
        seed: Of the first weights and of training.

    Raises:
        ValueError: an unknown method, or ``compat`` for another one.

    Source:
        An et al., "DiffusionNAG: Predictor-guided Neural Architecture Generation with
        Diffusion Models", ICLR 2024. ``masked`` and ``edm`` are ours: see their modules.

    Example:
        >>> from graphlab.nag import spaces
        >>> space = spaces.NB201()
        >>> model = Denoiser(space, hidden=16, blocks=1).fit(space.sample(64), steps=4)
        >>> x = model.sample(5, seed=1)
        >>> bool(space.is_valid(x).all())
        True
    """

    def __init__(
        self,
        space: SearchSpace,
        method: Method = "masked",
        *,
        hidden: int = 64,
        blocks: int = 4,
        heads: int = 4,
        solver: str = "dpm",
        compat: str | None = None,
        seed: int = 0,
    ) -> None:
        check.one_of("Denoiser", "method", method, METHODS)
        for argument, value in (("hidden", hidden), ("blocks", blocks)):
            check.positive("Denoiser", argument, value)
        check.positive("Denoiser", "heads", heads, least=2)
        if hidden % heads:
            need = f"be a multiple of heads = {heads}"
            check.fail(ValueError, "Denoiser", "hidden", need, hidden)
        check.one_of("Denoiser", "solver", solver, SOLVERS)
        if method == "diffusionnag" and (hidden, blocks, heads) != (64, 4, 4):
            need = "be left alone for method='diffusionnag', whose network is the release's"
            got = f"hidden={hidden}, blocks={blocks}, heads={heads}"
            check.fail(ValueError, "Denoiser", "hidden", need, got)
        if compat not in (None, "reference"):
            need = "be None or 'reference'"
            check.fail(ValueError, "Denoiser", "compat", need, repr(compat))
        if compat is not None and method != "diffusionnag":
            need = "be None unless method='diffusionnag'"
            check.fail(ValueError, "Denoiser", "compat", need, repr(compat))
        self.space, self.method, self.seed = space, method, seed
        self.settings: dict[str, Any] = {
            "hidden": hidden,
            "blocks": blocks,
            "heads": heads,
            "solver": solver,
            "compat": compat,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backend: Masked | EDM | DiffusionNAG
            if method == "masked":
                self.backend = Masked(space, hidden, blocks, heads)
            elif method == "edm":
                self.backend = EDM(space, hidden, blocks, heads, solver)
            else:
                self.backend = DiffusionNAG(space, compat=compat)
        self.known: set[str] = set()
        self.history: dict[str, Any] = {}

    @property
    def num_parameters(self) -> int:
        """Trainable numbers."""
        return sum(p.numel() for p in self.backend.parameters())

    def fit(
        self,
        x: Tensor,
        *,
        quantiles: Tensor | None = None,
        steps: int = 1500,
        batch: int = 256,
        lr: float | None = None,
        decay: float | None = None,
        seed: int | None = None,
        quiet: bool = True,
    ) -> Denoiser:
        """Train on architectures; weights are averaged over the last steps.

        Args:
            x: int64 [N, V].
            quantiles: [N] in [0, 1], the share of architectures that each beats: trains the
                condition that classifier-free guidance needs, left out a fifth of the time.
            steps: Optimiser steps.
            batch: Architectures a step.
            lr: Learning rate; default 2e-3, and the release's 2e-5 for ``diffusionnag``.
            decay: Of the running average of weights; default 0.995, and the release's 0.9999
                for ``diffusionnag``.
            seed: Of batches and noise; default that of the denoiser.
            quiet: Show no progress.

        Returns:
            The denoiser itself.

        Raises:
            ValueError: an architecture that the space does not allow.
        """
        x = check.tensor("fit", "x", x, dtypes=[torch.int64], ndim=2)
        good = self.space.is_valid(x)
        if len(x) == 0 or not bool(good.all()):
            got = "none" if len(x) == 0 else f"row {int((~good).nonzero()[0, 0])}"
            need = f"hold architectures of {self.space.name}"
            check.fail(ValueError, "fit", "x", need, got)
        check.positive("fit", "steps", steps)
        draw = torch.Generator().manual_seed(self.seed if seed is None else seed)
        reference = self.method == "diffusionnag"
        lr = lr if lr is not None else (2e-5 if reference else 2e-3)
        decay = decay if decay is not None else (0.9999 if reference else 0.995)
        network = self.backend
        average = copy.deepcopy(network)
        optimiser = torch.optim.Adam(network.parameters(), lr=lr)
        warm = min(1000 if reference else 100, max(1, steps // 10))
        classes = torch.zeros(len(x), dtype=torch.int64)
        if quantiles is not None:
            classes = (quantiles * 10).long().clamp(0, 9) + 1
        network.train()
        losses: list[float] = []
        began = time.perf_counter()
        with (
            torch.random.fork_rng(devices=[]),
            progress.track("denoiser", steps, "steps", quiet=quiet) as bar,
        ):
            torch.manual_seed(self.seed)
            for step in range(steps):
                rows = torch.randint(len(x), (min(batch, len(x)),), generator=draw)
                condition = classes[rows]
                condition = condition * (torch.rand(len(rows), generator=draw) > 0.2)
                loss = network.loss(x[rows], condition, draw)
                tail = 1.0 if reference else min(1.0, 2.0 * (1 - step / steps))
                for group in optimiser.param_groups:
                    group["lr"] = lr * tail * min(1.0, (step + 1) / warm)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                losses.append(float(loss.detach()))
                share = min(decay, (1 + step) / (10 + step))
                with torch.no_grad():
                    for kept, new in zip(
                        average.parameters(), network.parameters(), strict=True
                    ):
                        kept.lerp_(new, 1 - share)
                bar.advance(note=f"loss {losses[-1]:.4f}")
        network.load_state_dict(average.state_dict())
        network.eval()
        self.known |= set(self.space.decode(x))
        tail_losses = losses[-max(1, steps // 10) :]
        self.history = {
            "steps": steps,
            "seconds": time.perf_counter() - began,
            "loss": sum(tail_losses) / len(tail_losses),
            "architectures": len(x),
            "conditional": quantiles is not None,
        }
        return self

    def sample(
        self,
        count: int,
        *,
        guidance: Guidance | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Draw architectures: int64 [count, V]; see :func:`graphlab.nag.generate`.

        Args:
            count: How many.
            guidance: What to pull towards.
            steps: Of the sampler; default that of the method.
            seed: Names all draws.
        """
        check.positive("generate", "count", count)
        steps = steps if steps is not None else self.backend.default_steps
        check.positive("generate", "steps", steps)
        needs = guidance is not None and guidance.method == "free"
        if needs and not self.history.get("conditional"):
            need, remedy = "be conditional for method='free'", "fit it with quantiles="
            check.fail(ValueError, "generate", "denoiser", need, "one without", remedy)
        draw = torch.Generator().manual_seed(seed)
        self.backend.eval()
        return self.backend.sample(count, guidance, steps, draw)

    def save(self, path: str | Path) -> Path:
        """Write weights and settings as one safetensors file, atomically."""
        path = Path(path)
        about = {
            "schema": _SCHEMA,
            "space": self.space.name,
            "labels": list(self.space.labels),
            "method": self.method,
            "seed": self.seed,
            "settings": self.settings,
            "history": self.history,
            "known": sorted(self.known),
        }
        tensors = {k: v.contiguous() for k, v in self.backend.state_dict().items()}
        data = safetensors.torch.save(tensors, {"graphlab": json.dumps(about)})
        with files.publish(path) as file:
            file.write(data)
        return path

    @classmethod
    def load(cls, path: str | Path, space: SearchSpace) -> Denoiser:
        """Read what :meth:`save` wrote.

        Args:
            path: The file.
            space: The space that it was trained on.

        Raises:
            StoreError: no such file, or a damaged one.
            ValueError: another space.
        """
        path = Path(path)
        try:
            with safetensors.safe_open(str(path), "pt") as file:
                about = json.loads((file.metadata() or {})["graphlab"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            found = f"{type(error).__name__}: {error}"
            raise StoreError(path, None, "a saved denoiser", found) from error
        if about["labels"] != list(space.labels) or about["space"] != space.name:
            need = f"be that of {path}: {about['space']}"
            check.fail(ValueError, "Denoiser.load", "space", need, space.name)
        model = cls(space, about["method"], seed=about["seed"], **about["settings"])
        model.backend.load_state_dict(tensors)
        model.backend.eval()
        model.known, model.history = set(about["known"]), about["history"]
        return model
