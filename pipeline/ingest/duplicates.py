"""Ids that came before: the first document with an id is kept, in the order of the input, whoever reads it first.

Shards are staged with a 128-bit hash of every id. Once all are there, DuckDB finds the hashes that occur twice in
bounded memory (it spills to disk), and publishing moves a shard as it is, or writes it again without its duplicates.

A document that is published stays: if some slices could not be read, the others are published without them, and when a
later run reads them, they come after. `rounds.json` remembers which slices came together.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.execute import Counts, Job
from pipeline.ingest.shard import REJECTS, RejectWriter, printable, reason_counts, source_counts
from pipeline.ledger import Row
from pipeline.shards import DocumentWriter, batches, file_facts, open_parquet, read_narrow, write_narrow
from pipeline.storage import Store

MEMORY = "1GB"
DROPS = pa.schema([("row", pa.int32()), ("piece", pa.int32()), ("position", pa.int64())])
REASON = "duplicate_id"

QUERY = """
WITH seen AS (SELECT hi, lo FROM read_parquet($files) GROUP BY hi, lo HAVING count(*) > 1),
ordered AS (
    SELECT slice, row, piece, position,
           row_number() OVER (PARTITION BY hi, lo ORDER BY round, slice, row) AS number
    FROM read_parquet($files) SEMI JOIN seen USING (hi, lo) JOIN rounds USING (slice)
)
SELECT slice, row, piece, position FROM ordered WHERE number > 1 ORDER BY slice, row
"""


@dataclass(frozen=True)
class PublishTask:
    """What a worker needs to know to publish one staged shard."""

    staged: str
    folder: str
    row: Row
    """what staging counted"""
    paths: tuple[str, ...]
    """names of the files of its pieces"""


def remember_rounds(store: Store, staged: str, shards: list[str]) -> dict[str, int]:
    """{shard: round}: shards not seen before come after all that were."""
    name = f"{staged}/rounds.json"
    rounds: dict[str, int] = orjson.loads(store.read_bytes(name)) if store.exists(name) else {}
    new = [shard for shard in shards if shard not in rounds]
    if new:
        rounds |= dict.fromkeys(new, max(rounds.values(), default=-1) + 1)
        store.write_bytes(name, orjson.dumps(rounds))
    return rounds


def mark(store: Store, staged: str, rounds: dict[str, int], order: list[str]) -> None:
    """Write, for each shard with duplicates, which of its rows to drop: `<staged>/drops/<shard>.parquet`."""
    for index, drops in _found(store, staged, rounds, order):
        with store.writing(f"{staged}/drops/{order[index]}.parquet") as path:
            write_narrow(path, drops)


def _found(store: Store, staged: str, rounds: dict[str, int], order: list[str]) -> Iterator[tuple[int, pa.Table]]:
    """(index of the shard, its drops) for each shard with duplicates."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="tamis-ids-") as scratch:
        files = [_local(store, f"{staged}/ids/{shard}.parquet", scratch) for shard in rounds]
        settings: dict[str, Any] = {"memory_limit": MEMORY, "temp_directory": f"{scratch}/spill"}
        with duckdb.connect(config=settings) as connection:
            numbers = {shard: i for i, shard in enumerate(order)}
            places = pa.table(
                {
                    "slice": pa.array([numbers[shard] for shard in rounds], pa.int32()),
                    "round": pa.array(list(rounds.values()), pa.int32()),
                }
            )
            connection.register("rounds", places)
            # Through a file, because DuckDB's names for handing out Arrow change from version to version.
            connection.execute(f"COPY ({QUERY}) TO '{scratch}/drops.parquet' (FORMAT parquet)", {"files": files})
        with pq.ParquetFile(f"{scratch}/drops.parquet") as drops:
            waiting: list[pa.Table] = []
            current = -1
            for batch in drops.iter_batches(100_000, use_threads=False):
                table = pa.Table.from_batches([batch])
                slices = table.column("slice").to_numpy()
                for part in np.split(np.arange(len(slices)), np.flatnonzero(np.diff(slices)) + 1):
                    index = int(slices[part[0]])
                    if index != current and waiting:
                        yield current, pa.concat_tables(waiting)
                        waiting = []
                    current = index
                    waiting.append(table.slice(part[0], len(part)).select(DROPS.names).cast(DROPS))
            if waiting:
                yield current, pa.concat_tables(waiting)


