"""ogbl-ppa, NCN, ten seeds: Hits@100, species as a learned embedding.

Settings of the published command (NCN's release), which `graphlab.models.link_preset`
holds; `--head ncnc`, `gae` or `refined-gae` runs another model on the same pairs.

    python benchmarks/leaderboard/ppa_ncn.py --root /data/ogb
"""

from __future__ import annotations

from linkentry import main

if __name__ == "__main__":
    main(__doc__, "ogbl-ppa")
