"""Which windows can be in another corpus at all: one bit per key, set for what is there.

A window whose bit is not set is not there; one whose bit is set may be, and is looked up. So what goes through is all
that is looked for and a few more, one in eight at most: the text that is searched need not be written to disk.

    sieve = Sieve.for_records(number)
    sieve.add(records)
    kept = sieve.passes(others)         # bool
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import pointer
from scorers.jit import kernel

VERSION = 1

BITS_PER_RECORD = 8
_ONE, _6 = np.uint64(1), np.uint64(6)
_LOW = np.uint64(63)


@dataclass(frozen=True)
class Sieve:
    """bits: uint64, a power of two of them."""

    bits: np.ndarray

    @classmethod
    def for_records(cls, records: int) -> Sieve:
        """An empty sieve for so many records."""
        return cls(np.zeros(_bits(records) // 64, np.uint64))

    @staticmethod
    def fits(records: int, most_bytes: int) -> bool:
        """Whether a sieve for so many records takes no more bytes than that."""
        return _bits(records) // 8 <= most_bytes

    def add(self, records: np.ndarray) -> None:
        """Let records through: uint64 of shape (n, 2), keys first."""
        _add(records, self.bits)

    def passes(self, records: np.ndarray) -> np.ndarray:
        """bool of shape (n,)."""
        kept = np.empty(len(records), np.bool_)
        _passes(records, self.bits, kept)
        return kept


def _bits(records: int) -> int:
    return 1 << max(records * BITS_PER_RECORD - 1, 511).bit_length()


@kernel
def _add(records, bits):
    table, last = pointer(bits), np.uint64(len(bits) * 64 - 1)
    for i in range(len(records)):
        # The first bits of a key tell partitions apart; the last are as random.
        at = records[i, 0] & last
        table[np.int64(at >> _6)] |= _ONE << (at & _LOW)


@kernel
def _passes(records, bits, kept):
    table, last = pointer(bits), np.uint64(len(bits) * 64 - 1)
    for i in range(len(records)):
        at = records[i, 0] & last
        kept[i] = (table[np.int64(at >> _6)] >> (at & _LOW)) & _ONE != 0
