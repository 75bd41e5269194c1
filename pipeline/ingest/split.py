"""First split: a huge compressed or CSV file into plain chunks, so that all workers can share it.

One task reads the file once and writes `tmp/ingest-<hash8>/split/<name>/NNNNN`, cut at the first line (record of CSV)
that starts at or after the size of a shard; `chunks.json` is written last and marks the split as whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import orjson

from pipeline.execute import Counts, Job
from pipeline.ingest.cut import Piece, Weighed
from pipeline.ingest.read import (
    BLOCK,
    Bad,
    compression,
    csv_records,
    line_blocks,
    opened,
)
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.sources import InputFile
from pipeline.storage import Store

MARKER = "chunks.json"


@dataclass(frozen=True)
class SplitTask:
    """What a worker needs to know to split one file."""

    file: InputFile
    form: str
    folder: str
    settings: IngestSettings


def split(job: Job) -> dict[str, Counts | Exception]:
    """Split one file. A file that is damaged or forbidden is left whole: its shard will fail, alone.

    Where the file was changed meanwhile or there is no room for its parts, the split fails: the next run may do better,
    and it must find the cut that an undisturbed run would have made.
    """
    task: SplitTask = job.task
    store = job.workspace.store
    source = _records if task.form == "csv" else _lines
    try:
        starts = _write(store, task, _reading(source(task)))
        task.file.check()
    except _Unreadable:
        task.file.check()
        starts = []
    store.write_bytes(f"{task.folder}/{MARKER}", orjson.dumps(starts))
    return {folder: Counts(bytes_in=sum(size for _, size in starts)) for folder, _ in job.outputs}


class _Unreadable(Exception):
    """What is in the file, or who may read it, is the trouble: it stays so."""


def _reading(blocks: Iterator[tuple[int, bytes, bool]]) -> Iterator[tuple[int, bytes, bool]]:
    try:
        yield from blocks
    except (ValueError, PermissionError) as error:
        raise _Unreadable from error


def chunks(store: Store, file: InputFile, folder: str) -> list[Weighed]:
    """The pieces that a finished split made of a file."""
    starts = orjson.loads(store.read_bytes(f"{folder}/{MARKER}"))
    pieces = [(Piece(file.path, start, None, _name(folder, i)), size) for i, (start, size) in enumerate(starts)]
    return pieces or [(Piece(file.path), file.size)]


def _name(folder: str, index: int) -> str:
    return f"{folder}/{index:05d}"


def _write(store: Store, task: SplitTask, blocks: Iterator[tuple[int, bytes, bool]]) -> list[tuple[int, int]]:
    """(start, bytes) of each chunk written. Blocks are (position, bytes, whether a chunk may begin here)."""
    limit = task.settings.shard_bytes
    starts: list[tuple[int, int]] = []
    with ExitStack() as stack:
        out: Any = None
        size = start = 0
        for position, data, boundary in blocks:
            if out is None or (boundary and size >= limit):
                if out is not None:
                    starts.append((start, size))
                    stack.close()
                    if len(starts) == task.settings.limit:
                        return starts
                path = stack.enter_context(store.writing(_name(task.folder, len(starts))))
                out = stack.enter_context(open(path, "wb"))
                start, size = position, 0
            out.write(data)
            size += len(data)
        if out is not None:
            starts.append((start, size))
    return starts


def _lines(task: SplitTask) -> Iterator[tuple[int, bytes, bool]]:
    """Blocks of the stream, cut so that each starts a line where it may start a chunk."""
    limit = task.settings.shard_bytes
    with opened(task.file.url, compression(task.file.path)) as read:
        position = start = 0  # `start`: of the current chunk
        while data := read(min(BLOCK, limit)):
            while data:
                room = start + limit - position
                newline = data.find(b"\n", max(room - 1, 0)) if room <= len(data) else -1
                part = data if newline < 0 else data[: newline + 1]
                yield position, part, position == start
                position += len(part)
                data = data[len(part) :]
                if newline >= 0:
                    start = position


def _records(task: SplitTask) -> Iterator[tuple[int, bytes, bool]]:
    """Runs of whole CSV records without the header; positions count records."""
    waiting = bytearray()
    with opened(task.file.url, compression(task.file.path)) as read:

        def tapped(n: int) -> bytes:
            data = read(n)
            waiting.extend(data)
            return data

        blocks = line_blocks(tapped, 0, None, task.settings.max_line)
        first = 0
        records = csv_records(blocks, delimiter(task.file.path, task.settings), task.settings.max_chars)
        header = next(records, None)
        if header is None:
            return
        _drop(waiting, header[1])
        behind = header[1]
        step = min(BLOCK, task.settings.shard_bytes)
        for number, (_, consumed) in enumerate(records, 1):
            if consumed - behind >= step:
                yield first, _drop(waiting, consumed - behind), True
                behind, first = consumed, number
        if waiting:
            yield first, bytes(waiting), True


def _drop(buffer: bytearray, count: int) -> bytes:
    data = bytes(buffer[:count])
    del buffer[:count]
    return data


def delimiter(path: str, settings: IngestSettings) -> str:
    """The delimiter of a CSV file."""
    return settings.delimiter or ("\t" if ".tsv" in path.lower() else ",")


def csv_header(file: InputFile, settings: IngestSettings) -> list[str]:
    """The names in the first record of a CSV file. Raises ValueError if there is none or a name comes twice."""
    with opened(file.url, compression(file.path)) as read:
        blocks = line_blocks(read, 0, None, settings.max_line)
        header, _ = next(csv_records(blocks, delimiter(file.path, settings), settings.max_chars), ([], 0))
    if isinstance(header, Bad) or len(set(header)) < len(header) or not header:
        raise ValueError(f"{file.url}: expected a first line with the names of the columns, each once")
    try:
        "".join(header).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{file.url}: its first line is not UTF-8") from None
    return header
