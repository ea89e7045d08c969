"""ogbl-ddi, NCN, ten seeds: Hits@20, a learned row for each drug.

Settings of the published command (NCN's release), which `graphlab.models.link_preset`
holds; `--head ncnc`, `gae` or `refined-gae` runs another model on the same pairs.

    python benchmarks/leaderboard/ddi_ncn.py --root /data/ogb
"""

from __future__ import annotations

from linkentry import main

if __name__ == "__main__":
    main(__doc__, "ogbl-ddi")
