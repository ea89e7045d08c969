"""Statistics of clusters on the unit sphere: shares, means, second moments, running or not."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from graphlab import check


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Moments of the unit vectors of each cluster.

    Attributes:
        share: [K], part of all vectors that are in each cluster; sums to 1.
        mean: [K, d], mean vector; zeros for an empty cluster.
        second: [K, d, d], mean of outer products, or None.
        size: Number of vectors that the shares stand for.
    """

    share: Tensor
    mean: Tensor
    second: Tensor | None
    size: int

    @property
    def held(self) -> Tensor:
        """[K], bool: clusters that are not empty."""
        return self.share > 0

    def spread(self) -> Tensor:
        """Covariance inside each cluster. [K, d, d]."""
        assert self.second is not None
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]


def moments(u: Tensor, assign: Tensor, k: int, *, second: bool) -> tuple[Tensor, ...]:
    """Shares, and sums of vectors and outer products over all rows divided by their number.

    Args:
        u: [N, d].
        assign: [N] int64 clusters, or [N, K] soft assignments.
        k: Number of clusters.
        second: Whether to form outer products.

    Returns:
        [K], [K, d], and [K, d, d] or nothing.

    Cost: N d operations (N d^2 with ``second``; K times as much for soft assignments).
    """
    num_rows, width = u.shape
    if assign.dim() == 2:
        share, first = assign.mean(0), assign.t() @ u / num_rows
        if not second:
            return share, first
        # A cluster at a time: [N, K, d] would not fit where N is large.
        outer = [(u * assign[:, c : c + 1]).t() @ u for c in range(k)]
        return share, first, torch.stack(outer) / num_rows
    count = torch.bincount(assign, minlength=k)
    share = count.to(u.dtype) / num_rows
    first = u.new_zeros(k, width).index_add(0, assign, u) / num_rows
    if not second:
        return share, first
    grouped = u[assign.argsort(stable=True)].split(count.tolist())
    return share, first, torch.stack([part.t() @ part for part in grouped]) / num_rows


class ClusterTracker(nn.Module):
    """Moments of clusters over batches, and prototypes where nobody assigns clusters.

    With ``momentum`` m the moments are ``m`` times the running ones plus ``1 - m`` times the
    batch's, corrected for the start as Adam's are; gradients are those of the batch's.

    Args:
        momentum: Weight of the past; None: the batch alone.
        seed: Of the first prototypes.
    """

    _running: Tensor
    _steps: Tensor
    prototypes: Tensor

    def __init__(self, momentum: float | None, seed: int) -> None:
        super().__init__()
        self.momentum = momentum
        self.seed = seed
        self.register_buffer("_running", torch.empty(0))
        self.register_buffer("_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("prototypes", torch.empty(0))

    def assign(self, u: Tensor, k: int) -> Tensor:
        """Cluster of the nearest prototype by cosine; prototypes follow their clusters.

        They begin as k-means++ chooses them from the first rows seen.
        """
        rows = u.detach()
        if self.prototypes.shape != (k, rows.shape[1]):
            self.prototypes = _first_prototypes(rows, k, self.seed)
        nearest = (rows @ self.prototypes.t()).argmax(1)
        if self.training:
            share, first = moments(rows, nearest, k, second=False)
            found = share > 0
            moved = 0.9 * self.prototypes[found]
            moved = moved + 0.1 * nn.functional.normalize(first[found], dim=1)
            self.prototypes[found] = nn.functional.normalize(moved, dim=1)
        return nearest

    def clusters(
        self, u: Tensor, assign: Tensor, k: int, size: int, *, second: bool
    ) -> Clusters:
        """Return the moments that a loss uses, after a step of the running ones."""
        parts = moments(u, assign, k, second=second)
        if self.momentum is not None:
            parts = self._blend(parts)
        share, first = parts[:2]
        # Where nothing is, the mean is zero: 0 / 1.
        whole = torch.where(share > 0, share, torch.ones_like(share))
        mean = first / whole[:, None]
        outer = parts[2] / whole[:, None, None] if second else None
        return Clusters(share, mean, outer, size)

    def _blend(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        assert self.momentum is not None
        shapes = [p.shape for p in parts]
        flat = torch.cat([p.reshape(-1) for p in parts])
        now = flat.detach()
        if self._running.shape != flat.shape:
            self._running = torch.zeros_like(now)
            self._steps = torch.zeros_like(self._steps)
        running, steps = self._running, self._steps + 1
        running = self.momentum * running + (1 - self.momentum) * now
        if self.training:
            self._running, self._steps = running, steps
        level = running / (1 - self.momentum ** int(steps))
        # The value is the running one, the gradient the batch's.
        blended = level + flat - now
        pieces = blended.split([shape.numel() for shape in shapes])
        return tuple(p.view(s) for p, s in zip(pieces, shapes, strict=True))


def read_assign(
    name: str, assign: object, rows: int, k: int | None
) -> tuple[Tensor, int]:
    """Check hard or soft assignments; return them and the number of clusters."""
    given = check.tensor(name, "assign", assign)
    if given.dim() not in (1, 2) or given.shape[0] != rows:
        need = f"be [{rows}] clusters or [{rows}, K] shares"
        check.fail(ValueError, name, "assign", need, list(given.shape))
    if given.dim() == 2:
        if not given.is_floating_point():
            got = str(given.dtype).removeprefix("torch.")
            check.fail(TypeError, name, "assign", "hold shares in floating point", got)
        if k is not None and k != given.shape[1]:
            need = f"have {k} columns, as `k` says"
            check.fail(ValueError, name, "assign", need, given.shape[1])
        return given, given.shape[1]
    check.tensor(name, "assign", given, dtypes=check.INDEX_DTYPES)
    if k is None:
        k = int(given.max()) + 1 if rows else 1
    check.ids_in_range(name, "assign", given, k)
    return given.long(), k


def _first_prototypes(rows: Tensor, k: int, seed: int) -> Tensor:
    from sklearn.cluster import kmeans_plusplus

    if len(rows) < k:
        need = f"have at least {k} rows to find clusters in"
        check.fail(ValueError, "PamCLoss", "z", need, len(rows), "pass `assign`")
    centres, _ = kmeans_plusplus(rows.cpu().double().numpy(), k, random_state=seed)
    return torch.from_numpy(centres).to(rows)
