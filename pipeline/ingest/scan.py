"""A block of JSON lines in two: the texts as one Arrow column, and the lines without them.

Most of a line is its text, and a text needs no parser: the kernel finds the string of the text's key in the outermost
object, checks and decodes it straight into Arrow's buffer, and leaves `""` in its place. What is left is short, and a
JSON parser reads it with every rule that it has for numbers, nested values, other keys and what is no JSON at all:
a string for a string changes neither whether a line is JSON nor any other value of it.

A line is `plain` if that much is sure: one object from its first byte to its last but white space, no key of it
written with an escape, the text's key there once, and behind it a string that is UTF-8 without a fault. All other lines
are for the parser as they are.

    block = scan(b'{"n": 1, "text": "a\\\\tb"}\\n[1, 2]', "text")
    block.plain          # [True, False]
    block.texts          # ["a\\tb", ""]
    block.rest           # b'[{"n": 1, "text": ""}]'
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scorers.bits import inlined, load_bytes, pointer, read_only, store64, trailing_zeros
from scorers.jit import kernel

_QUOTE, _BACKSLASH, _NEWLINE, _COMMA, _COLON = ord('"'), ord("\\"), ord("\n"), ord(","), ord(":")
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = ord("{"), ord("}"), ord("["), ord("]")
_SPACE, _TAB, _RETURN, _UNICODE = ord(" "), ord("\t"), ord("\r"), ord("u")

_ONES = 0x0101010101010101
_EACH, _HIGH = np.uint64(_ONES), np.uint64(_ONES * 0x80)
_QUOTES, _BACKSLASHES, _SPACES = np.uint64(_ONES * _QUOTE), np.uint64(_ONES * _BACKSLASH), np.uint64(_ONES * _SPACE)

_ESCAPES = np.zeros(256, np.uint8)
"""What the byte behind a backslash stands for; 0: nothing, or `u`."""
_ESCAPES[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
_HEX = np.full(256, 0x10000, np.int64)
"""Value of a hexadecimal digit; more than any four digits make, wherever it stands, if it is none."""
_HEX[list(b"0123456789abcdef")] = _HEX[list(b"0123456789ABCDEF")] = range(16)


@dataclass(frozen=True)
class Block:
    """n lines of JSON."""

    data: bytes
    starts: np.ndarray
    """int64 of shape (n + 1,): line i is `data[starts[i]:starts[i + 1] - 1]`"""
    plain: np.ndarray
    """bool of shape (n,)"""
    texts: pa.Array
    """large_string of n rows; empty where the line is not plain"""
    rest: bytes
    """a JSON array of the plain lines with empty texts; no array if one of them is no JSON"""
    rest_ends: np.ndarray
    """int64 of shape (n + 1,)"""

    def line(self, i: int) -> bytes:
        """A line as it was."""
        return self.data[self.starts[i] : self.starts[i + 1] - 1]

    def rest_of(self, i: int) -> bytes:
        """What is left of a plain line."""
        return self.rest[self.rest_ends[i] : self.rest_ends[i + 1] - 1]


def scan(data: bytes, name: str) -> Block:
    """Lines between newlines; `name`: the key of the text."""
    raw = np.frombuffer(data, np.uint8)
    lines = _newlines(raw) + 1
    starts, ends, rest_ends = (np.zeros(lines + 1, np.int64) for _ in range(3))
    # No escape is shorter than its character. The kernel writes up to 8 bytes more than there are.
    text, rest = np.empty(len(data) + 8, np.uint8), np.empty(len(data) + 16, np.uint8)
    key = np.frombuffer(name.encode(), np.uint8)
    _scan(raw, read_only(key), _ESCAPES, _HEX, text, rest, starts, ends, rest_ends)
    plain = np.diff(rest_ends) > 0
    used = int(ends[-1])
    # Texts wait until a row group is full: they must not hold much more than they fill.
    buffer = pa.py_buffer(text if 2 * used > len(text) else text[:used].copy())
    texts = pa.Array.from_buffers(pa.large_string(), lines, [None, pa.py_buffer(ends), buffer], 0)
    left = rest[: max(int(rest_ends[-1]), 2)]
    left[0], left[-1] = _OPEN_LIST, _CLOSE_LIST
    return Block(data, starts, plain, texts, left.tobytes(), rest_ends)


@kernel
def _newlines(data):
    num = 0
    for byte in data:
        num += byte == _NEWLINE
    return num


@inlined
def _zero_bytes(x):
    """The high bit of every byte that is 0; of bytes above the lowest such perhaps too."""
    return (x - _EACH) & ~x & _HIGH


@inlined
def _ends(x):
    """As _zero_bytes, of bytes that are a quote, a backslash or a control character."""
    return _zero_bytes(x ^ _QUOTES) | _zero_bytes(x ^ _BACKSLASHES) | ((x - _SPACES) & ~x & _HIGH)


@inlined
def _character(line, at):
    """Bytes of the character at line[at], which is not ASCII; 0 if it is not UTF-8. Reads up to line[at + 3]."""
    lead, second, third = np.int64(line[at]), np.int64(line[at + 1]), np.int64(line[at + 2])
    if second & 0xC0 != 0x80:
        return 0
    if 0xC2 <= lead < 0xE0:
        return 2
    if third & 0xC0 != 0x80:
        return 0
    if 0xE0 <= lead < 0xF0:
        point = (lead & 0x0F) << 12 | (second & 0x3F) << 6
        return 3 if point >= 0x800 and not 0xD800 <= point < 0xE000 else 0
    if 0xF0 <= lead < 0xF5 and line[at + 3] & 0xC0 == 0x80:
        point = (lead & 0x07) << 18 | (second & 0x3F) << 12
        return 4 if 0x10000 <= point < 0x110000 else 0
    return 0


@inlined
def _unit(line, at, digits):
    """The number of the four hexadecimal digits from line[at]; more than 0xFFFF if one is none."""
    return digits[line[at]] << 12 | digits[line[at + 1]] << 8 | digits[line[at + 2]] << 4 | digits[line[at + 3]]


@inlined
def _encoded(point, text, out):
    """Write a code point as UTF-8; behind it."""
    if point < 0x80:
        text[out] = point
        return out + 1
    if point < 0x800:
        text[out] = 0xC0 | point >> 6
        text[out + 1] = 0x80 | point & 0x3F
        return out + 2
    if point < 0x10000:
        text[out] = 0xE0 | point >> 12
        text[out + 1] = 0x80 | point >> 6 & 0x3F
        text[out + 2] = 0x80 | point & 0x3F
        return out + 3
    text[out] = 0xF0 | point >> 18
    text[out + 1] = 0x80 | point >> 12 & 0x3F
    text[out + 2] = 0x80 | point >> 6 & 0x3F
    text[out + 3] = 0x80 | point & 0x3F
    return out + 4


@inlined
def _decoded(line, at, size, escapes, digits, text, out):
    """Decode the string that begins behind a quote at `at`: (the quote that ends it, end of the text); -1 if faulty."""
    while True:
        x = load_bytes(line, at, size)
        store64(text, out, x)
        clean = np.int64(trailing_zeros(_ends(x) | x & _HIGH) >> np.uint64(3))
        at += clean
        out += clean
        if clean == 8:
            continue
        # Behind every character of a good line come a quote and a bracket.
        if at + 3 >= size:
            return (at, out) if at < size and line[at] == _QUOTE else (-1, out)
        if line[at] == _QUOTE:
            return at, out
        if line[at] >= 0x80:
            while line[at] >= 0x80:
                length = _character(line, at) if at + 3 < size else 0
                if length == 0:
                    return -1, out
                for i in range(length):
                    text[out + i] = line[at + i]
                at += length
                out += length
        elif line[at] != _BACKSLASH:
            return -1, out
        elif line[at + 1] != _UNICODE:
            if escapes[line[at + 1]] == 0:
                return -1, out
            text[out] = escapes[line[at + 1]]
            at += 2
            out += 1
        else:
            if at + 6 >= size:
                return -1, out
            point = _unit(line, at + 2, digits)
            at += 6
            if 0xD800 <= point < 0xDC00:
                if at + 6 >= size or line[at] != _BACKSLASH or line[at + 1] != _UNICODE:
                    return -1, out
                low = _unit(line, at + 2, digits) - 0xDC00
                if not 0 <= low < 0x400:
                    return -1, out
                point = 0x10000 + ((point - 0xD800) << 10) + low
                at += 6
            elif point > 0xFFFF or 0xDC00 <= point < 0xE000:
                return -1, out
            out = _encoded(point, text, out)


@inlined
def _string_end(line, at, size):
    """The quote that ends a string whose content begins at `at`; -1 if none does before the end of the line."""
    while True:
        clean = np.int64(trailing_zeros(_ends(load_bytes(line, at, size))) >> np.uint64(3))
        at += clean
        if clean == 8:
            continue
        if at >= size:
            return -1
        if line[at] == _QUOTE:
            return at
        if line[at] != _BACKSLASH or at + 1 >= size or line[at + 1] < _SPACE:
            return -1
        at += 2


@inlined
def _behind_space(line, at, size):
    while at < size and (line[at] == _SPACE or line[at] == _TAB or line[at] == _RETURN):
        at += 1
    return at


@inlined
def _plain_line(line, at, size, key, key_size, escapes, digits, text, out):
    """(where the string of the text begins and ends, end of the line, end of the text); end of the line -1 if odd."""
    begin = end = -1
    if at >= size or line[at] != _OPEN:
        return begin, end, -1, out
    depth = 1
    is_key = True  # whether a string here would be a key of the outermost object
    at += 1
    while at < size:
        byte = line[at]
        if byte == _QUOTE:
            closing = _string_end(line, at + 1, size)
            if closing < 0:
                break
            named = is_key and depth == 1
            same = named and closing - at - 1 == key_size
            if named:
                for i in range(at + 1, closing):
                    if line[i] == _BACKSLASH:
                        return begin, end, -1, out
                    same = same and line[i] == key[i - at - 1]
            is_key = False
            at = closing + 1
            if same:
                at = _behind_space(line, at, size)
                if begin >= 0 or at >= size or line[at] != _COLON:
                    break
                begin = _behind_space(line, at + 1, size)
                if begin >= size or line[begin] != _QUOTE:
                    break
                at, out = _decoded(line, begin + 1, size, escapes, digits, text, out)
                if at < 0:
                    break
                at += 1
                end = at
            continue
        if byte == _NEWLINE:
            break
        if byte in (_OPEN, _OPEN_LIST):
            depth += 1
        elif byte in (_CLOSE, _CLOSE_LIST):
            depth -= 1
        elif byte == _COMMA:
            is_key = depth == 1
        at += 1
        if depth == 0:
            at = _behind_space(line, at, size)
            if end >= 0 and (at == size or line[at] == _NEWLINE):
                return begin, end, at, out
            break
    return begin, end, -1, out


@inlined
def _copied(line, at, end, rest, kept):
    """Copy line[at:end]; behind the copy. Up to 7 bytes behind it are overwritten."""
    while at < end:
        count = min(end - at, 8)
        store64(rest, kept, load_bytes(line, at, end))
        at += count
        kept += count
    return kept


@kernel
def _scan(data, key, escapes, digits, text, rest, starts, ends, rest_ends):
    line, size = pointer(data), len(data)
    name, key_size = pointer(key), len(key)
    escape_of, digit_of = pointer(escapes), pointer(digits)
    texts, left = pointer(text), pointer(rest)
    at = out = 0
    kept = 1  # behind the bracket of the array
    rest_ends[0] = kept
    for number in range(len(starts) - 1):
        starts[number] = at
        begin, end, stop, behind = _plain_line(line, at, size, name, key_size, escape_of, digit_of, texts, out)
        if stop >= 0:
            kept = _copied(line, at, begin + 1, left, kept)
            kept = _copied(line, end - 1, stop, left, kept)
            left[kept] = _COMMA
            kept += 1
            out = behind
        else:
            stop = at
            while stop < size and line[stop] != _NEWLINE:
                stop += 1
        at = stop + 1
        ends[number + 1] = out
        rest_ends[number + 1] = kept
    starts[len(starts) - 1] = at
