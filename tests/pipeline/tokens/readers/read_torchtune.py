"""torchtune: its dataset, which takes ready tokens where both transforms pass them on, and its collator."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from torch.utils.data import DataLoader
from torchtune.data import padded_collate_sft
from torchtune.datasets import SFTDataset

PADDING = 1000


def ready(sample: dict[str, Any]) -> dict[str, Any]:
    return sample


data = SFTDataset(source=sys.argv[1], split="train", message_transform=ready, model_transform=ready)
for batch in DataLoader(data, batch_size=4, collate_fn=partial(padded_collate_sft, padding_idx=PADDING)):
    for tokens, labels in zip(batch["tokens"], batch["labels"], strict=True):
        there = tokens != PADDING
        assert (labels[~there] == -100).all()
        assert ((labels == -100) | (labels == tokens)).all()
        weights = (labels[there] != -100).int().tolist()
        print(json.dumps({"reader": "sft", "ids": tokens[there].tolist(), "weights": weights}))
