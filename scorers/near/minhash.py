"""MinHash signatures and the band keys made of them: documents that share a key are worth comparing.

Definition, exact:

- the words are those of scorers/words.py (split "unicode"), of the folded text (scorers/near/folding.py) unless
  ``fold`` is off; a shingle is ``ngram`` words in a row, a document of fewer words is one shingle of them all, and a
  document without a word has no keys;
- a shingle's hash is sum over its words of hash(word) * BASE^(distance to its last word), mod 2^64, mixed by
  scorers.words.mix; x is its upper 32 bits;
- permutation j is (a_j x + b_j mod 2^64) >> 32, a_j odd (multiply-shift, strongly universal on 32 bits: Dietzfelbinger
  1996), with a_j and b_j drawn from splitmix64 under ``seed``; the signature's value j is the least of these over the
  shingles, so that two documents agree in it with the probability of their Jaccard similarity;
- a band is ``rows`` values in a row; its key is a 64-bit hash of them and of the band's number.

Two documents of similarity s share one of the ``bands`` keys with probability 1 - (1 - s^rows)^bands.

>>> [round(probability(s, bands=20, rows=6), 3) for s in (0.5, 0.7, 0.8, 0.9)]
[0.27, 0.918, 0.998, 1.0]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scorers.jit import kernel
from scorers.near.folding import fold
from scorers.texts import Texts
from scorers.words import Words, mix, split_words

VERSION = 1

BASE = 0x9E3779B97F4A7C15 | 1
_BASE = np.uint64(BASE)
_FOLD = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(32)
_ONES = np.uint32(0xFFFFFFFF)
_MASK = 2**64 - 1


@dataclass(frozen=True)
class Scheme:
    """How signatures are made. ``bands`` times ``rows`` is the number of permutations."""

    ngram: int = 5
    bands: int = 20
    rows: int = 6
    seed: int = 1

    @cached_property
    def permutations(self) -> tuple[np.ndarray, np.ndarray]:
        """a (odd) and b, uint64, one of each per permutation."""
        drawn = splitmix(self.seed, 2 * self.bands * self.rows)
        return drawn[0::2] | np.uint64(1), drawn[1::2].copy()


def probability(similarity: float, bands: int, rows: int) -> float:
    """That two documents of this Jaccard similarity share a key."""
    return 1 - (1 - similarity**rows) ** bands


def splitmix(seed: int, count: int) -> np.ndarray:
    """The first values of splitmix64."""
    values = []
    for step in range(1, count + 1):
        z = (seed + step * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        values.append(z ^ (z >> 31))
    return np.array(values, np.uint64)


def words_of(texts: Texts, folded: bool = True) -> Words:
    """The words that shingles are made of."""
    if not folded:
        return texts.words
    if len(texts) == 0:
        return split_words(texts.data, texts.offsets)
    start, stop = int(texts.offsets[0]), int(texts.offsets[-1])
    return split_words(fold(texts.data, start, stop), texts.offsets - start)


def signatures(words: Words, scheme: Scheme) -> np.ndarray:
    """uint32 of shape (documents, bands * rows); all ones for a document without a word."""
    a, b = scheme.permutations
    out = np.empty((len(words.doc_offsets) - 1, len(a)), np.uint32)
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    _signatures(words.doc_offsets, words.hashes, scheme.ngram, a, b, np.empty(longest + 1, np.uint64), out)
    return out


def band_keys(signature: np.ndarray, scheme: Scheme) -> np.ndarray:
    """uint64 of shape (documents, bands)."""
    out = np.empty((len(signature), scheme.bands), np.uint64)
    _band_keys(signature, splitmix(scheme.seed ^ 0x5BD1E995, scheme.bands), scheme.rows, out)
    return out


@kernel
def shingle_hashes(hashes, begin, end, ngram, out):
    """Hashes of the n-grams of words begin to end into out; how many. A document of fewer words is one of them all."""
    size = end - begin
    if size == 0:
        return 0
    n = min(np.int64(ngram), size)
    lead = np.uint64(1)  # what the hash of the first word of an n-gram is multiplied by
    for _ in range(n - 1):
        lead *= _BASE
    rolled = np.uint64(0)
    for i in range(begin, begin + n - 1):
        rolled = rolled * _BASE + hashes[i]
    for i in range(begin + n - 1, end):
        rolled = rolled * _BASE + hashes[i]
        out[i - begin - n + 1] = mix(rolled)
        rolled -= hashes[i - n + 1] * lead
    return size - n + 1


@kernel
def _signatures(doc_offsets, hashes, ngram, a, b, scratch, out):
    num = len(a)
    for doc in range(len(doc_offsets) - 1):
        row = out[doc]
        for j in range(num):
            row[j] = _ONES
        count = shingle_hashes(hashes, doc_offsets[doc], doc_offsets[doc + 1], ngram, scratch)
        for k in range(count):
            x = scratch[k] >> _SHIFT
            for j in range(num):
                row[j] = min(row[j], np.uint32((a[j] * x + b[j]) >> _SHIFT))


@kernel
def _band_keys(signature, seeds, rows, out):
    for doc in range(len(signature)):
        for band in range(len(seeds)):
            key = seeds[band]
            for r in range(rows):
                key = (key ^ np.uint64(signature[doc, band * rows + r])) * _FOLD
                key ^= key >> _SHIFT
            out[doc, band] = mix(key)
