"""Loops of words: a stretch that repeats itself at once, with a period of 1 to 13 words, at least two whole copies.

From the end of the first copy to the end of the stretch every word equals the word one period earlier; a last copy
that is cut short belongs to the stretch. The loop of a document is the one with most characters; of several, the one
with the smallest period ("a a a a" has period 1, not 2); of several, the first. One pass, one comparison of 16 words
at once per word, no hashing.
"""

from __future__ import annotations

import numpy as np

from scorers.bits import equal_before, pointer
from scorers.jit import kernel
from scorers.words import Words

MAX_PERIOD = 13
_PERIOD_1, _PERIODS = np.uint64(1 << 15), np.uint64(0xFFF8)


def measure_loops(words: Words, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loop of each document, from the words' numbers (tables.number_words).

    Period (int32; 0: no loop), whole copies (int32; 1: no loop, 0: no word), and the loop's share of the characters of
    all words (float32; 0: no loop, NaN: no word).
    """
    num = len(words.doc_offsets) - 1
    longest = int(np.diff(words.doc_offsets).max(initial=0))
    period, copies, share = np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.float32)
    _loops(words.doc_offsets, words.chars, ids, np.empty(longest, np.int64), period, copies, share)
    return period, copies, share


@kernel
def _loops(doc_offsets, chars, ids, before, period, copies, share):
    """Bit 16 - p of ``same`` says that a word equals the one p earlier. A copy is whole after p such words in a row;
    until there are two (one, for p = 1) there is nothing to do, and in most texts there never are.
    """
    since_of = np.zeros(MAX_PERIOD + 1, np.int64)
    since, words, chars_before = pointer(since_of), pointer(ids), pointer(before)
    for doc in range(len(doc_offsets) - 1):
        begin, end = doc_offsets[doc], doc_offsets[doc + 1]
        width = pointer(chars[begin:end])
        best = total = np.int64(0)
        best_period, best_copies = 0, 1
        same = running = np.uint64(0)
        for i in range(end - begin):
            chars_before[i] = total
            total += width[i]
            same_before, running_before = same, running
            if i >= 16:
                same = equal_before(words, begin + i) & _PERIODS
            else:
                same = np.uint64(0)
                for p in range(1, min(MAX_PERIOD, i) + 1):
                    same |= np.uint64(words[begin + i - p] == words[begin + i]) << np.uint64(16 - p)
            running = same & (same_before | _PERIOD_1)
            if running == np.uint64(0):
                continue
            for p in range(1, MAX_PERIOD + 1):
                bit = _PERIOD_1 >> np.uint64(p - 1)
                if not running & bit:
                    continue
                if not running_before & bit:
                    since[p] = i - (p > 1)
                length = i - since[p] + 1
                if length >= p:
                    size = total - chars_before[since[p] - p]
                    if size > best or (size == best and p < best_period):
                        best, best_period, best_copies = size, p, length // p + 1
        period[doc] = best_period
        copies[doc] = best_copies if total else 0
        share[doc] = best / total if total else np.nan
