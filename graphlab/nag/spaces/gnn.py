"""GNNs that this package can train: NAS-Bench-Graph's DAGs with their settings."""

from __future__ import annotations

from torch import Tensor

from graphlab.nag.spaces.nas_bench_graph import NASBenchGraph

SETTINGS = {
    "hidden": ("16", "32", "64", "128"),
    "dropout": ("0.2", "0.4", "0.6", "0.8"),
    "weight_decay": ("0.0001", "0.0005", "0.002"),
    "lr": ("0.005", "0.01", "0.02"),
    "ends": ("relu", "plain"),
}


class GNN(NASBenchGraph):
    """Architecture and training settings together: 9 wirings, 10 operations, 288 settings.

    ``graphlab.models.SearchedGNN`` builds what a string says. Beside the operations of the
    table there is ``ppr``, propagation by personalised PageRank.

    Example:
        >>> space = GNN()
        >>> space.decode(space.sample(1, seed=1))[0].count("|")
        6
    """

    def __init__(self) -> None:
        super().__init__(SETTINGS, ("ppr",))

    def from_string(self, text: str) -> Tensor:
        """Read an architecture; without ``ends`` it is ``relu``, as for the model."""
        return super().from_string(text if "|ends=" in text else f"{text}|ends=relu")

    def classics(self) -> Tensor:
        """GCN, GAT and SAGE of two layers, APPNP: int64 [4, V]; to start from.

        Example:
            >>> len(GNN().classics())
            4
        """
        settings = "hidden=64|dropout=0.6|weight_decay=0.0005|lr=0.01|ends=plain"
        known = ("gcn,gcn", "gat,gat", "sage,sage", "fc,ppr")
        return self.encode(f"0,1,2,3|{pair},skip,skip|{settings}" for pair in known)
