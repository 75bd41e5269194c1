"""Small packs, written as the pipeline writes them, for tests that read one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer, decoders

from pipeline.trainer.packed import Packed, shard_schema
from tests.scorers.lm.conftest import bpe

VOCABULARY = 300


def little(vocabulary: int = 400) -> Tokenizer:
    """A byte-level tokenizer that can decode; <s> is 0 and </s> is 1."""
    tokenizer = bpe(vocabulary)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def packed(
    folder: Path,
    documents: Sequence[Sequence[int]],
    weights: Sequence[float] | None = None,
    token_weights: Sequence[Sequence[float] | None] | None = None,
    shards: int = 2,
) -> Packed:
    """A pack of these documents, in two record batches per shard."""
    schema = shard_schema(VOCABULARY)
    count = len(documents)
    table = pa.table(
        [
            [f"d{i}" for i in range(count)],
            ["ab"[i % 2] for i in range(count)],
            pa.array(weights if weights is not None else [1.0] * count, pa.float32()),
            [len(tokens) for tokens in documents],
            pa.array(documents, schema.field("tokens").type),
            pa.array(token_weights or [None] * count, schema.field("token_weights").type),
        ],
        schema=schema,
    )
    files = []
    for shard, rows in enumerate(np.array_split(np.arange(count), shards)):
        files.append(str(folder / f"{shard}.arrow"))
        with pa.OSFile(files[-1], "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for part in np.array_split(rows, 2):
                writer.write_table(table.slice(int(part[0]) if len(part) else 0, len(part)).combine_chunks())
    return Packed(tuple(files), "fingerprint", VOCABULARY, 0, 1)
