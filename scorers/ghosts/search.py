"""From candidates to findings: windows are verified and joined, runs judged, places counted in characters.

for doc, spans in searcher(known, listed, min_words=8).spans(texts): ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import xxhash

from scorers.ghosts.canonical import canonical
from scorers.ghosts.kernel import COUNTS, KNOWN, STOP, WINDOW, Probes, Vocabulary, probes, scan, vocabulary
from scorers.ghosts.runs import CARRIERS, judged
from scorers.ghosts.stopwords import STOP_WORDS
from scorers.ghosts.windows import Known, hash_words
from scorers.ghosts.wordlists import WordList
from scorers.texts import Texts

NEIGHBOURS = 6
"""Words on either side that make a context."""
REACH = 400
"""Bytes on either side in which the ends of a sentence are looked for."""
SENTENCE_WORDS = 16
"""Words that a sentence may have besides the phrase to be taken for its carrier."""
_END = re.compile(rb"[.!?][\"')\]]*(?=\s|$)|\n")


@dataclass(frozen=True)
class Span:
    """One finding; see scorers/ghosts/find.py."""

    start: int
    stop: int
    byte_start: int
    byte_stop: int
    words: int
    kind: str
    confidence: float
    id: str | None
    run: int
    left: int
    right: int
    cut_start: int
    cut_stop: int

    def row(self) -> dict[str, object]:
        """As a struct."""
        return asdict(self)


@dataclass(frozen=True)
class Searcher:
    """What is looked for, ready for the kernel. known: the registry, to verify with."""

    vocabulary: Vocabulary
    probes: Probes
    known: Known | None
    min_words: int

    def spans(self, texts: Texts) -> Iterator[tuple[int, list[Span]]]:
        """(document, its findings in order) of the documents that have any."""
        found = scan(texts.data, texts.offsets, self.vocabulary, self.probes)
        if self.known is not None:
            windows = found["kind"] == WINDOW
            windows[windows] = ~self.known.may_be(found["hash"][windows])
            found = found[~windows]
        edges = np.flatnonzero(np.diff(found["doc"])) + 1
        for part in np.split(found, edges) if len(found) else []:
            doc = int(part["doc"][0])
            text = bytes(texts.data[texts.offsets[doc] : texts.offsets[doc + 1]])
            spans = self._document(part, text)
            if spans:
                yield doc, spans

    def _document(self, part: np.ndarray, text: bytes) -> list[Span]:
        spans = list(self._registered(part[part["kind"] == WINDOW], text))
        taken = [(one.byte_start, one.byte_stop) for one in spans]
        for run in part[part["kind"] != WINDOW]:
            begin, end = int(run["begin"]), int(run["end"])
            if any(begin < b and a < end for a, b in taken):
                continue  # a registered identifier is no mere likeness
            what = judged(run, text, self.min_words)
            if what is not None:
                number = int(run["hash"].astype(np.int64))
                spans.append(_span(text, begin, end, int(run["words"]), what.kind, what.confidence, None, number))
        return sorted(spans, key=lambda one: one.byte_start)

    def _registered(self, windows: np.ndarray, text: bytes) -> Iterator[Span]:
        """Verified windows; those of one identifier that overlap are one finding."""
        open_id, open_begin, open_end = None, 0, 0
        for window in windows:
            begin, end = int(window["begin"]), int(window["end"])
            assert self.known is not None
            id = self.known.identify(canonical(text[begin:end].decode("utf-8", "replace")))
            if id is None:
                continue
            if id == open_id and begin < open_end:
                open_end = end
                continue
            if open_id is not None:
                yield self._one(text, open_begin, open_end, open_id)
            open_id, open_begin, open_end = id, begin, end
        if open_id is not None:
            yield self._one(text, open_begin, open_end, open_id)

    def _one(self, text: bytes, begin: int, end: int, id: str) -> Span:
        words = len(canonical(text[begin:end].decode("utf-8", "replace")))
        return _span(text, begin, end, words, "registry", 1.0, id, signed(xxhash.xxh3_64_intdigest(id.encode())))


def searcher(known: Known | None, listed: WordList | None, min_words: int) -> Searcher:
    """Tables for a registry, a list whose runs are looked for, or both."""
    flags: dict[int, int] = {}
    if known is not None and known.words is not None:
        for pieces in _pieces(known.words):
            for _, number in pieces:
                flags[number] = flags.get(number, 0) | KNOWN
    if listed is not None:
        for pieces in _pieces(listed):
            for piece, number in pieces:
                common = piece in STOP_WORDS or len(piece) < 2
                flags[number] = flags.get(number, 0) | (STOP if common else COUNTS)
    none = probes(1, np.zeros(0, np.uint32), True)
    return Searcher(vocabulary(flags), known.probes if known is not None else none, known, min_words)


def _pieces(words: WordList) -> Iterator[list[tuple[str, int]]]:
    """(canonical word, hash) of each word of a list; several of a hyphened one."""
    pieces = [canonical(word) for word in words.words]
    hashes = hash_words([piece for word in pieces for piece in word]).tolist()
    at = 0
    for word in pieces:
        yield list(zip(word, hashes[at : at + len(word)], strict=True))
        at += len(word)


def _span(
    text: bytes, begin: int, end: int, words: int, kind: str, confidence: float, id: str | None, run: int
) -> Span:
    before = len(text[:begin].decode("utf-8", "replace"))
    first, last = _sentence(text, begin, end)
    left, right = around(text, begin, end)
    cut = (first, last) if kind != "list" and _is_carrier(text, first, last, begin, end) else (begin, end)
    return Span(
        start=before,
        stop=before + len(text[begin:end].decode("utf-8", "replace")),
        byte_start=begin,
        byte_stop=end,
        words=words,
        kind=kind,
        confidence=confidence,
        id=id,
        run=run,
        left=left,
        right=right,
        cut_start=_with_space(text, *cut),
        cut_stop=cut[1],
    )


def around(text: bytes, begin: int, end: int) -> tuple[int, int]:
    """int64 hashes of the words before and after the sentence of a run; 0 at the edge of the text."""
    first, last = _sentence(text, begin, end)
    left = canonical(text[max(0, first - REACH) : first].decode("utf-8", "ignore"))[-NEIGHBOURS:]
    right = canonical(text[last : last + REACH].decode("utf-8", "ignore"))[:NEIGHBOURS]
    return _context(left), _context(right)


def _sentence(text: bytes, begin: int, end: int) -> tuple[int, int]:
    """Where the sentence (or line) around a run begins and ends."""
    first = max(0, begin - REACH)
    for found in _END.finditer(text, first, begin):
        first = found.end()
    while first < begin and text[first : first + 1].isspace():
        first += 1
    after = _END.search(text, end, min(len(text), end + REACH))
    if after is None:
        return first, len(text) if len(text) - end < REACH else end
    return first, after.start() if after.group() == b"\n" else after.end()


def _is_carrier(text: bytes, first: int, last: int, begin: int, end: int) -> bool:
    """Whether the sentence is there for the sake of the phrase: it says so, or it hardly holds anything else."""
    around = text[first:begin] + b" " + text[end:last]
    return CARRIERS.search(around) is not None or len(around.split()) <= SENTENCE_WORDS // 2


def _with_space(text: bytes, begin: int, end: int) -> int:
    """The beginning of a cut, with one space before it unless the text goes on without one."""
    follows = end == len(text) or text[end : end + 1].isspace()
    return begin - 1 if begin and text[begin - 1 : begin] == b" " and follows else begin


def _context(words: list[str]) -> int:
    return signed(xxhash.xxh3_64_intdigest(" ".join(words).encode())) if words else 0


def signed(number: int) -> int:
    """A hash of 64 bits as int64."""
    return number - (1 << 64) if number >= 1 << 63 else number
