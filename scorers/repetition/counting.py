"""Counting equal records: routed to partitions by key, and counted partition by partition in bounded memory.

A partition is all records whose keys begin with the same bits, over all shards, in text order. Its records are given
in slabs; a table with one entry per distinct fingerprint outlives the slab, so that a partition with one span a
million times over needs no more memory than one without. Within a slab the records are first put into buckets by the
next bits of the key: a bucket then touches a stretch of the table that stays in cache.

    table = Table(bits=6)                       # partitions are told apart by 6 bits
    for records in parts: table.add(Slab.of(records, 6))
    table.seal(least=2)
    for records in parts: answers = table.answers(Slab.of(records, 6))     # in the order of the records

With ``references`` documents are counted only where their number is below it, and answered only above: how often does
this window of one corpus occur in another?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import pointer
from scorers.jit import kernel
from scorers.repetition.windows import CHECK_SHIFT, DOCUMENT_MASK, SOURCE_SHIFT

VERSION = 1

LATER = np.uint32(1 << 31)
"""In ``Answers.sets``: an equal record stands before this one."""
_RECORDS_IN_BUCKET_BITS, _MOST_BUCKET_BITS = 9, 12
_ONE, _32 = np.uint64(1), np.uint64(32)
_SOURCE = np.uint64(63)
_ANSWERED = np.uint64(1 << 63)
_FIELDS = 5  # key; answered bit, check and last document; occurrences and documents; sources; sources with two
RECORD_BYTES, ENTRY_BYTES, SCRATCH_BYTES = 16, 8 * _FIELDS, 24
"""Memory of a record, of a slot of the table, and of sorting a record of a slab into its bucket."""


@dataclass(frozen=True)
class Answers:
    """What is known of the repeated records of a slab, in their order.

    places: int64, their positions in the slab. occurrences, documents: uint32. sets: uint32, an index into
    ``Table.sets``, or-ed with LATER.
    """

    places: np.ndarray
    occurrences: np.ndarray
    documents: np.ndarray
    sets: np.ndarray


def route(records: np.ndarray, bits: int, out: np.ndarray) -> np.ndarray:
    """Sort records into 2^bits partitions, stable, into ``out``; int64 of shape (2^bits + 1,), where each begins."""
    begins = np.zeros((1 << bits) + 1, np.int64)
    _route(records, np.uint64(63 - bits), begins, out)
    return begins


@kernel
def _route(records, shift, begins, out):
    for i in range(len(records)):
        begins[np.int64(records[i, 0] >> _ONE >> shift) + 1] += 1
    for k in range(1, len(begins)):
        begins[k] += begins[k - 1]
    place = begins[:-1].copy()
    for i in range(len(records)):
        p = np.int64(records[i, 0] >> _ONE >> shift)
        out[place[p], 0] = records[i, 0]
        out[place[p], 1] = records[i, 1]
        place[p] += 1


@dataclass(frozen=True)
class Slab:
    """Records of a partition, in buckets. records: uint64 of shape (n, 2); order: uint32, where each came from."""

    records: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, records: np.ndarray, bits: int) -> Slab:
        """Put records, given in text order, into buckets by the bits of the key that follow the first ``bits``."""
        buckets = min(max(len(records).bit_length() - _RECORDS_IN_BUCKET_BITS, 1), _MOST_BUCKET_BITS)
        sorted_records, order = np.empty_like(records), np.empty(len(records), np.uint32)
        begins = np.zeros((1 << buckets) + 1, np.int64)
        _bucket(records, np.uint64(bits), np.uint64(64 - buckets), begins, sorted_records, order)
        return cls(sorted_records, order)


class Table:
    """The distinct fingerprints of one partition. references: how many documents, from the first, are only counted."""

    def __init__(self, bits: int, references: int | None = None, expected: int = 1 << 10):
        self.bits = bits
        self.references = references
        self.counted = 0
        """records counted so far"""
        self.distinct = 0
        self.sets = np.zeros((0, 2), np.uint64)
        """sources, and sources with at least two occurrences, as bits: what ``Answers.sets`` points to, once sealed"""
        self._slots = 1 << max(int(expected * 1.4).bit_length(), 10)
        self._entries = np.zeros(self._slots * _FIELDS, np.uint64)
        self._set_of = np.zeros(0, np.uint32)
        self._least = 2

    def add(self, slab: Slab) -> None:
        """Count the records of a slab. Slabs come in text order."""
        limit = np.uint64(2**32 if self.references is None else self.references)
        done = 0
        while done < len(slab.records):
            # At most three quarters full, whatever comes: all that is left may be new.
            room = self._slots * 3 // 4 - self.distinct
            if room <= 0:
                self._grow()
                continue
            part = slab.records[done : done + room]
            found, counted = _count(part, self._entries, np.uint64(self.bits), self._shift(), limit)
            self.distinct += found
            self.counted += counted
            done += len(part)

    def seal(self, least: int) -> None:
        """No more records come; what occurs ``least`` times is answered."""
        self._least = least
        table = self._table()
        repeated = np.flatnonzero((table[:, 2] >> _32) >= np.uint64(least))
        self.sets, which = np.unique(table[repeated, 3:5], axis=0, return_inverse=True)
        self._set_of = np.zeros(self._slots, np.uint32)
        self._set_of[repeated] = which.ravel().astype(np.uint32)

    def answers(self, slab: Slab) -> Answers:
        """The repeated records of a slab. Slabs come once more each, in text order."""
        slots, later = np.zeros(len(slab.records), np.uint32), np.zeros(len(slab.records), np.bool_)
        first = np.uint64(self.references or 0)
        shifts = np.uint64(self.bits), self._shift()
        _look(slab.records, slab.order, self._entries, *shifts, np.uint64(self._least), first, slots, later)
        places = np.flatnonzero(slots)
        found = slots[places] - np.uint32(1)
        counts = self._table()[found, 2]
        sets = self._set_of[found] | np.where(later[places], LATER, np.uint32(0))
        documents = (counts & DOCUMENT_MASK).astype(np.uint32)
        return Answers(places, (counts >> _32).astype(np.uint32), documents, sets)

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of occurrences and documents, int64 of shape (m, 2), and how many distinct fingerprints have them."""
        counts = self._table()[:, 2]
        values, numbers = np.unique(counts[counts != 0], return_counts=True)
        return np.stack([values >> _32, values & DOCUMENT_MASK], axis=1).astype(np.int64), numbers

    def _table(self) -> np.ndarray:
        return self._entries.reshape(-1, _FIELDS)

    def _shift(self) -> np.uint64:
        return np.uint64(64 - (self._slots.bit_length() - 1))

    def _grow(self) -> None:
        old = self._entries
        self._slots *= 2
        self._entries = np.zeros(self._slots * _FIELDS, np.uint64)
        _move(old, self._entries, np.uint64(self.bits), self._shift())


