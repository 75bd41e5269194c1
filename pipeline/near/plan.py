"""What a search for near-duplicates would take of the disk, before it runs.

Signatures follow from the number of documents, and stay. What lies in `near/` while a search runs follows from how many
documents have a near-duplicate, which nobody knows before: the estimate is for the case that each has one, and counts
words in the first batches of a few shards.

    print(takes(search(workspace, "near", settings), settings))
"""

from __future__ import annotations

import numpy as np

from pipeline.near.keys import HEADER
from pipeline.near.run import Search
from pipeline.near.settings import NearSettings
from pipeline.shards import batches
from scorers.near.minhash import words_of
from scorers.texts import Texts

SAMPLED = 8
"""Shards whose first batch says how many words a megabyte has."""
KEY_BYTES, COUNT_BYTES = 12, 4
"""Of a signature: a key with its row; the words of a document (pipeline.near.keys)."""
PAIR_BYTES = 8 + 16
"""A candidate, as it is found and as it is routed to its blocks."""
GRAM_BYTES = 8
ROW_BYTES = 120
"""Of a candidate, beside its n-grams: its block, its other columns, its verdict, ids included."""


def disk_bytes(found: Search, settings: NearSettings, limit: int | None = None) -> tuple[float, float]:
    """(bytes of signatures, bytes that go when the search is done: so many if each document has a near-duplicate)."""
    shards = [(corpus, shard) for corpus in found.corpora for shard in corpus.shards[:limit] if shard in corpus.done]
    rows = [corpus.done[shard] for corpus, shard in shards]
    documents = sum(row.rows_out for row in rows)
    words = read = 0
    for corpus, shard in shards[:: max(1, len(shards) // SAMPLED)][:SAMPLED]:
        batch = next(batches(corpus.workspace.store, corpus.file(shard), ["text"]), None)
        if batch is not None:
            texts = Texts.from_arrow(batch.column("text"))
            words += int(np.diff(words_of(texts, settings.fold).doc_offsets).sum())
            read += texts.num_bytes
    signatures = documents * (KEY_BYTES * settings.bands + COUNT_BYTES) + len(shards) * HEADER
    grams = GRAM_BYTES * words * sum(row.bytes_in for row in rows) / max(read, 1)
    pairs = PAIR_BYTES * settings.bands * documents / 2
    return signatures, grams + pairs + ROW_BYTES * documents


def takes(found: Search, settings: NearSettings, limit: int | None = None) -> str:
    """One line for a person: what a search will need."""
    signatures, work = disk_bytes(found, settings, limit)
    return (
        f"{signatures / 1e9:.2f} GB of signatures, which stay; up to {work / 1e9:.2f} GB of disk more while it runs, "
        f"if every document has a near-duplicate; {settings.buffer_mb} MB a worker for keys, pairs and n-grams"
    )
