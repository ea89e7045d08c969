"""What the entries of OGB's link sets share: published settings, a run, the sheet."""

from __future__ import annotations

from typing import Any

from entry import arguments, finish

from graphlab.errors import DatasetNotFoundError
from graphlab.tasks import link_recipe
from graphlab.tasks.schema import ConfigError

METHODS = {
    "ncn": "NCN",
    "ncnc": "NCNC",
    "gae": "GAE (NCN's encoder)",
    "refined-gae": "Refined-GAE",
}


def main(text: str, data: str) -> None:
    """Run an entry; ``--head`` chooses the model, other options override its settings."""
    args = arguments(text, head="ncn", epochs=0, hidden_channels=0, batch_size=0)
    if args.head not in METHODS:
        raise SystemExit(
            f"--head must be one of {', '.join(METHODS)}, got {args.head!r}"
        )
    tree: dict[str, Any] = link_recipe.published(data, args.head)
    tree["data"]["root"] = args.root
    tree["fit"]["seeds"] = args.runs
    # 0: as published.
    for section, key in (
        ("fit", "epochs"),
        ("fit", "batch_size"),
        ("model", "hidden_channels"),
    ):
        if getattr(args, key):
            tree[section][key] = getattr(args, key)
    folder = f"{args.out}/{data.removeprefix('ogbl-')}-{args.head}"
    try:
        result = link_recipe.run_recipe(tree, run_dir=folder)
    except (DatasetNotFoundError, ConfigError) as error:
        raise SystemExit(f"error: {error}") from error
    finish(result, args, METHODS[args.head])
