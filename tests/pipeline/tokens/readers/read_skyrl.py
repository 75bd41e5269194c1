"""SkyRL: its loader of ready tokens, given the folder of the data alone."""

from __future__ import annotations

import json
import sys

from skyrl.train.dataset.pretokenized import load_from_pretokenized

for row in load_from_pretokenized(f"{sys.argv[1]}/data"):
    before = len(row["input_ids"]) - row["num_actions"]
    weights = [0] * before + list(row["loss_mask"])
    print(json.dumps({"reader": "pretokenized", "ids": row["input_ids"], "weights": weights}))
