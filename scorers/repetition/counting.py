"""Counting equal records: routed to partitions by key, and counted partition by partition in bounded memory.

A partition is all records whose keys begin with the same bits, over all shards, in text order. Its records are given
in slabs; a table of the distinct fingerprints outlives the slab, so that a partition with one span a million times
over needs no more memory than one without. Most spans of real text occur once: such a one is a slot of 4 bytes and its
record; only at its second occurrence does it get an entry in which documents and sources are counted. Within a slab
the records are first put into buckets by the next bits of the key: a bucket then touches a stretch of the table that
stays in cache.

    table = Table(bits=6)                       # partitions are told apart by 6 bits
    for records in parts: table.add(Slab.of(records, 6))
    table.seal()
    for records in parts: answers = table.answers(Slab.of(records, 6))     # in the order of the records

With ``references`` documents are counted only where their number is below it, and answered only above: how often does
this window of one corpus occur in another? Then every fingerprint has an entry at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import pointer
from scorers.jit import kernel
from scorers.repetition.windows import CHECK_SHIFT, DOCUMENT_MASK, SOURCE_SHIFT
from scorers.words import mix

VERSION = 1

LATER = np.uint32(1 << 31)
"""In ``Answers.sets``: an equal record stands before this one."""
_RECORDS_IN_BUCKET_BITS, _MOST_BUCKET_BITS = 10, 12
_ONE, _32 = np.uint64(1), np.uint64(32)
_SOURCE = np.uint64(63)
_ANSWERED = np.uint64(1 << 63)
_HAS_ENTRY = np.uint32(1 << 31)
_ROOM = 1 << 12
"""Records for which there is room, or what is full grows: a kernel is never called for a handful of them."""
_FIELDS = 5  # key; answered bit, check and last document; occurrences and documents; sources; sources with two
RECORD_BYTES, TABLE_BYTES, SCRATCH_BYTES = 16, 54, 28
"""Memory of a record; of a distinct record in the table, at most, slots included; and of sorting a record of a slab
into its bucket and answering it."""


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
    """The distinct fingerprints of one partition. references: how many documents, from the first, are only counted;
    expected: records that will come, if it is known."""

    def __init__(self, bits: int, references: int | None = None, expected: int = 1 << 10):
        self.bits = bits
        self.references = references
        self.counted = 0
        """records counted so far"""
        self.distinct = 0
        self.sets = np.zeros((0, 2), np.uint64)
        """sources, and sources with at least two occurrences, as bits: what ``Answers.sets`` points to, once sealed"""
        self._slots = np.zeros(1 << max(int(expected * 1.4).bit_length(), 10), np.uint32)
        # Pages that are never written to cost nothing.
        self._firsts = np.empty((expected + _ROOM if references is None else 0, 2), np.uint64)
        entries = expected // 2 if references is None else expected
        self._entries = np.empty((entries + _ROOM, _FIELDS), np.uint64)
        self._used = np.zeros(2, np.int64)  # of _firsts, of _entries
        self._set_of = np.zeros(0, np.uint32)

    def add(self, slab: Slab) -> None:
        """Count the records of a slab. Slabs come in text order."""
        whole = self.references is None
        limit = np.uint64(2**32 if self.references is None else self.references)
        done = 0
        while done < len(slab.records):
            # All that is left may be new, or may be the second. Slots are at most three quarters full.
            least = min(len(slab.records) - done, _ROOM)
            firsts, entries = self._used.tolist()
            if len(self._slots) * 3 // 4 - self.distinct < least:
                self._grow()
            if whole and len(self._firsts) - firsts < least:
                self._firsts = _doubled(self._firsts, firsts)
            if len(self._entries) - entries < least:
                self._entries = _doubled(self._entries, entries)
            room = min(len(self._slots) * 3 // 4 - self.distinct, len(self._entries) - entries)
            room = min(room, len(self._firsts) - firsts) if whole else room
            part = slab.records[done : done + room]
            shifts = np.uint64(self.bits), self._shift()
            found, counted = _count(part, self._slots, self._firsts, self._entries, self._used, *shifts, limit, whole)
            self.distinct += found
            self.counted += counted
            done += len(part)

    def seal(self) -> None:
        """No more records come; what occurs twice (with references: at all) is answered."""
        entries = self._entries[: self._used[1]]
        self._set_of = np.empty(len(entries), np.uint32)
        numbers = np.zeros(1 << max((2 * len(entries)).bit_length(), 2), np.uint32)
        sets = np.empty((len(entries), 2), np.uint64)
        self.sets = sets[: _number_sets(entries, numbers, sets, self._set_of)].copy()

    def answers(self, slab: Slab) -> Answers:
        """The repeated records of a slab. Slabs come once more each, in text order."""
        found = np.zeros(len(slab.records), np.uint32)
        first = np.uint64(self.references or 0)
        _look(slab.records, slab.order, self._slots, self._entries, np.uint64(self.bits), self._shift(), first, found)
        places = np.flatnonzero(found)
        which = found[places]
        later = which & LATER
        which = (which & ~LATER) - np.uint32(1)
        counts = self._entries[which, 2]
        documents = (counts & DOCUMENT_MASK).astype(np.uint32)
        return Answers(places, (counts >> _32).astype(np.uint32), documents, self._set_of[which] | later)

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of occurrences and documents, int64 of shape (m, 2), and how many distinct fingerprints have them."""
        values, numbers = np.unique(self._entries[: self._used[1], 2], return_counts=True)
        pairs = np.stack([values >> _32, values & DOCUMENT_MASK], axis=1).astype(np.int64)
        if alone := self.distinct - int(self._used[1]):
            pairs, numbers = np.concatenate([[[1, 1]], pairs]), np.concatenate([[alone], numbers])
        return pairs, numbers

    def _shift(self) -> np.uint64:
        return np.uint64(64 - (len(self._slots).bit_length() - 1))

    def _grow(self) -> None:
        old = self._slots
        self._slots = np.zeros(max(2 * len(old), 2 * _ROOM), np.uint32)
        _move(old, self._slots, self._firsts, self._entries, np.uint64(self.bits), self._shift())


