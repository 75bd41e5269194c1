"""Bytes in: files opened through fsspec, decompressed, and cut into lines and records. Damage is told from silence.

gzip and zstd streams are read through Arrow: whole (all members, all frames), in pieces of bounded size whatever the
compression ratio, and a stream that ends too early is an error. A line longer than a limit is passed over unread.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

BLOCK = 4 << 20
"""Bytes read at a time: thousands of documents, yet their Python objects stay small."""
BOM = b"\xef\xbb\xbf"
COMPRESSIONS = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
DAMAGE = ("compressed stream", "decompress", "inflate")
"""Words of Arrow's errors about compressed data: they have no errno, so they would pass for trouble of the network."""

HEAD = 4096
"""Bytes kept of a line that is passed over."""

Read = Callable[[int], bytes]


@dataclass(frozen=True)
class Bad:
    """A row that cannot be a document."""

    reason: str
    detail: str


@dataclass(frozen=True)
class TooLong:
    """A line that was passed over: its start, for the reject's sample, and its length in bytes."""

    head: bytes
    length: int


def compression(path: str) -> str | None:
    """gzip, zstd or None, by the ending of the name."""
    return next((kind for ending, kind in COMPRESSIONS.items() if path.lower().endswith(ending)), None)


@contextlib.contextmanager
def opened(url: str, compressed: str | None, start: int = 0) -> Iterator[Read]:
    """`read(n)` over a file's decompressed bytes. Raises OSError or ValueError with the file's name."""
    fs, path = fsspec.core.url_to_fs(url)
    with damage(url), fs.open(path, "rb", **({} if is_local(fs) else {"block_size": 8 << 20})) as raw:
        if compressed is None:
            raw.seek(start)
            yield raw.read
        else:
            with pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), compressed) as stream:
                yield stream.read


@contextlib.contextmanager
def damage(url: str) -> Iterator[None]:
    """Errors about the file's contents become ValueErrors that name the file: trying again would not help."""
    try:
        yield
    except pa.ArrowException as error:
        raise ValueError(f"{url} cannot be read: {error}") from None
    except OSError as error:
        local = is_local(fsspec.core.url_to_fs(url)[0])
        if error.errno is None and (local or any(word in str(error) for word in DAMAGE)):
            raise ValueError(f"{url} cannot be read: {error}") from None
        raise


def is_local(fs: Any) -> bool:
    """Whether a filesystem is this machine's own."""
    return isinstance(fs, LocalFileSystem)


def line_blocks(
    read: Read, offset: int, stop: int | None, max_line: int, block: int = BLOCK
) -> Iterator[tuple[int, bytes | TooLong]]:
    """(byte offset, whole lines without the last newline) of the lines that start in [offset, stop).

    `read` stands at `offset`, the start of a line. A line of more than `max_line` (at least `block`) bytes comes alone.
    """
    assert max_line >= block
    parts: list[bytes] = []  # of the line that is not whole yet; it starts at `offset`
    length = 0
    while stop is None or offset < stop:
        chunk = read(block)
        if not chunk:
            if length:
                yield offset, b"".join(parts) if length <= max_line else TooLong(parts[0], length)
            return
        newline = chunk.find(b"\n")
        if newline >= 0 and length + newline > max_line:
            yield offset, TooLong(parts[0][:HEAD], length + newline)
            offset += length + newline + 1
            parts, length = [], 0
            chunk = chunk[newline + 1 :]
            if stop is not None and offset >= stop:
                return
            if not chunk:
                continue
        last = chunk.rfind(b"\n")
        if last < 0:
            length += len(chunk)
            parts = [*parts, chunk] if length <= max_line else [(parts[0] if parts else chunk)[:HEAD]]
            continue
        data = b"".join((*parts, memoryview(chunk)[:last]))
        rest = chunk[last + 1 :]
        parts, length = ([rest], len(rest)) if rest else ([], 0)
        if stop is not None and offset + len(data) >= stop:
            end = data.find(b"\n", max(stop - 1 - offset, 0))
            if end >= 0:
                yield offset, data[:end]
                return
        yield offset, data
        offset += len(data) + 1


def ranged_blocks(url: str, start: int, stop: int, max_line: int) -> Iterator[tuple[int, bytes | TooLong]]:
    """Lines of a plain file that start in [start, stop): one that reaches over `start` belongs to the range before."""
    with opened(url, None, max(start - 1, 0)) as read:
        if start == 0:
            yield from line_blocks(read, 0, stop, max_line)
            return
        at = start - 1
        while at < stop and (chunk := read(BLOCK)):
            newline = chunk.find(b"\n")
            if newline >= 0:
                joined = _after(chunk[newline + 1 :], read)
                yield from line_blocks(joined, at + newline + 1, stop, max_line)
                return
            at += len(chunk)


def _after(first: bytes, read: Read) -> Read:
    """`read` with some bytes put back before it."""
    waiting = [first] if first else []
    return lambda n: waiting.pop() if waiting else read(n)


def csv_records(
    blocks: Iterator[tuple[int, bytes | TooLong]], delimiter: str, max_chars: int
) -> Iterator[tuple[list[str] | Bad, int]]:
    """(fields, byte offset behind the record) of each record that is not blank.

    Python's own reader, strict, decides what a record is: quoted newlines, doubled quotes, ragged lines. Bytes that are
    no UTF-8 come as surrogates.
    """
    consumed = 0
    passed_over: list[Bad] = []

    def lines() -> Iterator[str]:
        nonlocal consumed
        for offset, data in blocks:
            if isinstance(data, TooLong):
                consumed = offset + data.length + 1
                passed_over.append(Bad("too_long", f"a line of {data.length} bytes"))
                continue
            consumed = offset
            if offset == 0:
                consumed, data = (3, data[3:]) if data.startswith(BOM) else (0, data)
            for line in data.split(b"\n"):
                consumed += len(line) + 1
                yield line.decode("utf-8", "surrogateescape") + "\n"

    csv.field_size_limit(max_chars)
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        record: list[str] | Bad | None
        try:
            record = next(reader, None)
        except csv.Error as error:
            record = Bad("too_long" if "field limit" in str(error) else "broken_csv", str(error))
        while passed_over:
            yield passed_over.pop(0), consumed
        if record is None:
            return
        if record:
            yield record, consumed
