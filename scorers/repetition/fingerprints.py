"""Fingerprints of word sequences: equal for equal sequences, and different for different ones but for one pair in 2^87.

A sequence of word hashes x_1 .. x_n is read as the polynomial x_1 B^(n-1) + ... + x_n modulo the prime p = 2^61 - 1, at
two bases B drawn at random once and for all. Two different sequences of one length are the same polynomial at no more
than n - 1 bases, so each of the two agrees by chance for at most n in 2^61 of the bases: this holds for every pair of
texts, loops and other patterns included, which hashes modulo 2^64 do not give. The first value, mixed, is the key (64
bits), 26 bits of the second are the check.

Of N different windows, N^2 / 2^88 pairs or so are expected to share key and check (61 + 26 random bits, and the 1/2 of
N^2 / 2): 3e-9 of a pair among a billion, 3e-3 of one among a trillion. What comes first is two different words of more
than 7 bytes with one 64-bit hash (scorers.words), and then only if the words around them are equal too: 0.03 of a
pair of words among a billion distinct ones. "Exact" means this much and no more.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import MERSENNE_61, inlined
from scorers.words import mix

VERSION = 1

CHECK_BITS = 26
BASES = (0x1D8EEE5B27EC6930, 0x07939E8636E283E3)

P = np.uint64(MERSENNE_61)
BASE_1, BASE_2 = np.uint64(BASES[0]), np.uint64(BASES[1])
_SHIFT_61 = np.uint64(61)
_CHECK_SHIFT = np.uint64(64 - CHECK_BITS)


@inlined
def plus(a, b):
    """a + b modulo 2^61 - 1, for a and b below it."""
    total = a + b
    return total - P if total >= P else total


@inlined
def minus(a, b):
    """a - b modulo 2^61 - 1, for a and b below it."""
    return a - b if a >= b else a + P - b


@inlined
def reduced(h):
    """A 64-bit hash modulo 2^61 - 1."""
    total = (h & P) + (h >> _SHIFT_61)
    return total - P if total >= P else total


@inlined
def key_of(first):
    """The key, 64 bits, from the value at the first base."""
    return mix(first)


@inlined
def check_of(second):
    """The check, 26 bits, from the value at the second base."""
    return mix(second) >> _CHECK_SHIFT


def power(base: int, exponent: int) -> np.uint64:
    """base to the exponent modulo 2^61 - 1."""
    return np.uint64(pow(base, exponent, MERSENNE_61))
