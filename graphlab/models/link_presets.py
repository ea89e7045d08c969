"""Settings of the published link models, data set by data set."""

from __future__ import annotations

from typing import Any

from graphlab import check

# Encoder and head settings of NCN's published commands (its README), as `link_model` takes
# them; "completion" is added for NCNC, "fit" goes to `tasks.link.fit`.
# The citation graphs' constants were tuned to the release's inner scores: validation says so
# (Cora 90.1 against 89.0, CiteSeer 95.1 against 93.9, 4 paired seeds; link_accuracy.json).
_TUNED: dict[str, Any] = {"compat": "reference"}
_PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "cora": {
        "model": {
            "feature_dropout": 0.7,
            "tail_dropout": 0.3,
            "dropout": 0.05,
            "head_dropout": 0.05,
            "head_edge_dropout": 0.4,
            "jumping": True,
        },
        "completion": _TUNED
        | {"scale": 4.3, "offset": 2.8, "prior": 0.75, "alpha": 1.0},
        "fit": {"batch_size": 1152, "lr": 0.0043, "head_lr": 0.0024},
    },
    "citeseer": {
        "model": {
            "feature_dropout": 0.4,
            "dropout": 0.75,
            "head_dropout": 0.55,
            "jumping": True,
            "deep": True,
        },
        "completion": _TUNED
        | {"scale": 6.5, "offset": 4.4, "prior": 0.75, "alpha": 0.4},
        "fit": {"batch_size": 384, "lr": 0.0085, "head_lr": 0.0078},
    },
    "pubmed": {
        "model": {
            "feature_dropout": 0.3,
            "dropout": 0.1,
            "head_dropout": 0.05,
            "jumping": True,
        },
        "completion": _TUNED
        | {"scale": 5.3, "offset": 0.5, "prior": 0.5, "alpha": 0.3},
        "fit": {"batch_size": 2048, "lr": 0.0097, "head_lr": 0.002},
    },
    "ogbl-collab": {
        "model": {
            "conv": "gcn",
            "hidden_channels": 64,
            "feature_dropout": 0.25,
            "tail_dropout": 0.05,
            "dropout": 0.1,
            "edge_dropout": 0.25,
            "head_dropout": 0.3,
            "residual": True,
        },
        "completion": {"scale": 2.5, "offset": 6.0, "prior": 0.1, "alpha": 1.05},
        "fit": {
            "batch_size": 65536,
            "lr": 0.0082,
            "head_lr": 0.0037,
            "metric": "hits@50",
            "val_edges_at_test": True,
        },
    },
    "ogbl-ppa": {
        "model": {
            "conv": "gcn",
            "hidden_channels": 64,
            "num_layers": 3,
            "edge_dropout": 0.1,
            "head_dropout": 0.1,
            "residual": True,
            "neighbor_mlp": False,
            "num_embeddings": 58,
        },
        "completion": {"scale": 4.0, "offset": 8.5, "prior": 0.1, "alpha": 0.9},
        "fit": {"batch_size": 16384, "lr": 0.0013, "head_lr": 0.0013, "epochs": 25},
    },
    "ogbl-citation2": {
        "model": {
            "hidden_channels": 64,
            "num_layers": 3,
            "tail_dropout": 0.3,
            "dropout": 0.2,
            "head_dropout": 0.2,
            "residual": True,
        },
        # The release trains this head on rows saved from NCN, by a command that cannot run
        # as printed; here encoder and head are trained together.
        "completion": {
            "scale": 7.0,
            "offset": 4.7,
            "prior": 0.3,
            "alpha": 1.0,
            "train_limit": 96,
            "test_limit": 96,
        },
        "fit": {
            "batch_size": 32768,
            "lr": 0.0088,
            "head_lr": 0.0058,
            "epochs": 20,
            "metric": "mrr",
        },
    },
    "ogbl-ddi": {
        "model": {
            "conv": "puresum",
            "hidden_channels": 224,
            "feature_dropout": 0.05,
            "dropout": 0.4,
            "head_dropout": 0.6,
            "residual": True,
            # A row for each of 4,267 nodes, and the spare one of the release.
            "num_embeddings": 4268,
            "deep": True,
            "last_linear": True,
        },
        "completion": {"scale": 10.0, "offset": 3.0, "prior": 0.1, "alpha": 0.5},
        "fit": {
            "batch_size": 24576,
            "lr": 0.0021,
            "head_lr": 0.0018,
            "metric": "hits@20",
        },
    },
}
# Plain propagation, orthogonal embeddings where there are no features, deep MLP: our
# settings of the ingredients.
_REFINED = {
    "conv": "puregcn",
    "num_layers": 2,
    "dropout": 0.3,
    "head_dropout": 0.3,
    "residual": True,
    "jumping": False,
    "head_layers": 4,
}
# For the citation graphs; validation HR@100 of CiteSeer: 92.9 (link_accuracy.json), 87.6 with
# the settings above.
_REFINED_CITATION: dict[str, dict[str, Any]] = {
    "model": {
        "feature_dropout": 0.6,
        "dropout": 0.6,
        "head_dropout": 0.6,
        "residual": False,
        "jumping": True,
        "head_layers": 3,
    },
    "fit": {"batch_size": 1152, "clip": 1.0},
}


def link_preset(data: str, head: str = "ncn") -> dict[str, dict[str, Any]]:
    """Return the published settings of a head on a data set.

    Args:
        data: ``cora``, ``citeseer``, ``pubmed``, ``ogbl-collab``, ``ogbl-ppa``,
            ``ogbl-citation2`` or ``ogbl-ddi``; underscores serve too.
        head: ``ncn``, ``ncnc``, ``gae`` (NCN's tuned encoder with the plain head) or
            ``refined-gae``.

    Returns:
        ``{"model": arguments of link_model, "fit": arguments of tasks.link.fit}``.

    Raises:
        ValueError: no such data set or head.

    Example:
        >>> link_preset("cora", "ncnc")["model"]["scale"]
        4.3
    """
    name = data.replace("_", "-")
    check.one_of("link_preset", "data", name, _PUBLISHED)
    check.one_of("link_preset", "head", head, ("gae", "ncn", "ncnc", "refined-gae"))
    chosen = _PUBLISHED[name]
    fit: dict[str, Any] = {"epochs": 100, "metric": "hits@100", **chosen["fit"]}
    if head == "refined-gae":
        width = chosen["model"].get("hidden_channels", 256)
        features = {"embedding": True} if name == "ogbl-ddi" else {}
        model = {"head": "hadamard", "hidden_channels": width, **_REFINED, **features}
        fit |= {"lr": 0.005, "head_lr": 0.005}
        if not name.startswith("ogbl"):
            model |= _REFINED_CITATION["model"]
            fit |= _REFINED_CITATION["fit"]
        return {"model": model, "fit": fit}
    model = {"head": head, **chosen["model"]}
    if head == "ncnc":
        model |= chosen["completion"]
    return {"model": model, "fit": fit}