def _local(store: Store, name: str, scratch: str) -> str:
    if store.is_local:
        return store.path(name)
    copy = f"{scratch}/{Path(name).name}"
    store.fetch(name, copy)
    return copy


def publish(job: Job) -> dict[str, Counts | Exception]:
    """Move a staged shard into the corpus, without its duplicates. Harmless if a killed run had done so already."""
    task: PublishTask = job.task
    store = job.workspace.store
    staged, final = f"{task.staged}/{job.shard}.parquet", f"{task.folder}/{job.shard}.parquet"
    rejects, final_rejects = f"{task.staged}/rejects/{job.shard}.parquet", f"{task.folder}/rejects/{job.shard}.parquet"
    drops = f"{task.staged}/drops/{job.shard}.parquet"
    if store.exists(drops):
        counts = _rewritten(store, task, staged, final, rejects, final_rejects, read_narrow(store, drops))
    else:
        store.write_bytes(final_rejects, store.read_bytes(rejects))
        if store.exists(staged) or not store.exists(final):
            store.move(staged, final)
        names = ("rows_in", "rows_out", "rejected", "bytes_in", "size", "digest", "sources", "reasons")
        counts = Counts(**{name: getattr(task.row, name) for name in names})
    return {folder: counts for folder, _ in job.outputs}


def _rewritten(
    store: Store, task: PublishTask, staged: str, final: str, rejects: str, final_rejects: str, drops: pa.Table
) -> Counts:
    rows, pieces, positions = (drops.column(name).to_pylist() for name in DROPS.names)
    where = dict(zip(rows, zip(pieces, positions, strict=True), strict=True))
    rejected: Counter[str] = Counter({s["source"]: s["rejected"] for s in task.row.sources})
    with open_parquet(store, staged) as file:
        schema = file.schema_arrow
    with store.writing(final) as path, store.writing(final_rejects) as rejects_path:
        documents, out = DocumentWriter(path, schema), RejectWriter(rejects_path)
        for known in _rows(store, rejects):
            out.add(known)
        first = 0
        for table in batches(store, staged, schema.names):
            lost = [row - first for row in rows[: int(np.searchsorted(rows, first + table.num_rows))] if row >= first]
            keep = np.ones(table.num_rows, np.bool_)
            keep[lost] = False
            for i in lost:
                id, text, source = (table.column(name)[i].as_py() for name in ("id", "text", "source"))
                piece, position = where[first + i]
                rejected[source] += 1
                detail = "a document before it has this id"
                out.add((id, source, task.paths[piece], position, REASON, detail, printable(text)))
            documents.write(table.filter(pa.array(keep)) if lost else table)
            first += table.num_rows
        documents.close()
        out.close()
        facts: dict[str, Any] = file_facts(path)
    reasons = Counter({r["reason"]: r["rows"] for r in task.row.reasons}) + Counter({REASON: len(rows)})
    return Counts(
        rows_in=task.row.rows_in,
        rows_out=documents.num_rows,
        rejected=rejected.total(),
        bytes_in=documents.num_bytes,
        **facts,
        sources=source_counts(Counter({s["source"]: s["rows_in"] for s in task.row.sources}), rejected),
        reasons=reason_counts(reasons),
    )


def _rows(store: Store, name: str) -> Iterator[tuple[Any, ...]]:
    with open_parquet(store, name) as file:
        for batch in file.iter_batches(10_000, use_threads=False):
            yield from zip(*(batch.column(n).to_pylist() for n in REJECTS.names), strict=True)