@kernel
def _bucket(records, bits, shift, begins, out, order):
    """The same as _route, by other bits of the key, and with the positions."""
    for i in range(len(records)):
        begins[np.int64((records[i, 0] << bits) >> shift) + 1] += 1
    for k in range(1, len(begins)):
        begins[k] += begins[k - 1]
    for i in range(len(records)):
        p = np.int64((records[i, 0] << bits) >> shift)
        place = begins[p]
        out[place, 0] = records[i, 0]
        out[place, 1] = records[i, 1]
        order[place] = i
        begins[p] = place + 1


@kernel
def _count(records, entries, bits, shift, limit):
    """Count records whose document is below ``limit``; (new fingerprints, records counted)."""
    table = pointer(entries)
    last = len(entries) // _FIELDS - 1
    distinct = counted = 0
    for i in range(len(records)):
        key, about = records[i, 0], records[i, 1]
        document = about & DOCUMENT_MASK
        if document >= limit:
            continue
        counted += 1
        check = about >> CHECK_SHIFT
        source = _ONE << ((about >> SOURCE_SHIFT) & _SOURCE)
        slot = np.int64((key << bits) >> shift)
        while True:
            at = slot * _FIELDS
            if table[at + 2] == 0:
                table[at] = key
                table[at + 1] = check << _32 | document
                table[at + 2] = _ONE << _32 | _ONE
                table[at + 3] = source
                distinct += 1
                break
            if table[at] == key and table[at + 1] >> _32 == check:
                table[at + 2] += _ONE << _32 | np.uint64(table[at + 1] & DOCUMENT_MASK != document)
                table[at + 1] = check << _32 | document
                table[at + 4] |= source & table[at + 3]
                table[at + 3] |= source
                break
            slot = np.int64(0) if slot == last else slot + 1
    return distinct, counted


@kernel
def _look(records, order, entries, bits, shift, least, first, slots, later):
    """Slot + 1 of every record whose document is at least ``first`` and whose fingerprint occurs often enough."""
    table = pointer(entries)
    last = len(entries) // _FIELDS - 1
    for i in range(len(records)):
        key, about = records[i, 0], records[i, 1]
        if about & DOCUMENT_MASK < first:
            continue
        check = about >> CHECK_SHIFT
        slot = np.int64((key << bits) >> shift)
        while True:
            at = slot * _FIELDS
            if table[at + 2] == 0:
                break
            if table[at] == key and (table[at + 1] & ~_ANSWERED) >> _32 == check:
                if table[at + 2] >> _32 >= least:
                    slots[order[i]] = slot + 1
                    later[order[i]] = table[at + 1] & _ANSWERED != 0
                    table[at + 1] |= _ANSWERED
                break
            slot = np.int64(0) if slot == last else slot + 1


@kernel
def _move(old, entries, bits, shift):
    """Enter the entries of a smaller table."""
    last = len(entries) // _FIELDS - 1
    for begin in range(0, len(old), _FIELDS):
        if old[begin + 2] == 0:
            continue
        slot = np.int64((old[begin] << bits) >> shift)
        while entries[slot * _FIELDS + 2] != 0:
            slot = np.int64(0) if slot == last else slot + 1
        for k in range(_FIELDS):
            entries[slot * _FIELDS + k] = old[begin + k]
