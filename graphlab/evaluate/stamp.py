"""Stamps: what a score was measured on; scores with different stamps do not compare."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

from graphlab._version import __version__
from graphlab.errors import GraphlabError


class StampMismatchError(GraphlabError, ValueError):
    """Two scores were measured on different things."""


@functools.cache
def current_commit() -> str:
    """Return the commit of the running graphlab, or ``unknown`` outside a checkout.

    Cost: two calls of git, once a process.
    """
    package = Path(__file__).resolve().parents[1]
    top = _git(package, "rev-parse", "--show-toplevel")
    # A copy installed inside someone's own repository must not carry that one's commit.
    if top is None or Path(top).resolve() != package.parent:
        return "unknown"
    commit = _git(package, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "unknown"
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+dirty" if changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder; None where it fails or is not installed."""
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


@dataclasses.dataclass(frozen=True)
class Stamp:
    """Says what a score was measured on, and with which code.

    Args:
        dataset: Name of the data set.
        split: Name of the split, such as ``public``.
        protocol: How the score came about: which epoch is chosen, how nodes are evaluated.
        metric: Name of the metric.
        masks: Checksum of the masks, so that no two random splits pass for one.
        commit: Commit of graphlab, with ``+dirty`` where files were changed;
            ``unknown`` outside a checkout.
        version: Version of graphlab.
    """

    dataset: str
    split: str
    protocol: str
    metric: str
    masks: str = ""
    commit: str = dataclasses.field(default_factory=current_commit)
    version: str = __version__

    def require_same(
        self, other: Stamp, what: str = "scores", *, any_commit: bool = False
    ) -> None:
        """Refuse to go on where two stamps differ.

        Args:
            other: The other stamp.
            what: What is being compared, for the message.
            any_commit: Allow ``commit`` and ``version`` to differ: for a comparison of two
                versions of the code, which is then the point of it.

        Raises:
            StampMismatchError: names each field that differs and both values.
        """
        ignored = {"commit", "version"} if any_commit else set()
        mine, theirs = self.to_json(), other.to_json()
        differing = [
            f"{field} ({mine[field]!r} and {theirs[field]!r})"
            for field in mine
            if field not in ignored and mine[field] != theirs[field]
        ]
        if differing:
            remedy = (
                "; pass any_commit=True to compare two versions of the code"
                if all(d.startswith(("commit", "version")) for d in differing)
                else ""
            )
            raise StampMismatchError(
                f"these {what} do not compare: they differ in "
                f"{', '.join(differing)}{remedy}"
            )

    def to_json(self) -> dict[str, str]:
        """Return the fields as a dict of text."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, str]) -> Stamp:
        """Read what :meth:`to_json` wrote; unknown fields of later versions are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in value.items() if k in names})
