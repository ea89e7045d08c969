"""ogbl-citation2, NCN, ten seeds: MRR, 1,000 negatives a positive, no target link removal.

Settings of the published command (NCN's release), which `graphlab.models.link_preset`
holds; `--head ncnc`, `gae` or `refined-gae` runs another model on the same pairs.

    python benchmarks/leaderboard/citation2_ncn.py --root /data/ogb
"""

from __future__ import annotations

from linkentry import main

if __name__ == "__main__":
    main(__doc__, "ogbl-citation2")
