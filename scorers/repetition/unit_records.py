"""Every document, paragraph, line and sentence of a batch as a record, to be counted over a whole corpus.

Records are those of windows.py, so that the same partitions and tables count them; the number of the document is
followed by two bits of kind. Two units are equal, as in units.py, if their texts are once every run of white space has
become one space; case and punctuation count. Units of different kinds are never equal. Where they end is told by
scorers/sentences.py. Characters of a unit are those of its stripped text, white space inside included.

    units = units_of(texts, unit_ends(data, offsets, words, abbreviation_keys("en")), KINDS, least_words=1)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorers.bits import pointer, read_only, times_modulo_61
from scorers.jit import kernel
from scorers.repetition.fingerprints import BASE_1, BASE_2, check_of, key_of, plus, reduced
from scorers.repetition.windows import CHECK_SHIFT, packed
from scorers.texts import Texts
from scorers.words import mix

VERSION = 1

KINDS = ("document", "paragraph", "line", "sentence")
"""In the order of the two bits."""
KIND_BITS = 2
MOST_DOCUMENTS = 1 << (32 - KIND_BITS)
_LINE, _PARAGRAPH, _SENTENCE = 1, 2, 4
_GAP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Units:
    """The units of n documents, as they end. records: uint64 of shape (m, 2).

    document, kind: int64, of the batch and in KINDS; first: int64, the first word, counted over the batch; words and
    chars: int64, how long. offsets: int64 of shape (n + 1,), the units of each document.
    """

    records: np.ndarray
    document: np.ndarray
    kind: np.ndarray
    first: np.ndarray
    words: np.ndarray
    chars: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.records)


def units_of(
    texts: Texts,
    flags: np.ndarray,
    kinds: tuple[str, ...] = KINDS,
    least_words: int = 1,
    sources: np.ndarray | None = None,
    first_document: int = 0,
) -> Units:
    """The units of a batch. flags: of scorers.sentences.unit_ends; kinds: those that are wanted; least_words: shorter
    ones are left out. sources: uint8 per document; documents are numbered from ``first_document`` on."""
    words, num = texts.words, len(texts)
    most = num + sum(int(np.count_nonzero(flags & mark)) for mark in (_LINE, _PARAGRAPH, _SENTENCE))
    records, fields = np.empty((most, 2), np.uint64), np.empty((5, most), np.int64)
    offsets = np.zeros(num + 1, np.int64)
    wanted = np.array([kind in kinds for kind in KINDS], np.bool_)
    used = _units(
        read_only(texts.data),
        read_only(texts.offsets),
        words.doc_offsets,
        words.starts,
        words.ends,
        words.chars,
        words.hashes,
        flags,
        np.zeros(num, np.uint8) if sources is None else sources,
        first_document,
        wanted,
        least_words,
        records,
        fields,
        offsets,
    )
    document, kind, first, length, chars = fields[:, :used]
    return Units(records[:used], document, kind, first, length, chars, offsets)


@kernel
def _units(
    data, offsets, doc_offsets, starts, ends, chars, hashes, flags, sources, first_document, wanted, least, records,
    fields, unit_offsets,
):  # fmt: skip
    text = pointer(data)
    used = 0
    one, two = np.zeros(4, np.uint64), np.zeros(4, np.uint64)
    opened, begun = np.zeros(4, np.int64), np.zeros(4, np.int64)
    for doc in range(len(offsets) - 1):
        base, begin, end = offsets[doc], doc_offsets[doc], doc_offsets[doc + 1]
        for kind in range(4):
            # What a polynomial begins with tells the kinds, and lengths, apart.
            one[kind] = two[kind] = np.uint64(kind + 1)
            opened[kind] = begin
            begun[kind] = 0
        position = np.int64(0)
        gap = False
        for i in range(begin, end):
            whole = reduced(hashes[i])
            spaced = reduced(mix(hashes[i] ^ _GAP))
            position += chars[i]
            stop = position
            mark = flags[i]
            for kind in range(4):
                # White space before a word is part of what makes a unit, but not before its first word.
                x = spaced if gap and opened[kind] != i else whole
                one[kind] = plus(times_modulo_61(one[kind], BASE_1), x)
                two[kind] = plus(times_modulo_61(two[kind], BASE_2), x)
            gap = False
            if i + 1 < end:
                here, there = base + ends[i], base + starts[i + 1]
                gap = there > here
                for k in range(here, there):
                    position += (text[k] & 0xC0) != 0x80
            for kind in range(4):
                if kind == 0:
                    closes = i + 1 == end
                elif kind == 1:
                    closes = mark & _PARAGRAPH != 0
                elif kind == 2:
                    closes = mark & _LINE != 0
                else:
                    closes = mark & _SENTENCE != 0
                if not closes:
                    continue
                if wanted[kind] and i + 1 - opened[kind] >= least:
                    number = (first_document + doc) << KIND_BITS | kind
                    records[used, 0] = key_of(one[kind])
                    records[used, 1] = check_of(two[kind]) << CHECK_SHIFT | packed(np.uint64(0), sources[doc], number)
                    fields[0, used] = doc
                    fields[1, used] = kind
                    fields[2, used] = opened[kind]
                    fields[3, used] = i + 1 - opened[kind]
                    fields[4, used] = stop - begun[kind]
                    used += 1
                one[kind] = two[kind] = np.uint64(kind + 1)
                opened[kind] = i + 1
                begun[kind] = position
        unit_offsets[doc + 1] = used
    return used
