r"""Where lines, paragraphs and sentences end, marked on the words of the default split.

- A line ends at ``\n``, a paragraph at one or more blank lines. Both end up stripped, and those without a word do not
  exist. ``\r`` is white space like any other.
- A sentence ends at the end of its paragraph, and after ``. ! ?`` or their kin followed by white space, or after a
  full stop of Chinese, Japanese and other unspaced scripts whatever follows. Closing quotes and brackets stay with it.
- A full stop ends nothing after an abbreviation (scorers/abbreviations.py), a single capital letter ("J. Bach") or a
  single letter of another alphabet, letters with dots between them ("e.g. this"), or a number that opens a line or a
  sentence ("1. Introduction"). What follows is not looked at: text all in lower case has sentences too.

    flags = unit_ends(data, offsets, words, abbreviation_keys("en"))
    ends_a_sentence = flags & SENTENCE != 0     # per word
"""

from __future__ import annotations

import numpy as np

from scorers.bits import inlined, pointer, read_only
from scorers.characters import CLOSER, NARROW_END, OPENER, WIDE_END, lookup_table
from scorers.jit import kernel
from scorers.words import Words, decode, kind_of

VERSION = 1

LINE, PARAGRAPH, SENTENCE = 1, 2, 4


def unit_ends(data: np.ndarray, offsets: np.ndarray, words: Words, abbreviations: np.ndarray) -> np.ndarray:
    """uint8 per word of the default split: LINE, PARAGRAPH and SENTENCE or-ed, where one ends with this word."""
    table = lookup_table()
    flags = np.empty(len(words), np.uint8)
    _mark_ends(
        read_only(data),
        read_only(offsets),
        table.index,
        table.pages,
        words.doc_offsets,
        words.starts,
        words.ends,
        abbreviations,
        flags,
    )
    return flags


@inlined
def _last_kind(text, start, end, page_of, kinds):
    """Classes of the last character of text[start:end] that closes no quote (0 if all do), and where it ends."""
    while end > start:
        first = end - 1
        if text[first] < 0x80:
            kind = kinds[text[first]]
        else:
            while first > start and end - first < 4 and (text[first] & 0xC0) == 0x80:
                first -= 1
            point, _ = decode(text, first, end)
            kind = kind_of(page_of, kinds, point)
        if not kind & CLOSER:
            return np.int64(kind), end
        end = first
    return np.int64(0), end


@inlined
def _is_closing(text, start, end, page_of, kinds):
    """Whether text[start:end] holds nothing but closing quotes and ends of sentences."""
    i = start
    while i < end:
        point, width = decode(text, i, end)
        if not kind_of(page_of, kinds, point) & (CLOSER | NARROW_END | WIDE_END):
            return False
        i += width
    return True


@inlined
def _goes_on(text, start, end, opens, page_of, kinds, abbreviations, num_abbreviations):
    """Whether a full stop after text[start:end] ends no sentence; ``opens``: a line or sentence starts here."""
    while start < end:
        point, width = decode(text, start, end)
        if not kind_of(page_of, kinds, point) & OPENER:
            break
        start += width
    size = end - start
    if size <= 0:
        return False
    first, width = decode(text, start, end)
    if width == size and (65 <= first <= 90 or first >= 0x80) and not kind_of(page_of, kinds, first):
        return True
    digits = True
    dotted = bool(size % 2 == 1 and size > 1)
    key = np.uint64(0)
    for i in range(start, end):
        byte = np.int64(text[i])
        lower = byte | 32 if 65 <= byte <= 90 else byte
        digits = digits and bool(48 <= byte <= 57)
        expected = byte == 46 if (i - start) % 2 else 97 <= lower <= 122
        dotted = dotted and bool(expected)
        if i - start < 7:
            key |= np.uint64(lower) << np.uint64(8 * (i - start))
    if dotted or (digits and opens):
        return True
    if size > 7:
        return False
    low, high = 0, num_abbreviations
    while low < high:
        middle = (low + high) // 2
        if abbreviations[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low < num_abbreviations and abbreviations[low] == key


@kernel
def _mark_ends(data, offsets, index, pages, doc_offsets, starts, ends, abbreviations, flags):
    text, page_of, kinds, abbreviated = pointer(data), pointer(index), pointer(pages), pointer(abbreviations)
    for doc in range(len(offsets) - 1):
        base, last = offsets[doc], doc_offsets[doc + 1] - 1
        opens = True  # the word opens a line or a sentence
        attached = False  # no space before the word, and a sentence of an unspaced script has just ended
        for word in range(doc_offsets[doc], last + 1):
            start, end = base + starts[word], base + ends[word]
            wide, narrow, stop = False, False, end
            tail = text[end - 1]
            if tail >= 0x80 or kinds[tail] & (CLOSER | NARROW_END):
                kind, stop = _last_kind(text, start, end, page_of, kinds)
                wide = attached or (kind & WIDE_END) != 0
                narrow = (kind & NARROW_END) != 0
            if word == last:
                flags[word] = LINE | PARAGRAPH | SENTENCE
                break
            following = base + starts[word + 1]
            mark = 0
            if following == end:
                next_end = base + ends[word + 1]
                attached = wide and _is_closing(text, following, next_end, page_of, kinds)
                if wide and not attached:
                    mark = SENTENCE
            else:
                attached = False
                lines = 0
                for i in range(end, following):
                    lines += text[i] == 10
                if lines:
                    mark = LINE if lines == 1 else LINE | PARAGRAPH | SENTENCE
                if wide:
                    mark |= SENTENCE
                elif narrow and not mark & SENTENCE:
                    full_stop = text[stop - 1] == 46
                    if not full_stop or not _goes_on(
                        text, start, stop - 1, opens, page_of, kinds, abbreviated, len(abbreviations)
                    ):
                        mark |= SENTENCE
            flags[word] = mark
            opens = mark != 0
