"""Pairs of documents that share a key, from records sorted by key.

>>> [(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in pairs_of_runs(np.array([3, 3, 9], np.uint64), np.array([5, 7, 8]), 8)]
[(5, 7)]
"""

from __future__ import annotations

import numpy as np

from scorers.jit import kernel

_SHIFT = np.uint64(32)


def pairs_of_runs(keys: np.ndarray, documents: np.ndarray, pairwise: int) -> np.ndarray:
    """uint64 per pair: the smaller number in the upper half.

    keys ascending, documents (int64, below 2^32) ascending within a key. Up to ``pairwise`` documents of a key are
    paired each with each, of more each with the first and with the one before it.
    """
    out = np.empty(_pairs(keys, documents, pairwise, np.zeros(0, np.uint64)), np.uint64)
    _pairs(keys, documents, pairwise, out)
    return out


@kernel
def _pairs(keys, documents, pairwise, out):
    """How many pairs there are; they are written where ``out`` has room."""
    num, begin = 0, 0
    write = len(out) > 0
    while begin < len(keys):
        end = begin + 1
        while end < len(keys) and keys[end] == keys[begin]:
            end += 1
        for i in range(begin + 1, end):
            for j in range(begin, i):
                if end - begin > pairwise and j != begin and j != i - 1:
                    continue
                if documents[i] != documents[j]:
                    if write:
                        out[num] = np.uint64(documents[j]) << _SHIFT | np.uint64(documents[i])
                    num += 1
        begin = end
    return num
