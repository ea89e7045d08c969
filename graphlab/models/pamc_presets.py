"""Settings of the PAMC and SCGC releases for their six data sets."""

from __future__ import annotations

from typing import Any

# alpha, beta, order, tau, learning rate.
_PAMC = {
    "usps": (2, 2, 4, 0.5, 1e-3),
    "hhar": (0.5, 12.5, 2, 1.5, 1e-3),
    "reuters": (1, 0.2, 1, 0.25, 1e-4),
    "acm": (0.5, 0.5, 1, 0.5, 1e-3),
    "dblp": (2, 2, 1, 1, 1e-3),
    "citeseer": (2, 2.5, 3, 0.5, 1e-3),
}
_SCGC = {
    "usps": (4, 0.1, 4, 0.25, 1e-3),
    "hhar": (1, 10, 3, 2.25, 1e-3),
    "reuters": (0.5, 0.1, 3, 0.25, 1e-3),
    "acm": (1, 0.1, 1, 0.25, 1e-3),
    "dblp": (1, 0.1, 1, 0.25, 1e-3),
    "citeseer": (1, 0.1, 1, 0.25, 1e-4),
}
_NAMES = ("alpha", "beta", "order", "tau", "lr")
PRESETS: dict[str, dict[str, Any]] = {
    **{
        name: dict(zip(_NAMES, map(float, values), strict=True))
        for name, values in _PAMC.items()
    },
    **{
        f"scgc_{name}": {
            **dict(zip(_NAMES, map(float, values), strict=True)),
            "negatives": "full",
            "compat": "reference",
            "topk": None,
        }
        for name, values in _SCGC.items()
    },
}
"""Arguments of :class:`PamCGC` by data set; ``scgc_...`` are SCGC* with full negatives."""
for _settings in PRESETS.values():
    _settings["order"] = int(_settings["order"])
