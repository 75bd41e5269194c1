"""Parquet files of documents and of scores: the same rows give the same bytes, however they arrive.

Documents: zstd, page index, row groups bounded by bytes of text, no dictionary and no statistics on `text`.
Scores and other narrow tables: `id` first, row groups of NARROW_ROWS rows. Equality of bytes holds for one pyarrow
version (it writes its own into the file).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.integrity import Damaged, naming
from pipeline.storage import Store

GROUP_BYTES = 64 << 20
"""Text in one row group of documents: what a reader holds at once."""
GROUP_ROWS = 250_000
"""Documents in one row group, however short: ids and other columns take memory too."""
NARROW_ROWS = 122_880
"""Rows in one row group of a narrow table: DuckDB's own unit of parallel work."""
MEND = "`tamis verify --mend` has the next ingest make it again"
BATCH_BYTES = 8 << 20
"""Text that a scorer sees at once: thousands of documents, yet its scratch stays small."""


class DocumentWriter:
    """Write one shard of documents. Row groups are cut by the rows alone, not by the tables they came in."""

    def __init__(self, path: str, schema: pa.Schema):
        self.schema = schema
        self.num_rows = 0
        self.num_bytes = 0
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = self._waiting_rows = 0
        light = [name for name in schema.names if name != "text"]
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=light,
            write_statistics=light,
            write_page_index=True,
            write_page_checksum=True,
            store_schema=True,
        )

    def write(self, table: pa.Table) -> None:
        """Add rows; `table` has exactly the writer's schema."""
        ends = np.cumsum(_lengths(table.column("text")))
        start = 0
        while start < table.num_rows:
            # A group ends with the row that reaches GROUP_BYTES or GROUP_ROWS.
            before = int(ends[start - 1]) if start else 0
            by_bytes = int(np.searchsorted(ends, before + GROUP_BYTES - self._waiting_bytes)) + 1
            stop = min(by_bytes, start + GROUP_ROWS - self._waiting_rows)
            part = table.slice(start, min(stop, table.num_rows) - start)
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            start += part.num_rows
            self._waiting_bytes += int(ends[start - 1]) - before
            if start == stop:
                self._flush()
        self.num_rows += table.num_rows
        self.num_bytes += int(ends[-1]) if len(ends) else 0

    def _flush(self) -> None:
        group = pa.concat_tables(self._waiting).combine_chunks()
        self._writer.write_table(group, row_group_size=max(group.num_rows, 1))
        self._waiting, self._waiting_bytes, self._waiting_rows = [], 0, 0

    def close(self) -> None:
        """Write what waits and the footer."""
        if self._waiting:
            self._flush()
        self._writer.close()


def write_narrow(path: str, table: pa.Table, compression: str = "zstd") -> None:
    """Write a table without text."""
    # A dictionary of distinct floats or ids is built only to be thrown away: half of the time of writing scores.
    repeated = [field.name for field in table.schema if field.name != "id" and _is_text(field.type)]
    repeated += [f"{field.name}.list.element" for field in table.schema if _is_text_list(field.type)]
    pq.write_table(
        table.combine_chunks(),
        path,
        compression=compression,
        use_dictionary=repeated or False,
        row_group_size=NARROW_ROWS,
        write_page_index=True,
        write_page_checksum=True,
    )


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and _is_text(kind.value_type)


@contextlib.contextmanager
def open_parquet(store: Store, name: str, buffer: int = 0) -> Iterator[pq.ParquetFile]:
    """A Parquet file of the workspace; pages are verified as they are read. Raises Damaged, which names the file.

    buffer: read a local file so many bytes at a time instead of mapping it: mapped pages count as a worker's memory.
    """
    pieces = bool(buffer) and store.is_local
    # A footer has no checksum, and Arrow says many things of a damaged one; of another machine's file, trouble too.
    with naming(store.shown(name), alone=store.is_local):
        opened = pq.ParquetFile(
            store.open(name),
            memory_map=store.is_local and not pieces,
            buffer_size=buffer if pieces else 0,
            pre_buffer=not store.is_local,
            page_checksum_verification=True,
        )
    with naming(store.shown(name)), opened as file:
        yield file


def batches(store: Store, name: str, columns: list[str], buffer: int = 0) -> Iterator[pa.Table]:
    """The rows of a document shard in order, about BATCH_BYTES of text at a time."""
    with open_parquet(store, name, buffer) as file:
        if lost := [column for column in columns if column not in file.schema_arrow.names]:
            raise Damaged(f"{store.shown(name)} is damaged (it has no column {lost[0]!r}); {MEND}")
        for group in range(file.num_row_groups):
            # Decompressed bit by bit, a row group never lies in memory as a whole, and a batch is one contiguous array.
            for part in file.iter_batches(_rows_at_once(file, group), [group], columns, use_threads=False):
                table = pa.Table.from_batches([part])
                ends = np.cumsum(_lengths(table.column("text"))) if "text" in columns else np.zeros(table.num_rows)
                start = 0
                while start < table.num_rows:
                    before = int(ends[start - 1]) if start else 0
                    stop = int(np.searchsorted(ends, before + BATCH_BYTES)) + 1
                    yield table.slice(start, stop - start)
                    start = stop


def _rows_at_once(file: pq.ParquetFile, group: int) -> int:
    """Rows of a row group that hold half of BATCH_BYTES on average: rarely are they to be cut again."""
    facts = file.metadata.row_group(group)
    return max(1, facts.num_rows * (BATCH_BYTES // 2) // max(1, facts.total_byte_size))


def read_narrow(store: Store, name: str, columns: list[str] | None = None) -> pa.Table:
    """A whole narrow table, in order."""
    with open_parquet(store, name) as file:
        return file.read(columns=columns, use_threads=False)


def digest(path: str) -> str:
    """xxh3-128 of a local file, in hex."""
    state = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def check_shard(store: Store, name: str, size: int, expected: str | None = None) -> None:
    """Raises Damaged unless a file is the one that the ledger speaks of: by its size, and on a disk by its digest.

    Pages have checksums of their own; a footer has none, and one flipped bit in it can hide every row.
    """
    found = store.size(name)
    if found != size:
        raise Damaged(f"{store.shown(name)} has {found} bytes, {size} were written: it was changed or damaged; {MEND}")
    if store.is_local and expected is not None and digest(store.path(name)) != expected:
        raise Damaged(f"{store.shown(name)} has other bytes than were written: it was changed or damaged; {MEND}")


def file_facts(path: str) -> dict[str, Any]:
    """Size and digest of a finished local file, as the ledger records them."""
    import os

    return {"size": os.path.getsize(path), "digest": digest(path)}


def _lengths(text: pa.ChunkedArray) -> np.ndarray:
    """Bytes of each document, int64."""
    parts = []
    for chunk in text.chunks:
        width = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        if len(chunk):
            offsets = np.frombuffer(chunk.buffers()[1], width, len(chunk) + 1, chunk.offset * width().itemsize)
            parts.append(np.diff(offsets).astype(np.int64))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
