"""Rows of word n-grams: fastText's hash of an n-gram modulo the number of buckets.

The hash of a bigram is h1 * 116049371 + h2 modulo 2**64, h1 and h2 being the words' 32-bit hashes, sign-extended. Its
remainder is the sum of two remainders, one per word, if the sum does not leave 0..2**64; only a first word whose hash
is next to zero can make it do so. Each word has its two remainders, its *parts*, made once; a bigram is an addition.

    parts = word_parts(value, bucket, inverse)    # uint64: second word's remainder below, first word's above
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined
from scorers.fasttext.intrinsics import multiply_high

MIX = np.uint64(116049371)
_SMALL = np.int64(32)  # 32 * MIX is above 2**31
_32 = np.uint64(32)
_SIGN = np.uint64(1 << 31)
_ONE = np.uint64(1)


@inlined
def bucket_of(value, bucket, inverse):
    """value modulo bucket by a multiplication, all uint64. ``inverse`` is (2**64 - 1) // bucket."""
    rest = value - multiply_high(value, inverse) * bucket
    return rest - bucket if rest >= bucket else rest


@inlined
def signed(value):
    """A 32-bit hash as the library multiplies it: int32, sign-extended."""
    return np.int64(np.int32(value))


@inlined
def is_small(value):
    """Whether the parts of a first word with this hash must not be added."""
    return -_SMALL < signed(value) < _SMALL


@inlined
def word_parts(value, bucket, inverse):
    """Remainders of a 32-bit hash: as second word (low 32 bits) and as first word (high 32 bits) of a bigram."""
    least = (_SIGN + bucket - _ONE) // bucket * bucket  # a multiple of bucket that makes every hash positive
    second = bucket_of(np.uint64(signed(value)) + least, bucket, inverse)
    first = bucket_of(np.uint64(signed(value)) * MIX, bucket, inverse)
    return first << _32 | second


@inlined
def pair_bucket(first, second, bucket, inverse):
    """Bucket of the bigram of two hashes, the plain way."""
    return bucket_of(np.uint64(signed(first)) * MIX + np.uint64(signed(second)), bucket, inverse)
