"""Axolotl: what it prepares of a dataset with an empty `type`, for packing, and the collator of packed rows."""

from __future__ import annotations

import json
import os
import sys

os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

from axolotl.utils.collators.batching import V2BatchSamplerDataCollatorForSeq2Seq
from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.data.utils import handle_long_seq_in_dataset
from axolotl.utils.data.wrappers import get_dataset_wrapper
from axolotl.utils.dict import DictDefault
from axolotl.utils.trainer import process_datasets_for_packing
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

CONFIG = DictDefault(
    {
        "datasets": [{"path": sys.argv[1], "type": ""}],
        "sequence_len": 128,
        "sample_packing": True,
        "sample_packing_bin_size": 200,
        "sample_packing_group_size": 100_000,
        "num_epochs": 1,
        "micro_batch_size": 1,
        "seed": 1,
    }
)


def main() -> None:
    words = Tokenizer(models.WordLevel({f"t{n}": n for n in range(300)}, unk_token="t0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t1", pad_token="t0")
    # The steps of its `prepare_datasets` without the last, which saves what they made.
    found = load_dataset_with_config(CONFIG.datasets[0], False)["train"]
    data, _ = get_dataset_wrapper(CONFIG.datasets[0], tokenizer, CONFIG, None, found)
    data = handle_long_seq_in_dataset(data, CONFIG.sequence_len, CONFIG)
    data, _ = process_datasets_for_packing(CONFIG, data, None)
    rows = [data[n] for n in range(len(data))]
    for row in rows:
        weights = [int(label != -100) for label in row["labels"]]
        print(json.dumps({"reader": "prepared", "ids": row["input_ids"], "weights": weights}))
    packed = V2BatchSamplerDataCollatorForSeq2Seq(tokenizer)([rows])
    for number in range(1, len(rows) + 1):
        there = packed["attention_mask"][0] == number
        ids, labels = packed["input_ids"][0][there], packed["labels"][0][there]
        assert ((labels == -100) | (labels == ids)).all()
        weights = (labels != -100).int().tolist()
        print(json.dumps({"reader": "packed", "ids": ids.tolist(), "weights": weights}))


if __name__ == "__main__":  # it may start processes of its own, which read this file too
    main()
