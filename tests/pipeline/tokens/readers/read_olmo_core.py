"""OLMo-core: rows of tokens cut anywhere, and documents packed by where they end; the labels are those it trains on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from olmo_core.data.numpy_dataset import NumpyFSLDataset, NumpyPackedFSLDataset
from olmo_core.data.utils import get_labels

LENGTH = 64
files = sorted(Path(sys.argv[1], "data").glob("tokens-*.npy"))
given = {
    "sequence_length": LENGTH,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "vocab_size": 300,
    "dtype": np.uint16,
    "label_mask_paths": [file.with_name(file.name.replace("tokens", "label_mask")) for file in files],
}
packed = NumpyPackedFSLDataset(*files, **given, generate_doc_lengths=True, use_array_if_local=False)
for name, data in (("rows", NumpyFSLDataset(*files, **given)), ("packed", packed)):
    data.work_dir = Path(sys.argv[2])
    data.prepare()
    for number in range(len(data)):
        item = data[number]
        labels = get_labels({key: item[key].unsqueeze(0) for key in ("input_ids", "label_mask")})[0]
        # Shifted: the label of a place is the token after it. The first token of a row is never one.
        weights = torch.cat([torch.zeros(1, dtype=torch.bool), labels[:-1] != -100])
        lengths = [LENGTH] if name == "rows" else item["doc_lens"].tolist()
        at = 0
        for length in lengths:
            ids, learn = item["input_ids"][at : at + length].tolist(), weights[at : at + length].int().tolist()
            at += length
            if name == "rows" or any(ids):  # else it is padding
                print(json.dumps({"reader": name, "ids": ids, "weights": learn}))
