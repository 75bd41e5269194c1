"""Coverage of documents by repeated windows, once it is known how often each window occurs.

A word is covered at k if a window over it occurs at least k times; words, not windows, are counted, each once. The
class of a word is the most often that any window over it occurs.

    answered = answer(windows, bits, answers)          # occurrences, documents, sets: a value per window
    found = cover(words, windows, answered, size=50, thresholds=(2, 10, 100, 1000), ...)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import trailing_zeros
from scorers.jit import kernel
from scorers.repetition.counting import LATER
from scorers.repetition.windows import SOURCES, Windows
from scorers.words import Words

VERSION = 1

_ONE = np.uint64(1)


@dataclass(frozen=True)
class Answered:
    """What is known of each window, or of each unit: 0 where it is not repeated."""

    occurrences: np.ndarray
    documents: np.ndarray
    sets: np.ndarray


@dataclass(frozen=True)
class Coverage:
    """Of a batch of n documents. Counts are int64; shape (t, n): a row per threshold.

    words, chars: covered by windows that occur at least so often; documents: words covered by windows that are in at
    least so many documents; later: words covered by windows that occurred before; elsewhere: words covered by windows
    that another source has too; most: int64, the most often that a window occurs (1: none repeats, 0: no window;
    counted in another corpus, 0: none is there).
    classes: (source, occurrences) per row, int64 of shape (m, 2); class_words, class_chars: int64 of shape (m,).
    shared: int64 of shape (SOURCES, SOURCES), words of source a that source b has too; on the diagonal, those that a
    itself has twice.
    """

    words: np.ndarray
    chars: np.ndarray
    documents: np.ndarray
    later: np.ndarray
    elsewhere: np.ndarray
    most: np.ndarray
    classes: np.ndarray
    class_words: np.ndarray
    class_chars: np.ndarray
    shared: np.ndarray


@dataclass(frozen=True)
class Stretches:
    """Maximal rows of neighbouring windows of one multiplicity, documents and sources.

    document, first: of the batch and of the windows; words: how long; identity: equal for stretches of equal text.
    """

    document: np.ndarray
    first: np.ndarray
    words: np.ndarray
    occurrences: np.ndarray
    documents: np.ndarray
    identity: np.ndarray


def cover(
    words: Words,
    windows: Windows,
    answered: Answered,
    size: int,
    thresholds: tuple[int, ...],
    sources: np.ndarray,
    sets: np.ndarray,
    itself: bool = True,
) -> Coverage:
    """Coverage of a batch. sources: uint8 per document. sets: uint64 of shape (m, 2), see counting.Table.

    itself: whether the corpus is counted against itself, so that a window of a source is no news in that source.
    """
    num = len(windows.offsets) - 1
    chars = np.zeros(len(words) + 1, np.int64)
    np.cumsum(words.chars, out=chars[1:])
    by_threshold = np.zeros((3, len(thresholds), num), np.int64)
    by_document = np.zeros((3, num), np.int64)
    shared = np.zeros((SOURCES, SOURCES), np.int64)
    hits = int(np.count_nonzero(answered.occurrences))
    longest = int(np.diff(windows.offsets).max(initial=0))
    # A word's class changes where a window begins or ends.
    segments = np.empty((2 * hits + 1, 4), np.int64)
    used = _cover(
        words.doc_offsets,
        chars,
        windows.offsets,
        windows.starts,
        answered.occurrences,
        answered.documents,
        answered.sets,
        sources,
        sets,
        size,
        np.array(thresholds, np.int64),
        itself,
        np.empty((longest + 1, 2), np.int64),
        by_threshold,
        by_document,
        shared,
        segments,
    )
    classes, class_words, class_chars = summed(segments[:used, :2], segments[:used, 2], segments[:used, 3])
    covered, chars_covered, documents = by_threshold
    later, elsewhere, most = by_document
    return Coverage(
        covered, chars_covered, documents, later, elsewhere, most, classes, class_words, class_chars, shared
    )


def summed(keys: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Distinct rows of ``keys`` (int64 of shape (m, 2), both below 2^32), sorted, and the sums of values over each."""
    packed, inverse = np.unique(keys[:, 0] << 32 | keys[:, 1], return_inverse=True)
    sums = []
    for value in values:
        total = np.zeros(len(packed), np.int64)
        np.add.at(total, inverse, value)
        sums.append(total)
    return np.stack([packed >> 32, packed & 0xFFFFFFFF], axis=1), *sums


