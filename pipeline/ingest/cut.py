"""Files into slices. A slice becomes one shard; the cut follows from the input and the settings alone.

Large files are cut (JSON lines by byte ranges, Parquet by row groups, datasets by rows, the rest by a first split),
small ones are gathered, in the order of their names, until `shard_mb` is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import fsspec
import pyarrow.parquet as pq

from pipeline.ingest.read import compression, damage, is_local
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.sources import InputFile

EXPANSION = 4
"""Text per byte of compressed input, for the cut: a compressed file larger than shard_mb / 4 gets a first split."""


@dataclass(frozen=True)
class Piece:
    """Part of one file. start, stop: bytes of lines, row groups of Parquet, rows of a dataset; stop None: to the end.

    For a `chunk` of a first split, `start` is what it begins with in its file: a byte of lines, a record of CSV.
    """

    path: str
    start: int = 0
    stop: int | None = None
    chunk: str | None = None
    """file in the workspace that holds it"""
    split: str | None = None
    """split of a dataset"""


Slice = tuple[Piece, ...]
Weighed = tuple[Piece, int]


def needs_split(file: InputFile, form: str, settings: IngestSettings) -> bool:
    """Whether a file is too large for one shard and can only be read from its beginning."""
    packed = compression(file.path) is not None
    expected = file.size * (EXPANSION if packed else 1)
    return expected > settings.shard_bytes and (form == "csv" or (form == "jsonl" and packed))


def cut(
    form: str, files: Sequence[InputFile], settings: IngestSettings, chunks: dict[str, list[Weighed]]
) -> list[Slice]:
    """All slices, in the order of the input. `chunks` {file: its chunks} of the files that had a first split."""
    weighed: Callable[[InputFile], list[Weighed]]
    if form == "parquet":
        weighed = _row_groups
    elif form == "hf":
        weighed = _rows(settings)
    else:
        weighed = _bytes(form, settings, chunks)
    with ThreadPoolExecutor(16 if form == "parquet" else 1) as pool:
        found = [piece for pieces in pool.map(weighed, files) for piece in pieces]
    return _gathered(found, settings.shard_bytes)


def _gathered(pieces: Iterable[Weighed], limit: int) -> list[Slice]:
    slices: list[Slice] = []
    group: list[Piece] = []
    weight = 0
    for piece, size in pieces:
        if group and weight + size > limit:
            slices.append(tuple(group))
            group, weight = [], 0
        group.append(piece)
        weight += size
    if group:
        slices.append(tuple(group))
    return slices


def _bytes(
    form: str, settings: IngestSettings, chunks: dict[str, list[Weighed]]
) -> Callable[[InputFile], list[Weighed]]:
    def weighed(file: InputFile) -> list[Weighed]:
        if file.path in chunks:
            return chunks[file.path]
        packed = compression(file.path) is not None
        if form == "jsonl" and not packed and file.size > settings.shard_bytes:
            count = -(-file.size // settings.shard_bytes)
            ends = [file.size * i // count for i in range(count + 1)]
            return [(Piece(file.path, a, b), b - a) for a, b in pairwise(ends)]
        return [(Piece(file.path), file.size * (EXPANSION if packed else 1))]

    return weighed


def _row_groups(file: InputFile) -> list[Weighed]:
    try:
        with parquet_file(file.url) as opened:
            facts = opened.metadata
            sizes = [facts.row_group(i).total_byte_size for i in range(facts.num_row_groups)]
    except (ValueError, OSError):
        return [(Piece(file.path), file.size)]  # its shard will fail, alone
    return [(Piece(file.path, i, i + 1), size) for i, size in enumerate(sizes)]


def parquet_file(url: str) -> Any:
    """A ParquetFile that reads column chunks piece by piece. Raises ValueError naming the file if it is damaged."""
    fs, path = fsspec.core.url_to_fs(url)
    with damage(url):
        return pq.ParquetFile(path if is_local(fs) else fs.open(path, "rb"), buffer_size=1 << 20, pre_buffer=False)


def joined(pieces: Slice) -> Slice:
    """Neighbouring parts of one file as one piece."""
    done: list[Piece] = []
    for piece in pieces:
        last = done[-1] if done else None
        same = last is not None and (last.path, last.split) == (piece.path, piece.split)
        if last is not None and same and last.stop is not None and last.stop == piece.start:
            done[-1] = Piece(piece.path, last.start, piece.stop, None, piece.split)
        else:
            done.append(piece)
    return tuple(done)


def _rows(settings: IngestSettings) -> Callable[[InputFile], list[Weighed]]:
    def weighed(file: InputFile) -> list[Weighed]:
        from pipeline.ingest.tables import open_dataset

        assert file.dataset is not None
        pieces = []
        for split, data in open_dataset(file.dataset).items():
            rows = len(data)
            count = min(max(-(-int(data.data.nbytes) // settings.shard_bytes), 1), max(rows, 1))
            ends = [rows * i // count for i in range(count + 1)]
            share = int(data.data.nbytes) // count
            pieces += [(Piece(file.path, a, b, None, split), share) for a, b in pairwise(ends)]
        return pieces

    return weighed
