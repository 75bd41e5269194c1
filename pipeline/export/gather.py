"""Pass B of an export: one output shard from its slices of every piece, in the order of their keys.

Where the output is cut is decided from what pass A counted: at the slices nearest to equal shares of the text. The cut
and the bytes depend on the rows alone, not on how pass A was divided.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execute import Counts, Job
from pipeline.export.scatter import FROM, KEY, text_bytes
from pipeline.shards import DocumentWriter, file_facts
from pipeline.storage import Store

ROWS_AT_ONCE = 8192
"""Rows that are put in order and written at once: less than a row group of ordinary documents."""


@dataclass(frozen=True)
class Output:
    """The work of one task of pass B."""

    out: Store
    file: str
    format: str
    pieces: tuple[tuple[str, int, int], ...]
    """file of a piece, its first batch and the one after the last"""
    schema: pa.Schema


def cut(counts: Sequence[Mapping[str, list[int]]], slices: int, shard_bytes: int) -> list[tuple[int, int]]:
    """First slice and the one after the last of each output shard; one shard at least.

    counts: what pass A wrote beside each piece.
    """
    sizes = np.zeros(slices, np.int64)
    for piece in counts:
        np.add.at(sizes, np.array(piece["slices"], np.int64), np.array(piece["bytes"], np.int64))
    running = np.cumsum(sizes)
    total = int(running[-1])
    shards = max(round(total / shard_bytes), 1)
    ends = [int(np.searchsorted(running, total * (i + 1) // shards)) + 1 for i in range(shards - 1)]
    edges = sorted({0, *(end for end in ends if end < slices), slices})
    return list(itertools.pairwise(edges))


def batches_of(counts: Mapping[str, list[int]], first: int, last: int) -> tuple[int, int]:
    """The record batches of a piece that hold slices first..last-1."""
    numbers = np.array(counts["slices"], np.int64)
    return int(np.searchsorted(numbers, first)), int(np.searchsorted(numbers, last))


def gather(job: Job) -> dict[str, Counts | Exception]:
    """Write one output shard."""
    task: Output = job.task
    (folder, _) = job.outputs[0]
    table = _read(job.workspace.store, task)
    text = text_bytes(table)
    order = _order(table)
    with task.out.writing(task.file) as path:
        ordered = (
            table.take(pa.array(order[start : start + ROWS_AT_ONCE])).select(task.schema.names).cast(task.schema)
            for start in range(0, len(order), ROWS_AT_ONCE)
        )
        if task.format == "jsonl":
            _write_jsonl(path, ordered)
        else:
            writer = DocumentWriter(path, task.schema)
            for part in ordered:
                writer.write(part)
            writer.close()
        facts = file_facts(path)
    sources = [
        {"source": item["values"], "rows_in": item["counts"], "rows_out": item["counts"], "rejected": 0}
        for item in sorted(table.column("source").value_counts().to_pylist(), key=lambda item: item["values"] or "")
    ]
    return {folder: Counts(rows_in=len(order), rows_out=len(order), bytes_in=text, sources=sources, **facts)}


def _read(store: Store, task: Output) -> pa.Table:
    batches = []
    for name, first, last in task.pieces:
        if first == last:
            continue
        source = pa.memory_map(store.open(name)) if store.is_local else store.open(name)
        with source, pa.ipc.open_file(source) as file:
            batches += [file.get_batch(i) for i in range(first, last)]
    schema = task.schema.append(pa.field(KEY, pa.uint64())).append(pa.field(FROM, pa.int32()))
    return pa.Table.from_batches(batches, schema).combine_chunks()


def _order(table: pa.Table) -> np.ndarray:
    """Rows by key, then id, then corpus."""
    keys, corpora = table.column(KEY).to_numpy(), table.column(FROM).to_numpy()
    order = np.lexsort((corpora, keys))
    equal = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(equal):
        # One id in two corpora, or a collision of hashes: put each run of equal keys in order by id.
        ids = table.column("id")
        runs = np.split(np.arange(len(order)), np.flatnonzero(np.diff(keys[order])) + 1)
        for run in runs:
            if len(run) > 1:
                order[run] = sorted(order[run].tolist(), key=lambda i: (ids[i].as_py(), int(corpora[i])))
    return order


def _write_jsonl(path: str, tables: Iterator[pa.Table]) -> None:
    import zstandard

    with open(path, "wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as out:
        for table in tables:
            lines = io.BytesIO()
            for row in table.to_pylist():
                lines.write(orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE))
            out.write(lines.getvalue())


def _plain(value: Any) -> str:
    """What JSON has no form for: bytes as base64, the rest as text."""
    if isinstance(value, (bytes, bytearray)):
        import base64

        return base64.b64encode(value).decode("ascii")
    return str(value)


def uncompressed_bytes(path: str) -> int:
    """Bytes of all columns of a local Parquet file before compression."""
    facts = pq.read_metadata(path)
    return sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
