"""Recipes that reproduce what a backbone is known to reach."""

from __future__ import annotations

from typing import Any

PUBLIC_SPLIT: dict[str, dict[str, dict[str, Any]]] = {
    "GCN": {
        "model": {
            "hidden_channels": 64,
            "num_layers": 2,
            "dropout": 0.5,
            "normalise_rows": True,
        },
        "fit": {"epochs": 200, "lr": 0.01, "weight_decay": 5e-4},
    },
    "GAT": {
        "model": {
            "hidden_channels": 64,
            "heads": 8,
            "num_layers": 2,
            "dropout": 0.6,
            "normalise_rows": True,
        },
        "fit": {"epochs": 300, "lr": 0.005, "weight_decay": 5e-4},
    },
}
"""Cora and CiteSeer, public split (Planetoid, 20 labels a class), full batch, Adam.

By name of the backbone: arguments of the model and of ``tasks.node.fit``. The epoch is chosen
by validation accuracy. Kipf and Welling (2017) and Velickovic et al. (2018) use these values,
but for the 64 units where GCN has 16. Rows have to be normalised: without it, GCN loses two
points on both sets.
"""
