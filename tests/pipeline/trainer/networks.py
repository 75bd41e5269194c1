"""Tiny models with random weights, and steps over packs, for tests of the torch side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pipeline.trainer.batches import collate
from pipeline.trainer.hooks import Micro
from pipeline.trainer.packed import Packed
from pipeline.trainer.plan import Plan
from pipeline.trainer.settings import ModelSettings, TrainSettings
from pipeline.trainer.step import to_micro
from tests.pipeline.trainer.packs import VOCABULARY

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    # Big weights: losses far from log(vocabulary).
    "initializer_range": 0.2,
}
GPT2: dict[str, Any] = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
GEMMA: dict[str, Any] = LLAMA | {"model_type": "gemma2", "head_dim": 8, "final_logit_softcapping": 5.0}


def settings(**changes: Any) -> TrainSettings:
    """Settings of a run over nothing, for what needs some."""
    values = {"name": "run", "data": {"paths": ["x"]}, "model": {"config": LLAMA}, "steps": 4}
    return TrainSettings.model_validate(values | {"batch": 4, "micro_batch": 2, "context": 16} | changes)


def network(config: dict[str, Any] = LLAMA, seed: int = 0, attention: str = "sdpa") -> Any:
    """A model from a config."""
    from pipeline.trainer.model import open_network

    chosen = ModelSettings.model_validate({"config": config, "attention": attention})
    return open_network(chosen, VOCABULARY, {"bos_token_id": 0, "eos_token_id": 1}, seed)


def row_of(packed: Packed, rows: Sequence[Sequence[int]], context: int) -> Micro:
    """A micro-batch whose rows hold these documents whole, in this order."""
    pieces = [document for row in rows for document in row]
    lengths = (packed.lengths[pieces] - 1).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    plan = Plan(np.array(pieces, np.int32), np.zeros(len(pieces), np.int32), lengths, offsets, context)
    return to_micro(collate(packed, plan), packed.weights, torch.device("cpu"))
