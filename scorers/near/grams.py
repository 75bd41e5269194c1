"""Sets of word n-grams, and how much two documents have in common, exactly.

The set of a document is the sorted, distinct hashes of its n-grams (64 bits, as scorers/near/minhash.py makes them;
a document of fewer words is one n-gram of them all). Containment of A in B is |A and B| / |A|, Jaccard similarity
|A and B| / |A or B|. They are exact but for collisions of 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorers.jit import kernel
from scorers.near.minhash import shingle_hashes
from scorers.words import Words


@dataclass(frozen=True)
class GramSets:
    """The set of document d is ``grams[offsets[d]:offsets[d + 1]]``; int64 and uint64."""

    offsets: np.ndarray
    grams: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """int64 per document."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> GramSets:
        """The sets of some documents."""
        sizes = self.sizes[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        grams = np.empty(offsets[-1], np.uint64)
        _copy(self.offsets, self.grams, rows, offsets, grams)
        return GramSets(offsets, grams)


def joined(sets: Sequence[GramSets]) -> GramSets:
    """The sets of several batches, in order."""
    sizes = [np.zeros(1, np.int64), *(one.sizes for one in sets)]
    grams = [np.zeros(0, np.uint64), *(one.grams for one in sets)]
    return GramSets(np.cumsum(np.concatenate(sizes)), np.concatenate(grams))


def gram_sets(words: Words, ngram: int) -> GramSets:
    """The sets of a batch of documents."""
    grams = np.empty(len(words), np.uint64)
    offsets = np.zeros(len(words.doc_offsets), np.int64)
    _gram_sets(words.doc_offsets, words.hashes, ngram, offsets, grams)
    return GramSets(offsets, grams[: offsets[-1]])


def common(one: GramSets, other: GramSets, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int64 per pair: the grams that set ``first[k]`` of one and set ``second[k]`` of the other share."""
    out = np.empty(len(first), np.int64)
    _common(one.offsets, one.grams, other.offsets, other.grams, first, second, out)
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
def _copy(offsets, grams, rows, to_offsets, to):
    for k in range(len(rows)):
        start = offsets[rows[k]]
        for i in range(to_offsets[k + 1] - to_offsets[k]):
            to[to_offsets[k] + i] = grams[start + i]


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


@kernel
def _common(offsets, grams, other_offsets, other, first, second, out):
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        out[pair] = overlap(grams, offsets[a], offsets[a + 1], other, other_offsets[b], other_offsets[b + 1])