@kernel
def _cover(
    word_offsets, chars, offsets, starts, occurrences, documents, sets, sources, set_bits, size, thresholds, itself,
    queue, by_threshold, by_document, shared, segments,
):  # fmt: skip
    num = len(thresholds)
    until = np.zeros((2, num), np.int64)
    until_source = np.zeros(SOURCES, np.int64)
    covered_words, covered_chars, covered_documents = by_threshold[0], by_threshold[1], by_threshold[2]
    later, elsewhere, most = by_document[0], by_document[1], by_document[2]
    used = 0
    for doc in range(len(offsets) - 1):
        base = word_offsets[doc]
        own = np.int64(sources[doc])
        until[:] = 0
        until_source[:] = 0
        until_later = until_elsewhere = np.int64(0)
        most[doc] = np.int64(itself and offsets[doc + 1] > offsets[doc])
        # The queue holds (end, occurrences) of windows that fewer windows after them outdo: the first is the class.
        head = tail = 0
        at = np.int64(0)
        first_segment = used
        for i in range(offsets[doc], offsets[doc + 1]):
            count = np.int64(occurrences[i])
            if count == 0:
                continue
            start = np.int64(starts[i])
            end = start + size
            most[doc] = max(most[doc], count)
            for k in range(num):
                if count < thresholds[k]:
                    break
                fresh = max(start, until[0, k])
                covered_words[k, doc] += end - fresh
                covered_chars[k, doc] += chars[base + end] - chars[base + fresh]
                until[0, k] = end
            for k in range(num):
                if np.int64(documents[i]) < thresholds[k]:
                    break
                covered_documents[k, doc] += end - max(start, until[1, k])
                until[1, k] = end
            if sets[i] & LATER:
                later[doc] += end - max(start, until_later)
                until_later = end
            which = np.int64(sets[i] & ~LATER)
            own_bit = _ONE << np.uint64(own)
            others = set_bits[which, 0] & ~own_bit
            if others != 0:
                elsewhere[doc] += end - max(start, until_elsewhere)
                until_elsewhere = end
            bits = others | ((set_bits[which, 1] if itself else set_bits[which, 0]) & own_bit)
            while bits != 0:
                other = np.int64(trailing_zeros(bits))
                bits &= bits - _ONE
                shared[own, other] += end - max(start, until_source[other])
                until_source[other] = end
            # Words before this window have their class now.
            while head < tail and at < start:
                stop = min(queue[head, 0], start)
                if stop > at:
                    used = _segment(segments, used, first_segment, own, queue[head, 1], at, stop, chars, base)
                    at = stop
                if queue[head, 0] <= at:
                    head += 1
            at = max(at, start)
            while tail > head and queue[tail - 1, 1] <= count:
                tail -= 1
            if head == tail:
                head = tail = 0
            queue[tail, 0] = end
            queue[tail, 1] = count
            tail += 1
        while head < tail:
            if queue[head, 0] > at:
                used = _segment(segments, used, first_segment, own, queue[head, 1], at, queue[head, 0], chars, base)
                at = queue[head, 0]
            head += 1
    return used


@kernel
def _segment(segments, used, first, source, count, begin, end, chars, base):
    """Add words begin .. end of one class; to the segment before if that is of the same document and class."""
    if used == first or segments[used - 1, 1] != count:
        segments[used, 0] = source
        segments[used, 1] = count
        segments[used, 2] = 0
        segments[used, 3] = 0
        used += 1
    segments[used - 1, 2] += end - begin
    segments[used - 1, 3] += chars[base + end] - chars[base + begin]
    return used


def stretches(windows: Windows, answered: Answered, size: int) -> Stretches:
    """All stretches of repeated windows of a batch."""
    hits = np.flatnonzero(answered.occurrences)
    fields = np.empty((len(hits), 5), np.int64)
    identity = np.empty(len(hits), np.uint64)
    used = _stretches(
        windows.offsets,
        windows.starts,
        windows.records,
        answered.occurrences,
        answered.documents,
        answered.sets,
        size,
        fields,
        identity,
    )
    document, first, length, count, spread = fields[:used].T
    return Stretches(document, first, length, count, spread, identity[:used])


@kernel
def _stretches(offsets, starts, records, occurrences, documents, sets, size, fields, identity):
    """Windows of a winnowed document are neighbours if they overlap."""
    used = 0
    for doc in range(len(offsets) - 1):
        running = False
        for i in range(offsets[doc], offsets[doc + 1]):
            if occurrences[i] == 0:
                running = False
                continue
            if (
                running
                and occurrences[i] == occurrences[i - 1]
                and documents[i] == documents[i - 1]
                and (sets[i] & ~LATER) == (sets[i - 1] & ~LATER)
                and starts[i] <= starts[i - 1] + size
            ):
                fields[used - 1, 2] = starts[i] + size - starts[fields[used - 1, 1]]
            else:
                fields[used, 0] = doc
                fields[used, 1] = i
                fields[used, 2] = size
                fields[used, 3] = occurrences[i]
                fields[used, 4] = documents[i]
                used += 1
                running = True
                identity[used - 1] = np.uint64(0)
            # All the windows of a stretch, in their order, say which text it is.
            identity[used - 1] = (identity[used - 1] ^ records[i, 0]) * np.uint64(0x9E3779B97F4A7C15)
    return used


@dataclass
class Cursor:
    """The answers of one run of windows, partition by partition, read in the order of the windows.

    seen, next, ends: int64 per partition: windows that went there, the next answer, and where its answers end.
    answers: uint32 of shape (n, 4): place in its stretch, occurrences, documents, sets.
    """

    seen: np.ndarray
    next: np.ndarray
    ends: np.ndarray
    answers: np.ndarray

    def take(self, keys: np.ndarray, bits: int, out: Answered, begin: int) -> None:
        """Answer the next windows, into ``out`` from ``begin`` on."""
        stop = begin + len(keys)
        _take(
            keys,
            np.uint64(63 - bits),
            self.seen,
            self.next,
            self.ends,
            self.answers,
            out.occurrences[begin:stop],
            out.documents[begin:stop],
            out.sets[begin:stop],
        )

    @property
    def is_through(self) -> bool:
        """Whether every answer has found its window."""
        return bool((self.next == self.ends).all())


@kernel
def _take(keys, shift, seen, following, ends, answers, occurrences, documents, sets):
    for i in range(len(keys)):
        p = np.int64(keys[i] >> _ONE >> shift)
        place = seen[p]
        seen[p] = place + 1
        c = following[p]
        if c < ends[p] and answers[c, 0] == place:
            occurrences[i] = answers[c, 1]
            documents[i] = answers[c, 2]
            sets[i] = answers[c, 3]
            following[p] = c + 1
        else:
            occurrences[i] = 0
            documents[i] = 0
            sets[i] = 0
