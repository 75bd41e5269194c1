"""Words that may be an identifier of any list: what the second stage of finding looks for in repeated spans.

A phrase that was drawn has no function word, no digit, no punctuation, no order, and its copies stand in different
texts. Nothing else is asked of its words, so that lists nobody has named are found too. Such stretches are common in
headings and lists: only the corpus can tell, by where they come again.

    windows = content_windows(texts, 8)           # every window of eight such words: ContentWindows
    ...                                           # which of their hashes are in more than one document: pipeline's task
    for stretch in stretches(texts, windows, hashes, copies): ...    # as far as the same copies go: Stretch
    word_pairs(texts)                             # the hash of every pair of words: do a stretch's stand elsewhere too?

A gap between words may be white space with at most one line break, or single hyphens, dots or underscores; a stretch
whose gaps are line breaks or marks for more than a third is a list and is left out, like one in order of the alphabet
or with a repeated word. What is left are titles and phrases that many texts quote; their pairs of words stand in other
places too, those of a drawn phrase nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import xxhash

from scorers.ghosts.canonical import canonical
from scorers.ghosts.kernel import window_hashes
from scorers.ghosts.runs import LONGEST, hyphened
from scorers.ghosts.search import around, signed
from scorers.ghosts.stopwords import STOP_WORDS
from scorers.ghosts.windows import hash_words
from scorers.ghosts.word_kernel import canonical_words
from scorers.texts import Texts

VERSION = 1
"""Raised whenever the same texts would give other stretches."""
_JOINERS = b" \t\r\n-._"
_SPACE = b" \t\r\n"


@dataclass(frozen=True)
class ContentWindows:
    """Windows in order: document, first word (of all of the batch), hash (uint64); begins, ends: all words' places."""

    size: int
    docs: np.ndarray
    firsts: np.ndarray
    hashes: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Stretch:
    """Words that come again as a whole. run, left, right as in scorers/ghosts/find.py; pairs: uint64, of word_pairs."""

    doc: int
    byte_start: int
    byte_stop: int
    words: int
    run: int
    left: int
    right: int
    copies: int
    pairs: np.ndarray


@cache
def _common() -> np.ndarray:
    return np.sort(hash_words(sorted(STOP_WORDS)))


def content_windows(texts: Texts, size: int) -> ContentWindows:
    """All windows of `size` words of which none is common, short or holds a digit, in one sentence."""
    found = canonical_words(texts.data, texts.offsets)
    docs = np.repeat(np.arange(len(texts)), np.diff(found.doc_offsets))
    base = int(texts.offsets[0])
    data = texts.data[base : texts.offsets[-1]]
    first = np.asarray(texts.offsets[:-1], np.int64)[docs] - base
    begins, ends = found.begins + first, found.ends + first
    digits = _running(data, b"0123456789")
    breaks, strange = _running(data, b"\n"), _running(data, _JOINERS, inverted=True)
    content = (ends - begins > 1) & (digits[ends] == digits[begins])
    places = np.searchsorted(_common(), found.hashes)
    content &= _common()[np.minimum(places, len(_common()) - 1)] != found.hashes
    # joined[i]: word i + 1 goes on from word i.
    left, right = ends[:-1], begins[1:]
    joined = (docs[1:] == docs[:-1]) & (breaks[right] - breaks[left] < 2) & (strange[right] == strange[left])
    joined &= ~_sentence_ends(data, left, right)
    # How many content words in a row end at each word.
    chain = content.copy()
    chain[1:] &= joined & content[:-1]
    index = np.arange(len(content))
    start = np.maximum.accumulate(np.where(chain, 0, index)) if len(index) else index
    length = np.where(content, index - start + 1, 0)
    last = np.flatnonzero(length >= size)
    firsts = last - size + 1
    rows = found.hashes[firsts[:, None] + np.arange(size)] if len(firsts) else np.zeros((0, size), np.uint64)
    return ContentWindows(size, docs[firsts], firsts, window_hashes(rows, size)[:, 0], found.begins, found.ends)


def _running(data: np.ndarray, these: bytes, inverted: bool = False) -> np.ndarray:
    """int32 (bytes + 1,): how many of these bytes (or of all others) stand before each place."""
    table = np.full(256, inverted)
    table[list(these)] = not inverted
    return np.concatenate([np.zeros(1, np.int32), np.cumsum(table[data], dtype=np.int32)])


def _sentence_ends(data: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether a full stop followed by white space lies in a gap; between words a dot alone joins."""
    after = np.append(data[1:], np.uint8(0))[: len(data)]
    stop = (data == ord(".")) & np.isin(after, list(_SPACE))
    counted = np.concatenate([np.zeros(1, np.int32), np.cumsum(stop, dtype=np.int32)])
    return counted[right] > counted[left]


def stretches(texts: Texts, windows: ContentWindows, known: np.ndarray, copies: np.ndarray) -> Iterator[Stretch]:
    """Windows of known hashes (uint64, sorted), joined while they follow one another and have equally many copies."""
    places = np.minimum(np.searchsorted(known, windows.hashes), max(len(known) - 1, 0))
    there = np.flatnonzero(known[places] == windows.hashes) if len(known) else np.zeros(0, np.int64)
    numbers = copies[places[there]] if len(known) else there
    edges = (np.diff(windows.firsts[there]) != 1) | (np.diff(windows.docs[there]) != 0) | (np.diff(numbers) != 0)
    for part in np.split(np.arange(len(there)), np.flatnonzero(edges) + 1) if len(there) else []:
        first, last = there[part[0]], there[part[-1]]
        doc = int(windows.docs[first])
        begin, end = (
            int(windows.begins[windows.firsts[first]]),
            int(windows.ends[windows.firsts[last] + windows.size - 1]),
        )
        text = bytes(texts.data[texts.offsets[doc] : texts.offsets[doc + 1]])
        words = canonical(text[begin:end].decode("utf-8", "replace"))
        if not drawn(words, text[begin:end]):
            continue
        left, right = around(text, begin, end)
        run = signed(xxhash.xxh3_64_intdigest(" ".join(words).encode()))
        pairs = window_hashes(hash_words(words)[None, :], 2)[0]
        yield Stretch(doc, begin, end, len(words), run, left, right, int(numbers[part[0]]), pairs)


def word_pairs(texts: Texts) -> np.ndarray:
    """uint64: hashes of all canonical words with the next one of their document."""
    found = canonical_words(texts.data, texts.offsets)
    docs = np.repeat(np.arange(len(texts)), np.diff(found.doc_offsets))
    if len(docs) < 2:
        return np.zeros(0, np.uint64)
    return window_hashes(found.hashes[None, :], 2)[0][docs[1:] == docs[:-1]]


def drawn(words: list[str], phrase: bytes) -> bool:
    """Whether words, and the bytes they were read from, could have been drawn: no list, no order, none twice."""
    if len(words) > LONGEST or len(set(words)) < len(words):
        return False
    falls = sum(a > b for a, b in pairwise(words))
    if min(falls, len(words) - 1 - falls) <= (len(words) >= 10):
        return False
    gaps = len(words) - 1
    if phrase.count(b"\n") * 3 > gaps:
        return False
    return len(re.findall(rb"[-._]", phrase)) * 3 <= gaps or hyphened(phrase)
