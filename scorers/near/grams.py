"""Sets of word n-grams, and how much two documents have in common, exactly.

The set of a document is the sorted, distinct hashes of its n-grams (64 bits, as scorers/near/minhash.py makes them;
a document of fewer words is one n-gram of them all). Containment of A in B is |A and B| / |A|, Jaccard similarity
|A and B| / |A or B|. They are exact but for collisions of 64 bits.
"""

from __future__ import annotations

import numpy as np

from scorers.jit import kernel
from scorers.near.minhash import shingle_hashes
from scorers.words import Words


def gram_sets(words: Words, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, grams): the set of document d is ``grams[offsets[d]:offsets[d + 1]]``; int64 and uint64."""
    grams = np.empty(len(words), np.uint64)
    offsets = np.zeros(len(words.doc_offsets), np.int64)
    _gram_sets(words.doc_offsets, words.hashes, ngram, offsets, grams)
    return offsets, grams[: offsets[-1]]


def common(offsets: np.ndarray, grams: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int64 per pair of documents (positions in ``offsets``): the grams that both have."""
    out = np.empty(len(first), np.int64)
    _common(offsets, grams, first, second, out)
    return out


@kernel
def _gram_sets(doc_offsets, hashes, ngram, offsets, grams):
    num = 0
    for doc in range(len(doc_offsets) - 1):
        # A document has no more grams than words: the ones to be sorted lie behind those that are kept already.
        begin = doc_offsets[doc]
        count = shingle_hashes(hashes, begin, doc_offsets[doc + 1], ngram, grams[begin:])
        found = np.sort(grams[begin : begin + count])
        for k in range(count):
            if k == 0 or found[k] != found[k - 1]:
                grams[num] = found[k]
                num += 1
        offsets[doc + 1] = num


@kernel
def _common(offsets, grams, first, second, out):
    for pair in range(len(first)):
        i, i_end = offsets[first[pair]], offsets[first[pair] + 1]
        j, j_end = offsets[second[pair]], offsets[second[pair] + 1]
        out[pair] = overlap(grams, i, i_end, grams, j, j_end)


@kernel
def overlap(one, i, i_end, other, j, j_end):
    """How many values two sorted runs of distinct values share."""
    shared = 0
    while i < i_end and j < j_end:
        a, b = one[i], other[j]
        shared += a == b
        i += a <= b
        j += b <= a
    return shared
