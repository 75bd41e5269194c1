"""Where a sentence may be put into a document: between words, and never into code, tables or markup.

    chosen = choose_places(data, offsets, "paragraph_end", 0.0, 1.0, draws)
    chosen.positions          # int64, bytes within the document; -1: there is no such place
    chosen.leads              # what must stand between the text and the sentence: LEADS[i]

Places: ``paragraph_end``, the end of a paragraph (of a line that ends a sentence, in a text without empty lines);
``own_line``, a line or paragraph of its own after such a place; ``sentence_end``; ``word``, any gap between words;
``document_end``. The first four are drawn among all that lie in a range of the text. Ends of paragraphs that end a
sentence come before those that do not (titles, items).

Left alone: fenced blocks (``` or ~~~), lines indented by four spaces or a tab, lines of tables (two bars, tabs or wide
gaps), headings and rules, lines that begin with a backslash, whatever lies in <...> tags and comments or between the
tags of pre, code, script, style, table, textarea, svg and math, and `code` between backticks. The rules are for
Markdown, HTML and plain text; other ways to write code are not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from scorers.bits import inlined, pointer, read_only
from scorers.jit import kernel

Place = Literal["paragraph_end", "own_line", "sentence_end", "word", "document_end"]
PLACES: tuple[Place, ...] = get_args(Place)
LEADS = (b" ", b"\n", b"\n\n")
_PARAGRAPH, _OWN_LINE, _SENTENCE, _WORD, _DOCUMENT = range(5)
_ENDS, _LINE, _LAST = 1, 2, 4
"""Flags of a gap: after the end of a sentence; at the end of a line; at the end of a paragraph."""
LONGEST_TAG = 2048
"""Bytes in which a tag must close to be one."""
CLOSED = ("pre", "code", "script", "style", "table", "textarea", "svg", "math")


def _name(tag: str) -> int:
    return int.from_bytes(tag.encode()[:8], "big")


_CLOSED = np.array(sorted(_name(tag) for tag in CLOSED), np.uint64)


@dataclass(frozen=True)
class Chosen:
    """One place per document."""

    positions: np.ndarray
    leads: np.ndarray


def choose_places(
    data: np.ndarray, offsets: np.ndarray, place: Place, low: float, high: float, draws: np.ndarray
) -> Chosen:
    """A place in each document ``data[offsets[d]:offsets[d + 1]]``, within [low, high] of its bytes.

    draws: uint64 per document; which of its places. document_end knows no range.
    """
    longest = int(np.diff(offsets).max(initial=0))
    positions, leads = np.full(len(offsets) - 1, -1, np.int64), np.zeros(len(offsets) - 1, np.int8)
    gaps, flags = np.empty(longest // 2 + 2, np.int64), np.empty(longest // 2 + 2, np.int8)
    _choose(
        read_only(data),
        read_only(offsets),
        PLACES.index(place),
        float(low),
        float(high),
        read_only(draws.astype(np.uint64)),
        read_only(_CLOSED),
        gaps,
        flags,
        positions,
        leads,
    )
    return Chosen(positions, leads)


@inlined
def _is_space(byte):
    return byte == 32 or (9 <= byte <= 13)


@inlined
def _is_letter(byte):
    return 65 <= (byte & 0xDF) <= 90


@kernel
def _tag_end(text, i, end):
    """Where the tag or comment that starts at text[i] == '<' ends, after its '>'; i if none starts here."""
    if i + 1 >= end:
        return i
    byte = text[i + 1]
    if byte == 33 and i + 3 < end and text[i + 2] == 45 and text[i + 3] == 45:  # <!--
        for j in range(i + 4, end - 2):
            if text[j] == 45 and text[j + 1] == 45 and text[j + 2] == 62:
                return j + 3
        return end
    if not (_is_letter(byte) or byte == 47 or byte == 33 or byte == 63):
        return i
    for j in range(i + 1, min(end, i + LONGEST_TAG)):
        if text[j] == 62:
            return j + 1
        if text[j] == 60:
            return i
    return i


@kernel
def _depth_of(text, i, stop, closed):
    """1 if the tag text[i:stop] opens an element whose content is left alone, -1 if it closes one, else 0."""
    at, sign = i + 1, 1
    if text[at] == 47:
        at, sign = at + 1, -1
    name = np.uint64(0)
    for _ in range(8):
        byte = text[at] | 32
        if not 97 <= byte <= 122:
            break
        name = name << np.uint64(8) | np.uint64(byte)
        at += 1
    if text[stop - 2] == 47:
        return 0
    for k in range(len(closed)):
        if closed[k] == name:
            return sign
    return 0


@kernel
def _is_table(text, begin, end):
    """Whether a line is a row of a table: a bar at its beginning, or two bars, tabs or wide gaps."""
    bars = tabs = wide = spaces = 0
    for i in range(begin, end):
        byte = text[i]
        bars += byte == 124
        tabs += byte == 9
        if byte == 32:
            spaces += 1
            wide += spaces == 3
        else:
            spaces = 0
    return bars >= 2 or tabs >= 2 or wide >= 2 or text[begin] == 124 or (text[begin] == 43 and text[end - 1] == 43)


@kernel
def _is_rule(text, begin, end):
    """Whether a line is a heading (#), a command (backslash), or nothing but = - * _ or ~."""
    if text[begin] == 35 or text[begin] == 92:
        return True
    for i in range(begin, end):
        byte = text[i]
        if byte not in (61, 45, 42, 95, 126) and not _is_space(byte):
            return False
    return True


@kernel
def _ends_sentence(text, begin, i, stop):
    """Whether the text before position i (of a line from begin to stop) ends a sentence, and not in an abbreviation.

    A full stop within a line does if a capital follows and what is before it is no initial, no short word with a
    capital (Dr., Fig.) and has no other full stop in it (U.S.).
    """
    j = i - 1
    while j > begin and text[j] in (34, 39, 41, 93, 42, 95):  # closing quotes, brackets, emphasis
        j -= 1
    if j >= begin + 2 and text[j] == 0x82 and text[j - 1] == 0x80 and text[j - 2] == 0xE3:  # ideographic full stop
        return True
    if j < begin or text[j] not in (46, 33, 63):
        return False
    if text[j] != 46:
        return True
    letters, capital = 0, False
    for k in range(j - 1, begin - 1, -1):
        byte = text[k]
        if byte == 46:
            return False
        if _is_space(byte):
            break
        letters += 1
        capital = 65 <= byte <= 90
    if i == stop:
        return letters > 0
    while i < stop and (_is_space(text[i]) or text[i] in (34, 39, 40, 91, 42, 95)):
        i += 1
    follows = i < stop and (65 <= text[i] <= 90 or text[i] >= 128 or 48 <= text[i] <= 57)
    return follows and letters > 1 and (letters > 4 or not capital)


@kernel
def _choose(data, offsets, place, low, high, draws, closed_tags, gaps, flags, positions, leads):
    text, closed = pointer(data), closed_tags
    for doc in range(len(offsets) - 1):
        first, end = offsets[doc], offsets[doc + 1]
        num = 0
        fence = np.int64(0)
        depth = 0
        skip = first  # a tag or comment reaches up to here
        had_empty, last_open, last_end = False, False, np.int64(-1)
        begin = first
        while begin < end:
            stop = begin
            while stop < end and text[stop] != 10:
                stop += 1
            line = begin
            begin = stop + 1
            while stop > line and _is_space(text[stop - 1]):
                stop -= 1
            start, indent = line, 0
            while start < stop and _is_space(text[start]):
                indent += 4 if text[start] == 9 else 1
                start += 1
            if start == stop:
                had_empty = True
                if num and flags[num - 1] & _LINE:
                    flags[num - 1] |= _LAST
                continue
            marker = np.int64(text[start])
            is_marker = (marker == 96 or marker == 126) and start + 2 < stop
            is_marker = is_marker and text[start + 1] == marker and text[start + 2] == marker
            closed_line = fence != 0 or is_marker
            if is_marker:
                if fence == 0:
                    fence = marker
                elif fence == marker:
                    fence = np.int64(0)
            if not closed_line:
                closed_line = indent >= 4 or _is_table(text, start, stop) or _is_rule(text, start, stop)
            if closed_line and num and flags[num - 1] & _LINE:
                flags[num - 1] |= _LAST
            i = start
            code = line  # `code` reaches up to here
            while i < stop:
                byte = text[i]
                if i < skip:
                    i = min(skip, stop)
                elif byte == 60 and fence == 0 and not is_marker:
                    skip = _tag_end(text, i, end)
                    if skip > i:
                        depth = max(0, depth + _depth_of(text, i, skip, closed))
                    i = min(max(skip, i + 1), stop)
                elif byte == 96 and i >= code:
                    j = i + 1
                    while j < stop and text[j] != 96:
                        j += 1
                    code = j + 1 if j < stop else code
                    i += 1
                else:
                    i += 1
                if i > start and not closed_line and depth == 0 and i >= skip and i >= code:
                    at_end = i == stop
                    is_gap = (at_end or _is_space(text[i])) and not _is_space(text[i - 1])
                    if is_gap and (at_end or place in (_WORD, _SENTENCE)):
                        ends = _ends_sentence(text, line, i, stop)
                        if place != _SENTENCE or ends:
                            gaps[num] = i - first
                            flags[num] = (_ENDS if ends else 0) | (_LINE if at_end else 0)
                            num += 1
            last_end = stop - first
            last_open = not closed_line and depth == 0 and skip <= stop and code <= stop
            if closed_line:
                last_open = False
        if num and flags[num - 1] & _LINE:
            flags[num - 1] |= _LAST
        size = end - first
        if place == _DOCUMENT:
            if last_end > 0 and fence == 0 and depth == 0 and skip <= first + last_end:
                positions[doc] = last_end
                leads[doc] = 0 if last_open else 2
            continue
        lowest, highest = np.int64(np.ceil(low * size)), np.int64(high * size)
        wanted, chosen = 0, 0
        # Of paragraph ends first those that end a sentence, then any.
        for better in range(2 if place <= _OWN_LINE else 1):
            wanted = 0
            if place <= _OWN_LINE:
                wanted = (_LAST if had_empty else _LINE) | (_ENDS if better == 0 else 0)
            chosen = 0
            for k in range(num):
                chosen += flags[k] & wanted == wanted and lowest <= gaps[k] <= highest
            if chosen:
                break
        if not chosen:
            continue
        pick = np.int64(draws[doc] % np.uint64(chosen))
        for k in range(num):
            if flags[k] & wanted == wanted and lowest <= gaps[k] <= highest:
                if pick == 0:
                    positions[doc] = gaps[k]
                    break
                pick -= 1
        if place == _OWN_LINE:
            leads[doc] = 2 if had_empty else 1