def _doubled(array: np.ndarray, used: int) -> np.ndarray:
    larger = np.empty((2 * len(array), array.shape[1]), array.dtype)
    larger[:used] = array[:used]
    return larger


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
def _count(records, slots, firsts, entries, used, bits, shift, limit, whole):
    """Count records whose document is below ``limit``; (new fingerprints, records counted).

    A slot is 0, or 1 + the number of a first record, or _HAS_ENTRY | the number of an entry. whole: a fingerprint gets
    its entry when it comes for the second time.
    """
    table, alone, more = pointer(slots), pointer(firsts), pointer(entries)
    last = len(slots) - 1
    num_firsts, num_entries = used[0], used[1]
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
            value = table[slot]
            if value == 0:
                distinct += 1
                if whole:
                    alone[2 * num_firsts] = key
                    alone[2 * num_firsts + 1] = about
                    num_firsts += 1
                    table[slot] = num_firsts
                else:
                    at = num_entries * _FIELDS
                    more[at] = key
                    more[at + 1] = check << _32 | document
                    more[at + 2] = _ONE << _32 | _ONE
                    more[at + 3] = source
                    more[at + 4] = np.uint64(0)
                    table[slot] = _HAS_ENTRY | num_entries
                    num_entries += 1
                break
            if value & _HAS_ENTRY:
                at = np.int64(value ^ _HAS_ENTRY) * _FIELDS
                if more[at] == key and more[at + 1] >> _32 == check:
                    more[at + 2] += _ONE << _32 | np.uint64(more[at + 1] & DOCUMENT_MASK != document)
                    more[at + 1] = check << _32 | document
                    more[at + 4] |= source & more[at + 3]
                    more[at + 3] |= source
                    break
            else:
                before = 2 * np.int64(value) - 2
                if alone[before] == key and alone[before + 1] >> CHECK_SHIFT == check:
                    first = alone[before + 1]
                    first_source = _ONE << ((first >> SOURCE_SHIFT) & _SOURCE)
                    at = num_entries * _FIELDS
                    more[at] = key
                    more[at + 1] = check << _32 | document
                    more[at + 2] = np.uint64(2) << _32 | (_ONE + np.uint64(first & DOCUMENT_MASK != document))
                    more[at + 3] = first_source | source
                    more[at + 4] = first_source & source
                    table[slot] = _HAS_ENTRY | num_entries
                    num_entries += 1
                    break
            slot = np.int64(0) if slot == last else slot + 1
    used[0], used[1] = num_firsts, num_entries
    return distinct, counted


@kernel
def _look(records, order, slots, entries, bits, shift, first, found):
    """1 + the entry of every record whose document is at least ``first`` and that has one, or-ed with LATER."""
    table, more = pointer(slots), pointer(entries)
    last = len(slots) - 1
    for i in range(len(records)):
        key, about = records[i, 0], records[i, 1]
        if about & DOCUMENT_MASK < first:
            continue
        check = about >> CHECK_SHIFT
        slot = np.int64((key << bits) >> shift)
        while True:
            value = table[slot]
            if value == 0:
                break
            if value & _HAS_ENTRY:
                entry = np.int64(value ^ _HAS_ENTRY)
                at = entry * _FIELDS
                if more[at] == key and (more[at + 1] & ~_ANSWERED) >> _32 == check:
                    later = np.uint32(0) if more[at + 1] & _ANSWERED == 0 else LATER
                    found[order[i]] = np.uint32(entry + 1) | later
                    more[at + 1] |= _ANSWERED
                    break
            slot = np.int64(0) if slot == last else slot + 1


@kernel
def _number_sets(entries, numbers, sets, set_of):
    """Give each distinct pair of source sets a number, in the order in which they come; how many there are."""
    used = 0
    last = len(numbers) - 1
    for i in range(len(entries)):
        every, twice = entries[i, 3], entries[i, 4]
        slot = np.int64(mix(every ^ mix(twice)) & np.uint64(last))
        while numbers[slot] != 0:
            k = np.int64(numbers[slot]) - 1
            if sets[k, 0] == every and sets[k, 1] == twice:
                break
            slot = np.int64(0) if slot == last else slot + 1
        if numbers[slot] == 0:
            sets[used, 0] = every
            sets[used, 1] = twice
            used += 1
            numbers[slot] = used
        set_of[i] = numbers[slot] - 1
    return used


@kernel
def _move(old, slots, firsts, entries, bits, shift):
    """Enter what stands in fewer slots."""
    last = len(slots) - 1
    for i in range(len(old)):
        value = old[i]
        if value == 0:
            continue
        key = entries[np.int64(value ^ _HAS_ENTRY), 0] if value & _HAS_ENTRY else firsts[np.int64(value) - 1, 0]
        slot = np.int64((key << bits) >> shift)
        while slots[slot] != 0:
            slot = np.int64(0) if slot == last else slot + 1
        slots[slot] = value
