"""Scores as an order that has no ties: what is kept does not depend on shards, workers or batches.

A token's key is (order, tie). `order`, uint32, rises with the score. `tie`, uint64, is a hash of seed, document and
position: of tokens with equal scores the one with the smaller tie comes first. The random control is the order by tie
alone, of another seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def orders(scores: np.ndarray) -> np.ndarray:
    """uint32: rises with the score; -0.0 is 0.0. The scores are float32 and not NaN."""
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))


def ties(ids: Sequence[str], counts: np.ndarray, positions: np.ndarray, seed: int, salt: str) -> np.ndarray:
    """uint64, one per token. ids: of the documents, counts: tokens of each; positions: of the tokens within them."""
    documents = np.fromiter(
        (xxhash.xxh3_64_intdigest(f"{salt}\0{seed}\0{one}".encode()) for one in ids), np.uint64, len(ids)
    )
    with np.errstate(over="ignore"):
        mixed = np.repeat(documents, counts) + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        # The finaliser of splitmix64.
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
