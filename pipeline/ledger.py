"""The ledger: one row per shard and attempt of a stage. The row is the completion marker, the statistics and the audit.

An attempt is one small immutable JSON file, written after the file it speaks of; at the end of a stage the main process
gathers them into one Parquet segment (published before the originals are removed), so that a stage of ten thousand
shards is one read. Readers take the union of both, by shard and attempt; the latest attempt of a shard counts.

    ledger/<folder of the stage>/part-00003-of-00064.2.json
    ledger/<folder of the stage>/segment-r9f8e7d6c5b4a3f2e.parquet
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.integrity import Damaged, naming, sealed, unsealed
from pipeline.storage import Store

SOURCE_COUNTS = pa.list_(
    pa.struct(
        [
            ("source", pa.string()),
            ("rows_in", pa.int64()),
            ("rows_out", pa.int64()),
            ("rejected", pa.int64()),
        ]
    )
)

SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.string()),
        ("attempt", pa.int32()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("rows_in", pa.int64()),
        ("rows_out", pa.int64()),
        ("rejected", pa.int64()),
        ("bytes_in", pa.int64()),
        ("size", pa.int64()),
        ("digest", pa.string()),
        ("seconds", pa.float64()),
        ("started", pa.string()),
        ("host", pa.string()),
        ("pid", pa.int64()),
        ("sources", SOURCE_COUNTS),
        ("reasons", pa.list_(pa.struct([("reason", pa.string()), ("rows", pa.int64())]))),
        ("version", pa.string()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One attempt at one shard. `bytes_in`: UTF-8 bytes of text read; `size`, `digest`: of the file written."""

    stage: str
    shard: str
    attempt: int
    status: str
    """'done' or 'failed'"""
    error: str | None = None
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    bytes_in: int = 0
    size: int = 0
    digest: str | None = None
    """xxh3-128 of the file, in hex"""
    seconds: float = 0.0
    started: str = ""
    host: str = ""
    pid: int = 0
    sources: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    version: str = ""

    @property
    def done(self) -> bool:
        """Whether the shard's file is there and whole."""
        return self.status == "done"


NAMED_BY_ROWS = "segment-r"
"""How names of segments begin whose other part is the hash of their rows."""
LOST = "remove it, and the next run makes the shards that it spoke of again"
FIELDS = [field.name for field in dataclasses.fields(Row)]


def folder(stage: str) -> str:
    """Where the rows of a stage lie."""
    return f"ledger/{stage}"


def write(store: Store, row: Row) -> None:
    """Record one attempt."""
    _check_conserved(row)
    store.write_bytes(f"{folder(row.stage)}/{row.shard}.{row.attempt}.json", sealed(dataclasses.asdict(row)))


def _check_conserved(row: Row) -> None:
    """Rows are conserved, or it is a bug: the run fails rather than lose documents in silence."""
    if row.done and row.rows_in != row.rows_out + row.rejected:
        raise AssertionError(
            f"{row.stage}/{row.shard}: {row.rows_in} rows in, {row.rows_out} out and {row.rejected} rejected"
        )


def read(store: Store, stage: str, seen: dict[str, list[Row]] | None = None) -> list[Row]:
    """All attempts of a stage, by shard and attempt.

    seen: {file: its rows} of earlier calls, which is added to: files of the ledger never change.
    """
    seen = {} if seen is None else seen
    names = [f"{folder(stage)}/{name}" for name in store.sizes(folder(stage))]
    segments = [name for name in names if name.rpartition("/")[2].startswith("segment-")]
    attempts = [name for name in names if name.endswith(".json")]
    for name in segments:
        if name not in seen:
            seen[name] = _segment(store, name)
    unread = [name for name in attempts if name not in seen]
    with contextlib.ExitStack() as stack:
        # A disk answers at once; a thread for it would only cost.
        at_once = stack.enter_context(ThreadPoolExecutor(16)).map if unread and not store.is_local else map
        for name, data in zip(unread, at_once(store.read_bytes, unread), strict=True):
            record = unsealed(data, store.shown(name))
            try:
                seen[name] = [Row(**record)]
            except TypeError:
                raise Damaged(f"{store.shown(name)} is damaged (not a row of the ledger); {LOST}") from None
    rows = {(row.shard, row.attempt): row for name in [*segments, *attempts] for row in seen[name]}
    return [rows[key] for key in sorted(rows)]


def _segment(store: Store, name: str) -> list[Row]:
    """The rows of a segment. Raises Damaged if they are not those that its name was made of."""
    shown = store.shown(name)
    data = pa.BufferReader(store.read_bytes(name))
    with naming(shown, alone=True), pq.ParquetFile(data) as file:
        table = file.read(columns=FIELDS, use_threads=False)
    try:
        found = table.schema.field  # a flipped bit can make bytes of a text
        if wrong := next((name for name in FIELDS if found(name).type != SCHEMA.field(name).type), None):
            raise Damaged(
                f"{shown} is damaged ({wrong} is {found(wrong).type}, not {SCHEMA.field(wrong).type}); {LOST}"
            )
        rows = [Row(*values) for values in zip(*(table.column(field).to_pylist() for field in FIELDS), strict=True)]
    except (KeyError, UnicodeDecodeError) as error:
        raise Damaged(f"{shown} is damaged ({' '.join(str(error).split())}); {LOST}") from None
    if NAMED_BY_ROWS in name and name.rpartition("/")[2] != _segment_name(table):
        raise Damaged(f"{shown} is damaged (its rows are not those it was written with); {LOST}")
    return rows


def _segment_name(table: pa.Table) -> str:
    """Of the rows as Parquet gives them back: it adds what a row left out."""
    rows = orjson.dumps(table.select(FIELDS).to_pylist(), option=orjson.OPT_SORT_KEYS)
    return f"{NAMED_BY_ROWS}{xxhash.xxh3_64_hexdigest(rows)}.parquet"


def latest(rows: list[Row]) -> dict[str, Row]:
    """The row that counts of each shard: its last attempt."""
    return {row.shard: row for row in rows}


def compact(store: Store, stage: str, attempts: Sequence[Row] = ()) -> None:
    """Gather the attempts of a stage into one segment. For the holder of the workspace's lock.

    attempts: of the main process itself, which need no file of their own first: it makes all files of the stage and
    then this one.
    """
    for row in attempts:
        _check_conserved(row)
    names = store.sizes(folder(stage))
    if not attempts and not any(name.endswith(".json") for name in names):
        return
    known = {(row.shard, row.attempt): row for row in [*read(store, stage), *attempts]}
    rows = [dataclasses.asdict(known[key]) for key in sorted(known)]
    table = pa.Table.from_pylist(rows, SCHEMA)
    kept = _segment_name(table)
    with store.writing(f"{folder(stage)}/{kept}") as path:
        pq.write_table(table, path, compression="zstd")
    for name in names:
        if name != kept:
            store.remove(f"{folder(stage)}/{name}")
