"""Near-duplicate documents of one or several corpora: MinHash, LSH, verification, clusters, and who stays.

Steps, each per shard, partition or group, each with its ledger rows, none holding more than `buffer_mb`:

1. keys.py      signatures: sorted band keys per shard (kept: another search finds them there)
2. pairs.py     candidates: partitions of the keys, sorted; documents that share one
3. blocks.py    components of candidates, gathered into blocks that fit into memory (main process)
4. sets.py      the candidates' n-grams, out of the text, by block
5. clusters.py  candidates compared, clusters settled: who is like whom, and who stays
6. table.py     score tables beside the documents; summary.py: what was found, and the alarm

    result = near(workspace, "near", NearSettings(corpora=["web"]), pool)
"""

from pipeline.near.plan import takes
from pipeline.near.run import near, search
from pipeline.near.settings import NearSettings
from pipeline.near.summary import NearAlarm

__all__ = ["NearAlarm", "NearSettings", "near", "search", "takes"]
