"""LLaMA-Factory: `tokenized_path` with the collator of its trainer; the data engine, collator and loss of its v1."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_template_and_fix_tokenizer
from llamafactory.data.loader import get_dataset
from llamafactory.hparams import DataArguments
from llamafactory.v1.core.data_engine import DataEngine
from llamafactory.v1.trainers.sft_trainer import SFTTrainer
from llamafactory.v1.utils.helper import pad_and_truncate
from tokenizers import Tokenizer, models
from torch.utils.data import default_collate
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = Tokenizer(models.WordLevel({f"t{n}": n for n in range(300)}, unk_token="t0"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t1", pad_token="t0")


def shown(reader: str, batch: dict[str, Any], weights: torch.Tensor) -> None:
    for ids, mask, own in zip(batch["input_ids"], batch["attention_mask"], weights, strict=True):
        there = mask != 0
        assert not own[~there].any()
        print(json.dumps({"reader": reader, "ids": ids[there].tolist(), "weights": own[there].tolist()}))


arguments = DataArguments(tokenized_path=f"{sys.argv[1]}/dataset", template="empty")
template = get_template_and_fix_tokenizer(tokenizer, arguments)
saved = get_dataset(template, None, arguments, None, "sft", tokenizer)["train_dataset"]
collate = SFTDataCollatorWith4DAttentionMask(template=template, tokenizer=tokenizer, pad_to_multiple_of=8)
for first in range(0, len(saved), 4):
    batch = collate([saved[n] for n in range(first, min(first + 4, len(saved)))])
    assert ((batch["labels"] == -100) | (batch["labels"] == batch["input_ids"])).all()
    shown("tokenized_path", batch, (batch["labels"] != -100).int())

# The renderer of v1 makes its inputs from messages alone; what comes after it takes these as they are.
engine = DataEngine(f"{sys.argv[1]}/data")
small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=300, **small))
trainer = object.__new__(SFTTrainer)
trainer.model, trainer.device = model, torch.device("cpu")
for first in range(0, len(engine), 4):
    rows = [engine[n] for n in range(first, min(first + 4, len(engine)))]
    rows = [{key: value for key, value in row.items() if key != "_dataset_name"} for row in rows]
    batch = default_collate(pad_and_truncate(rows, 64))
    shown("v1", batch, batch["loss_weights"])
    with torch.no_grad():
        loss = trainer.compute_loss(batch)
        mine = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
    torch.testing.assert_close(loss, mine, rtol=1e-4, atol=1e-4)
