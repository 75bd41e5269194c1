"""Every window of w words of a batch of documents, as records of 16 bytes that can be sorted, counted and answered.

A record is two uint64: the key, and ``check << 38 | source << 32 | document`` (fingerprints.py says what key and check
are). Records stand in text order. Two windows are equal if their words are: white space between the words does not
count. A document of fewer than w words has no window.

    windows = windows_of(words, 50)                     # all windows
    windows = thinned(windows, 0.01)                    # or those whose content says so
    windows = winnowed(windows, 20)                     # or the smallest of each 20 in a row

A sample by content keeps all copies of a window or none: what it counts is exact for the windows it keeps. Winnowing
(Schleimer, Wilkerson and Aiken 2003) keeps the window with the smallest key of every t in a row, the last of equals:
two equal stretches of w + t - 1 words or more keep a window in common, whatever stands around them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import inlined, times_modulo_61
from scorers.jit import kernel
from scorers.repetition.fingerprints import BASE_1, BASE_2, BASES, check_of, key_of, minus, plus, power, reduced
from scorers.words import mix

VERSION = 1

SOURCES = 64
"""Sources that a record can tell apart."""
MOST_DOCUMENTS = 1 << 32
CHECK_SHIFT, SOURCE_SHIFT = np.uint64(38), np.uint64(32)
DOCUMENT_MASK = np.uint64(0xFFFFFFFF)
_ONE, _SHIFT_32 = np.uint64(1), np.uint64(32)


@dataclass(frozen=True)
class Windows:
    """The windows of n documents, in order.

    records: uint64 of shape (m, 2). starts: int32 of shape (m,), the first word of each within its document.
    offsets: int64 of shape (n + 1,); the windows of document d are those from ``offsets[d]`` up to ``offsets[d + 1]``.
    """

    records: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.records)


def windows_of(
    doc_offsets: np.ndarray, hashes: np.ndarray, size: int, sources: np.ndarray | None = None, first_document: int = 0
) -> Windows:
    """All windows of ``size`` words. sources: uint8 per document, below SOURCES; documents are numbered from
    ``first_document`` on."""
    lengths = np.diff(doc_offsets)
    offsets = np.zeros(len(doc_offsets), np.int64)
    np.cumsum(np.maximum(lengths - size + 1, 0), out=offsets[1:])
    num = int(offsets[-1])
    records, starts = np.empty((num, 2), np.uint64), np.empty(num, np.int32)
    codes = np.zeros(len(lengths), np.uint8) if sources is None else sources
    leaving = power(BASES[0], size), power(BASES[1], size)
    _roll(doc_offsets, hashes, size, *leaving, codes, first_document, offsets, records, starts)
    return Windows(records, starts, offsets)


def thinned(windows: Windows, rate: float, seed: int = 0) -> Windows:
    """The windows whose content falls into a sample of ``rate``; another seed draws another sample."""
    limit = np.uint64(_limit(rate))
    kept = np.empty(len(windows), np.bool_)
    _draw(windows.records, limit, np.uint64(seed * 0x9E3779B97F4A7C15 % 2**64), kept)
    return chosen(windows, kept)


def sample_rate(rate: float) -> float:
    """The share that is really drawn: hashes are numbers of 32 bits here."""
    return (_limit(rate) + 1) / 2**32


def _limit(rate: float) -> int:
    return min(int(rate * 2**32), 2**32 - 1)


def winnowed(windows: Windows, run: int) -> Windows:
    """The smallest of every ``run`` windows in a row; of a document with fewer, the smallest of all."""
    kept = np.zeros(len(windows), np.bool_)
    longest = int(np.diff(windows.offsets).max(initial=0))
    _winnow(windows.records, windows.offsets, run, np.empty(longest, np.int64), kept)
    return chosen(windows, kept)


def chosen(windows: Windows, kept: np.ndarray) -> Windows:
    """Some of the windows; kept: bool of shape (m,)."""
    before = np.zeros(len(windows) + 1, np.int64)
    np.cumsum(kept, out=before[1:])
    return Windows(windows.records[kept], windows.starts[kept], before[windows.offsets])


@inlined
def packed(check, source, document):
    """Second half of a record."""
    return check << CHECK_SHIFT | np.uint64(source) << SOURCE_SHIFT | np.uint64(document)


@kernel
def _roll(doc_offsets, hashes, size, leaving_1, leaving_2, sources, first_document, offsets, records, starts):
    for doc in range(len(doc_offsets) - 1):
        begin, end = doc_offsets[doc], doc_offsets[doc + 1]
        if end - begin < size:
            continue
        one = two = np.uint64(0)
        place = offsets[doc]
        tail = packed(np.uint64(0), sources[doc], first_document + doc)
        for word in range(begin, end):
            x = reduced(hashes[word])
            one = plus(times_modulo_61(one, BASE_1), x)
            two = plus(times_modulo_61(two, BASE_2), x)
            if word - begin >= size:
                gone = reduced(hashes[word - size])
                one = minus(one, times_modulo_61(gone, leaving_1))
                two = minus(two, times_modulo_61(gone, leaving_2))
            if word - begin >= size - 1:
                records[place, 0] = key_of(one)
                records[place, 1] = check_of(two) << CHECK_SHIFT | tail
                starts[place] = word - begin - size + 1
                place += 1


@kernel
def _draw(records, limit, seed, kept):
    for i in range(len(records)):
        kept[i] = mix(records[i, 0] ^ seed) >> _SHIFT_32 <= limit


@kernel
def _winnow(records, offsets, run, queue, kept):
    """The queue holds windows of growing keys, the smallest of the current run first."""
    for doc in range(len(offsets) - 1):
        begin, end = offsets[doc], offsets[doc + 1]
        head = tail = 0
        for i in range(begin, end):
            while tail > head and records[queue[tail - 1], 0] >= records[i, 0]:
                tail -= 1
            queue[tail] = i
            tail += 1
            if queue[head] <= i - run:
                head += 1
            if i - begin >= run - 1 or i == end - 1:
                kept[queue[head]] = True
